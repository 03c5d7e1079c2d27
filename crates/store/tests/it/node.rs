//! The node's own database.

use stet_domain::{DatasetName, GroupName, Login, Profile, ProjectKey};
use stet_store::node::{
    AuditOutcome, AuditQuery, Build, LOG_LINES_MAX, NewApiToken, NewAuditEvent, NewLogLine, NewSession, NewUser,
    PasswordHash, SignInFailures, TokenHash,
};
use stet_store::{NodeDatabase, StoreError};
use tempfile::TempDir;
use uuid::Uuid;

use crate::fixture::micros;

fn open() -> (TempDir, NodeDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let database = NodeDatabase::open(&folder.path().join("node.sqlite"), micros(1)).unwrap();
    (folder, database)
}

fn login(login: &str) -> Login {
    Login::new(login).unwrap()
}

fn hash(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

async fn create_user(database: &NodeDatabase, name: &str) {
    let user = NewUser {
        login: login(name),
        display_name: format!("{name} ☂"),
        profile: Profile::Reader,
        password_hash: Some(PasswordHash("$argon2id$1".to_owned())),
        created_at: micros(10),
    };
    database.create_user(user).await.unwrap();
}

fn session(n: u8, name: &str, created_at: i64) -> NewSession {
    NewSession {
        token_hash: hash(n),
        login: login(name),
        created_at: micros(created_at),
        expires_at: micros(created_at + 100),
        sessions_max: 3,
        client: String::new(),
        agent: String::new(),
        method: stet_store::node::SessionMethod::Password,
    }
}

fn token(n: u8, name: &str, token: &str, expires_at: Option<i64>) -> NewApiToken {
    NewApiToken {
        token_hash: hash(n),
        login: login(name),
        name: token.to_owned(),
        created_at: micros(n.into()),
        expires_at: expires_at.map(micros),
        scopes: "read,edit".parse().unwrap(),
    }
}

#[tokio::test]
async fn a_node_keeps_its_identity() {
    let (folder, database) = open();
    let meta = database.meta().await.unwrap();
    assert_eq!(meta.created_at, micros(1));
    let again = NodeDatabase::open(&folder.path().join("node.sqlite"), micros(99)).unwrap();
    assert_eq!(again.meta().await.unwrap(), meta);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let (folder, database) = open();
    drop(database);
    let path = folder.path().join("node.sqlite");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = NodeDatabase::open(&path, micros(1)).unwrap_err();
    assert!(matches!(refused, StoreError::NewerVersion { found: 99, .. }), "{refused:?}");
    assert!(refused.to_string().ends_with("use a newer Stet"), "{refused}");
    let text = folder.path().join("node.txt");
    std::fs::write(&text, "not a database, ".repeat(500)).unwrap();
    assert!(matches!(NodeDatabase::open(&text, micros(1)), Err(StoreError::NotADatabase { .. })));
}

#[tokio::test]
async fn logins_are_unique_in_any_case() {
    let (_folder, database) = open();
    create_user(&database, "Ada@example.org").await;
    create_user(&database, "bob").await;
    for taken in ["ada@EXAMPLE.org", "Ada@example.org", "none", "None"] {
        let user = NewUser {
            login: login(taken),
            display_name: String::new(),
            profile: Profile::Admin,
            password_hash: None,
            created_at: micros(0),
        };
        let refused = database.create_user(user).await;
        assert!(matches!(refused, Err(StoreError::LoginTaken { .. })), "{taken}: {refused:?}");
    }
    let user = database.user("ADA@example.ORG").await.unwrap().unwrap();
    assert_eq!((user.login.as_str(), user.display_name.as_str()), ("Ada@example.org", "Ada@example.org ☂"));
    assert_eq!((user.profile, user.disabled, user.last_sign_in), (Profile::Reader, false, None));
    assert_eq!(user.created_at, micros(10));
    assert_eq!(format!("{:?}", user.password_hash), "Some(PasswordHash(..))");
    assert_eq!(database.user("nobody' OR 1=1 --").await.unwrap(), None);
    let logins: Vec<_> = database.users().await.unwrap().into_iter().map(|user| user.login.to_string()).collect();
    assert_eq!(logins, ["Ada@example.org", "bob"]);
}

#[tokio::test]
async fn what_is_changed_of_a_user_is_read_back() {
    let (_folder, database) = open();
    create_user(&database, "ada").await;
    database.set_profile(&login("ADA"), Profile::Designer).await.unwrap();
    database.set_last_sign_in(&login("ada"), micros(77)).await.unwrap();
    database.set_password_hash(&login("ada"), PasswordHash("$argon2id$2".to_owned()), None).await.unwrap();
    let user = database.user("ada").await.unwrap().unwrap();
    assert_eq!((user.profile, user.last_sign_in), (Profile::Designer, Some(micros(77))));
    assert_eq!(user.password_hash.unwrap().0, "$argon2id$2");
    let nobody = login("nobody");
    for refused in [
        database.set_profile(&nobody, Profile::Admin).await,
        database.set_last_sign_in(&nobody, micros(0)).await,
        database.set_password_hash(&nobody, PasswordHash(String::new()), None).await,
        database.disable_user(&nobody, micros(0)).await,
        database.enable_user(&nobody).await,
        database.create_session(session(1, "nobody", 0)).await,
        database.create_api_token(token(1, "nobody", "x", None)).await,
    ] {
        assert!(matches!(refused, Err(StoreError::NoSuchUser { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_session_is_good_until_it_expires_or_is_ended() {
    let (_folder, database) = open();
    create_user(&database, "ada").await;
    database.create_session(session(1, "Ada", 1000)).await.unwrap();
    let found = database.session(hash(1), micros(1099)).await.unwrap().unwrap();
    assert_eq!((found.user.login.as_str(), found.created_at, found.expires_at), ("ada", micros(1000), micros(1100)));
    assert_eq!(database.session(hash(1), micros(1100)).await.unwrap(), None);
    assert_eq!(database.session(hash(2), micros(1000)).await.unwrap(), None);

    assert!(database.touch_session(hash(1), micros(2000)).await.unwrap());
    assert!(!database.touch_session(hash(2), micros(2000)).await.unwrap());
    assert!(database.session(hash(1), micros(1999)).await.unwrap().is_some());
    assert!(database.delete_session(hash(1)).await.unwrap());
    assert!(!database.delete_session(hash(1)).await.unwrap());
    assert_eq!(database.session(hash(1), micros(1000)).await.unwrap(), None);

    for n in 1..=2 {
        database.create_session(session(n, "ada", 1000 * i64::from(n))).await.unwrap();
    }
    assert_eq!(database.purge_sessions(micros(1100)).await.unwrap(), 1);
    assert_eq!(database.delete_sessions_of(&login("ada")).await.unwrap(), 1);
}

#[tokio::test]
async fn the_oldest_session_goes_when_there_are_too_many() {
    let (_folder, database) = open();
    create_user(&database, "ada").await;
    create_user(&database, "bob").await;
    database.create_session(session(9, "bob", 1)).await.unwrap();
    // Some begin in the same microsecond.
    for (n, at) in [(1, 10), (2, 20), (3, 20), (4, 20), (5, 5)] {
        database.create_session(session(n, "ada", at)).await.unwrap();
    }
    let mut good = Vec::new();
    for n in [1, 2, 3, 4, 5, 9] {
        if database.session(hash(n), micros(30)).await.unwrap().is_some() {
            good.push(n);
        }
    }
    // The newest request is served, whatever the clock says.
    assert_eq!(good, [3, 4, 5, 9]);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let (_folder, database) = open();
    create_user(&database, "ada").await;
    create_user(&database, "bob").await;
    for (n, name) in [(1, "ada"), (2, "ada"), (3, "bob")] {
        database.create_session(session(n, name, 10)).await.unwrap();
    }
    database.set_password_hash(&login("ada"), PasswordHash("$new".to_owned()), Some(hash(2))).await.unwrap();
    assert!(database.session(hash(1), micros(20)).await.unwrap().is_none());
    assert!(database.session(hash(2), micros(20)).await.unwrap().is_some());
    assert!(database.session(hash(3), micros(20)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once_and_comes_back_without_old_sessions_and_tokens() {
    let (_folder, database) = open();
    create_user(&database, "ada").await;
    database.create_session(session(1, "ada", 10)).await.unwrap();
    database.create_api_token(token(2, "ada", "pipeline", None)).await.unwrap();
    database.disable_user(&login("Ada"), micros(50)).await.unwrap();
    for _ in 0..2 {
        assert!(database.session(hash(1), micros(20)).await.unwrap().is_none());
        assert!(database.api_token(hash(2), micros(20)).await.unwrap().is_none());
        database.enable_user(&login("ada")).await.unwrap();
    }
    assert_eq!(database.api_tokens(None).await.unwrap()[0].revoked_at, Some(micros(50)));
    database.disable_user(&login("ada"), micros(60)).await.unwrap();
    assert!(database.user("ada").await.unwrap().unwrap().disabled);
    let refused = database.create_session(session(3, "ada", 10)).await;
    assert!(matches!(refused, Err(StoreError::NoSuchUser { .. })), "{refused:?}");
    let refused = database.create_api_token(token(3, "ada", "other", None)).await;
    assert!(matches!(refused, Err(StoreError::NoSuchUser { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_api_token_is_good_until_it_expires_or_is_revoked() {
    let (_folder, database) = open();
    create_user(&database, "ada").await;
    create_user(&database, "bob").await;
    database.create_api_token(token(1, "ada", "pipeline", Some(100))).await.unwrap();
    database.create_api_token(token(2, "ada", "for ever", None)).await.unwrap();
    database.create_api_token(token(3, "bob", "pipeline", None)).await.unwrap();
    let taken = database.create_api_token(token(4, "ADA", "pipeline", None)).await;
    assert!(matches!(taken, Err(StoreError::TokenNameTaken { .. })), "{taken:?}");

    let (found, user) = database.api_token(hash(1), micros(99)).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), user.login.as_str(), found.last_used_at), ("pipeline", "ada", None));
    assert!(database.api_token(hash(1), micros(100)).await.unwrap().is_none());
    assert!(database.api_token(hash(2), micros(i64::MAX)).await.unwrap().is_some());
    database.touch_api_token(hash(2), micros(55)).await.unwrap();

    assert!(database.revoke_api_token(&login("ada"), "pipeline", micros(60)).await.unwrap());
    assert!(!database.revoke_api_token(&login("ada"), "pipeline", micros(61)).await.unwrap());
    assert!(database.api_token(hash(1), micros(1)).await.unwrap().is_none());
    assert!(database.api_token(hash(3), micros(1)).await.unwrap().is_some());
    database.create_api_token(token(4, "ada", "pipeline", None)).await.unwrap();

    let listed = database.api_tokens(Some(&login("ADA"))).await.unwrap();
    let listed: Vec<_> =
        listed.iter().map(|token| (token.name.as_str(), token.revoked_at, token.last_used_at)).collect();
    assert_eq!(
        listed,
        [("pipeline", None, None), ("for ever", None, Some(micros(55))), ("pipeline", Some(micros(60)), None)]
    );
    assert_eq!(database.api_tokens(None).await.unwrap().len(), 4);
}

#[tokio::test]
async fn failed_sign_ins_are_counted_by_login_and_by_client_in_a_window() {
    let (_folder, database) = open();
    let long = "x".repeat(100_000);
    for (name, client, at) in
        [("ada", "10.0.0.1", 10), ("ADA", "10.0.0.2", 20), ("bob", "10.0.0.1", 30), (&long, "10.0.0.3", 40)]
    {
        database.record_sign_in_failure(name, client, micros(at)).await.unwrap();
    }
    let count = async |name: &str, client: &str, since| {
        let SignInFailures { of_login, of_client } =
            database.sign_in_failures(name, client, micros(since)).await.unwrap();
        (of_login, of_client)
    };
    assert_eq!(count("ada", "10.0.0.1", 10).await, (2, 2));
    assert_eq!(count("Ada", "10.0.0.1", 11).await, (1, 1));
    assert_eq!(count(&long, "::1", 0).await, (1, 0));
    database.clear_sign_in_failures("aDa").await.unwrap();
    assert_eq!(count("ada", "10.0.0.1", 0).await, (0, 1));
    assert_eq!(database.purge_sign_in_failures(micros(40)).await.unwrap(), 1);
    assert_eq!(count("bob", "10.0.0.3", 0).await, (0, 1));
}

fn build(n: u64, project: &str) -> Build {
    Build {
        id: Uuid::from_u64_pair(n, 0),
        project: ProjectKey::new(project).unwrap(),
        dataset: DatasetName::new("strikes_edited").unwrap(),
        mode: "required".to_owned(),
        state: "running".to_owned(),
        started_by: login("ada"),
        started_at: micros(n as i64),
        finished_at: None,
        error: None,
        document: "{\"steps\":[]}".to_owned(),
    }
}

#[tokio::test]
async fn builds_are_listed_newest_first_and_updated() {
    let (_folder, database) = open();
    for n in 1..=3 {
        database.insert_build(build(n, "BIRDSTRIKES")).await.unwrap();
    }
    database.insert_build(build(4, "OTHER")).await.unwrap();
    let twice = database.insert_build(build(4, "OTHER")).await;
    assert!(matches!(twice, Err(StoreError::Refused { .. })), "{twice:?}");

    let mut done = build(2, "BIRDSTRIKES");
    done.state = "failed".to_owned();
    done.finished_at = Some(micros(99));
    done.error = Some("the original is gone".to_owned());
    done.document = "{\"steps\":[1]}".to_owned();
    database.update_build(&done).await.unwrap();
    assert_eq!(database.build(done.id).await.unwrap(), Some(done.clone()));
    let missing = database.update_build(&build(9, "OTHER")).await;
    assert!(matches!(missing, Err(StoreError::NoSuchBuild { .. })), "{missing:?}");

    let listed = database.builds(&done.project, 2).await.unwrap();
    assert_eq!(listed, [build(3, "BIRDSTRIKES"), done.clone()]);

    assert_eq!(database.finish_interrupted_builds("failed", "the node stopped", micros(100)).await.unwrap(), 3);
    let listed = database.builds(&done.project, 10).await.unwrap();
    assert!(listed.iter().all(|build| build.state == "failed" && build.finished_at.is_some()));
    assert_eq!(listed[1], done, "a build that had ended keeps its end");
}

#[tokio::test]
async fn the_log_of_a_build_is_kept_in_order_up_to_its_limit() {
    let (_folder, database) = open();
    let id = build(1, "P").id;
    let line = |n: usize| NewLogLine { at: micros(n as i64), text: format!("row {n}\n") };
    assert!(matches!(database.append_build_log(id, vec![line(1)]).await, Err(StoreError::NoSuchBuild { .. })));
    database.insert_build(build(1, "P")).await.unwrap();
    database.append_build_log(id, (1..=3).map(line).collect()).await.unwrap();
    let lines = database.build_log(id, 1, 1).await.unwrap();
    assert_eq!((lines.len(), lines[0].number, lines[0].text.as_str(), lines[0].at), (1, 2, "row 2\n", micros(2)));
    database.append_build_log(id, (4..=LOG_LINES_MAX + 50).map(line).collect()).await.unwrap();
    database.append_build_log(id, vec![line(0)]).await.unwrap();
    let lines = database.build_log(id, 0, usize::MAX).await.unwrap();
    assert_eq!(lines.len(), LOG_LINES_MAX);
    assert!(lines.iter().enumerate().all(|(n, line)| line.number == n as u64 + 1));
}

#[tokio::test]
async fn purging_keeps_the_newest_builds_of_a_project_and_those_that_run() {
    let (folder, database) = open();
    for n in 1..=5 {
        let mut build = build(n, "P");
        build.finished_at = (n != 2).then(|| micros(100));
        database.insert_build(build.clone()).await.unwrap();
        let line = NewLogLine { at: micros(1), text: "started".to_owned() };
        database.append_build_log(build.id, vec![line]).await.unwrap();
    }
    let mut other = build(6, "OTHER");
    other.finished_at = Some(micros(1));
    database.insert_build(other.clone()).await.unwrap();
    assert_eq!(database.purge_builds(&ProjectKey::new("P").unwrap(), 2).await.unwrap(), 2);
    let left: Vec<_> = database.builds(&ProjectKey::new("P").unwrap(), 10).await.unwrap();
    let left: Vec<_> = left.iter().map(|build| build.started_at.micros()).collect();
    assert_eq!(left, [5, 4, 2]);
    assert!(database.build(other.id).await.unwrap().is_some());
    let raw = rusqlite::Connection::open(folder.path().join("node.sqlite")).unwrap();
    let lines: i64 = raw.query_row("SELECT count(*) FROM build_log_lines", [], |row| row.get(0)).unwrap();
    assert_eq!(lines, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_wait_for_each_other() {
    let (_folder, database) = open();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..32 {
        let database = database.clone();
        tasks.spawn(async move { create_user(&database, &format!("user{n}")).await });
    }
    tasks.join_all().await;
    assert_eq!(database.users().await.unwrap().len(), 32);
}

fn entry(action: &str) -> NewAuditEvent {
    NewAuditEvent {
        at: micros(1),
        user: "ada".to_owned(),
        action: action.to_owned(),
        object: "user rita".to_owned(),
        address: Some("192.0.2.1".to_owned()),
        outcome: AuditOutcome::Done,
        detail: String::new(),
    }
}

#[tokio::test]
async fn an_entry_of_the_audit_trail_comes_with_its_write_or_not_at_all() {
    let (_folder, database) = open();
    create_user(&database, "rita").await;
    let team = GroupName::new("team").unwrap();
    database.audited(entry("group.add")).create_group(&team, "", micros(1)).await.unwrap();
    assert!(database.audited(entry("group.add")).create_group(&team, "", micros(2)).await.is_err());
    database.audited(entry("group.add_user")).add_group_member(&team, &login("rita")).await.unwrap();
    let events = database.audit_events(AuditQuery::default(), None, 10).await.unwrap();
    let actions: Vec<&str> = events.iter().map(|entry| entry.event.action.as_str()).collect();
    assert_eq!(actions, ["group.add_user", "group.add"]);
    assert_eq!(database.user("rita").await.unwrap().unwrap().groups, [team].into());
}

#[tokio::test]
async fn an_entry_of_the_audit_trail_is_never_changed_and_an_altered_one_is_found() {
    let (folder, database) = open();
    for action in ["user.add", "user.disable", "user.enable"] {
        database.append_audit(entry(action)).await.unwrap();
    }
    let check = database.verify_audit(Vec::new()).await.unwrap();
    assert_eq!((check.entries, check.altered), (3, None));
    let connection = rusqlite::Connection::open(folder.path().join("node.sqlite")).unwrap();
    for sql in [
        "UPDATE audit_events SET user = 'rita' WHERE id = 2",
        "DELETE FROM audit_events WHERE id = 3",
        "INSERT OR REPLACE INTO audit_events SELECT 2, at, 'rita', action, object, address, outcome, detail, hash
         FROM audit_events WHERE id = 2",
    ] {
        assert!(connection.execute(sql, []).is_err(), "{sql}");
    }
    // Whoever owns the file can take the triggers away; the chain still tells.
    connection
        .execute_batch("DROP TRIGGER audit_events_stay; UPDATE audit_events SET user = 'rita' WHERE id = 2")
        .unwrap();
    assert_eq!(database.verify_audit(Vec::new()).await.unwrap().altered, Some(2));
}

#[tokio::test]
async fn a_trail_that_was_rewritten_with_all_its_hashes_has_not_the_roots_that_were_signed() {
    use stet_editlog::{Checkpoint, SignerKey};
    let (folder, database) = open();
    // Two entries before there was a key: they are sealed with the next one.
    for action in ["user.add", "user.disable"] {
        database.append_audit(entry(action)).await.unwrap();
    }
    let signer = std::sync::Arc::new(SignerKey::from_seed("node", &[7; 32]).unwrap());
    let database = database.sealed(signer.clone());
    for action in ["user.enable", "user.password", "session.sign_in"] {
        database.append_audit(entry(action)).await.unwrap();
    }
    let notes = database.audit_checkpoints(10).await.unwrap();
    let roots: Vec<_> = notes
        .iter()
        .map(|(size, note)| {
            let checkpoint = Checkpoint::open(note, "node/audit", &[signer.verifier().clone()]).unwrap();
            assert_eq!(checkpoint.size, *size);
            (checkpoint.size, checkpoint.root)
        })
        .collect();
    assert_eq!(roots.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [5, 4, 3]);
    let whole = database.verify_audit(roots.clone()).await.unwrap();
    assert_eq!((whole.entries, whole.altered, whole.forked, whole.truncated), (5, None, vec![], vec![]));

    let connection = rusqlite::Connection::open(folder.path().join("node.sqlite")).unwrap();
    connection.execute_batch("DROP TRIGGER audit_events_are_kept; DELETE FROM audit_events WHERE id >= 4").unwrap();
    let cut = database.verify_audit(roots.clone()).await.unwrap();
    assert_eq!((cut.altered, cut.forked, cut.truncated), (None, vec![], vec![4, 5]), "the chain alone says nothing");
    // The node goes on, and hashes and seals what is there now.
    for action in ["user.add", "user.add", "user.add"] {
        database.append_audit(entry(action)).await.unwrap();
    }
    let forked = database.verify_audit(roots).await.unwrap();
    assert_eq!((forked.altered, forked.forked), (None, vec![4, 5]), "only the checkpoints tell");
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_database_is_read_by_nobody_but_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.sqlite");
    let database = NodeDatabase::open(&path, micros(1)).expect("a database");
    database.meta().await.expect("what node it is");
    for name in ["node.sqlite", "node.sqlite-wal", "node.sqlite-shm"] {
        let mode = std::fs::metadata(folder.path().join(name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

/// Where a child process of the test below finds its database.
#[cfg(unix)]
const UNWRITABLE: &str = "STET_TEST_UNWRITABLE_DATABASE";

#[cfg(unix)]
#[tokio::test]
async fn the_database_can_be_read_where_nothing_can_be_written() {
    if let Some(path) = std::env::var_os(UNWRITABLE) {
        let database = NodeDatabase::open(std::path::Path::new(&path), micros(99)).unwrap();
        assert_eq!(database.meta().await.unwrap().created_at, micros(1));
        assert!(database.user("ada").await.unwrap().is_some());
        let user = NewUser {
            login: login("bob"),
            display_name: "bob".to_owned(),
            profile: Profile::Reader,
            password_hash: None,
            created_at: micros(10),
        };
        assert!(database.create_user(user).await.is_err());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Signs that have a meaning in the name of a file that SQLite reads as one nobody changes.
    let path = folder.path().join("node ?#%20é.sqlite");
    {
        let database = NodeDatabase::open(&path, micros(1)).unwrap();
        create_user(&database, "ada").await;
    }
    // No byte can be written into any file: as on a disk that is full, or that may only be read.
    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "node::the_database_can_be_read_where_nothing_can_be_written"])
        .env(UNWRITABLE, &path)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&child.stderr));
    let database = NodeDatabase::open(&path, micros(2)).unwrap();
    assert!(database.user("bob").await.unwrap().is_none());
}
