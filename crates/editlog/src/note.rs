//! Signed notes (C2SP signed-note): a text, a blank line, and lines that sign it.
//!
//! Ed25519 signatures (type 1) are made and verified; timestamped Ed25519 cosignatures of witnesses (type 4, C2SP
//! tlog-cosignature) are verified. All other signatures are passed over, as the format asks for.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature as Ed25519Signature, Signer as _, SigningKey, VerifyingKey};

use crate::hash::Hash;

/// The longest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;

/// The most signatures that are read in one note.
pub const SIGNATURES_MAX: usize = 100;

/// The longest name of a key, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

const DASH: &str = "\u{2014} ";

/// What is wrong with a note or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note.
    #[error("this is not a signed note: {0}")]
    Malformed(&'static str),
    /// Not a key.
    #[error("this is not a key of a signed note: {0}")]
    MalformedKey(&'static str),
    /// None of the signatures is by a key that is trusted.
    #[error("no trusted key has signed this; it is signed by {signed_by}")]
    Untrusted { signed_by: String },
    /// A signature claims to be by a trusted key and is not.
    #[error("the signature by `{name}` is forged: it does not belong to this text")]
    Forged { name: String },
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Ed25519 over the text.
    Ed25519,
    /// Ed25519 over a time and the text: the cosignature of a witness.
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            KeyKind::Ed25519 => 1,
            KeyKind::Cosignature => 4,
        }
    }
}

/// A public key with a name. As text: `name+12345678+base64`, the middle being its [id](VerifierKey::id).
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: KeyKind,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, kind: KeyKind, key: VerifyingKey) -> VerifierKey {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(b'\n');
        bytes.push(kind.byte());
        bytes.extend_from_slice(key.as_bytes());
        let [a, b, c, d, ..] = Hash::of(&bytes).0;
        VerifierKey { name: name.to_owned(), id: u32::from_be_bytes([a, b, c, d]), kind, key }
    }

    /// The name in its signatures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A short number that tells keys of one name apart. It is no fingerprint: compare whole keys.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether `signature` is by this key over `text`.
    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let (message, signature) = match self.kind {
            KeyKind::Ed25519 => (text.to_owned(), signature),
            KeyKind::Cosignature => {
                let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
                (format!("cosignature/v1\ntime {}\n{text}", u64::from_be_bytes(*time)), signature)
            }
        };
        let Ok(signature) = Ed25519Signature::from_slice(signature) else { return false };
        self.key.verify_strict(message.as_bytes(), &signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind.byte()];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<VerifierKey, NoteError> {
        let (name, id, kind, bytes) = key_parts(text)?;
        let kind = match kind {
            1 => KeyKind::Ed25519,
            4 => KeyKind::Cosignature,
            _ => return Err(NoteError::MalformedKey("only Ed25519 keys are known")),
        };
        let key = VerifyingKey::from_bytes(&bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .ok_or(NoteError::MalformedKey("its bytes are no Ed25519 key"))?;
        let key = VerifierKey::new(name, kind, key);
        if key.id == id { Ok(key) } else { Err(NoteError::MalformedKey("its id does not belong to its bytes")) }
    }
}

/// The public keys of a text with one on each line; empty lines and lines that begin with `#` are passed over.
///
/// # Errors
/// With the number of the line, from 1, that is not a key.
pub fn parse_keys(text: &str) -> Result<Vec<VerifierKey>, (usize, NoteError)> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| line.parse().map_err(|error| (number, error)))
        .collect()
}

/// A private key with a name. As text: `PRIVATE+KEY+name+12345678+base64`. It is never shown but by
/// [`SignerKey::to_secret_text`].
#[derive(Clone)]
pub struct SignerKey {
    signing: SigningKey,
    verifier: VerifierKey,
}

impl SignerKey {
    /// A key from 32 random bytes.
    ///
    /// # Errors
    /// When the name is not one that a key may have.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<SignerKey, NoteError> {
        if !is_name(name) {
            return Err(NoteError::MalformedKey("its name is empty, too long, or has a space or a plus"));
        }
        let signing = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, KeyKind::Ed25519, signing.verifying_key());
        Ok(SignerKey { signing, verifier })
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The key as text: for its file, and for nothing else.
    pub fn to_secret_text(&self) -> String {
        let mut bytes = vec![KeyKind::Ed25519.byte()];
        bytes.extend_from_slice(self.signing.as_bytes());
        format!("PRIVATE+KEY+{}+{:08x}+{}", self.verifier.name, self.verifier.id, STANDARD.encode(bytes))
    }

    /// Signs a text, which must end in a newline.
    pub fn sign(&self, text: &str) -> Signature {
        let signature = self.signing.sign(text.as_bytes()).to_bytes().to_vec();
        Signature { name: self.verifier.name.clone(), id: self.verifier.id, bytes: signature }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignerKey").field(&self.verifier).finish()
    }
}

impl FromStr for SignerKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<SignerKey, NoteError> {
        let text = text.strip_prefix("PRIVATE+KEY+").ok_or(NoteError::MalformedKey("it is not a private key"))?;
        let (name, id, kind, seed) = key_parts(text)?;
        if kind != KeyKind::Ed25519.byte() {
            return Err(NoteError::MalformedKey("only Ed25519 keys are known"));
        }
        let key = SignerKey::from_seed(name, &seed)?;
        if key.verifier.id == id {
            Ok(key)
        } else {
            Err(NoteError::MalformedKey("its id does not belong to its bytes"))
        }
    }
}

/// The name, id, kind and bytes of a key's text.
fn key_parts(text: &str) -> Result<(&str, u32, u8, [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::MalformedKey("it has no three parts with a plus between them"));
    };
    if !is_name(name) {
        return Err(NoteError::MalformedKey("its name is empty, too long, or has a space or a plus"));
    }
    let is_id = id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = u32::from_str_radix(id, 16).ok().filter(|_| is_id);
    let id = id.ok_or(NoteError::MalformedKey("its id is not eight hexadecimal digits"))?;
    let mut decoded = [0; 34];
    let length = STANDARD.decode_slice(bytes, &mut decoded).ok();
    match (length, decoded) {
        (Some(33), [kind, key @ .., _]) => Ok((name, id, kind, key)),
        _ => Err(NoteError::MalformedKey("its bytes are not a kind and 32 bytes in base64")),
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A line that signs a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub id: u32,
    /// What the key made.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        write!(f, "{DASH}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A text with signatures. Nothing in it may be believed before [`Note::verify`] has said so. Its `Display` is its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is signed, with the newline at its end.
    pub text: String,
    /// Who signs it.
    pub signatures: Vec<Signature>,
}

impl Note {
    /// A note of a text, which must end in a newline, signed by one key.
    pub fn signed(text: String, signer: &SignerKey) -> Note {
        let signature = signer.sign(&text);
        Note { text, signatures: vec![signature] }
    }

    /// Checks the signatures of trusted keys; gives those keys whose signatures are there, at least one.
    ///
    /// # Errors
    /// `Forged` when a signature names a trusted key and is not by it; `Untrusted` when no trusted key has signed.
    pub fn verify<'a>(&self, trusted: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, NoteError> {
        let mut verified = Vec::new();
        for signature in &self.signatures {
            for key in trusted.iter().filter(|key| key.id == signature.id && key.name == signature.name) {
                if !key.verifies(&self.text, &signature.bytes) {
                    return Err(NoteError::Forged { name: key.name.clone() });
                }
                verified.push(key);
            }
        }
        if verified.is_empty() {
            let names: Vec<String> = self
                .signatures
                .iter()
                .take(3)
                .map(|signature| format!("`{}` ({:08x})", signature.name, signature.id))
                .collect();
            return Err(NoteError::Untrusted { signed_by: names.join(", ") });
        }
        Ok(verified)
    }
}

/// The cosignature of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature<'a> {
    /// Who cosigned.
    pub witness: &'a VerifierKey,
    /// When, by the witness's clock, in seconds since 1970.
    pub time_s: u64,
}

impl Note {
    /// The cosignatures of witnesses. Those by keys that are not among them are passed over.
    ///
    /// # Errors
    /// `Forged` when one names a witness and is not by it.
    pub fn cosignatures<'a>(&self, witnesses: &'a [VerifierKey]) -> Result<Vec<Cosignature<'a>>, NoteError> {
        let mut found = Vec::new();
        for signature in &self.signatures {
            let is_of = |key: &&VerifierKey| {
                key.kind == KeyKind::Cosignature && key.id == signature.id && key.name == signature.name
            };
            let Some(witness) = witnesses.iter().find(is_of) else { continue };
            let time = signature.bytes.first_chunk::<8>().map(|time| u64::from_be_bytes(*time));
            match time.filter(|time| *time <= i64::MAX.unsigned_abs()) {
                Some(time_s) if witness.verifies(&self.text, &signature.bytes) => {
                    found.push(Cosignature { witness, time_s });
                }
                _ => return Err(NoteError::Forged { name: witness.name.clone() }),
            }
        }
        Ok(found)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Reads lines that sign a note, each with a newline at its end, as a witness answers with them.
///
/// # Errors
/// `Malformed` when a line is none, or there are too many.
pub fn parse_signatures(lines: &str) -> Result<Vec<Signature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("it does not end in a newline"))?;
    let signatures = lines.split('\n').take(SIGNATURES_MAX + 1).map(signature).collect::<Result<Vec<_>, _>>()?;
    if signatures.len() > SIGNATURES_MAX {
        return Err(NoteError::Malformed("it has too many signatures"));
    }
    Ok(signatures)
}

impl FromStr for Note {
    type Err = NoteError;
    fn from_str(note: &str) -> Result<Note, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed("it is too long"));
        }
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::Malformed("it has control characters"));
        }
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or(NoteError::Malformed("it has no blank line before its signatures"))?;
        let signatures = parse_signatures(signatures)?;
        Ok(Note { text: format!("{text}\n"), signatures })
    }
}

fn signature(line: &str) -> Result<Signature, NoteError> {
    let malformed = NoteError::Malformed("a line after its blank line is no signature");
    let Some((name, signature)) = line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')) else {
        return Err(malformed);
    };
    let bytes = STANDARD.decode(signature).ok().filter(|bytes| bytes.len() > 4 && is_name(name));
    match bytes.as_deref().and_then(<[u8]>::split_first_chunk::<4>) {
        Some((id, bytes)) => {
            Ok(Signature { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
        }
        None => Err(malformed),
    }
}
