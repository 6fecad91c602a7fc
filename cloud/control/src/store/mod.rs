//! The SQL store: SQLite with a write-ahead log, synced at each commit, one writer that batches.
//!
//! Its unit is "commit these changes if these guards still hold" ([`Store::commit`]). Many requests become one
//! transaction and one sync; each gets its own answer. What a guard asks and a change writes is plain data
//! ([`statement`]); the writer runs it in one go. Reads go to a pool of their own and never wait for the writer.

mod agents;
mod change;
mod codec;
mod components;
mod credentials;
mod deployments;
mod documents;
mod grants;
mod logs;
mod retention;
mod runs;
mod saved;
mod schema;
mod specs;
mod statement;
mod wal;
mod workflows;
mod writer;

pub use agents::AgentRecord;
pub use change::{Change, Guard};
pub use components::ComponentRecord;
pub use credentials::{Invite, TokenRecord};
pub use deployments::DeploymentRow;
pub use logs::{LINES_PER_RUN, LogRow};
pub use runs::{Entry, FragmentRow, NewRun, RunFilter, RunRecord};
pub use workflows::WorkflowRecord;

use eyot_model::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use statement::Statement;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Readers open at the same time.
const READERS: u32 = 4;
/// Requests that wait for the writer before more of them wait for a place.
const QUEUE: usize = 4_096;

/// Why the store did not do what it was asked. Cheap to clone: one failed sync fails many requests.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the store at {path} cannot be opened")]
    Open {
        path: PathBuf,
        #[source]
        source: Arc<sqlx::Error>,
    },
    #[error("the writer of the store at {path} cannot be started")]
    Writer {
        path: PathBuf,
        #[source]
        source: Arc<rusqlite::Error>,
    },
    #[error("the store's write-ahead log {path} cannot be read")]
    Log {
        path: PathBuf,
        #[source]
        source: Arc<std::io::Error>,
    },
    #[error("the thread of the store cannot be started")]
    Thread(#[source] Arc<std::io::Error>),
    #[error("the store at {path} has schema {found}, newer than the {known} that this version knows")]
    TooNew { path: PathBuf, found: i64, known: i64 },
    /// A read failed.
    #[error("the store failed")]
    Sql(#[source] Arc<sqlx::Error>),
    /// A commit failed; nothing of it is stored.
    #[error("the store failed")]
    Write(#[source] Arc<rusqlite::Error>),
    #[error(
        "the store at {path} is damaged ({found}): set it aside and restore the last back-up with `eyot-cloud restore`, as docs/disk.md says"
    )]
    Damaged { path: PathBuf, found: String },
    #[error(
        "{what} in the store is damaged or of another version: restore the last back-up with `eyot-cloud restore`, as docs/disk.md says"
    )]
    Corrupt {
        what: &'static str,
        #[source]
        source: Option<postcard::Error>,
    },
    #[error("the change is refused, because {0} does not hold")]
    Guard(&'static str),
    #[error("the store is closed")]
    Closed,
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Sql(Arc::new(source))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        Self::Write(Arc::new(source))
    }
}

impl Error {
    /// Whether there was no room for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Write(source) if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }

    /// Whether the same commit may work later: the disk failed or is full, and what was asked for was right.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Write(source) => {
                matches!(&**source, rusqlite::Error::SqliteFailure(e, _) if e.code != rusqlite::ErrorCode::ConstraintViolation)
            }
            Self::Open { .. }
            | Self::Writer { .. }
            | Self::Log { .. }
            | Self::Thread(_)
            | Self::TooNew { .. }
            | Self::Damaged { .. }
            | Self::Sql(_)
            | Self::Corrupt { .. }
            | Self::Guard(_)
            | Self::Closed => false,
        }
    }
}

/// Handle to the store; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    readers: SqlitePool,
    writer: mpsc::Sender<writer::Request>,
    path: PathBuf,
    specs: Arc<specs::Specs>,
    done: Arc<tokio::sync::Mutex<Option<oneshot::Receiver<()>>>>,
}

impl Store {
    /// Opens the database file, making it and bringing its schema up to date as needed.
    ///
    /// # Errors
    /// When the file cannot be opened or written, is no database, or comes from a newer version.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source: sqlx::Error| Error::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(std::time::Duration::from_secs(10))
            .pragma("cache_size", "-16384")
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        check_log(path).await?;
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.map_err(failed)?;
        check(&mut connection, path).await?;
        // Where there is no room for it, or another process is at work, which nobody waits for, the log stays as it is.
        let fold = "PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE)";
        if let Err(error) = sqlx::raw_sql(fold).execute(&mut connection).await {
            tracing::info!(%error, "the store's log was not folded into it");
        }
        sqlx::raw_sql("PRAGMA busy_timeout = 10000").execute(&mut connection).await?;
        schema::migrate(&mut connection, path).await?;
        let unstarted = |source| Error::Writer {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let writing = writer::Writer::open(path).map_err(unstarted)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(1)
            // They are threads of this process on a local file: there is nothing to lose touch with.
            .test_before_acquire(false)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(failed)?;
        // Not before the writer has the file open: the last connection that closes takes the write-ahead log away.
        connection.close().await.map_err(failed)?;
        let (writer, requests) = mpsc::channel(QUEUE);
        let (ended, done) = oneshot::channel();
        let specs = Arc::new(specs::Specs::default());
        let known = Arc::clone(&specs);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                writer::run(writing, requests, &known);
                // Nobody waits when the store was dropped.
                let _ = ended.send(());
            })
            .map_err(|source| Error::Thread(Arc::new(source)))?;
        Ok(Self {
            readers,
            writer,
            path: path.to_owned(),
            specs,
            done: Arc::new(tokio::sync::Mutex::new(Some(done))),
        })
    }

    /// Makes all changes durable in one transaction, or none. Requests that wait at the same time share a sync.
    ///
    /// # Errors
    /// [`Error::Guard`] when a guard does not hold (nothing was changed), any other when the disk or the database failed.
    pub async fn commit(&self, guards: Vec<Guard>, changes: Vec<Change>) -> Result<(), Error> {
        self.submit(guards, changes).await?.await.map_err(|_| Error::Closed)?
    }

    /// As [`Store::commit`], but comes back once the request has its place in the order of commits; the answer follows.
    ///
    /// # Errors
    /// When the store is closed.
    pub async fn submit(&self, guards: Vec<Guard>, changes: Vec<Change>) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (answer, committed) = oneshot::channel();
        self.submit_then(guards, changes, move |verdict| _ = answer.send(verdict)).await?;
        Ok(committed)
    }

    /// As [`Store::submit`], but `then` takes the answer, on the writer's thread: it must not block. Where the store is closed
    /// before the request has its place, `then` is dropped.
    ///
    /// # Errors
    /// When the store is closed.
    pub async fn submit_then(
        &self,
        guards: Vec<Guard>,
        changes: Vec<Change>,
        then: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let answer: writer::Answer = Box::new(then);
        let request = writer::Request { guards, changes, answer };
        self.writer.send(request).await.map_err(|_| Error::Closed)
    }

    /// Writes a consistent copy of the database to a new file.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub async fn copy_to(&self, file: &Path) -> Result<(), Error> {
        let mut connection = SqliteConnectOptions::new().filename(&self.path).connect().await?;
        sqlx::query("VACUUM INTO ?")
            .bind(file.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }

    /// What SQLite finds wrong with the file; `ok` if nothing.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn integrity(&self) -> Result<String, Error> {
        Ok(sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&self.readers).await?)
    }

    /// Whether a read works at all, for the readiness probe.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    /// Commits what is queued, then closes the file. Clones of this handle are refused afterwards.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        let last = writer::Request {
            guards: vec![],
            changes: vec![Change::Close],
            answer: Box::new(move |_| _ = answer.send(())),
        };
        if self.writer.send(last).await.is_ok() {
            let _ = done.await;
        }
        self.readers.close().await;
        if let Some(done) = self.done.lock().await.take() {
            let _ = done.await;
        }
    }

    fn specs(&self) -> &specs::Specs {
        &self.specs
    }

    fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}

/// Whether the write-ahead log is sound, which has to be asked before SQLite takes what is wrong in it for its end. All of it
/// is durable afterwards: what a killed process wrote and did not sync is about to be read, and acted upon.
async fn check_log(path: &Path) -> Result<(), Error> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    let found = tokio::task::spawn_blocking({
        let log = log.clone();
        move || {
            let file = match std::fs::File::open(&log) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            file.sync_data()?;
            let read = || wal::scan(std::io::BufReader::with_capacity(1 << 20, std::fs::File::open(&log)?));
            // While another process writes into it, which may be so for a back-up, one look is not enough.
            match read()? {
                None => Ok(None),
                Some(_) => read(),
            }
        }
    })
    .await
    .map_err(std::io::Error::other)
    .flatten();
    match found {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(Error::Damaged {
            path: path.to_owned(),
            found: damage.to_string(),
        }),
        Err(source) => Err(Error::Log {
            path: log,
            source: Arc::new(source),
        }),
    }
}

/// Whether the file is sound, as far as SQLite sees: what is written into a damaged one may be lost with it.
async fn check(connection: &mut sqlx::SqliteConnection, path: &Path) -> Result<(), Error> {
    let damaged = |found: String| Error::Damaged {
        path: path.to_owned(),
        // SQLite's report has several lines; a message to an operator has one.
        found: found.lines().collect::<Vec<_>>().join("; "),
    };
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| damaged(error.to_string()))?;
    if found == "ok" { Ok(()) } else { Err(damaged(found)) }
}

/// An instant as SQLite keeps it.
fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn instant(micros: i64) -> Timestamp {
    Timestamp(u64::try_from(micros).unwrap_or(0))
}

/// A 128-bit id as a sortable key.
fn key(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn id128(bytes: &[u8], what: &'static str) -> Result<u128, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt { what, source: None })?;
    Ok(u128::from_be_bytes(bytes))
}

fn digest(bytes: &[u8], what: &'static str) -> Result<eyot_model::Digest, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt { what, source: None })?;
    Ok(eyot_model::Digest(bytes))
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn uncount(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests;
