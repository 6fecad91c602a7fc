//! The one writer: takes every request that waits, puts them into one transaction, syncs once, answers each.

use super::{Change, Error, Guard};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Requests in one transaction.
const BATCH: usize = 512;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) guards: Vec<Guard>,
    pub(super) changes: Vec<Change>,
    pub(super) answer: oneshot::Sender<Result<(), Error>>,
}

pub(super) async fn run(connection: SqliteConnection, options: SqliteConnectOptions, mut requests: mpsc::Receiver<Request>) {
    let mut line = Line {
        options,
        connection: Some(connection),
    };
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let closing = batch.iter().any(|r| r.changes.iter().any(|c| matches!(c, Change::Close)));
        let began = Instant::now();
        let size = batch.len();
        commit(&mut line, &mut batch).await;
        metrics::histogram!("eyot_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("eyot_commit_requests_total").increment(size as u64);
        if closing {
            break;
        }
    }
    requests.close();
    while let Some(late) = requests.recv().await {
        let _ = late.answer.send(Err(Error::Closed));
    }
    if let Some(connection) = line.connection.take()
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "the store did not close cleanly; nothing committed is lost");
    }
}

/// The way to the database. A connection on which a transaction failed is not used again: SQLite ends some transactions by
/// itself (a full disk), and what the library then thinks of the connection is not what it is.
struct Line {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
}

impl Line {
    async fn together(&mut self, batch: &[Request]) -> Result<Vec<Result<(), Error>>, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        match together(&mut connection, batch).await {
            Ok(verdicts) => {
                self.connection = Some(connection);
                Ok(verdicts)
            }
            Err(error) => {
                if let Err(error) = connection.close_hard().await {
                    tracing::debug!(%error, "a connection to the store did not close");
                }
                Err(error)
            }
        }
    }
}

/// One transaction for all; if one of them breaks it, each gets one of its own.
async fn commit(line: &mut Line, batch: &mut Vec<Request>) {
    match line.together(batch).await {
        Ok(verdicts) => {
            for (request, verdict) in batch.drain(..).zip(verdicts) {
                let _ = request.answer.send(verdict);
            }
        }
        Err(error) if batch.len() == 1 => {
            let _ = batch.remove(0).answer.send(Err(error));
        }
        Err(_) => {
            for request in batch.drain(..) {
                let one = std::slice::from_ref(&request);
                let verdict = line.together(one).await.and_then(|mut verdicts| verdicts.pop().unwrap_or(Ok(())));
                let _ = request.answer.send(verdict);
            }
        }
    }
}

/// Either everything whose guards held is committed, and each verdict says whether they did, or nothing is.
async fn together(connection: &mut SqliteConnection, batch: &[Request]) -> Result<Vec<Result<(), Error>>, Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut verdicts = Vec::with_capacity(batch.len());
    for request in batch {
        let mut verdict = Ok(());
        for guard in &request.guards {
            if !guard.holds(&mut transaction).await? {
                verdict = Err(Error::Guard(guard.name()));
                break;
            }
        }
        if verdict.is_ok() {
            for change in &request.changes {
                change.apply(&mut transaction).await?;
            }
        }
        verdicts.push(verdict);
    }
    transaction.commit().await?;
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(len: usize) -> (Request, oneshot::Receiver<Result<(), Error>>) {
        let (answer, told) = oneshot::channel();
        let value = vec![7; len];
        let changes = vec![Change::PutDocument { name: "history", value }];
        let guards = vec![];
        (Request { guards, changes, answer }, told)
    }

    #[tokio::test]
    async fn a_store_that_was_full_takes_commits_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eyot.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        super::super::schema::migrate(&mut connection, &path).await.unwrap();
        connection.close().await.unwrap();
        // A database that may not grow fails as a full disk does; the limit is gone with the connection.
        let full = options.clone().pragma("max_page_count", "1");
        let connection = SqliteConnection::connect_with(&full).await.unwrap();
        let (send, requests) = mpsc::channel(8);
        let writer = tokio::spawn(run(connection, options, requests));
        for (len, fits) in [(1 << 20, false), (1 << 20, true), (10, true)] {
            let (request, told) = document(len);
            send.send(request).await.unwrap();
            assert_eq!(told.await.unwrap().is_ok(), fits, "{len} bytes");
        }
        drop(send);
        writer.await.unwrap();
    }
}
