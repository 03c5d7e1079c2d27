//! The `stet` binary from outside: what it prints, writes and answers.

#![allow(clippy::unwrap_used)]

mod building;
mod bundles;
mod checking;
mod connections;
mod crash;
mod demo;
mod editlogs;
mod nodes;
mod production;
mod projects;
mod reading;
mod sealing;
mod sending;
mod serving;
mod support;
mod usage;
mod users;
