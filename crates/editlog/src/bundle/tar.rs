//! As much of the tar format (POSIX ustar) as a bundle needs: plain files with short names, one after the other.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;

/// Appends a file. All else that tar remembers, such as times, is left at zero: equal logs give equal bundles.
pub(super) fn append(output: &mut impl Write, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    output.write_all(&header)?;
    output.write_all(content)?;
    output.write_all(&[0; BLOCK][..content.len().next_multiple_of(BLOCK) - content.len()])
}

/// Ends the archive.
pub(super) fn end(output: &mut impl Write) -> io::Result<()> {
    output.write_all(&[0; 2 * BLOCK])
}

/// A file of an archive that is read.
pub(super) struct Member {
    pub name: String,
    pub content: Vec<u8>,
}

/// What is wrong with an archive.
pub(super) enum TarError {
    Io(io::Error),
    NotTar,
    TooLong { name: String, bytes: u64, bytes_max: u64 },
}

/// Reads the next file into `content`, which is emptied first; none at the end. `bytes_max` says how long a file of a name
/// may be.
pub(super) fn next(
    input: &mut impl Read,
    mut content: Vec<u8>,
    bytes_max: impl Fn(&str) -> u64,
) -> Result<Option<Member>, TarError> {
    let mut header = [0; BLOCK];
    input.read_exact(&mut header).map_err(cut)?;
    if header == [0; BLOCK] {
        return Ok(None);
    }
    let text = |from: usize, to: usize| {
        let field = header[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(field).ok().map(str::trim)
    };
    let sum: u32 =
        header.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    let number = |from, to| text(from, to).and_then(|digits| u64::from_str_radix(digits, 8).ok());
    if number(148, 156) != Some(u64::from(sum)) || !matches!(header[156], b'0' | 0) {
        return Err(TarError::NotTar);
    }
    let (Some(name), Some(bytes)) = (text(0, 100).map(str::to_owned), number(124, 136)) else {
        return Err(TarError::NotTar);
    };
    let bytes_max = bytes_max(&name);
    if bytes > bytes_max {
        return Err(TarError::TooLong { name, bytes, bytes_max });
    }
    // Grows with what is really there, so that a false length costs no memory.
    content.clear();
    let read = input.by_ref().take(bytes).read_to_end(&mut content).map_err(TarError::Io)?;
    if read as u64 != bytes {
        return Err(TarError::NotTar);
    }
    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    input.read_exact(&mut header[..padding]).map_err(cut)?;
    Ok(Some(Member { name, content }))
}

fn cut(error: io::Error) -> TarError {
    if error.kind() == io::ErrorKind::UnexpectedEof { TarError::NotTar } else { TarError::Io(error) }
}
