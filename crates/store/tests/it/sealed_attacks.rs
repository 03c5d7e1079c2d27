//! What people with more rights than they should use may do to an editlog in SQLite, and what verifying says of it.
//!
//! `docs/editlog-attacks.md` has this table, and that of PostgreSQL. After a change of one, run its test with
//! `STET_WRITE_DOCS=1`.

use std::fmt::Write as _;

use stet_editlog::verify::{Kept, Verifier};
use stet_editlog::{Checkpoint, Hash, SignerKey, Tree};
use stet_store::{Append, Expected, SealedLog, StoreError};

use crate::fixture::{Backend, Sqlite, strikes, update};
use crate::sqlite_sealing::{ORIGIN, sealing, signer};

/// The log has so many events, and so many of them were sealed when a checkpoint and hashes were last pushed elsewhere.
pub const EVENTS: u64 = 40;
pub const PUSHED: u64 = 30;

/// Who attacks.
const PROGRAM: &str = "a program that may write the file";
const OWNER: &str = "whoever owns the file";
const KEY_OWNER: &str = "whoever owns the file and the node's key";

/// Takes away what refuses changes, as only a change of the schema can.
const OPEN: &str = "DROP TRIGGER strikes_editlog_refuse_update; DROP TRIGGER strikes_editlog_refuse_delete;
    DROP TRIGGER strikes_editlog_refuse_replace; DROP TRIGGER strikes_editlog_refuse_disorder;
    DROP TRIGGER strikes_editlog_leaves_refuse_update; DROP TRIGGER strikes_editlog_leaves_refuse_delete;
    DROP TRIGGER strikes_editlog_nodes_refuse_update; DROP TRIGGER strikes_editlog_nodes_refuse_delete;";

const COLUMNS: &str = r#""user", action, key, column_name, value, batch_id, source, event_id"#;
const VALUES: &str = "'eve', 'update', '1', 'size', 'forged', '00000000-0000-0000-0000-000000000000', 'grid', '00000000-0000-0000-0000-00000000000f'";

/// What is done after the SQL.
#[derive(Clone, Copy)]
enum Then {
    Nothing,
    /// What refuses changes is put back, so that nothing shows but the change itself.
    Restore,
    /// The hash of this event is made to fit it.
    Rehash(u64),
    /// A checkpoint over the stored hashes is signed by another key.
    Sign,
    /// The hash of this event is made to fit it, and the last checkpoint signed again with the node's key.
    RehashAndSign(u64),
    /// The seal is thrown away and made again by the node itself.
    SealAgain,
}

struct Attack {
    what: &'static str,
    who: &'static str,
    /// Whether what refuses changes is taken away first.
    open: bool,
    sql: &'static str,
    then: Then,
    /// What is said: either how the database refuses, or the findings and notes.
    says: &'static [&'static str],
}

const fn refused(what: &'static str, sql: &'static str, says: &'static [&'static str]) -> Attack {
    Attack { what, who: PROGRAM, open: false, sql, then: Then::Nothing, says }
}

const fn done(what: &'static str, sql: &'static str, then: Then, says: &'static [&'static str]) -> Attack {
    Attack { what, who: OWNER, open: true, sql, then, says }
}

const fn with_key(what: &'static str, sql: &'static str, then: Then, says: &'static [&'static str]) -> Attack {
    Attack { what, who: KEY_OWNER, open: true, sql, then, says }
}

const UNPROTECTED: &str = "UNPROTECTED: a trigger is missing";

const ATTACKS: &[Attack] = &[
    refused("change a value", "UPDATE strikes_editlog SET value = 'forged' WHERE id = 12", &["refused: editlog is append-only: UPDATE refused"]),
    refused("delete an event", "DELETE FROM strikes_editlog WHERE id = 12", &["refused: editlog is append-only: DELETE refused"]),
    refused("date an event back", "INSERT INTO strikes_editlog (date, {c}) VALUES ('2020-01-01T00:00:00.000Z', {v})", &["refused: editlog: date refused, it is set by the database"]),
    refused("change a salt", "UPDATE strikes_editlog_leaves SET secrets = x'00000000'", &["refused: the seal of an editlog is append-only: UPDATE refused"]),
    refused("add an event under another's name", "INSERT INTO strikes_editlog ({c}) VALUES ({v})", &["UNSEALED: 1 events, until the node writes next"]),
    done("change a value and leave the log open", "UPDATE strikes_editlog SET value = 'forged' WHERE id = 12", Then::Nothing, &["MODIFIED: event 12 is not as it was sealed", UNPROTECTED]),
    done("change a value and put the triggers back", "UPDATE strikes_editlog SET value = 'forged' WHERE id = 12", Then::Restore, &["MODIFIED: event 12 is not as it was sealed"]),
    done("put an edit in another's name", "UPDATE strikes_editlog SET \"user\" = 'bob' WHERE id = 12", Then::Restore, &["MODIFIED: event 12 is not as it was sealed"]),
    done("date an edit back by a second", "UPDATE strikes_editlog SET date = strftime('%Y-%m-%dT%H:%M:%fZ', date, '-1 second') WHERE id = 40", Then::Restore, &["MODIFIED: event 40 is not as it was sealed"]),
    done("make up a reason", "UPDATE strikes_editlog SET reason = 'as agreed' WHERE id IN (3, 33)", Then::Restore, &["MODIFIED: event 3 is not as it was sealed", "MODIFIED: event 33 is not as it was sealed"]),
    done("take the salts away", "UPDATE strikes_editlog_leaves SET secrets = x'00000000' WHERE id = 12", Then::Restore, &["MODIFIED: event 12 is not as it was sealed"]),
    done(
        "erase a user without logging it",
        "UPDATE strikes_editlog SET \"user\" = 'erased' WHERE id = 12; UPDATE strikes_editlog_leaves SET secrets = {erased} WHERE id = 12",
        Then::Restore,
        &["MODIFIED: personal data of event 12 was taken away, and no logged erasure covers it"],
    ),
    done("delete an event", "DELETE FROM strikes_editlog WHERE id = 12", Then::Restore, &["DELETED: event 12 is gone"]),
    done("delete all edits of a day", "DELETE FROM strikes_editlog WHERE id BETWEEN 5 AND 20", Then::Restore, &["DELETED: events 5 to 20 are gone"]),
    done(
        "delete an event with its leaf and close the gap",
        "DELETE FROM strikes_editlog WHERE id = 12; DELETE FROM strikes_editlog_leaves WHERE id = 12;
         UPDATE strikes_editlog SET id = id - 1 WHERE id > 12; UPDATE strikes_editlog_leaves SET id = id - 1 WHERE id > 12",
        Then::Restore,
        &["DELETED: event 12 is gone", "FORKED: another history of the first 30 events than in the safe", "TRUNCATED: the log ends after 39 events, and 40 were sealed"],
    ),
    done(
        "put an event in between",
        "UPDATE strikes_editlog SET id = -id - 1 WHERE id >= 12; UPDATE strikes_editlog SET id = -id WHERE id < 0;
         INSERT INTO strikes_editlog (id, {c}) VALUES (12, {v});
         INSERT INTO strikes_editlog_leaves SELECT -id - 1, hash, secrets FROM strikes_editlog_leaves WHERE id >= 12;
         DELETE FROM strikes_editlog_leaves WHERE id > 12; UPDATE strikes_editlog_leaves SET id = -id WHERE id < 0",
        Then::Restore,
        &["FORKED: another history of the first 30 events than in the safe", "INSERTED: event 12 was not there when the events around it were sealed", "MODIFIED: something among events 31 to 40 is not as it was sealed; hashes kept outside would tell what", "UNSEALED: 1 events, until the node writes next"],
    ),
    done("put an event before the first", "INSERT INTO strikes_editlog (id, {c}) VALUES (-5, {v})", Then::Restore, &["INSERTED: event -5 was not there when the events around it were sealed", "UNSEALED: 1 events, until the node writes next"]),
    done(
        "swap two events",
        "UPDATE strikes_editlog SET id = -7 WHERE id = 7; UPDATE strikes_editlog SET id = 7 WHERE id = 15; UPDATE strikes_editlog SET id = 15 WHERE id = -7",
        Then::Restore,
        &["REORDERED: the event that was sealed as 15 now stands at 7", "REORDERED: the event that was sealed as 7 now stands at 15"],
    ),
    done("cut off the end", "DELETE FROM strikes_editlog WHERE id > 35", Then::Restore, &["TRUNCATED: the log ends after 35 events, and 40 were sealed"]),
    done(
        "go back to before the last push, as an old copy of the file does",
        "DELETE FROM strikes_editlog WHERE id > 25; DELETE FROM strikes_editlog_leaves WHERE id > 25; DELETE FROM strikes_editlog_checkpoints WHERE size > 25",
        Then::Restore,
        &["TRUNCATED: the log ends after 25 events, and 30 were sealed"],
    ),
    done("empty the log", "DELETE FROM strikes_editlog; DELETE FROM strikes_editlog_leaves; DELETE FROM strikes_editlog_checkpoints", Then::Restore, &["TRUNCATED: the log ends after 0 events, and 30 were sealed"]),
    done("change an event and its hash", "UPDATE strikes_editlog SET value = 'forged' WHERE id = 12", Then::Rehash(12), &["FORKED: another history of the first 30 events than in the safe", "MODIFIED: event 12 is not as it was sealed", "MODIFIED: something among events 31 to 40 is not as it was sealed; hashes kept outside would tell what"]),
    done(
        "change an event and its hash after the last push",
        "UPDATE strikes_editlog SET value = 'forged' WHERE id = 35",
        Then::Rehash(35),
        &["MODIFIED: something among events 31 to 40 is not as it was sealed; hashes kept outside would tell what"],
    ),
    done("change a hash alone", "UPDATE strikes_editlog_leaves SET hash = zeroblob(32) WHERE id = 35", Then::Restore, &["HASHES: the events are whole, and the hashes stored beside them are not"]),
    done("delete the checkpoints", "DELETE FROM strikes_editlog_checkpoints", Then::Restore, &["UNSEALED: the last 10 events"]),
    done("drop the seal", "DROP TABLE strikes_editlog_leaves", Then::Nothing, &["MODIFIED: events 1 to 30 are not as they were sealed", "TRUNCATED: the log ends after 0 events, and 30 were sealed", UNPROTECTED, "UNSEALED: the last 10 events"]),
    done("sign with a key of one's own", "DELETE FROM strikes_editlog_checkpoints", Then::Sign, &["FORGED: a checkpoint of 40 events that no trusted key has signed", "UNSEALED: the last 10 events"]),
    with_key("change an event and sign the log again", "UPDATE strikes_editlog SET value = 'forged' WHERE id = 12", Then::RehashAndSign(12), &["FORKED: another history of the first 30 events than in the safe", "MODIFIED: event 12 is not as it was sealed"]),
    with_key("delete an event and seal the log anew, with other salts", "DELETE FROM strikes_editlog WHERE id = 12; UPDATE strikes_editlog SET id = id - 1 WHERE id > 12", Then::SealAgain, &["FORKED: another history of the first 30 events than in the safe", "MODIFIED: events 1 to 30 are not as they were sealed"]),
    with_key("cut off the end and seal the log anew, with other salts", "DELETE FROM strikes_editlog WHERE id > 25", Then::SealAgain, &["MODIFIED: events 1 to 25 are not as they were sealed", "TRUNCATED: the log ends after 25 events, and 30 were sealed"]),
    with_key("change an event after the last push and sign the log again", "UPDATE strikes_editlog SET value = 'forged' WHERE id = 35", Then::RehashAndSign(35), &["nothing: it is whole by all that is known, until the next push has the time to come"]),
];

#[tokio::test]
async fn every_attack_is_refused_or_named_and_the_document_says_so() {
    let mut table = String::from("| what | by whom | what is said |\n|---|---|---|\n");
    let mut wrong = String::new();
    for attack in ATTACKS {
        let said = said(attack).await;
        if said != attack.says {
            writeln!(wrong, "{}:\n  {said:?}\n  {:?}", attack.what, attack.says).unwrap();
        }
        writeln!(table, "| {} | {} | {} |", attack.what, attack.who, attack.says.join("<br>")).unwrap();
    }
    assert_eq!(wrong, "");
    document("SQLite", &table);
}

/// Holds the table below a heading of `docs/editlog-attacks.md` against what a test found, or writes it there.
pub fn document(heading: &str, table: &str) {
    let path = stet_testkit::repository().join("docs/editlog-attacks.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let start = document.find(&format!("## {heading}\n")).unwrap();
    let start = start + document[start..].find("| what |").unwrap();
    let end = document[start..].find("\n\n").map_or(document.len(), |end| start + end + 1);
    if std::env::var_os("STET_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &document[..start], &document[end..])).unwrap();
    } else {
        assert_eq!(&document[start..end], table, "{heading} in docs/editlog-attacks.md is not the table of this test");
    }
}

async fn said(attack: &Attack) -> Vec<String> {
    let place = Sqlite::new();
    let log = place.open(sealing()).initialise(&strikes()).await.unwrap();
    let mut pushed = (String::new(), Vec::new());
    for (from, to) in [(0, PUSHED), (PUSHED, EVENTS)] {
        let events = (from..to).map(|n| (update("1", "size", Some(&n.to_string())), Expected::Any)).collect();
        log.append(Append { atomic: true, events }).await.unwrap();
        if to == PUSHED {
            pushed = (checkpoint(&place), hashes(&place));
        }
    }
    drop(log);
    let sql = attack.sql.replace("{c}", COLUMNS).replace("{v}", VALUES).replace("{erased}", &erased_user(&place, 12));
    let raw = place.raw();
    let triggers: Vec<String> = {
        let mut statement = raw.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let triggers = statement.query_map([], |row| row.get(0)).unwrap();
        triggers.map(Result::unwrap).collect()
    };
    if attack.open {
        raw.execute_batch(OPEN).unwrap();
    }
    if let Err(error) = raw.execute_batch(&sql) {
        let error = error.to_string();
        return vec![format!("refused: {}", error.split(" in ").next().unwrap())];
    }
    let restore = || triggers.iter().for_each(|trigger| raw.execute_batch(trigger).unwrap());
    match attack.then {
        Then::Nothing => {}
        Then::Restore => restore(),
        Then::Rehash(id) => {
            rehash(&place, &raw, id);
            restore();
        }
        Then::RehashAndSign(id) => {
            rehash(&place, &raw, id);
            sign(&place, &raw, &signer());
            restore();
        }
        Then::Sign => {
            sign(&place, &raw, &SignerKey::from_seed("node.example", &[9; 32]).unwrap());
            restore();
        }
        Then::SealAgain => {
            raw.execute_batch(
                "DROP TABLE strikes_editlog_leaves; DROP TABLE strikes_editlog_nodes; DROP TABLE strikes_editlog_checkpoints;
                 UPDATE stet_editlogs SET format_version = 1",
            )
            .unwrap();
            // The triggers of the seal are made with it.
            let own = triggers.iter().filter(|trigger| !trigger.contains("the seal of"));
            own.for_each(|trigger| raw.execute_batch(trigger).unwrap());
            place.open(sealing()).editlog(&strikes()).await.unwrap();
        }
    }
    let log = SealedLog::open_sqlite(&place.path(), &strikes()).unwrap();
    verdicts(&log, &pushed, UNPROTECTED, "until the node writes next")
}

fn rehash(place: &Sqlite, raw: &rusqlite::Connection, id: u64) {
    let event = SealedLog::open_sqlite(&place.path(), &strikes()).unwrap().event(id).unwrap().unwrap();
    let hash = event.leaf_hash(&mut Vec::new());
    raw.execute("UPDATE strikes_editlog_leaves SET hash = ?2 WHERE id = ?1", (id as i64, hash.0)).unwrap();
}

/// Puts a checkpoint over the stored hashes in the place of those that are there.
fn sign(place: &Sqlite, raw: &rusqlite::Connection, key: &SignerKey) {
    let mut tree = Tree::new();
    hashes(place).into_iter().for_each(|hash| tree.append(hash));
    let size = tree.size();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: tree.root(), extensions: Vec::new() };
    raw.execute("DELETE FROM strikes_editlog_checkpoints", []).unwrap();
    raw.execute(
        "INSERT INTO strikes_editlog_checkpoints VALUES (?1, '2026-01-01T00:00:00.000Z', ?2)",
        (size as i64, checkpoint.sign(key).to_string()),
    )
    .unwrap();
}

/// What verifying says, each in a short form that names no time.
pub fn verdicts(log: &SealedLog, (note, kept): &(String, Vec<Hash>), unprotected: &str, until: &str) -> Vec<String> {
    let inside = log.checkpoints(1000).unwrap();
    let checkpoints = inside.iter().map(|note| (note.as_str(), Kept::Inside));
    let trusted = [signer().verifier().clone()];
    let outside = [(note.as_str(), Kept::Outside("the safe".to_owned()))];
    let mut verifier = Verifier::new(ORIGIN, &trusted, checkpoints.chain(outside));
    let mut kept = kept.iter().copied();
    log.scan(&mut |page| {
        page.hashes.iter().for_each(|hash| verifier.push_hash(Some(*hash), kept.next()));
        if page.hashes_ended {
            kept.by_ref().for_each(|hash| verifier.push_hash(None, Some(hash)));
            verifier.end_hashes();
        }
        for (event, link) in page.events.iter().zip(&page.links) {
            if let Some(link) = link {
                verifier.push_link(&link.writer, link.number, link.previous, event);
            }
            verifier.push_event(event);
        }
        Ok::<_, StoreError>(())
    })
    .unwrap();
    let report = verifier.finish();
    let mut said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    for finding in &mut said {
        // The writer is another one each time.
        if let Some((head, rest)) = finding.split_once("its writer, ")
            && let Some(uuid) = rest.get(..36)
        {
            *finding = format!("{head}its writer{}", rest[uuid.len()..].trim_start_matches(','));
        }
        if finding.starts_with("FORKED") {
            *finding = format!("FORKED: another history of the first {PUSHED} events than in the safe");
        } else if finding.starts_with("FORGED") && finding.contains("no trusted key has signed") {
            *finding = format!("FORGED: a checkpoint of {EVENTS} events that no trusted key has signed");
        }
    }
    match log.protection() {
        Ok(()) => {}
        Err(_) => said.push(unprotected.to_owned()),
    }
    if let Some(unsealed) = report.unsealed {
        said.push(match unsealed.events {
            1 => format!("UNSEALED: 1 events, {until}"),
            events => format!("UNSEALED: the last {events} events"),
        });
    }
    if said.is_empty() {
        said.push("nothing: it is whole by all that is known, until the next push has the time to come".to_owned());
    }
    said.sort();
    said
}

fn checkpoint(place: &Sqlite) -> String {
    SealedLog::open_sqlite(&place.path(), &strikes()).unwrap().checkpoints(1).unwrap().remove(0)
}

fn hashes(place: &Sqlite) -> Vec<Hash> {
    let mut all = Vec::new();
    let log = SealedLog::open_sqlite(&place.path(), &strikes()).unwrap();
    log.scan(&mut |page| {
        all.extend(page.hashes);
        Ok::<_, StoreError>(())
    })
    .unwrap();
    all
}

/// The secrets of an event as they would be if its user were erased, as an SQL literal.
fn erased_user(place: &Sqlite, id: u64) -> String {
    use stet_editlog::event::{Secret, decode_secrets, encode_secrets};
    let event = SealedLog::open_sqlite(&place.path(), &strikes()).unwrap().event(id).unwrap().unwrap();
    let stored: Vec<u8> = place
        .raw()
        .query_row("SELECT secrets FROM strikes_editlog_leaves WHERE id = ?1", [id as i64], |row| row.get(0))
        .unwrap();
    let mut secrets = decode_secrets(&stored).unwrap();
    secrets[0] = Secret::Erased(event.user.commitment().unwrap());
    let digits: String = encode_secrets(&secrets).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}
