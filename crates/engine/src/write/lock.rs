//! One writer of an output at a time, also when several processes build it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::remove_abandoned;
use crate::control::Control;
use crate::error::EngineError;

/// How often whoever waits for an output looks whether it is free.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most that is read of who holds a lock.
const HOLDER_BYTES_MAX: u64 = 200;

/// The right to write an output. It is a lock of the operating system on a file beside the output, which says who holds
/// it; the system takes it back when the process ends, however that happens. The file goes when the lock is dropped.
#[derive(Debug)]
pub struct OutputLock {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl OutputLock {
    /// Where the lock of an output is: beside it, with `.stet.lock` behind its name.
    pub fn path_of(output: &Path) -> PathBuf {
        let mut name = output.components().as_path().as_os_str().to_owned();
        name.push(".stet.lock");
        PathBuf::from(name)
    }

    /// Takes the lock, and waits while another process has it; `waiting` is told once who that is.
    ///
    /// # Errors
    /// When the lock's file cannot be made, and when the work is cancelled.
    pub fn take(output: &Path, control: &Control, mut waiting: impl FnMut(&str)) -> Result<OutputLock, EngineError> {
        let path = OutputLock::path_of(output);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(EngineError::io("create the folder", folder))?;
        }
        let mut was_told = false;
        loop {
            control.check()?;
            let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.as_mut().map_err(|error| EngineError::Io {
                action: "lock the output by",
                path: path.clone(),
                source: std::io::Error::new(error.kind(), error.to_string()),
            })?;
            match file.try_lock() {
                Ok(()) if !is_in_place(file, &path) => {} // Whoever had it has taken the file away: again.
                Ok(()) => {
                    sign(file).map_err(EngineError::io("write", &path))?;
                    let file = file.try_clone().map_err(EngineError::io("lock the output by", &path))?;
                    remove_abandoned(output.components().as_path());
                    return Ok(OutputLock { path, _file: file });
                }
                Err(TryLockError::WouldBlock) => {
                    if !was_told {
                        waiting(&holder(file));
                        was_told = true;
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(TryLockError::Error(error)) => return Err(EngineError::io("lock the output by", &path)(error)),
            }
        }
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // While the lock is held nobody else takes the file away, so it is ours. One that stays does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the file that was locked is still the one of that name.
#[cfg(unix)]
fn is_in_place(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(locked), Ok(named)) => (locked.dev(), locked.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_in_place(_: &File, path: &Path) -> bool {
    path.exists()
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "process {}", std::process::id())
}

/// Who holds a lock, in words.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(HOLDER_BYTES_MAX).read_to_string(&mut text));
    match text.lines().next() {
        Some(line) if read.is_ok() && !line.is_empty() => line.to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn the_second_writer_waits_is_told_of_the_first_and_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let output = folder.path().join("edited.parquet");
        let take = |control: &Control, told: &mut Vec<String>| {
            OutputLock::take(&output, control, |holder| told.push(holder.to_owned()))
        };
        let first = take(&Control::unwatched(), &mut Vec::new()).unwrap_or_else(|error| panic!("{error}"));
        let cancel = Arc::new(AtomicBool::new(false));
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                OutputLock::take(&output, &Control::new(cancel.clone(), |_| {}), |holder| {
                    let _ = tell.send(holder.to_owned());
                })
            });
            assert_eq!(told.recv().ok(), Some(format!("process {}", std::process::id())));
            cancel.store(true, Ordering::Relaxed);
            assert!(matches!(waiting.join(), Ok(Err(EngineError::Cancelled))));
            let next = scope.spawn(|| take(&Control::unwatched(), &mut Vec::new()).is_ok());
            drop(first);
            assert!(next.join().is_ok_and(|taken| taken));
        });
        assert!(std::fs::read_dir(folder.path()).is_ok_and(|mut files| files.next().is_none()));
    }

    #[test]
    fn what_a_killed_writer_left_in_the_making_goes_with_the_next_one() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let output = folder.path().join("edited.parquet");
        let others = [".stet-edited.parquet-two-Ab3dEf.tmp", ".stet-other.parquet-Ab3dEf.tmp", "edited.parquet"];
        let left = [".stet-edited.parquet-Ab3dEf.tmp", ".stet-edited.parquet.stet.json-Ab3dEf.tmp"];
        for name in others.iter().chain(&left) {
            std::fs::write(folder.path().join(name), "half").unwrap_or_else(|error| panic!("{error}"));
        }
        std::fs::create_dir(folder.path().join(".stet-edited.parquet-Gh1jKl.tmp"))
            .unwrap_or_else(|error| panic!("{error}"));
        drop(OutputLock::take(&output, &Control::unwatched(), |_| {}).unwrap_or_else(|error| panic!("{error}")));
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap_or_else(|error| panic!("{error}"))
            .map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, others);
    }
}
