//! One file per command.

pub(crate) mod agents;
pub(crate) mod blob;
pub(crate) mod drain;
pub(crate) mod login;
pub(crate) mod plan;
pub(crate) mod resolve;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod show;
pub(crate) mod task;
pub(crate) mod validate;
pub(crate) mod workflow;
