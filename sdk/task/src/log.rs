//! The log of a task: kept with its attempt, shown by `eyot runs logs`. Use the macros: [`info!`](crate::info),
//! [`warn!`](crate::warn), [`error!`](crate::error), [`debug!`](crate::debug), [`trace!`](crate::trace).

use crate::sys;
use std::fmt;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Writes one line.
pub fn log(level: Level, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => sys::log(level, text),
        None => sys::log(level, &message.to_string()),
    }
}

/// Logs what went wrong.
#[macro_export]
macro_rules! error {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Error, ::core::format_args!($($arg)+)) };
}

/// Logs what looks wrong but does not stop the task.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Warn, ::core::format_args!($($arg)+)) };
}

/// Logs what someone who runs the task wants to know.
#[macro_export]
macro_rules! info {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Info, ::core::format_args!($($arg)+)) };
}

/// Logs what its author wants to know.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Debug, ::core::format_args!($($arg)+)) };
}

/// Logs every step.
#[macro_export]
macro_rules! trace {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Trace, ::core::format_args!($($arg)+)) };
}
