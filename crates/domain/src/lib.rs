//! What Stet means, as pure code: names, column types and values, keys, edit events, replay and apply as folds,
//! validation rules, project definitions, the flow graph, and who may do what.
//!
//! This crate has no IO, no async, no SQL and no HTTP: every rule in it can be tested with plain values.

pub mod access;
pub mod actor;
pub mod apply;
pub mod bundle;
pub mod event;
pub mod flow;
pub mod key;
pub mod name;
pub mod project;
pub mod replay;
pub mod scenario;
pub mod validate;
pub mod value;

pub use actor::{Actor, ActorKind, DeployScopes, Profile};
pub use event::{Action, ClientEventId, Event, EventId, LogDate, NewEvent, Source};
pub use key::Key;
pub use name::{DatasetName, GroupName, Login, NameError, ProjectKey, RecipeName, ScenarioName, WebappName};
pub use value::{ColumnType, Value, ValueError};
