//! The archive of a bundle: a plain `ustar` archive in exactly one form, so that the same files give the same bytes.
//!
//! First `manifest.json`, then `signatures.json` if somebody signed, then the files that the manifest lists, in its order.
//! A reader knows after the manifest what must follow, header by header, and refuses anything else: no link, no other name,
//! no entry more. Nothing is compressed, so nothing expands. Owners and times are fixed.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use stet_domain::bundle::{BundlePath, MANIFEST_BYTES_MAX, Manifest, ManifestFile};

use super::envelope::{ENVELOPE_BYTES_MAX, Envelope};
use crate::error::AppError;
use crate::password::hex;

/// The largest archive that is read or written, in bytes.
pub(crate) const ARCHIVE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// The size of the blocks of which an archive is made.
const BLOCK_BYTES: usize = 512;

/// How much is read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

const MANIFEST: &str = "manifest.json";
const SIGNATURES: &str = "signatures.json";

/// What a bundle says of itself, once it was read from end to end.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest, in hexadecimal: the name of the bundle.
    pub digest: String,
    /// Who signed; none for an unsigned bundle.
    pub envelope: Option<Envelope>,
    /// The size of the archive.
    pub bytes: u64,
}

/// What is done with each file of a bundle while it is read. What it is given is checked after it returned.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&ManifestFile, &mut dyn Read) -> Result<(), AppError>;

/// Gives the content of a file of a bundle.
pub(crate) type Open<'a> = &'a mut dyn FnMut(&ManifestFile) -> Result<Box<dyn Read>, AppError>;

/// Writes an archive; `open` gives the content of a file.
pub(crate) fn write_archive(
    out: &mut dyn Write,
    manifest: &Manifest,
    envelope: Option<&Envelope>,
    open: Open<'_>,
) -> Result<(), AppError> {
    write_head(out, &manifest.to_bytes(), envelope)?;
    for (index, file) in manifest.files.iter().enumerate() {
        let mut content = Hashing { inner: open(file)?, hash: Sha256::new(), bytes: 0 };
        write_entry(out, &entry_name(&file.path, index), file.bytes, &mut content)?;
        // A file that changed while it was read would make a bundle that nobody can use.
        if content.finish()? != (file.bytes, file.sha256.clone()) {
            return Err(AppError::Conflict(format!(
                "`{}` changed while the bundle was made: make it again",
                file.path
            )));
        }
    }
    out.write_all(&[0; 2 * BLOCK_BYTES]).map_err(cannot_write)
}

/// Writes the manifest and the signatures.
pub(super) fn write_head(out: &mut dyn Write, manifest: &[u8], envelope: Option<&Envelope>) -> Result<(), AppError> {
    write_entry(out, MANIFEST, manifest.len() as u64, &mut &*manifest)?;
    if let Some(envelope) = envelope {
        let bytes = envelope.to_bytes();
        write_entry(out, SIGNATURES, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    Ok(())
}

/// How many bytes [`write_head`] writes for a manifest and signatures of these lengths.
pub(super) fn head_bytes(manifest: usize, envelope: Option<usize>) -> u64 {
    [Some(manifest), envelope]
        .into_iter()
        .flatten()
        .map(|length| (BLOCK_BYTES + length.next_multiple_of(BLOCK_BYTES)) as u64)
        .sum()
}

/// Reads an archive from end to end and checks everything that it says of itself.
///
/// # Errors
/// With what is wrong and where, when it is not exactly in the form of a bundle; when it cannot be read; those of `visit`.
pub(crate) fn read_archive(input: &mut dyn Read, visit: Visit<'_>) -> Result<Bundle, AppError> {
    let mut archive = Reader { input, bytes: 0 };
    let size = archive.first()?;
    if size > MANIFEST_BYTES_MAX as u64 {
        return Err(refused(format!("its manifest has {size} bytes; the most are {MANIFEST_BYTES_MAX}")));
    }
    let manifest_bytes = archive.content(MANIFEST, size)?;
    let manifest = Manifest::parse(&manifest_bytes).map_err(|error| AppError::Refused(error.to_string()))?;
    let total: u64 = manifest.files.iter().fold(0, |total, file| total.saturating_add(file.bytes));
    if total > ARCHIVE_BYTES_MAX {
        return Err(refused(format!("its files have {total} bytes; the most are {ARCHIVE_BYTES_MAX}")));
    }
    let digest = hex(&Sha256::digest(&manifest_bytes));

    let mut header = archive.header()?;
    let mut envelope = None;
    if let Some(found) = &header
        && name_of(found) == SIGNATURES
    {
        let size = size_of(found)?;
        if size > ENVELOPE_BYTES_MAX as u64 {
            return Err(refused(format!("its signatures have {size} bytes; the most are {ENVELOPE_BYTES_MAX}")));
        }
        check_header(found, SIGNATURES, size)?;
        let bytes = archive.content(SIGNATURES, size)?;
        envelope = Some(Envelope::parse(&bytes, Some(&manifest_bytes)).map_err(refused)?);
        header = archive.header()?;
    }
    drop(manifest_bytes);

    for (index, file) in manifest.files.iter().enumerate() {
        let Some(found) = header else {
            return Err(refused(format!("it ends before `{}`, which its manifest lists", file.path)));
        };
        check_header(&found, &entry_name(&file.path, index), file.bytes)?;
        let mut content =
            Hashing { inner: Box::new(Read::take(&mut *archive.input, file.bytes)), hash: Sha256::new(), bytes: 0 };
        visit(file, &mut content)?;
        let (bytes, sha256) = content.finish()?;
        if bytes != file.bytes {
            return Err(refused(format!("it ends in the middle of `{}`", file.path)));
        }
        if sha256 != file.sha256 {
            return Err(refused(format!("`{}` is not the file that its manifest lists: it was changed", file.path)));
        }
        archive.bytes += file.bytes;
        archive.padding(file.bytes)?;
        header = archive.header()?;
    }
    if let Some(found) = header {
        let name = name_of(&found);
        let again = manifest.file(&name).is_some() || name == MANIFEST || name == SIGNATURES;
        let what = if again { "twice" } else { "which its manifest does not list" };
        return Err(refused(format!("it holds `{}`, {what}", name.escape_debug())));
    }
    archive.end()?;
    Ok(Bundle { manifest, digest, envelope, bytes: archive.bytes })
}

fn refused(reason: impl std::fmt::Display) -> AppError {
    AppError::Refused(format!("this is not a bundle that can be used: {reason}"))
}

/// What is said when a bundle, or what comes of it, cannot be written.
pub fn cannot_write(error: io::Error) -> AppError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
        AppError::Unavailable(
            "there is no room left on the disk of the node: nothing was changed; free some space there, then try again"
                .to_owned(),
        )
    } else {
        AppError::Unavailable(format!("the node's folder cannot be written: {error}"))
    }
}

fn cannot_read(error: io::Error) -> AppError {
    AppError::Unavailable(format!("cannot read the bundle: {error}"))
}

/// The name of a file in the archive: its path, or its number when the form has no room for the path.
fn entry_name(path: &str, index: usize) -> String {
    if path.len() <= 100 { path.to_owned() } else { format!("files/{index:05}") }
}

/// The one header that an entry of this name and size has (POSIX.1-1988, `ustar`).
pub(super) fn header(name: &str, size: u64) -> [u8; BLOCK_BYTES] {
    let mut block = [0u8; BLOCK_BYTES];
    let mut put = |place: usize, bytes: &[u8]| block[place..place + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\0");
    put(263, b"00");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn write_entry(out: &mut dyn Write, name: &str, size: u64, content: &mut dyn Read) -> Result<(), AppError> {
    out.write_all(&header(name, size)).map_err(cannot_write)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = size;
    loop {
        let read = content.read(&mut buffer).map_err(cannot_read)?;
        if read == 0 {
            break;
        }
        // More than was announced would break the form; the caller finds out that the file changed.
        let take = left.min(read as u64);
        out.write_all(&buffer[..usize::try_from(take).unwrap_or(read)]).map_err(cannot_write)?;
        left -= take;
    }
    if left > 0 {
        return Err(AppError::Conflict(format!("`{name}` became shorter while the bundle was made: make it again")));
    }
    let padding = (BLOCK_BYTES - usize::try_from(size % BLOCK_BYTES as u64).unwrap_or(0)) % BLOCK_BYTES;
    out.write_all(&[0; BLOCK_BYTES][..padding]).map_err(cannot_write)
}

/// Says precisely what is wrong with a header that is not the expected one.
fn check_header(found: &[u8; BLOCK_BYTES], name: &str, size: u64) -> Result<(), AppError> {
    if *found == header(name, size) {
        return Ok(());
    }
    let found_name = name_of(found);
    let shown = found_name.escape_debug();
    match found[156] {
        b'0' => {}
        b'1' | b'2' => return Err(refused(format!("`{shown}` is a link"))),
        b'5' => return Err(refused(format!("`{shown}` is a folder, which bundles do not have"))),
        b'x' | b'g' | b'L' | b'K' | b'S' => {
            return Err(refused(format!(
                "`{shown}` uses an extension of the archive's form, which bundles do not have"
            )));
        }
        _ => return Err(refused(format!("`{shown}` is not a plain file"))),
    }
    if found_name != name {
        if found_name != MANIFEST
            && found_name != SIGNATURES
            && !found_name.starts_with("files/")
            && let Err(error) = BundlePath::new(&found_name)
        {
            return Err(refused(error));
        }
        return Err(refused(format!("it holds `{shown}` where its manifest lists `{name}`")));
    }
    if size_of(found)? != size {
        return Err(refused(format!("`{name}` has not the size that its manifest lists")));
    }
    Err(refused(format!("the header of `{name}` is not in the form that Stet writes")))
}

fn name_of(header: &[u8; BLOCK_BYTES]) -> String {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let (prefix, name) = (text(&header[345..500]), text(&header[..100]));
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

fn size_of(header: &[u8; BLOCK_BYTES]) -> Result<u64, AppError> {
    std::str::from_utf8(&header[124..135])
        .ok()
        .filter(|text| header[135] == 0 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)))
        .and_then(|text| u64::from_str_radix(text, 8).ok())
        .ok_or_else(|| refused("the size of an entry cannot be read"))
}

struct Reader<'a> {
    input: &'a mut dyn Read,
    bytes: u64,
}

impl Reader<'_> {
    /// The size of the manifest, after looking whether this is an archive at all.
    fn first(&mut self) -> Result<u64, AppError> {
        let found = match self.block() {
            Ok(Some(found)) if &found[257..263] == b"ustar\0" => found,
            Err(error @ AppError::Unavailable(_)) => return Err(error),
            _ => return Err(refused("it is not an archive of the form that `stet bundle create` writes")),
        };
        let size = size_of(&found)?;
        check_header(&found, MANIFEST, size)?;
        Ok(size)
    }

    /// The next header; none at the end mark.
    fn header(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, AppError> {
        let block = self.block()?.ok_or_else(|| refused("it is cut short"))?;
        Ok((block != [0; BLOCK_BYTES]).then_some(block))
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, AppError> {
        let mut block = [0; BLOCK_BYTES];
        match self.input.read_exact(&mut block) {
            Ok(()) => {
                self.bytes += BLOCK_BYTES as u64;
                Ok(Some(block))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(cannot_read(error)),
        }
    }

    /// A small entry as a whole. Memory grows with what is really there, not with what is announced.
    fn content(&mut self, name: &str, size: u64) -> Result<Vec<u8>, AppError> {
        let mut bytes = Vec::new();
        (&mut *self.input).take(size).read_to_end(&mut bytes).map_err(cannot_read)?;
        if bytes.len() as u64 != size {
            return Err(refused(format!("it ends in the middle of `{name}`")));
        }
        self.bytes += size;
        self.padding(size)?;
        Ok(bytes)
    }

    fn padding(&mut self, size: u64) -> Result<(), AppError> {
        let length = (BLOCK_BYTES - usize::try_from(size % BLOCK_BYTES as u64).unwrap_or(0)) % BLOCK_BYTES;
        let mut padding = [0; BLOCK_BYTES];
        self.input.read_exact(&mut padding[..length]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => refused("it is cut short"),
            _ => cannot_read(error),
        })?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(refused("there is something between its files"));
        }
        self.bytes += length as u64;
        Ok(())
    }

    /// One more empty block, and nothing after it.
    fn end(&mut self) -> Result<(), AppError> {
        if self.header()?.is_some() {
            return Err(refused("there is something behind its end"));
        }
        let mut more = [0; 1];
        match self.input.read(&mut more).map_err(cannot_read)? {
            0 => Ok(()),
            _ => Err(refused("there is something behind its end")),
        }
    }
}

/// Hashes what is read through it.
struct Hashing<'a> {
    inner: Box<dyn Read + 'a>,
    hash: Sha256,
    bytes: u64,
}

impl Hashing<'_> {
    /// Reads what is left, and gives size and hash.
    fn finish(mut self) -> Result<(u64, String), AppError> {
        io::copy(&mut self, &mut io::sink()).map_err(cannot_read)?;
        Ok((self.bytes, hex(&self.hash.finalize())))
    }
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// The size and the SHA-256 hash, in hexadecimal, of what can be read.
pub(crate) fn size_and_hash(content: impl Read) -> Result<(u64, String), AppError> {
    Hashing { inner: Box::new(content), hash: Sha256::new(), bytes: 0 }.finish()
}
