//! An event as the bytes that are sealed.
//!
//! The bytes name a version, have a length before every text, and use nothing that differs between databases, so that
//! one event has one encoding wherever it is kept and after any dump and restore. `user`, `value`, `previous` and
//! `reason` may hold personal data: the bytes have salted hashes of them only. Without its salt such a hash says nothing
//! about the text, so that text and salt can be erased and the rest of the log still verifies.

use std::borrow::Cow;

use crate::hash::{HASH_BYTES, Hash};

/// The version of the encoding: the first byte of every leaf.
pub const ENCODING_VERSION: u8 = 1;

/// The bytes of a salt: too many to guess.
pub const SALT_BYTES: usize = 16;

/// Random bytes that keep the hash of a short text from being found by trying texts.
pub type Salt = [u8; SALT_BYTES];

/// The longest leaf that is read or made, in bytes of all its texts.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The action of an event that logs an erasure; see [`crate::erasure`].
pub const ERASE_ACTION: &str = "erase";

/// The fields that may hold personal data, in the order of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Who made the edit.
    User,
    /// The new value.
    Value,
    /// The value that the person saw before.
    Previous,
    /// Why, in the author's words.
    Reason,
}

impl Field {
    /// All of them, in the order of the encoding.
    pub const ALL: [Field; 4] = [Field::User, Field::Value, Field::Previous, Field::Reason];

    /// The name of the column.
    pub fn name(self) -> &'static str {
        match self {
            Field::User => "user",
            Field::Value => "value",
            Field::Previous => "previous",
            Field::Reason => "reason",
        }
    }
}

/// A field that may hold personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Personal<'a> {
    /// The event has none: NULL in the database.
    Absent,
    /// The text, and the salt of its commitment.
    Clear(Cow<'a, str>, Salt),
    /// Text and salt were erased; their commitment stays.
    Erased(Hash),
}

/// What stands for a text in the sealed bytes: the SHA-256 of the salt and the text.
pub fn commitment(salt: &Salt, text: &str) -> Hash {
    Hash::of_parts([salt, text.as_bytes()])
}

impl Personal<'_> {
    /// What stands for the field in the sealed bytes; none for an absent one.
    pub fn commitment(&self) -> Option<Hash> {
        match self {
            Personal::Absent => None,
            Personal::Clear(text, salt) => Some(commitment(salt, text)),
            Personal::Erased(commitment) => Some(*commitment),
        }
    }

    /// The text, if there is one and it was not erased.
    pub fn text(&self) -> Option<&str> {
        match self {
            Personal::Clear(text, _) => Some(text),
            _ => None,
        }
    }

    /// Owned, whatever it borrowed.
    pub fn into_owned(self) -> Personal<'static> {
        match self {
            Personal::Absent => Personal::Absent,
            Personal::Clear(text, salt) => Personal::Clear(Cow::Owned(text.into_owned()), salt),
            Personal::Erased(commitment) => Personal::Erased(commitment),
        }
    }
}

/// An event of an editlog as it is sealed. Actions and sources are texts, so that logs of later versions verify too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its place in the order of the log, from 1.
    pub id: u64,
    /// When the database appended it, in microseconds since 1970-01-01T00:00:00Z.
    pub date_micros: i64,
    /// Who made the edit.
    pub user: Personal<'a>,
    /// What the edit does, such as `update`.
    pub action: Cow<'a, str>,
    /// The row.
    pub key: Cow<'a, str>,
    /// The column; none for an event of a whole row.
    pub column_name: Option<Cow<'a, str>>,
    /// The new value.
    pub value: Personal<'a>,
    /// The value that the person saw before.
    pub previous: Personal<'a>,
    /// Which events were made together (a UUID).
    pub batch_id: [u8; 16],
    /// By which way it came, such as `grid`.
    pub source: Cow<'a, str>,
    /// Why.
    pub reason: Personal<'a>,
    /// The idempotency key that the client chose (a UUID).
    pub event_id: [u8; 16],
}

impl<'a> Event<'a> {
    /// The hash of the event's leaf. `buffer` is only working space, so that hashing many events allocates once.
    pub fn leaf_hash(&self, buffer: &mut Vec<u8>) -> Hash {
        self.leaf_hash_at(self.id, buffer)
    }

    /// The hash of the leaf that the event would have with another id: how a moved event is recognised.
    pub fn leaf_hash_at(&self, id: u64, buffer: &mut Vec<u8>) -> Hash {
        buffer.clear();
        // The first byte of every leaf in the tree, as RFC 6962 has it.
        buffer.push(0);
        self.encode_at(id, buffer);
        Hash::of(buffer)
    }

    /// Appends the leaf's data: version, id, date and [body](Event::encode_body).
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        self.encode_at(self.id, bytes);
    }

    fn encode_at(&self, id: u64, bytes: &mut Vec<u8>) {
        bytes.push(ENCODING_VERSION);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&self.date_micros.to_be_bytes());
        self.encode_body(bytes);
    }

    /// Appends what the writer knows of an event before the database gives it a place and a date.
    pub fn encode_body(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.event_id);
        bytes.extend_from_slice(&self.batch_id);
        text(bytes, &self.action);
        text(bytes, &self.source);
        text(bytes, &self.key);
        match &self.column_name {
            None => bytes.push(0),
            Some(column) => {
                bytes.push(1);
                text(bytes, column);
            }
        }
        for field in Field::ALL {
            match self.personal(field).commitment() {
                None => bytes.push(0),
                Some(commitment) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&commitment.0);
                }
            }
        }
    }

    /// One of the fields that may hold personal data.
    pub fn personal(&self, field: Field) -> &Personal<'a> {
        match field {
            Field::User => &self.user,
            Field::Value => &self.value,
            Field::Previous => &self.previous,
            Field::Reason => &self.reason,
        }
    }

    /// Sets one of the fields that may hold personal data.
    pub fn set_personal(&mut self, field: Field, personal: Personal<'a>) {
        match field {
            Field::User => self.user = personal,
            Field::Value => self.value = personal,
            Field::Previous => self.previous = personal,
            Field::Reason => self.reason = personal,
        }
    }

    /// Owned, whatever it borrowed.
    pub fn into_owned(self) -> Event<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Event {
            id: self.id,
            date_micros: self.date_micros,
            user: self.user.into_owned(),
            action: owned(self.action),
            key: owned(self.key),
            column_name: self.column_name.map(owned),
            value: self.value.into_owned(),
            previous: self.previous.into_owned(),
            batch_id: self.batch_id,
            source: owned(self.source),
            reason: self.reason.into_owned(),
            event_id: self.event_id,
        }
    }
}

/// A text with its length in bytes before it, in four bytes, the highest first. No text is longer than
/// [`EVENT_BYTES_MAX`], so that the length always fits.
fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// What is kept beside an event so that its leaf can be made again: for each field in the order of [`Field::ALL`], a byte
/// 0 (absent), 1 and the salt, or 2 and the commitment of an erased text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// The field is absent.
    Absent,
    /// The salt of a text that is there.
    Salt(Salt),
    /// The commitment of a text that was erased.
    Erased(Hash),
}

/// The secrets of an event's four fields, in the order of [`Field::ALL`].
pub type Secrets = [Secret; 4];

/// The bytes of some secrets, as a database keeps them.
pub fn encode_secrets(secrets: &Secrets) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * (1 + SALT_BYTES));
    for secret in secrets {
        match secret {
            Secret::Absent => bytes.push(0),
            Secret::Salt(salt) => {
                bytes.push(1);
                bytes.extend_from_slice(salt);
            }
            Secret::Erased(commitment) => {
                bytes.push(2);
                bytes.extend_from_slice(&commitment.0);
            }
        }
    }
    bytes
}

/// Secrets from their bytes; none if the bytes are not what [`encode_secrets`] makes.
pub fn decode_secrets(mut bytes: &[u8]) -> Option<Secrets> {
    let mut secrets = [Secret::Absent; 4];
    for secret in &mut secrets {
        let (kind, rest) = bytes.split_first()?;
        bytes = rest;
        *secret = match kind {
            0 => Secret::Absent,
            1 => {
                let (salt, rest) = bytes.split_first_chunk::<SALT_BYTES>()?;
                bytes = rest;
                Secret::Salt(*salt)
            }
            2 => {
                let (commitment, rest) = bytes.split_first_chunk::<HASH_BYTES>()?;
                bytes = rest;
                Secret::Erased(Hash(*commitment))
            }
            _ => return None,
        };
    }
    bytes.is_empty().then_some(secrets)
}

impl Secret {
    /// The field that a stored text and its secret make; none if they contradict each other. An erased text is stored as
    /// `placeholder`.
    pub fn field<'a>(self, text: Option<Cow<'a, str>>, placeholder: Option<&str>) -> Option<Personal<'a>> {
        match (self, text) {
            (Secret::Absent, None) => Some(Personal::Absent),
            (Secret::Salt(salt), Some(text)) => Some(Personal::Clear(text, salt)),
            (Secret::Erased(commitment), text) if text.as_deref() == placeholder => Some(Personal::Erased(commitment)),
            _ => None,
        }
    }
}
