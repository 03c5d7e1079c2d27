//! Which node a command works on, and on whose behalf.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use stet_app::{App, Clock};
use stet_domain::{Actor, Login};

use crate::Global;
use crate::failure::Failure;

/// The folder of the node that a command works on.
///
/// # Errors
/// When none is told.
pub(crate) fn folder(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(folder) = &global.node {
        return Ok(folder.clone());
    }
    if let Some(folder) = std::env::var_os("STET_NODE").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    if Path::new("stet.toml").is_file() {
        return Ok(PathBuf::from("."));
    }
    Err(Failure::usage(
        "which node? Give its folder with --node DIR or in STET_NODE, or go into it: it is the one with a stet.toml",
    ))
}

/// Opens the node that a command works on.
///
/// # Errors
/// When none is told, or it cannot be opened.
pub(crate) async fn open(global: &Global) -> Result<App, Failure> {
    Ok(App::open(&folder(global)?, Clock::System).await?)
}

/// The person at the shell. The name says by which way it came, so that nobody takes it for a user of the node.
pub(crate) fn actor() -> Actor {
    let names = ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    let user = names.into_iter().find(|user| !user.is_empty()).unwrap_or_else(|| "someone".to_owned());
    let login = Login::new(format!("{user}@shell")).or_else(|_| Login::new("someone@shell"));
    Actor::shell(login.unwrap_or_else(|_| Login::none()))
}

/// The right to serve a node, held by one process at a time; it ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct ServeLock {
    _file: File,
}

impl ServeLock {
    /// Takes the right to serve a node.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
    pub(crate) fn take(folder: &Path) -> Result<ServeLock, Failure> {
        let path = folder.join("stet.lock");
        let cannot = |error: std::io::Error| Failure::usage(format!("cannot use {}: {error}", path.display()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: without it, the message says less.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let process = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
                return Err(Failure::usage(format!(
                    "{} is served already by another stet{process}: stop that one first, or use it",
                    folder.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(cannot)?;
        writeln!(file, "{}", std::process::id()).map_err(cannot)?;
        Ok(ServeLock { _file: file })
    }
}
