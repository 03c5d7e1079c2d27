//! The commands, one file each.

pub(crate) mod audit;
pub(crate) mod build;
pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod connection;
pub(crate) mod dataset;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod editlog;
pub(crate) mod erase;
pub(crate) mod group;
pub(crate) mod init;
pub(crate) mod project;
pub(crate) mod push;
pub(crate) mod scenario;
pub(crate) mod seal;
pub(crate) mod secrets;
pub(crate) mod serve;
pub(crate) mod token;
pub(crate) mod user;
