//! PostgreSQL: connections to databases that hold editlogs and datasets.

mod build;
mod config;
mod rows;
mod session;
mod text;
mod tls;

use std::fmt;
use std::sync::Arc;

pub use build::{AppliedInside, ApplyInside, TableWritten};
pub use config::{Encryption, NodeIdentity, OpenPassword, PasswordPlace, PostgresConfig, SealedPassword};
pub use rows::{RowSource, TableColumn, TablePrint, TextRow};
pub(crate) use session::{Link, Pool, Session, start_thread};
pub(crate) use text::{Micros, NAME_BYTES_MAX, decode, encode, literal, quoted};

use crate::error::{Doing, StoreError};

/// A PostgreSQL database with the connections that are open to it. Cheap to clone; nothing is connected before it is used.
#[derive(Clone)]
pub struct Postgres {
    config: Arc<PostgresConfig>,
    pool: Arc<Pool>,
}

impl Postgres {
    /// A database that is reached so.
    pub fn new(config: PostgresConfig) -> Postgres {
        let config = Arc::new(config);
        Postgres { pool: Pool::new(Arc::clone(&config)), config }
    }

    /// How it is reached.
    pub fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// Connects and asks for nothing.
    ///
    /// # Errors
    /// `CannotConnect`, with the reason.
    pub async fn check(&self) -> Result<(), StoreError> {
        let config = Arc::clone(&self.config);
        self.pool
            .read(move |client| {
                client.batch_execute("").map_err(|error| StoreError::from_postgres(&config, Doing::Reading, error))
            })
            .await
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn shared_config(&self) -> &Arc<PostgresConfig> {
        &self.config
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.config).finish()
    }
}
