//! A task that does nothing, written as any author would: what the cost of an attempt is measured with.

use eyot_task::prelude::*;

/// Gives back what it was given.
#[eyot_task::task]
pub fn noop(n: Option<u64>) -> Result<Echo, Failure> {
    Ok(Echo { n: n.unwrap_or(0) })
}

#[eyot_task::data]
pub struct Echo {
    pub n: u64,
}
