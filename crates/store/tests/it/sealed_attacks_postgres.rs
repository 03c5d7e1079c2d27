//! What people with more rights than they should use may do to an editlog in PostgreSQL, and what verifying says of it: the
//! table of `docs/editlog-attacks.md`. What the database refuses is tried in `postgres_attacks`.

use std::collections::HashMap;
use std::fmt::Write as _;

use stet_editlog::event::{Secret, decode_secrets, encode_secrets};
use stet_editlog::{Checkpoint, Hash, SignerKey, Tree};
use stet_store::{Append, EditlogSettings, Expected, StoreError};
use stet_testkit::postgres::TestDatabase;

use crate::fixture::{Backend, PostgresPlace, strikes, update};
use crate::postgres_sealing::{sealed_up_to, with_sealed};
use crate::sealed_attacks::{EVENTS, PUSHED, document, verdicts};
use crate::sqlite_sealing::{ORIGIN, sealing, signer};

/// So many more events wait to be sealed: as if the process that seals had ended with the one that wrote them.
const TAIL: u64 = 5;

const PROGRAM: &str = "a program with the node's user";
const OWNER: &str = "whoever owns the database";
const KEY_OWNER: &str = "whoever owns the database and the node's key";

const TABLES: [(&str, &[&str]); 4] = [
    ("edit.strikes_editlog", &["stet_1_stamp", "stet_2_refuse", "stet_3_refuse_truncate"]),
    ("edit.strikes_editlog_leaves", &["stet_2_refuse", "stet_3_refuse_truncate"]),
    ("edit.strikes_editlog_nodes", &["stet_2_refuse", "stet_3_refuse_truncate"]),
    ("edit.strikes_editlog_checkpoints", &["stet_1_checkpoint", "stet_3_refuse_truncate"]),
];

/// What is done after the SQL; see the same for SQLite.
#[derive(Clone, Copy)]
enum Then {
    Nothing,
    Restore,
    Rehash(u64),
    Sign,
    RehashAndSign(u64),
    /// The same, and the events after it get the hashes that their writer would have given them.
    Rechain {
        id: u64,
        sign: bool,
    },
    SealAgain,
}

struct Attack {
    what: &'static str,
    who: &'static str,
    open: bool,
    sql: &'static str,
    then: Then,
    says: &'static [&'static str],
}

const fn program(what: &'static str, sql: &'static str, says: &'static [&'static str]) -> Attack {
    Attack { what, who: PROGRAM, open: false, sql, then: Then::Nothing, says }
}

const fn done(what: &'static str, sql: &'static str, then: Then, says: &'static [&'static str]) -> Attack {
    Attack { what, who: OWNER, open: true, sql, then, says }
}

const fn with_key(what: &'static str, sql: &'static str, then: Then, says: &'static [&'static str]) -> Attack {
    Attack { what, who: KEY_OWNER, open: true, sql, then, says }
}

const UNPROTECTED: &str = "UNPROTECTED: a trigger does not fire, or a table is missing";
const NOTHING: &str = "nothing: it is whole by all that is known, until the next push has the time to come";
const T: &str = "UNSEALED: the last 5 events";

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    program("change a value", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 12", &["refused: editlog is append-only: UPDATE refused"]),
    program("change a value in replica mode, where triggers rest", "SET session_replication_role = replica; UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 12", &["refused: editlog is append-only: UPDATE refused"]),
    program("delete an event", "DELETE FROM edit.strikes_editlog WHERE id = 12", &["refused: editlog is append-only: DELETE refused"]),
    program("empty the log", "TRUNCATE edit.strikes_editlog", &["refused: editlog is append-only: TRUNCATE refused"]),
    program("date an event back", "INSERT INTO edit.strikes_editlog (date, {c}) VALUES ('2020-01-01', {v})", &["refused: editlog: date refused, it is set by the database"]),
    program("change a salt", "UPDATE edit.strikes_editlog SET secrets = NULL WHERE id = 12", &["refused: editlog is append-only: UPDATE refused"]),
    program("change a hash", "UPDATE edit.strikes_editlog_leaves SET hash = decode(repeat('00', 32), 'hex') WHERE id = 12", &["refused: the seal of an editlog is append-only: UPDATE refused"]),
    program("empty the seal", "TRUNCATE edit.strikes_editlog_leaves", &["refused: the seal of an editlog is append-only: TRUNCATE refused"]),
    program("take the last checkpoint away", "DELETE FROM edit.strikes_editlog_checkpoints", &["refused: the seal of an editlog is append-only: DELETE refused"]),
    program("date a checkpoint back", "INSERT INTO edit.strikes_editlog_checkpoints (size, date, note) VALUES (1, '2020-01-01', '')", &["refused: the seal of an editlog: date refused, it is set by the database"]),
    program("sign a checkpoint of one's own for what is to come", "INSERT INTO edit.strikes_editlog_checkpoints (size, note) VALUES (1000, 'none')", &["FORGED: the checkpoint stored with the log: this is not a signed note: it has no blank line before its signatures"]),
    program("add an event under another's name", "INSERT INTO edit.strikes_editlog ({c}) VALUES ({v})", &["UNSEALED: the last 6 events"]),
    program("add an event in the name of the node's writer", "INSERT INTO edit.strikes_editlog ({c}, writer, wseq, wprev) SELECT {v}, writer, wseq + 1, wprev FROM edit.strikes_editlog WHERE id = 45", &["MODIFIED: event 46 does not follow what its writer wrote before it", "UNSEALED: the last 6 events"]),
    done("change a value and leave the log open", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 12", Then::Nothing, &["MODIFIED: event 12 is not as it was sealed", "UNPROTECTED: a trigger does not fire, or a table is missing"]),
    done("change a value and put the triggers back", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 12", Then::Restore, &["MODIFIED: event 12 is not as it was sealed"]),
    done("put an edit in another's name", "UPDATE edit.strikes_editlog SET \"user\" = 'bob' WHERE id = 12", Then::Restore, &["MODIFIED: event 12 is not as it was sealed"]),
    done("date an edit back by a second", "UPDATE edit.strikes_editlog SET date = date - interval '1 s' WHERE id = 40", Then::Restore, &["MODIFIED: event 40 is not as it was sealed"]),
    done("make up a reason", "UPDATE edit.strikes_editlog SET reason = 'as agreed' WHERE id IN (3, 33)", Then::Restore, &["MODIFIED: event 3 is not as it was sealed", "MODIFIED: event 33 is not as it was sealed"]),
    done("take the salts away", "UPDATE edit.strikes_editlog SET secrets = NULL WHERE id = 12", Then::Restore, &["MODIFIED: event 12 is not as it was sealed"]),
    done("erase a user without logging it", "UPDATE edit.strikes_editlog SET \"user\" = 'erased', secrets = {erased} WHERE id = 12", Then::Restore, &["MODIFIED: personal data of event 12 was taken away, and no logged erasure covers it"]),
    done("delete an event", "DELETE FROM edit.strikes_editlog WHERE id = 12", Then::Restore, &["DELETED: event 12 is gone", "UNSEALED: the last 4 events"]),
    done("delete all edits of a day", "DELETE FROM edit.strikes_editlog WHERE id BETWEEN 5 AND 20", Then::Restore, &["DELETED: events 5 to 20 are gone"]),
    done(
        "delete an event with its leaf and close the gap",
        "DELETE FROM edit.strikes_editlog WHERE id = 12; DELETE FROM edit.strikes_editlog_leaves WHERE id = 12;
         UPDATE edit.strikes_editlog SET id = -id WHERE id > 12; UPDATE edit.strikes_editlog SET id = -id - 1 WHERE id < 0;
         UPDATE edit.strikes_editlog_leaves SET id = -id WHERE id > 12; UPDATE edit.strikes_editlog_leaves SET id = -id - 1 WHERE id < 0",
        Then::Restore,
        &["DELETED: event 12 is gone", "DELETED: event 12 is number 13 of its writer after number 11", "FORKED: another history of the first 30 events than in the safe", "TRUNCATED: the log ends after 39 events, and 40 were sealed", "UNSEALED: the last 4 events"],
    ),
    done(
        "put an event in between",
        "UPDATE edit.strikes_editlog SET id = -id - 1 WHERE id >= 12; UPDATE edit.strikes_editlog SET id = -id WHERE id < 0;
         INSERT INTO edit.strikes_editlog (id, date, db_user, tx, {c}) VALUES (12, now(), 'x', '7', {v})",
        Then::Restore,
        &["INSERTED: event 12 was not there when the events around it were sealed", "UNSEALED: the last 6 events"],
    ),
    done("put an event before the first", "INSERT INTO edit.strikes_editlog (id, date, db_user, tx, {c}) VALUES (-5, now(), 'x', '7', {v})", Then::Restore, &["INSERTED: event -5 was not there when the events around it were sealed", "UNSEALED: the last 6 events"]),
    done(
        "swap two events",
        "UPDATE edit.strikes_editlog SET id = -7 WHERE id = 7; UPDATE edit.strikes_editlog SET id = 7 WHERE id = 15; UPDATE edit.strikes_editlog SET id = 15 WHERE id = -7",
        Then::Restore,
        &["REORDERED: the event that was sealed as 15 now stands at 7", "REORDERED: the event that was sealed as 7 now stands at 15"],
    ),
    done("cut off the end", "DELETE FROM edit.strikes_editlog WHERE id > 35", Then::Restore, &["TRUNCATED: the log ends after 35 events, and 40 were sealed"]),
    done(
        "go back to before the last push, as an old dump does",
        "DELETE FROM edit.strikes_editlog WHERE id > 25; DELETE FROM edit.strikes_editlog_leaves WHERE id > 25; DELETE FROM edit.strikes_editlog_checkpoints WHERE size > 25",
        Then::Restore,
        &["TRUNCATED: the log ends after 25 events, and 30 were sealed"],
    ),
    done("empty the log", "TRUNCATE edit.strikes_editlog, edit.strikes_editlog_leaves, edit.strikes_editlog_checkpoints", Then::Restore, &["TRUNCATED: the log ends after 0 events, and 30 were sealed"]),
    done("change an event and its hash", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 12", Then::Rehash(12), &["FORKED: another history of the first 30 events than in the safe", "MODIFIED: event 12 is not as it was sealed", "MODIFIED: event 13 does not follow what its writer wrote before it"]),
    done("change an event and its hash after the last push", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 35", Then::Rehash(35), &["MODIFIED: event 36 does not follow what its writer wrote before it", "MODIFIED: something among events 31 to 40 is not as it was sealed; hashes kept outside would tell what"]),
    done("change a hash alone", "UPDATE edit.strikes_editlog_leaves SET hash = decode(repeat('00', 32), 'hex') WHERE id = 35", Then::Restore, &["HASHES: the events are whole, and the hashes stored beside them are not"]),
    done("delete the checkpoints", "DELETE FROM edit.strikes_editlog_checkpoints", Then::Restore, &["UNSEALED: the last 15 events"]),
    done("drop the seal", "DROP TABLE edit.strikes_editlog_leaves", Then::Nothing, &["HASHES: the events are whole, and the hashes stored beside them are not", "UNPROTECTED: a trigger does not fire, or a table is missing", "UNSEALED: the last 15 events"]),
    done("sign with a key of one's own", "DELETE FROM edit.strikes_editlog_checkpoints", Then::Sign, &["FORGED: a checkpoint of 40 events that no trusted key has signed", "UNSEALED: the last 15 events"]),
    done("change an event that is not sealed yet", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 42", Then::Restore, &["MODIFIED: event 43 does not follow what its writer wrote before it"]),
    done("the same, with the hashes that the writer would have given, before it writes again", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 42", Then::Rechain { id: 42, sign: false }, &[NOTHING]),
    done("delete an event that is not sealed yet", "DELETE FROM edit.strikes_editlog WHERE id = 42; UPDATE edit.strikes_editlog SET id = id - 1 WHERE id = 43; UPDATE edit.strikes_editlog SET id = id - 1 WHERE id = 44; UPDATE edit.strikes_editlog SET id = id - 1 WHERE id = 45", Then::Restore, &["DELETED: event 42 is number 3 of its writer after number 1", "UNSEALED: the last 4 events"]),
    done("swap two events that are not sealed yet", "UPDATE edit.strikes_editlog SET id = -7 WHERE id = 42; UPDATE edit.strikes_editlog SET id = 42 WHERE id = 44; UPDATE edit.strikes_editlog SET id = 44 WHERE id = -7", Then::Restore, &["DELETED: event 42 is number 4 of its writer after number 1", "DELETED: event 45 is number 5 of its writer after number 2", "INSERTED: event 43 is number 3 of its writer after number 4", "INSERTED: event 44 is number 2 of its writer after number 3"]),
    done("cut off events that are not sealed yet", "DELETE FROM edit.strikes_editlog WHERE id > 43", Then::Restore, &["UNSEALED: the last 3 events"]),
    with_key("change an event and sign the log again", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 12", Then::RehashAndSign(12), &["FORKED: another history of the first 30 events than in the safe", "MODIFIED: event 12 is not as it was sealed"]),
    with_key("delete an event and seal the log anew, with other salts", "DELETE FROM edit.strikes_editlog WHERE id = 12; UPDATE edit.strikes_editlog SET id = -id WHERE id > 12; UPDATE edit.strikes_editlog SET id = -id - 1 WHERE id < 0", Then::SealAgain, &["FORKED: another history of the first 30 events than in the safe", "MODIFIED: events 1 to 30 are not as they were sealed"]),
    with_key("cut off the end and seal the log anew, with other salts", "DELETE FROM edit.strikes_editlog WHERE id > 25", Then::SealAgain, &["MODIFIED: events 1 to 25 are not as they were sealed", "TRUNCATED: the log ends after 25 events, and 30 were sealed"]),
    with_key("change an event after the last push and sign the log again", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 35", Then::RehashAndSign(35), &["MODIFIED: event 36 does not follow what its writer wrote before it"]),
    with_key("the same, with the hashes that the writer would have given", "UPDATE edit.strikes_editlog SET value = 'forged' WHERE id = 35", Then::Rechain { id: 35, sign: true }, &[NOTHING]),
];

const COLUMNS: &str = r#""user", action, key, column_name, value, batch_id, source, event_id"#;
const VALUES: &str = "'eve', 'update', '1', 'size', 'forged', '00000000-0000-0000-0000-000000000000', 'grid', '00000000-0000-0000-0000-00000000000f'";

/// A log of [`EVENTS`] that are sealed and [`TAIL`] that are not, with what was pushed when it had [`PUSHED`].
struct Template {
    place: PostgresPlace,
    pushed: (String, Vec<Hash>),
}

impl Template {
    async fn new() -> Template {
        let place = PostgresPlace::new();
        let sealed = place.open(sealing());
        let log = sealed.initialise(&strikes()).await.unwrap();
        let mut pushed = (String::new(), Vec::new());
        for (from, to) in [(0, PUSHED), (PUSHED, EVENTS)] {
            let events = (from..to).map(|n| (update("1", "size", Some(&n.to_string())), Expected::Any)).collect();
            log.append(Append { atomic: true, events }).await.unwrap();
            sealed_up_to(&place, to).await;
            if to == PUSHED {
                pushed = with_sealed(&place, |log| (log.checkpoints(1).unwrap().remove(0), hashes(log))).await;
            }
        }
        drop((log, sealed));
        let unsealed = place.open(EditlogSettings::default());
        let log = unsealed.editlog(&strikes()).await.unwrap();
        let events = (0..TAIL).map(|n| (update("1", "size", Some(&n.to_string())), Expected::Any)).collect();
        log.append(Append { atomic: true, events }).await.unwrap();
        Template { place, pushed }
    }

    /// A copy to be attacked.
    fn copy(&self, number: usize) -> PostgresPlace {
        let TestDatabase { server, name } = &self.place.database;
        let copy = format!("{name}_{number}");
        // A copy needs a database that nobody is connected to.
        server.sql(
            "postgres",
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        );
        server.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {name}"));
        PostgresPlace { database: TestDatabase { server: server.clone(), name: copy } }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_refused_or_named_and_the_document_says_so() {
    let template = Template::new().await;
    let mut table = String::from("| what | by whom | what is said |\n|---|---|---|\n");
    let mut wrong = String::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        let mut said = said(&template, number, attack).await;
        // That there are events which are not sealed yet is no news: it is told where it changes.
        said.retain(|line| line != T);
        if said.is_empty() {
            said.push(NOTHING.to_owned());
        }
        if said != attack.says {
            writeln!(wrong, "{}:\n  {said:?}\n  {:?}", attack.what, attack.says).unwrap();
        }
        writeln!(table, "| {} | {} | {} |", attack.what, attack.who, attack.says.join("<br>")).unwrap();
    }
    assert_eq!(wrong, "");
    document("PostgreSQL", &table);
}

async fn said(template: &Template, number: usize, attack: &Attack) -> Vec<String> {
    let place = template.copy(number);
    let erased = with_sealed(&place, |log| log.event(12).unwrap().unwrap()).await;
    let stored = place.database.sql("SELECT encode(secrets, 'hex') FROM edit.strikes_editlog WHERE id = 12");
    let mut secrets = decode_secrets(&unhex(&stored)).unwrap();
    secrets[0] = Secret::Erased(erased.user.commitment().unwrap());
    let sql = attack
        .sql
        .replace("{c}", COLUMNS)
        .replace("{v}", VALUES)
        .replace("{erased}", &bytea(&encode_secrets(&secrets)));
    if attack.open {
        let off = TABLES.map(|(table, _)| format!("ALTER TABLE {table} DISABLE TRIGGER ALL"));
        place.database.sql(&off.join(";"));
    }
    if let Err(refused) = run(&place, sql).await {
        return vec![format!("refused: {refused}")];
    }
    match attack.then {
        Then::Nothing => {}
        Then::Restore => restore(&place),
        Then::Rehash(id) => {
            rehash(&place, id).await;
            restore(&place);
        }
        Then::RehashAndSign(id) => {
            rehash(&place, id).await;
            sign(&place, &signer()).await;
            restore(&place);
        }
        Then::Rechain { id, sign: signs } => {
            rechain(&place).await;
            if signs {
                rehash(&place, id).await;
                sign(&place, &signer()).await;
            }
            restore(&place);
        }
        Then::Sign => {
            sign(&place, &SignerKey::from_seed("node.example", &[9; 32]).unwrap()).await;
            restore(&place);
        }
        Then::SealAgain => {
            place.database.sql(
                "TRUNCATE edit.strikes_editlog_leaves, edit.strikes_editlog_nodes, edit.strikes_editlog_checkpoints;
                 UPDATE edit.strikes_editlog SET secrets = NULL",
            );
            restore(&place);
            let editlogs = place.open(sealing());
            let log = editlogs.editlog(&strikes()).await.unwrap();
            sealed_up_to(&place, log.count().await.unwrap()).await;
        }
    }
    let pushed = template.pushed.clone();
    with_sealed(&place, move |log| verdicts(log, &pushed, UNPROTECTED, "until the node seals next")).await
}

/// Runs statements as the superuser; what the database says against them.
async fn run(place: &PostgresPlace, sql: String) -> Result<(), String> {
    let address = place.database.superuser();
    let running = tokio::task::spawn_blocking(move || {
        let mut client = postgres::Client::connect(&address, postgres::NoTls).unwrap();
        client.batch_execute(&sql).map_err(|error| error.as_db_error().unwrap().message().to_owned())
    });
    running.await.unwrap()
}

fn restore(place: &PostgresPlace) {
    let on = TABLES.iter().flat_map(|(table, triggers)| {
        triggers.iter().map(move |trigger| format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"))
    });
    place.database.sql(&on.collect::<Vec<_>>().join(";"));
}

async fn rehash(place: &PostgresPlace, id: u64) {
    let hash = with_sealed(place, move |log| log.event(id).unwrap().unwrap().leaf_hash(&mut Vec::new())).await;
    let hash = bytea(&hash.0);
    place.database.sql(&format!("UPDATE edit.strikes_editlog_leaves SET hash = {hash} WHERE id = {id}"));
}

/// Gives every event the hash over its writer's event before it.
async fn rechain(place: &PostgresPlace) {
    let links = with_sealed(place, |log| {
        let mut ends: HashMap<String, Hash> = HashMap::new();
        let mut links = Vec::new();
        log.scan(&mut |page| {
            for (event, link) in page.events.iter().zip(page.links) {
                let link = link.unwrap();
                let previous = ends.get(&link.writer).copied().unwrap_or_default();
                links.push((event.id, previous));
                let next = stet_editlog::chain::link(previous, &link.writer, link.number, event);
                ends.insert(link.writer, next);
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
        links
    })
    .await;
    let updates = links.iter().map(|(id, previous)| {
        format!("UPDATE edit.strikes_editlog SET wprev = {} WHERE id = {id}", bytea(&previous.0))
    });
    place.database.sql(&updates.collect::<Vec<_>>().join(";"));
}

/// Puts a checkpoint over the stored hashes in the place of those that are there.
async fn sign(place: &PostgresPlace, key: &SignerKey) {
    let mut tree = Tree::new();
    with_sealed(place, hashes).await.into_iter().for_each(|hash| tree.append(hash));
    let size = tree.size();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: tree.root(), extensions: Vec::new() };
    place.database.sql(&format!(
        "DELETE FROM edit.strikes_editlog_checkpoints;
         INSERT INTO edit.strikes_editlog_checkpoints VALUES ({size}, '2026-01-01', '{}')",
        checkpoint.sign(key)
    ));
}

fn hashes(log: &stet_store::SealedLog) -> Vec<Hash> {
    let mut all = Vec::new();
    log.scan(&mut |page| {
        all.extend(page.hashes);
        Ok::<_, StoreError>(())
    })
    .unwrap();
    all
}

fn bytea(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("decode('{digits}', 'hex')")
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
