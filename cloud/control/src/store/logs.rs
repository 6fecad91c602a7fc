//! Lines that tasks wrote: the newest [`LINES_PER_RUN`] of each run.

use super::{Error, Statement, Store, count, instant, key, micros, uncount};
use eyot_model::{RunId, TaskIx, Timestamp};

/// Lines kept of one run; older ones go first.
pub const LINES_PER_RUN: u64 = 20_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    pub at: Timestamp,
    pub task: TaskIx,
    pub item: Option<u32>,
    pub attempt: u32,
    /// 1 error … 5 trace
    pub level: u8,
    pub message: String,
}

impl Store {
    /// Lines after number `after`, in order of arrival, with their numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logs(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<(u64, LogRow)>, Error> {
        let rows: Vec<(i64, i64, i64, Option<i64>, i64, i64, String)> =
            sqlx::query_as("SELECT n, at, task, item, attempt, level, message FROM logs WHERE run = ? AND n > ? ORDER BY n LIMIT ?")
                .bind(key(run.0))
                .bind(count(after))
                .bind(i64::from(limit))
                .fetch_all(self.readers())
                .await?;
        let small = |n: i64| u32::try_from(n).unwrap_or(0);
        Ok(rows
            .into_iter()
            .map(|(n, at, task, item, attempt, level, message)| {
                let row = LogRow {
                    at: instant(at),
                    task: TaskIx(small(task)),
                    item: item.map(small),
                    attempt: small(attempt),
                    level: u8::try_from(level).unwrap_or(5),
                    message,
                };
                (uncount(n), row)
            })
            .collect())
    }
}

/// Lines of a run that is gone are dropped.
pub(super) fn add(out: &mut Vec<Statement>, run: RunId, lines: &[LogRow]) {
    out.extend(lines.iter().map(|line| {
        Statement::new(
            "INSERT INTO logs (run, n, at, task, item, attempt, level, message)
             SELECT id, coalesce((SELECT max(n) FROM logs WHERE run = id), 0) + 1, ?, ?, ?, ?, ?, ? FROM runs WHERE id = ?",
        )
        .bind(micros(line.at))
        .bind(i64::from(line.task.0))
        .bind(line.item.map(i64::from))
        .bind(i64::from(line.attempt))
        .bind(i64::from(line.level))
        .bind(&line.message)
        .bind(key(run.0))
    }));
    out.push(
        Statement::new("DELETE FROM logs WHERE run = ? AND n <= (SELECT max(n) FROM logs WHERE run = ?) - ?")
            .bind(key(run.0))
            .bind(key(run.0))
            .bind(count(LINES_PER_RUN)),
    );
}
