//! The latest lines that tasks wrote, for whoever asks on the device. In memory and bounded: the oldest go first.

use eyot_model::RunId;
use eyot_wire::LogRecord;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Most lines of all runs.
const LIMIT: usize = 10_000;
/// Longest line that is kept, in bytes.
const LINE: usize = 8 << 10;

#[derive(Default)]
pub(crate) struct OwnLogs(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    lines: VecDeque<(u64, LogRecord)>,
    last: u64,
}

impl OwnLogs {
    pub(crate) fn push(&self, mut line: LogRecord) {
        if line.message.len() > LINE {
            let end = (0..=LINE).rev().find(|at| line.message.is_char_boundary(*at)).unwrap_or(0);
            line.message.truncate(end);
        }
        let mut kept = self.0.lock();
        kept.last += 1;
        let n = kept.last;
        kept.lines.push_back((n, line));
        if kept.lines.len() > LIMIT {
            kept.lines.pop_front();
        }
    }

    /// Lines of a run after the one with this number, with their numbers.
    pub(crate) fn of(&self, run: RunId, after: u64, limit: usize) -> Vec<(u64, LogRecord)> {
        let kept = self.0.lock();
        let lines = kept.lines.iter().filter(|(n, line)| *n > after && line.run == run);
        lines.take(limit).cloned().collect()
    }
}
