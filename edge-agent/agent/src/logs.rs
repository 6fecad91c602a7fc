//! Lines that tasks wrote, on their way to the cloud: best effort and bounded. When there are too many the oldest go,
//! and the number of those that went is told.

use eyot_wire::LogRecord;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Most lines that wait.
const LIMIT: usize = 20_000;
/// Most lines of one message.
const BATCH: usize = 512;

#[derive(Default)]
pub(crate) struct Logs(Mutex<Buffer>);

#[derive(Default)]
struct Buffer {
    lines: VecDeque<LogRecord>,
    dropped: u64,
}

impl Logs {
    pub(crate) fn push(&self, line: LogRecord) {
        let mut buffer = self.0.lock();
        if buffer.lines.len() >= LIMIT {
            buffer.lines.pop_front();
            buffer.dropped += 1;
        }
        buffer.lines.push_back(line);
    }

    /// The next lines to send; empty if there are none.
    pub(crate) fn take(&self) -> Vec<LogRecord> {
        let mut buffer = self.0.lock();
        let dropped = std::mem::take(&mut buffer.dropped);
        if dropped > 0 {
            tracing::warn!(dropped, "log lines of tasks were dropped: too many waited for the link");
        }
        let count = buffer.lines.len().min(BATCH);
        buffer.lines.drain(..count).collect()
    }
}
