//! The server that tests run on.

use stet_testkit::postgres::{PrivateServer, TestDatabase};

#[test]
fn databases_of_tests_are_apart() {
    let (one, other) = (TestDatabase::new(), TestDatabase::new());
    one.sql("CREATE TABLE strikes (strike_id int)");
    assert_eq!(one.sql("SELECT count(*) FROM pg_class WHERE relname = 'strikes'"), "1");
    assert_eq!(other.sql("SELECT count(*) FROM pg_class WHERE relname = 'strikes'"), "0");
    assert_eq!(one.sql("SHOW fsync"), "on");
}

#[test]
fn what_was_committed_outlives_a_crash_of_the_server() {
    let mut private = PrivateServer::start();
    private.server.sql("postgres", "CREATE TABLE strikes (strike_id int); INSERT INTO strikes VALUES (127128)");
    private.crash();
    private.resume();
    assert_eq!(private.server.sql("postgres", "SELECT strike_id FROM strikes"), "127128");
}
