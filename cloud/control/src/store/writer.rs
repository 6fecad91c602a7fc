//! The one writer, on a thread of its own: takes every request that waits, puts them into one transaction, syncs once,
//! answers each.
//!
//! The thread holds the connection itself, so a transaction is one hand-over to it and one back, however many statements
//! it has.

use super::specs::Specs;
use super::statement::Cell;
use super::{Change, Error, Guard, Statement};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params_from_iter};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Requests in one transaction.
const BATCH: usize = 512;
/// Statements that are kept prepared: more than there are.
const PREPARED: usize = 96;

/// What is done with the answer, on the writer's thread: it only hands things on.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Error>) + Send>;

pub(super) struct Request {
    pub(super) guards: Vec<Guard>,
    pub(super) changes: Vec<Change>,
    pub(super) answer: Answer,
}

/// The way to the database; the file and its schema are there. A connection on which a transaction failed is not used
/// again: what SQLite still holds of a disk that was full or failed goes with it.
pub(super) struct Writer {
    path: PathBuf,
    connection: Option<Connection>,
}

/// Until the store is closed or its last handle is gone.
pub(super) fn run(mut writer: Writer, mut requests: mpsc::Receiver<Request>, specs: &Specs) {
    let mut batch = Vec::new();
    while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
        let closing = batch.iter().any(|r| r.changes.iter().any(|c| matches!(c, Change::Close)));
        let began = Instant::now();
        let size = batch.len();
        writer.commit(&mut batch, specs);
        metrics::histogram!("eyot_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("eyot_commit_requests_total").increment(size as u64);
        if closing {
            break;
        }
    }
    requests.close();
    while let Some(late) = requests.blocking_recv() {
        (late.answer)(Err(Error::Closed));
    }
    if let Some(connection) = writer.connection.take()
        && let Err((_, error)) = connection.close()
    {
        tracing::warn!(%error, "the store did not close cleanly; nothing committed is lost");
    }
}

impl Writer {
    pub(super) fn open(path: &Path) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            path: path.to_owned(),
            connection: Some(connect(path)?),
        })
    }

    /// One transaction for all; if one of them breaks it, each gets one of its own.
    fn commit(&mut self, batch: &mut Vec<Request>, specs: &Specs) {
        match self.together(batch, specs) {
            Ok(verdicts) => {
                for (request, verdict) in batch.drain(..).zip(verdicts) {
                    (request.answer)(verdict);
                }
            }
            Err(error) if batch.len() == 1 => {
                (batch.remove(0).answer)(Err(error));
            }
            Err(_) => {
                for request in batch.drain(..) {
                    let one = std::slice::from_ref(&request);
                    let verdict = self.together(one, specs).and_then(|mut verdicts| verdicts.pop().unwrap_or(Ok(())));
                    (request.answer)(verdict);
                }
            }
        }
    }

    /// Either everything whose guards held is committed, and each verdict says whether they did, or nothing is.
    fn together(&mut self, batch: &[Request], specs: &Specs) -> Result<Vec<Result<(), Error>>, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let verdicts = transact(&mut connection, batch).inspect_err(|error| {
            let reason = if error.is_full() { "full" } else { "other" };
            metrics::counter!("eyot_commit_failures_total", "reason" => reason).increment(1);
        })?;
        self.connection = Some(connection);
        batch.iter().for_each(|request| specs.committed(&request.changes));
        Ok(verdicts)
    }
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

fn transact(connection: &mut Connection, batch: &[Request]) -> Result<Vec<Result<(), Error>>, Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut statements = Vec::new();
    for request in batch {
        let verdict = check(&transaction, &request.guards)?;
        if verdict.is_ok() {
            for change in &request.changes {
                change.write(&mut statements)?;
            }
            for statement in statements.drain(..) {
                transaction
                    .prepare_cached(statement.sql)?
                    .execute(params_from_iter(statement.values))?;
            }
        }
        verdicts.push(verdict);
    }
    transaction.commit()?;
    Ok(verdicts)
}

/// The inner result is an error for the first guard that does not hold.
fn check(transaction: &Transaction<'_>, guards: &[Guard]) -> Result<Result<(), Error>, Error> {
    for guard in guards {
        let Statement { sql, values } = guard.question();
        let holds: bool = transaction
            .prepare_cached(sql)?
            .query_row(params_from_iter(values), |row| row.get(0))?;
        if !holds {
            return Ok(Err(Error::Guard(guard.name())));
        }
    }
    Ok(Ok(()))
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Self::Blob(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use tokio::sync::oneshot;

    fn document(len: usize) -> (Request, oneshot::Receiver<Result<(), Error>>) {
        let (answer, told) = oneshot::channel();
        let value = vec![7; len];
        let changes = vec![Change::PutDocument { name: "history", value }];
        let guards = vec![];
        let answer: Answer = Box::new(move |verdict| _ = answer.send(verdict));
        (Request { guards, changes, answer }, told)
    }

    #[tokio::test]
    async fn a_store_that_was_full_takes_commits_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eyot.db");
        Store::open(&path).await.unwrap().close().await;
        let mut writer = Writer::open(&path).unwrap();
        // A database that may not grow fails as a full disk does; the limit is gone with the connection.
        let limited = writer.connection.as_ref().unwrap();
        limited.execute_batch("PRAGMA max_page_count = 1").unwrap();
        for (len, fits) in [(1 << 20, false), (1 << 20, true), (10, true)] {
            let (request, mut told) = document(len);
            writer.commit(&mut vec![request], &Specs::default());
            assert_eq!(told.try_recv().unwrap().is_ok(), fits, "{len} bytes");
        }
    }
}
