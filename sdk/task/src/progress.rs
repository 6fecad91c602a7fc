//! How far a task has come, for people who watch.

use crate::sys;

/// Reports that `done` of `total` units are done. A report replaces the one before; none is kept for long.
pub fn report(done: u64, total: u64, message: &str) {
    sys::progress(done, total, message);
}
