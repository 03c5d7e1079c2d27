//! What commands print: data on stdout, notes on stderr. The only file that writes to either.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::failure::Failure;
use crate::listen::Interrupt;
use crate::table::Table;

/// The form in which a command prints data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PrintFormat {
    /// Aligned columns for people.
    #[default]
    Text,
    /// JSON for programs: exact, whole, and in a form that stays.
    Json,
}

/// How much a writer gathers before it writes, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Prints a text and ends its line.
///
/// # Errors
/// When stdout cannot be written; `ReaderLeft` when nobody reads it any more.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints a value as JSON.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::no(format!("the answer cannot be written as JSON: {error}")))?;
    print(&text)
}

/// Prints a table, cut to the terminal's width if stdout is one.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_table(table: &Table) -> Result<(), Failure> {
    let width = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let width = width.filter(|_| io::stdout().is_terminal());
    let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    for line in table.lines(width) {
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Writes a note to stderr. If that is closed there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a person looks at stderr.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Where exported bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// To stdout.
    Stdout,
    /// To a file, which appears when it is whole.
    File(PathBuf),
}

impl Target {
    /// From `--output`: none and `-` mean stdout.
    pub(crate) fn new(output: Option<PathBuf>) -> Target {
        match output {
            Some(path) if path != Path::new("-") => Target::File(path),
            _ => Target::Stdout,
        }
    }

    /// Refuses to write what no terminal can show to one.
    ///
    /// # Errors
    /// When stdout is a terminal and the bytes go there.
    pub(crate) fn refuse_terminal(&self, form: &str) -> Result<(), Failure> {
        if *self == Target::Stdout && io::stdout().is_terminal() {
            return Err(Failure::usage(format!(
                "{form} is not for a terminal: add --output FILE, or send stdout into a file or a program"
            )));
        }
        Ok(())
    }

    /// Gives `write` a writer and sees to it that a file appears only when everything is in it. Stops on Ctrl-C. `write`
    /// runs on a thread on which it may block.
    ///
    /// # Errors
    /// Those of `write`, and when the file cannot be written.
    pub(crate) async fn fill<T, F>(self, write: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&mut ExportWriter) -> Result<T, Failure> + Send + 'static,
    {
        let interrupt = Interrupt::watch();
        let stop = Arc::new(AtomicBool::new(false));
        let watched = stop.clone();
        let mut work = tokio::task::spawn_blocking(move || self.fill_blocking(watched, write));
        let result = tokio::select! {
            result = &mut work => result,
            () = interrupt.wait() => {
                stop.store(true, Ordering::Relaxed);
                work.await
            }
        };
        result.unwrap_or_else(|error| Err(Failure::no(format!("the export broke off: {error}"))))
    }

    fn fill_blocking<T>(
        self,
        stop: Arc<AtomicBool>,
        write: impl FnOnce(&mut ExportWriter) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let path = match self {
            Target::Stdout => return ExportWriter::run(Box::new(io::stdout()), stop, write),
            Target::File(path) => path,
        };
        let cannot = |error: io::Error| Failure::no(format!("cannot write {}: {error}", path.display()));
        // A pipe or a device is written to, not replaced.
        if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            let file = std::fs::File::options().write(true).open(&path).map_err(cannot)?;
            return ExportWriter::run(Box::new(file), stop, write);
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".stet-export-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The permissions of any new file: the umask takes away what it should.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder).map_err(cannot)?;
        let handle = file.as_file().try_clone().map_err(cannot)?;
        let result = ExportWriter::run(Box::new(handle), stop, write)?;
        file.as_file().sync_all().map_err(cannot)?;
        file.persist(&path).map_err(|error| cannot(error.error))?;
        Ok(result)
    }
}

/// A buffered writer that stops when it is told to and notices when its reader leaves.
pub(crate) struct ExportWriter {
    inner: io::BufWriter<Box<dyn Write + Send>>,
    stop: Arc<AtomicBool>,
    reader_left: bool,
}

impl ExportWriter {
    fn run<T>(
        inner: Box<dyn Write + Send>,
        stop: Arc<AtomicBool>,
        write: impl FnOnce(&mut ExportWriter) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut writer =
            ExportWriter { inner: io::BufWriter::with_capacity(BUFFER_BYTES, inner), stop, reader_left: false };
        let result = write(&mut writer).and_then(|value| Ok(writer.flush().map(|()| value)?));
        let (stopped, reader_left) = (writer.stop.load(Ordering::Relaxed), writer.reader_left);
        // What is still in the buffer of a failed export is not written by the way.
        let _ = writer.inner.into_parts();
        match result {
            Err(_) if reader_left => Err(Failure::ReaderLeft),
            Err(_) if stopped => Err(Failure::no("stopped on request")),
            result => result,
        }
    }

    fn watch<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.reader_left |= result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl Write for ExportWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped on request"));
        }
        let result = self.inner.write(bytes);
        self.watch(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.watch(result)
    }
}
