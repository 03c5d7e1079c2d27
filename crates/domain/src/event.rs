//! Edit events: what the editlog holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::key::Key;
use crate::name::Login;

/// The place of an event in the order of its log, from 1, without gaps within one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub i64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The idempotency key of an event, chosen by the client: the same one sent twice gives one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientEventId(pub Uuid);

impl ClientEventId {
    /// The idempotency key of one of the events that Stet derives from this one (such as the columns logged by a
    /// validation): the same for the same name, so that a repeated request derives the same events.
    pub fn derive(self, name: &str) -> ClientEventId {
        ClientEventId(Uuid::new_v5(&self.0, name.as_bytes()))
    }
}

/// When the database appended an event: microseconds since 1970-01-01T00:00:00Z.
///
/// As text it is RFC 3339 in UTC with the digits that are needed, three at least: `2026-11-22T08:40:14.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogDate {
    micros: i64,
}

impl LogDate {
    /// From microseconds since the epoch.
    pub fn from_micros(micros: i64) -> LogDate {
        LogDate { micros }
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.micros
    }
}

impl fmt::Display for LogDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(timestamp) = jiff::Timestamp::from_microsecond(self.micros) else {
            return write!(f, "{} µs", self.micros);
        };
        if self.micros % 1000 == 0 { write!(f, "{timestamp:.3}") } else { write!(f, "{timestamp:.6}") }
    }
}

impl FromStr for LogDate {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        match plain_micros(text) {
            Some(micros) => Ok(LogDate { micros }),
            None => Ok(LogDate { micros: text.parse::<jiff::Timestamp>()?.as_microsecond() }),
        }
    }
}

/// Microseconds of the form that editlogs have, `2026-11-22T08:40:14.123Z`: a log has millions of them, and a parser that
/// takes every form of RFC 3339 needs several times as long. None for any other form, and for the days 29 to 31, of which
/// not every month has one.
fn plain_micros(text: &str) -> Option<i64> {
    let bytes: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if signs.iter().any(|(place, sign)| bytes[*place] != *sign) {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to]
            .iter()
            .try_fold(0i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, millis) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    // Days since 1970-01-01 in years that begin in March, so that the leap day is the last (Hinnant, "chrono-Compatible
    // Low-Level Date Algorithms").
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + millis * 1_000)
}

impl Serialize for LogDate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogDate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! text_enum {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// The text that stands in the editlog.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $text,)*
                }
            }
        }

        impl FromStr for $type {
            type Err = UnknownText;
            fn from_str(text: &str) -> Result<Self, UnknownText> {
                match text {
                    $($text => Ok($type::$variant),)*
                    other => Err(UnknownText(other.to_owned())),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// A text in an editlog that this version of Stet does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not known to this version of Stet")]
pub struct UnknownText(String);

text_enum! {
    /// What an event does.
    Action {
        /// Sets one cell.
        Update = "update",
        /// Adds a row: one event for each column that is given a value, or one without a column.
        Create = "create",
        /// Hides a row.
        Delete = "delete",
        /// Takes the override of a cell, or of a whole row, away.
        Revert = "revert",
        /// Says that personal data of earlier events was erased: its key lists their ids, its column the fields.
        Erase = "erase",
        /// Says something about the log itself, such as a change of what protects it, in its reason.
        Note = "note",
    }
}

impl Action {
    /// Whether it edits the row of its key. The others are about the log, and their keys are no rows.
    pub fn is_edit(self) -> bool {
        !matches!(self, Action::Erase | Action::Note)
    }
}

text_enum! {
    /// By which way an event came.
    Source {
        /// Typed or clicked in the table.
        Grid = "grid",
        /// Pasted into the table.
        Paste = "paste",
        /// Filled over a range of the table.
        Fill = "fill",
        /// Undone or redone in the table.
        Undo = "undo",
        /// Imported from a file.
        Import = "import",
        /// Sent by a program.
        Api = "api",
    }
}

/// An event as it stands in the log. Nothing ever updates or deletes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's place in the log.
    pub id: EventId,
    /// When the database appended it; set by the database.
    pub date: LogDate,
    /// Who made the edit; `none` for a visitor who has not signed in.
    pub user: Login,
    /// What the edit does.
    pub action: Action,
    /// The row.
    pub key: Key,
    /// The column; none for an event about the whole row.
    pub column_name: Option<String>,
    /// The new value as canonical text; none means emptied.
    pub value: Option<String>,
    /// The value that the person saw in the cell before the edit.
    pub previous: Option<String>,
    /// Which events were made together: one paste, one validation, one import.
    pub batch_id: Uuid,
    /// By which way the edit came.
    pub source: Source,
    /// Why, in the author's words.
    pub reason: Option<String>,
    /// The idempotency key chosen by the client.
    pub event_id: ClientEventId,
}

/// An event to append: everything but what the database sets itself (place and date).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// See [`Event::user`].
    pub user: Login,
    /// See [`Event::action`].
    pub action: Action,
    /// See [`Event::key`].
    pub key: Key,
    /// See [`Event::column_name`].
    pub column_name: Option<String>,
    /// See [`Event::value`].
    pub value: Option<String>,
    /// See [`Event::previous`].
    pub previous: Option<String>,
    /// See [`Event::batch_id`].
    pub batch_id: Uuid,
    /// See [`Event::source`].
    pub source: Source,
    /// See [`Event::reason`].
    pub reason: Option<String>,
    /// See [`Event::event_id`].
    pub event_id: ClientEventId,
}

impl Event {
    /// Whether this stored event is the one that `new` asked for: the answer to a request that was sent twice.
    pub fn is_same_request(&self, new: &NewEvent) -> bool {
        self.event_id == new.event_id
            && self.user == new.user
            && self.action == new.action
            && self.key == new.key
            && self.column_name == new.column_name
            && self.value == new.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_date_has_three_digits_or_six_and_reads_back() {
        for (text, micros) in
            [("2026-11-22T08:40:14.120Z", 1795336814120000), ("2026-11-22T08:40:14.120001Z", 1795336814120001)]
        {
            assert_eq!(LogDate::from_micros(micros).to_string(), text);
            assert_eq!(text.parse::<LogDate>().unwrap().micros(), micros);
        }
    }

    #[test]
    fn the_form_of_editlogs_is_read_as_the_general_parser_reads_it() {
        let hours_until_2100 = (0..130 * 366 * 24).step_by(7);
        for hour in hours_until_2100 {
            let micros = hour * 3_600_000_000 + hour % 3_600 * 1_000_000 + hour % 1_000 * 1_000;
            let text = LogDate::from_micros(micros).to_string();
            assert_eq!(text.len(), 24);
            assert_eq!(text.parse::<LogDate>().unwrap().micros(), micros, "{text}");
        }
        for wrong in ["2026-13-22T08:40:14.120Z", "2026-02-30T08:40:14.120Z", "2026-11-22T24:40:14.120Z", "", "today"] {
            assert!(wrong.parse::<LogDate>().is_err(), "{wrong}");
        }
        assert_eq!("1969-12-31T23:59:59.999Z".parse::<LogDate>().unwrap().micros(), -1_000);
    }

    #[test]
    fn derived_event_ids_are_the_same_for_the_same_name() {
        let id = ClientEventId(Uuid::from_u128(7));
        assert_eq!(id.derive("size"), id.derive("size"));
        assert_ne!(id.derive("size"), id.derive("damage"));
    }
}
