//! Lines that tasks wrote, on their way to the cloud: best effort, and bounded by bytes and by age. When there are too
//! many, the least important go first and of those the oldest; how many went is told in the run's own log. Results are
//! not here: they are never dropped.

use crate::config::LogConfig;
use eyot_model::{Path, RunId, TaskIx, Timestamp};
use eyot_wire::LogRecord;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

/// Most lines of one message.
const BATCH: usize = 512;
/// What a line takes beyond its text, about.
const OVERHEAD: u64 = 64;
/// Error, warn, info, debug, trace.
const LEVELS: usize = 5;
/// Level of the line that says how many were dropped: a warning.
const TOLD_AT: u8 = 2;

/// The lines that wait.
pub struct Logs {
    bounds: LogConfig,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By level, the most important first; each in the order in which the lines came.
    levels: [VecDeque<(u64, LogRecord)>; LEVELS],
    next: u64,
    bytes: u64,
    /// Of each run, since it was told last.
    dropped: BTreeMap<RunId, u64>,
    changed: bool,
}

/// What waits, for whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogsWaiting {
    pub(crate) lines: usize,
    pub(crate) bytes: u64,
}

impl Logs {
    #[must_use]
    pub fn new(bounds: LogConfig) -> Self {
        Self {
            bounds,
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, line: LogRecord) {
        let mut waiting = self.waiting.lock();
        waiting.add(line);
        waiting.shrink(self.bounds.max_bytes);
    }

    /// The next lines to send, in the order in which they came; empty if there are none.
    pub(crate) fn take(&self, now: Timestamp) -> Vec<LogRecord> {
        let mut waiting = self.waiting.lock();
        waiting.age(now, self.bounds.max_age());
        let mut lines: Vec<LogRecord> = Vec::new();
        for (run, count) in std::mem::take(&mut waiting.dropped) {
            tracing::warn!(%run, lines = count, "log lines of tasks were dropped: too many waited, or for too long");
            lines.push(told(run, count, now));
        }
        while lines.len() < BATCH {
            let Some(line) = waiting.pop() else { break };
            lines.push(line);
        }
        lines
    }

    /// Lines that could not be sent after all.
    pub(crate) fn put_back(&self, lines: Vec<LogRecord>) {
        let mut waiting = self.waiting.lock();
        // Whatever came meanwhile is later than all of them.
        let later = std::mem::take(&mut *waiting);
        waiting.dropped = later.dropped.clone();
        lines.into_iter().chain(later.into_lines()).for_each(|line| waiting.add(line));
        waiting.shrink(self.bounds.max_bytes);
    }

    pub(crate) fn waiting(&self) -> LogsWaiting {
        let waiting = self.waiting.lock();
        LogsWaiting {
            lines: waiting.levels.iter().map(VecDeque::len).sum(),
            bytes: waiting.bytes,
        }
    }

    /// All that waits, where it is to outlive this process and has changed since this was asked last.
    pub(crate) fn to_keep(&self) -> Option<Vec<LogRecord>> {
        let mut waiting = self.waiting.lock();
        let wanted = self.bounds.keep_over_restart && std::mem::take(&mut waiting.changed);
        wanted.then(|| waiting.lines())
    }
}

impl Waiting {
    fn add(&mut self, line: LogRecord) {
        self.bytes += size(&line);
        self.changed = true;
        let n = self.next;
        self.next += 1;
        self.levels[level(&line)].push_back((n, line));
    }

    fn shrink(&mut self, bound: u64) {
        while self.bytes > bound {
            let Some((_, line)) = self.levels.iter_mut().rev().find_map(VecDeque::pop_front) else {
                break;
            };
            self.drop_line(&line);
        }
    }

    fn age(&mut self, now: Timestamp, longest: std::time::Duration) {
        let oldest = Timestamp(now.0.saturating_sub(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX)));
        for at in 0..LEVELS {
            while let Some((_, line)) = self.levels[at].pop_front_if(|(_, line)| line.at < oldest) {
                self.drop_line(&line);
            }
        }
    }

    fn drop_line(&mut self, line: &LogRecord) {
        self.bytes -= size(line);
        self.changed = true;
        *self.dropped.entry(line.run).or_default() += 1;
    }

    fn pop(&mut self) -> Option<LogRecord> {
        let first = (0..LEVELS).filter_map(|at| self.levels[at].front().map(|(n, _)| (*n, at))).min()?;
        let (_, line) = self.levels[first.1].pop_front()?;
        self.bytes -= size(&line);
        self.changed = true;
        Some(line)
    }

    fn lines(&self) -> Vec<LogRecord> {
        let mut lines: Vec<&(u64, LogRecord)> = self.levels.iter().flatten().collect();
        lines.sort_by_key(|(n, _)| *n);
        lines.into_iter().map(|(_, line)| line.clone()).collect()
    }

    fn into_lines(self) -> Vec<LogRecord> {
        let mut lines: Vec<(u64, LogRecord)> = self.levels.into_iter().flatten().collect();
        lines.sort_by_key(|(n, _)| *n);
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

fn size(line: &LogRecord) -> u64 {
    line.message.len() as u64 + OVERHEAD
}

fn level(line: &LogRecord) -> usize {
    usize::from(line.level).clamp(1, LEVELS) - 1
}

/// The line in the run's log that stands for those that are gone.
fn told(run: RunId, count: u64, now: Timestamp) -> LogRecord {
    LogRecord {
        run,
        path: Path::task(TaskIx(0)),
        attempt: 0,
        at: now,
        level: TOLD_AT,
        message: format!("dropped {count} lines of this run that waited for the link"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(run: u128, level: u8, at: u64, message: &str) -> LogRecord {
        LogRecord {
            run: RunId(run),
            path: Path::task(TaskIx(0)),
            attempt: 1,
            at: Timestamp(at),
            level,
            message: message.to_owned(),
        }
    }

    fn logs(max_bytes: u64) -> Logs {
        Logs::new(LogConfig {
            max_bytes,
            max_age_hours: 1,
            keep_over_restart: true,
        })
    }

    fn texts(lines: &[LogRecord]) -> Vec<&str> {
        lines.iter().map(|l| l.message.as_str()).collect()
    }

    #[test]
    fn errors_outlive_chatter_and_the_order_stays() {
        let logs = logs(4 * (OVERHEAD + 1));
        for (n, level) in [5, 1, 4, 3, 1, 4].into_iter().enumerate() {
            logs.push(line(7, level, 0, &n.to_string()));
        }
        assert!(logs.waiting().bytes <= 4 * (OVERHEAD + 1));
        let lines = logs.take(Timestamp(0));
        assert_eq!(
            texts(&lines),
            ["dropped 2 lines of this run that waited for the link", "1", "3", "4", "5"]
        );
        assert!(logs.take(Timestamp(0)).is_empty());
    }

    #[test]
    fn what_waited_too_long_goes() {
        let logs = logs(1 << 20);
        logs.push(line(7, 1, 1, "old"));
        logs.push(line(7, 5, 3_700_000_000, "new"));
        let lines = logs.take(Timestamp(3_700_000_000));
        assert_eq!(texts(&lines), ["dropped 1 lines of this run that waited for the link", "new"]);
    }

    #[test]
    fn what_was_not_sent_comes_first_again() {
        let logs = logs(1 << 20);
        for n in 0..3 {
            logs.push(line(7, 3, 0, &n.to_string()));
        }
        let lines = logs.take(Timestamp(0));
        logs.push(line(7, 1, 0, "3"));
        logs.put_back(lines);
        assert_eq!(texts(&logs.take(Timestamp(0))), ["0", "1", "2", "3"]);
    }
}
