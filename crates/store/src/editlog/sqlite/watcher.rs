//! The thread that notices commits of other processes.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;

use super::{Shared, read};
use crate::sqlite::{self, Access};

/// Looks at the file's version every `interval` until the other end of `stopped` is dropped.
pub(super) fn run(shared: &Shared, interval: Duration, stopped: &Receiver<()>) {
    let mut connection = None;
    let mut version = None;
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        if connection.is_none() {
            connection = sqlite::open(&shared.path, Access::Read, shared.busy_timeout_ms).ok();
            version = None;
        }
        let Some(open) = &connection else { continue };
        match data_version(open) {
            Ok(now) if version == Some(now) => {}
            Ok(now) if advance_all(shared, open) => version = Some(now),
            // Looked at again from a new connection at the next round: reads must go on whatever the disk does.
            _ => connection = None,
        }
    }
}

/// Changes whenever another connection, of any process, has committed. Costs a look into shared memory.
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

fn advance_all(shared: &Shared, connection: &Connection) -> bool {
    shared.positions.known().into_iter().all(|sql| match read::position(connection, &shared.path, &sql) {
        Ok(position) => {
            shared.positions.advance(&sql.original, position);
            true
        }
        Err(_) => false,
    })
}
