//! The seal of an editlog in PostgreSQL: its statements, and its leaves as they are stored and read.
//!
//! An event comes with the salts of its personal texts, which its writer chose; an event that another program inserted has
//! none, and gets them when it is sealed, beside its leaf. Either way the leaf is made by the `editlog` crate from the same
//! bytes as in SQLite.

use std::borrow::Cow;
use std::cell::RefCell;

use postgres::{GenericClient, Row};
use rand::Rng as _;
use stet_editlog::event::{Secret, Secrets, decode_secrets, encode_secrets};
use stet_editlog::tile::{LEVEL_MAX, StoredHashes, TileTree};
use stet_editlog::tree::Subtrees as _;
use stet_editlog::{Event, Field, Hash, Personal, Salt, Tree};
use uuid::Uuid;

use super::parts::{CHECKPOINTS, LEAVES, NODES};
use super::schema::LogSql;
use crate::editlog::{ERASED_USER, WriterLink};
use crate::error::{Doing, StoreError};
use crate::postgres::{Micros, PostgresConfig, decode};

/// The advisory lock of whoever seals a log is this number with the table's identity behind it: "Seal" in ASCII.
pub(super) const SEAL_LOCK_CLASS: i64 = 0x5365_616c;

/// The statements that seal one editlog and read its seal.
#[derive(Debug)]
pub(super) struct SealSql {
    pub state: String,
    pub lead: String,
    pub may_insert: String,
    pub insert_leaves: String,
    pub insert_nodes: String,
    pub leaf_hashes: String,
    pub node_hashes: String,
    pub last_checkpoint: String,
    pub insert_checkpoint: String,
    pub thin_checkpoints: String,
    pub checkpoints: String,
    pub tables: String,
    pub size: String,
    pub events: String,
    pub events_alone: String,
    pub events_to_seal: String,
    pub last_event: String,
    pub progress: String,
}

impl SealSql {
    pub(super) fn new(log: &str, beside: &dyn Fn(&str) -> String, columns: &str) -> SealSql {
        let (leaves, nodes, checkpoints) = (beside(LEAVES), beside(NODES), beside(CHECKPOINTS));
        SealSql {
            // The table's identity, so that a log that was made anew is not taken for the old one.
            state: format!(
                "SELECT pg_catalog.to_regclass($1)::oid::bigint, coalesce((SELECT max(id) FROM {leaves}), 0),
                        coalesce((SELECT max(id) FROM {log}), 0)"
            ),
            lead: format!("SELECT pg_catalog.pg_try_advisory_lock(({SEAL_LOCK_CLASS}::bigint << 32) | $1::bigint)"),
            may_insert: "SELECT pg_catalog.has_table_privilege(session_user, $1, 'INSERT')".to_owned(),
            insert_leaves: format!(
                "INSERT INTO {leaves} (id, hash, secrets) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[])"
            ),
            insert_nodes: format!(
                "INSERT INTO {nodes} (level, place, hash) SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])"
            ),
            leaf_hashes: format!("SELECT id - 1, hash FROM {leaves} WHERE id > $1 AND id <= $2 ORDER BY id"),
            node_hashes: format!(
                "SELECT place, hash FROM {nodes} WHERE level = $3 AND place >= $1 AND place < $2 ORDER BY place"
            ),
            last_checkpoint: format!("SELECT coalesce(max(size), 0) FROM {checkpoints}"),
            insert_checkpoint: format!("INSERT INTO {checkpoints} (size, note) VALUES ($1, $2)"),
            thin_checkpoints: format!(
                "DELETE FROM {checkpoints} WHERE size < $1
                   AND date_trunc('minute', date) = (SELECT date_trunc('minute', date) FROM {checkpoints} WHERE size = $1)"
            ),
            checkpoints: format!("SELECT note FROM {checkpoints} ORDER BY size DESC LIMIT $1"),
            tables: [&leaves, &nodes, &checkpoints]
                .map(|table| format!("pg_catalog.to_regclass({}) IS NOT NULL", crate::postgres::literal(table)))
                .join(" AND "),
            size: format!("SELECT coalesce(max(id), 0) FROM {leaves}"),
            events: format!(
                "SELECT {columns}, coalesce(leaf_secrets, secrets), writer, wseq, wprev
                 FROM (SELECT * FROM {log} WHERE id > $1 ORDER BY id LIMIT $2) AS events
                 LEFT JOIN (SELECT id AS leaf, secrets AS leaf_secrets FROM {leaves}) AS leaves ON leaf = id ORDER BY id"
            ),
            events_alone: format!(
                "SELECT {columns}, secrets, writer, wseq, wprev FROM {log} WHERE id > $1 ORDER BY id LIMIT $2"
            ),
            // At most so many, and no more after those that have so many bytes together.
            events_to_seal: format!(
                "SELECT {columns}, secrets, writer, wseq, wprev FROM
                   (SELECT *, sum(bytes) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - bytes AS before FROM
                     (SELECT {columns}, secrets, writer, wseq, wprev, octet_length(key) + coalesce(octet_length(value), 0)
                             + coalesce(octet_length(previous), 0) + coalesce(octet_length(reason), 0) AS bytes
                      FROM {log} WHERE id > $1 ORDER BY id LIMIT $2) AS events) AS counted
                 WHERE before < $3 ORDER BY id"
            ),
            last_event: format!("SELECT coalesce(max(id), 0) FROM {log}"),
            progress: format!(
                "SELECT events.last, seal.size,
                        (SELECT date FROM {log} WHERE id > seal.size ORDER BY id LIMIT 1), clock_timestamp()
                 FROM (SELECT coalesce(max(id), 0) AS last FROM {log}) AS events,
                      (SELECT coalesce(max(size), 0) AS size FROM {checkpoints}) AS seal"
            ),
        }
    }
}

/// The secrets of an event that is new: salts for the texts that are there.
pub(super) fn new_secrets(texts: [bool; Field::ALL.len()]) -> Secrets {
    texts.map(|there| if there { Secret::Salt(new_salt()) } else { Secret::Absent })
}

fn new_salt() -> Salt {
    let mut salt = Salt::default();
    rand::rng().fill_bytes(&mut salt);
    salt
}

/// An event with what its leaf is made of.
pub(super) struct SealedRow {
    pub event: Event<'static>,
    /// Its place in the chain of its writer, if it has one.
    pub link: Option<WriterLink>,
    /// Secrets that were made here, since those that are stored are missing or fit no such event; none if they do.
    pub made: Option<Vec<u8>>,
}

/// What is done where an event has no secrets that fit it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// They are made: the event is sealed now.
    Make,
    /// The event becomes one whose hash is not the sealed one.
    Keep,
}

/// An event from a row of [`SealSql::events`]. Nothing in the row is believed.
pub(super) fn sealed_row(config: &PostgresConfig, row: &Row, missing: Missing) -> Result<SealedRow, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let text =
        |place: usize| Ok::<_, StoreError>(row.try_get::<_, Option<String>>(place).map_err(reading)?.map(decode));
    let plain = |place: usize| Ok::<_, StoreError>(Cow::Owned(text(place)?.unwrap_or_default()));
    let uuid = |place: usize| {
        let found: Option<Uuid> = row.try_get(place).map_err(reading)?;
        Ok::<_, StoreError>(found.unwrap_or_default().into_bytes())
    };
    let texts = [text(2)?, text(6)?, text(7)?, text(10)?];
    let stored: Option<Vec<u8>> = row.try_get(12).map_err(reading)?;
    let stored = stored.as_deref().and_then(decode_secrets);
    let fits = stored.and_then(|secrets| personal(&secrets, &texts));
    let (fields, made) = match (fits, missing) {
        (Some(fields), _) => (fields, None),
        (None, Missing::Make) => {
            let secrets = new_secrets([0, 1, 2, 3].map(|field: usize| texts[field].is_some()));
            let fields = personal(&secrets, &texts).unwrap_or_else(|| unsealed(&texts));
            (fields, Some(encode_secrets(&secrets)))
        }
        (None, Missing::Keep) => (unsealed(&texts), None),
    };
    let [user, value, previous, reason] = fields;
    let link = match (row.try_get::<_, Option<Uuid>>(13).map_err(reading)?, row.try_get::<_, Option<i64>>(14)) {
        (Some(writer), Ok(Some(number))) => {
            let previous: Option<Vec<u8>> = row.try_get(15).map_err(reading)?;
            let previous = previous.as_deref().and_then(Hash::from_slice).unwrap_or_default();
            Some(WriterLink { writer: writer.hyphenated().to_string(), number: number.cast_unsigned(), previous })
        }
        _ => None,
    };
    let event = Event {
        id: row.try_get::<_, i64>(0).map_err(reading)?.cast_unsigned(),
        // A date beyond all reckoning is none that we have sealed.
        date_micros: row.try_get::<_, Micros>(1).map_or(i64::MIN, |micros| micros.0),
        user,
        action: plain(3)?,
        key: plain(4)?,
        column_name: text(5)?.map(Cow::Owned),
        value,
        previous,
        batch_id: uuid(8)?,
        source: plain(9)?,
        reason,
        event_id: uuid(11)?,
    };
    Ok(SealedRow { event, link, made })
}

type Fields = [Personal<'static>; Field::ALL.len()];

/// The fields that secrets and texts make; none if they contradict each other.
fn personal(secrets: &Secrets, texts: &[Option<String>; Field::ALL.len()]) -> Option<Fields> {
    let field = |field: Field| {
        let placeholder = (field == Field::User).then_some(ERASED_USER);
        secrets[field as usize].field(texts[field as usize].clone().map(Cow::Owned), placeholder)
    };
    Some([field(Field::User)?, field(Field::Value)?, field(Field::Previous)?, field(Field::Reason)?])
}

/// The fields of an event without secrets: its hash is that of no event that was sealed.
fn unsealed(texts: &[Option<String>; Field::ALL.len()]) -> Fields {
    [0, 1, 2, 3].map(|field: usize| match &texts[field] {
        Some(text) => Personal::Clear(Cow::Owned(text.clone()), Salt::default()),
        None => Personal::Absent,
    })
}

/// Hashes of a level with their places, from 0.
pub(super) fn hashes(
    config: &PostgresConfig,
    client: &mut impl GenericClient,
    sql: &LogSql,
    level: u32,
    start: u64,
    count: u64,
) -> Result<Vec<(u64, Hash)>, StoreError> {
    let reading = |error| StoreError::from_postgres(config, Doing::Reading, error);
    let (start, end) = (start.cast_signed(), start.saturating_add(count).cast_signed());
    let rows = match level {
        0 => client.query(&sql.seal.leaf_hashes, &[&start, &end]),
        1..=LEVEL_MAX => client.query(&sql.seal.node_hashes, &[&start, &end, &(level as i16)]),
        _ => return Ok(Vec::new()),
    };
    let place = |row: &Row| {
        let hash = row.try_get::<_, Vec<u8>>(1).map_err(reading)?;
        let place: i64 = row.try_get(0).map_err(reading)?;
        Ok((place.cast_unsigned(), Hash::from_slice(&hash).unwrap_or_default()))
    };
    rows.map_err(reading)?.iter().map(place).collect()
}

/// The stored hashes of one editlog, over a connection that is used for nothing else meanwhile.
pub(super) struct Stored<'a, C> {
    config: &'a PostgresConfig,
    client: RefCell<&'a mut C>,
    sql: &'a LogSql,
}

impl<'a, C: GenericClient> Stored<'a, C> {
    pub(super) fn new(config: &'a PostgresConfig, client: &'a mut C, sql: &'a LogSql) -> Stored<'a, C> {
        Stored { config, client: RefCell::new(client), sql }
    }

    /// The tree of the first `size` leaves.
    pub(super) fn tree(&self, size: u64) -> Result<Tree, StoreError> {
        let (mut peaks, mut start) = (Vec::new(), 0_u64);
        for height in (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1) {
            peaks.push(TileTree(self).subtree(height, start >> height)?);
            start += 1 << height;
        }
        Ok(Tree::from_peaks(size, peaks).unwrap_or_default())
    }
}

impl<C: GenericClient> StoredHashes for Stored<'_, C> {
    type Error = StoreError;

    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, StoreError> {
        let hashes = hashes(self.config, &mut **self.client.borrow_mut(), self.sql, level, start, count)?;
        let whole =
            hashes.len() as u64 == count && hashes.iter().zip(start..).all(|((place, _), expected)| *place == expected);
        if whole {
            return Ok(hashes.into_iter().map(|(_, hash)| hash).collect());
        }
        Err(StoreError::Damaged {
            path: self.config.to_string().into(),
            what: format!("hashes of the seal of the editlog of `{}` are missing", self.sql.original),
            source: None,
        })
    }
}
