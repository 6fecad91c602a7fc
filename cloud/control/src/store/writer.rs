//! The one writer: takes every request that waits, puts them into one transaction, syncs once, answers each.

use super::{Change, Error, Guard};
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

pub(super) async fn run(mut connection: SqliteConnection, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let closing = batch.iter().any(|r| r.changes.iter().any(|c| matches!(c, Change::Close)));
        let began = Instant::now();
        let size = batch.len();
        commit(&mut connection, &mut batch).await;
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
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store did not close cleanly; nothing committed is lost");
    }
}

/// One transaction for all; if one of them breaks it, each gets one of its own.
async fn commit(connection: &mut SqliteConnection, batch: &mut Vec<Request>) {
    match together(connection, batch).await {
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
                let verdict = together(connection, one)
                    .await
                    .and_then(|mut verdicts| verdicts.pop().unwrap_or(Ok(())));
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
