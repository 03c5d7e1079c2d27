//! A file whose bytes are hashed, and brought to the disk, by a thread beside the one that writes it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use super::file::{Digested, hex};

/// Bytes that are written at once, and handed to the other thread.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Buffers that wait to be hashed.
const BUFFERS_WAITING: usize = 4;

/// After so many bytes they are brought to the disk, so that little is left to wait for in the end.
const DURABLE_BYTES: u64 = 16 * 1024 * 1024;

/// A file in the making. One that fits into a buffer needs no other thread.
#[derive(Debug)]
pub(super) struct HashedFile {
    file: File,
    buffer: Vec<u8>,
    /// What was written of the file, without the buffer.
    bytes: u64,
    beside: Option<Beside>,
}

/// The thread that hashes, and the ways to it and back.
#[derive(Debug)]
struct Beside {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<Sha256>>,
}

impl HashedFile {
    pub(super) fn new(file: File) -> HashedFile {
        HashedFile { file, buffer: Vec::new(), bytes: 0, beside: None }
    }

    /// Ends the file: all of it is on the disk then.
    pub(super) fn finish(mut self) -> io::Result<(File, Digested)> {
        let hasher = if self.bytes == 0 {
            self.file.write_all(&self.buffer)?;
            self.bytes = self.buffer.len() as u64;
            Sha256::new_with_prefix(&self.buffer)
        } else {
            self.hand_over()?;
            // The last bytes are brought to the disk while they are hashed.
            let beside = self.beside.take().ok_or_else(stopped)?;
            drop(beside.full);
            let written = self.file.sync_data();
            let hasher = beside.thread.join().map_err(|_| stopped())??;
            written?;
            hasher
        };
        self.file.sync_all()?;
        Ok((self.file, Digested { bytes: self.bytes, sha256: hex(&hasher.finalize()) }))
    }

    /// Writes the buffer and gives it to the thread.
    fn hand_over(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        let beside = match &mut self.beside {
            Some(beside) => beside,
            none => none.insert(Beside::start(&self.file)?),
        };
        let next = beside.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER_BYTES));
        let full = std::mem::replace(&mut self.buffer, next);
        // The thread has stopped only if it could not bring the file to the disk, and says so in the end.
        let _ = beside.full.send(full);
        Ok(())
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES && !self.buffer.is_empty() {
            self.hand_over()?;
        }
        let here = &bytes[..bytes.len().min(BUFFER_BYTES)];
        self.buffer.extend_from_slice(here);
        Ok(here.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Beside {
    fn start(file: &File) -> io::Result<Beside> {
        let file = file.try_clone()?;
        let (full, to_hash) = sync_channel::<Vec<u8>>(BUFFERS_WAITING);
        let (hashed, empty) = channel();
        let work = move || {
            let (mut hasher, mut waiting) = (Sha256::new(), 0);
            for mut buffer in to_hash {
                hasher.update(&buffer);
                waiting += buffer.len() as u64;
                buffer.clear();
                // Whoever writes may have ended.
                let _ = hashed.send(buffer);
                if waiting >= DURABLE_BYTES {
                    file.sync_data()?;
                    waiting = 0;
                }
            }
            Ok(hasher)
        };
        let thread = std::thread::Builder::new().name("hash".into()).spawn(work)?;
        Ok(Beside { full, empty, thread })
    }
}

fn stopped() -> io::Error {
    io::Error::other("the thread that hashes a file stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_size_gets_its_bytes_and_their_hash() {
        for (bytes, piece) in
            [(0, 1), (10, 3), (BUFFER_BYTES, 4096), (3 * BUFFER_BYTES + 17, 777_777), (20 * BUFFER_BYTES, 8192)]
        {
            let content: Vec<u8> = (0..bytes).map(|place| (place * 31 % 251) as u8).collect();
            let named = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
            let mut out = HashedFile::new(named.reopen().unwrap_or_else(|error| panic!("{error}")));
            content.chunks(piece).for_each(|piece| out.write_all(piece).unwrap_or_else(|error| panic!("{error}")));
            let (_, digested) = out.finish().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(digested, Digested { bytes: bytes as u64, sha256: hex(&Sha256::digest(&content)) });
            assert!(std::fs::read(named.path()).is_ok_and(|read| read == content));
        }
    }
}
