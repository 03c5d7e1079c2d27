//! Where editlogs are: in the node's own SQLite file, or in the tables of a connection that the project's files name.

use std::path::PathBuf;

use stet_domain::project::{Location, Project};
use stet_domain::{DatasetName, EventId, ProjectKey};
use stet_store::{EditlogReader, EditlogSettings, EditlogTables, Editlogs, Postgres, SealedLog, StoreError};

use crate::App;
use crate::error::AppError;

/// The place of an editlog.
#[derive(Debug, Clone)]
pub(crate) enum EditlogPlace {
    /// The SQLite file that the node keeps for a project. Its editlogs are made when they are first needed.
    Node(PathBuf),
    /// Tables of a database. Its editlogs are made by `stet editlog init`, since they are to be there for long.
    Database(Postgres, EditlogTables),
}

/// What names an open place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PlaceKey {
    Node(ProjectKey),
    Database(String, EditlogTables),
}

impl EditlogPlace {
    /// Whether the original has an editlog here. Blocks.
    pub(crate) fn is_initialised(&self, original: &DatasetName) -> Result<bool, AppError> {
        Ok(match self {
            EditlogPlace::Node(path) => EditlogReader::is_initialised_sqlite(path, original)?,
            EditlogPlace::Database(postgres, tables) => {
                EditlogReader::is_initialised_postgres(postgres, tables, original)?
            }
        })
    }

    /// One state of the editlog of an original, to be verified. Blocks.
    pub(crate) fn sealed(&self, original: &DatasetName) -> Result<SealedLog, StoreError> {
        match self {
            EditlogPlace::Node(path) => SealedLog::open_sqlite(path, original),
            EditlogPlace::Database(postgres, tables) => SealedLog::open_postgres(postgres, tables, original),
        }
    }

    /// A reader with a connection of its own, for this node. Blocks.
    pub(crate) fn reader(&self, node: uuid::Uuid, original: &DatasetName) -> Result<EditlogReader, AppError> {
        Ok(match self {
            EditlogPlace::Node(path) => {
                EditlogReader::check_owner_sqlite(path, node)?;
                EditlogReader::open_sqlite(path, original)?
            }
            EditlogPlace::Database(postgres, tables) => EditlogReader::open_postgres(postgres, tables, original)?,
        })
    }
}

impl App {
    /// Where the editlog of an original is.
    ///
    /// # Errors
    /// When the project names a connection that this node does not have, or that is no database.
    pub(crate) fn editlog_place(&self, project: &Project, original: &DatasetName) -> Result<EditlogPlace, AppError> {
        match project.datasets.get(&original.editlog()).map(|dataset| &dataset.location) {
            Some(Location::Editlog { table: Some((connection, table)), .. }) => {
                let tables = EditlogTables { schema: table.schema.clone(), table: Some(table.table.clone()) };
                Ok(EditlogPlace::Database(self.database(original.editlog().as_str(), connection)?, tables))
            }
            _ => Ok(EditlogPlace::Node(self.inner.folder.editlogs(&project.key))),
        }
    }

    /// The database of a connection.
    ///
    /// # Errors
    /// When this node has no such connection, or it is a folder of files.
    pub(crate) fn database(&self, dataset: &str, connection: &str) -> Result<Postgres, AppError> {
        let known = self.connection(connection).ok_or_else(|| self.no_connection(dataset, connection))?;
        known.postgres.clone().ok_or_else(|| {
            AppError::Conflict(format!(
                "dataset `{dataset}` is a table of the connection `{connection}`, which is a folder of files: name a \
                 connection of kind \"postgresql\""
            ))
        })
    }

    pub(crate) fn no_connection(&self, dataset: &str, connection: &str) -> AppError {
        AppError::Conflict(format!(
            "dataset `{dataset}` needs the connection `{connection}`, which this node does not have: an administrator adds it \
             with `stet connection add`, on the administration page, or to stet.toml"
        ))
    }

    /// The editlogs among which that of an original is.
    pub(crate) async fn editlogs(&self, project: &Project, original: &DatasetName) -> Result<Editlogs, AppError> {
        let place = self.editlog_place(project, original)?;
        let key = match &place {
            EditlogPlace::Node(_) => PlaceKey::Node(project.key.clone()),
            EditlogPlace::Database(postgres, tables) => {
                PlaceKey::Database(postgres.config().name.clone(), tables.clone())
            }
        };
        let mut open = self.inner.editlogs.lock().await;
        if let Some(editlogs) = open.get(&key) {
            return Ok(editlogs.clone());
        }
        let sealed = EditlogSettings { sealing: Some(self.sealing(&project.key)), ..EditlogSettings::default() };
        let editlogs = crate::datasets::blocking(move || match place {
            EditlogPlace::Database(postgres, tables) => Ok(Editlogs::open_postgres(&postgres, tables, sealed)?),
            EditlogPlace::Node(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|error| {
                        AppError::Configuration(format!("cannot make the folder {}: {error}", folder.display()))
                    })?;
                }
                Ok(Editlogs::open_sqlite(&path, sealed)?)
            }
        })
        .await?;
        editlogs.claim(self.inner.node_id, &self.inner.config.name).await?;
        open.insert(key, editlogs.clone());
        Ok(editlogs)
    }

    /// Forgets the editlogs of these connections, which lead elsewhere now.
    pub(crate) async fn forget_editlogs_of(&self, connections: &std::collections::BTreeSet<String>) {
        let mut open = self.inner.editlogs.lock().await;
        open.retain(|key, _| !matches!(key, PlaceKey::Database(connection, _) if connections.contains(connection)));
    }

    /// Makes the editlog of an original with the rights that the node itself has; whether it was there already.
    ///
    /// # Errors
    /// When there is no such dataset that the actor may initialise, or the database cannot be used or does not let us.
    pub async fn initialise_editlog(
        &self,
        actor: &stet_domain::Actor,
        project: &str,
        dataset: &str,
    ) -> Result<bool, AppError> {
        let project = self.project(actor, project)?;
        self.require_administrator(actor)?;
        let original = self.original_of(&project, dataset)?;
        let editlogs = self.editlogs(&project, &original).await?;
        let was_there = editlogs.is_initialised(&original).await?;
        editlogs.initialise(&original).await?;
        let object = format!("dataset {}.{}", project.key, original.editlog());
        let detail = if was_there { "it was there already" } else { "with the rights of the node" };
        self.note(self.entry(actor, "editlog.init", object, detail)).await?;
        if !was_there {
            self.check_editlog(actor, project.key.as_str(), original.as_str()).await?;
        }
        Ok(was_there)
    }

    /// The original that is meant by its name or by that of its editlog.
    pub(crate) fn original_of(&self, project: &Project, dataset: &str) -> Result<DatasetName, AppError> {
        let dataset = crate::datasets::find(project, dataset)?;
        match &dataset.location {
            Location::Editlog { original, .. } => Ok(original.clone()),
            _ if project.webapp_on(&dataset.name).is_some() => Ok(dataset.name.clone()),
            _ => Err(AppError::Invalid(format!(
                "`{}` has no editlog: no webapp edits it. Name an original dataset, or its editlog",
                dataset.name
            ))),
        }
    }

    /// What is said of an editlog in a database that nobody has made yet.
    pub(crate) fn not_initialised(&self, project: &Project, original: &DatasetName) -> String {
        format!(
            "the editlog is not initialised: an administrator makes it with `stet editlog init {}.{original}`",
            project.key
        )
    }

    /// A blocking reader of the editlog of an original.
    pub(crate) fn editlog_reader_of(
        &self,
        project: &Project,
        original: &DatasetName,
    ) -> Result<EditlogReader, AppError> {
        self.editlog_place(project, original)?.reader(self.inner.node_id, original)
    }

    /// The last event of the editlog of an original; none when it is empty or not initialised. Blocks.
    pub(crate) fn log_position(&self, project: &Project, original: &DatasetName) -> Result<Option<EventId>, AppError> {
        let place = self.editlog_place(project, original)?;
        if !place.is_initialised(original)? {
            return Ok(None);
        }
        Ok(place.reader(self.inner.node_id, original)?.position()?)
    }
}
