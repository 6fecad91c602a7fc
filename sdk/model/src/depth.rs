//! A bound on nesting while reading recursive types: a frame of a megabyte could otherwise nest deep enough to
//! overflow the reader's stack, which no caller can catch.

use std::cell::Cell;

/// Deepest nesting that is read.
pub(crate) const LIMIT: usize = 64;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

pub(crate) struct Guard(());

impl Guard {
    /// Enters one level; an error beyond [`LIMIT`].
    pub(crate) fn enter<E: serde::de::Error>() -> Result<Self, E> {
        let depth = DEPTH.get();
        if depth >= LIMIT {
            return Err(E::custom(format_args!("nested deeper than {LIMIT} levels")));
        }
        DEPTH.set(depth + 1);
        Ok(Self(()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}
