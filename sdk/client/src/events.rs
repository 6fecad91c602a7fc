//! Following a run: its events in order, each once, over lost connections and restarts of the control plane.

use crate::http::request_name;
use crate::sse::{Message, Parser};
use crate::{Client, Error};
use eyot_model::RunId;
use eyot_model::api::RunEvent;
use futures_util::{StreamExt, stream::BoxStream};
use reqwest::header::ACCEPT;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time without contact before following is given up.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(300);
/// The pause before a new connection is at most this.
const MOST_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for the end of an answer after its last event.
const FAREWELL: Duration = Duration::from_millis(100);

/// What [`Events::next`] gives.
#[derive(Debug)]
pub enum Update {
    Event(Box<RunEvent>),
    /// The connection was lost; a new one is tried after a pause. Nothing is missed.
    Reconnecting {
        /// Counts from 1 since the last contact.
        attempt: u32,
        error: Error,
    },
    /// There is contact again.
    Reconnected,
}

/// The events of one run. Dropping the future of [`Events::next`] loses nothing.
pub struct Events {
    client: Client,
    run: RunId,
    last: u64,
    connection: Option<Connection>,
    ready: VecDeque<RunEvent>,
    attempt: u32,
    not_before: Option<Instant>,
    silent_since: Instant,
    patience: Duration,
    over: bool,
}

struct Connection {
    bytes: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    parser: Parser,
    name: String,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("run", &self.run)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(client: Client, run: RunId, after: u64) -> Self {
        Self {
            client,
            run,
            last: after,
            connection: None,
            ready: VecDeque::new(),
            attempt: 0,
            not_before: None,
            silent_since: Instant::now(),
            patience: DEFAULT_PATIENCE,
            over: false,
        }
    }

    /// How long to try without contact before giving up; five minutes where it is not set.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Number of the last event that was given out.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The next event; None after the run's end. After an error it gives None too.
    ///
    /// # Errors
    /// When the first connection fails, there is no such run, the stream cannot be understood, or there was no contact
    /// for as long as the patience lasts.
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        match self.step().await {
            Ok(update) => update.map(Ok),
            Err(error) => {
                self.over = true;
                self.ready.clear();
                Some(Err(error))
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Update>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = event.seq;
                if event.kind == "run-ended" {
                    self.over = true;
                    self.ready.clear();
                }
                return Ok(Some(Update::Event(Box::new(event))));
            }
            if self.over {
                self.hang_up().await;
                return Ok(None);
            }
            if self.connection.is_none() {
                match self.connect().await {
                    Ok(connection) => {
                        self.connection = Some(connection);
                        if std::mem::take(&mut self.attempt) > 0 {
                            return Ok(Some(Update::Reconnected));
                        }
                    }
                    Err(error) => return self.lost(error).map(Some),
                }
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => {
                    let server = self.client.server().to_owned();
                    return self.lost(Error::Lost { server, cause: None }).map(Some);
                }
                Err(error) => return self.lost(error).map(Some),
            }
        }
    }

    async fn connect(&mut self) -> Result<Connection, Error> {
        if let Some(instant) = self.not_before {
            tokio::time::sleep_until(instant).await;
            self.not_before = None;
        }
        let mut request = self
            .client
            .get(&["v1", "runs", &self.run.to_string(), "events"])
            .header(ACCEPT, "text/event-stream");
        if self.last > 0 {
            request = request.header("Last-Event-ID", self.last);
        }
        let response = self.client.send(request).await?;
        Ok(Connection {
            name: request_name(&response),
            bytes: response.bytes_stream().boxed(),
            parser: Parser::default(),
        })
    }

    /// Reads once; false at the end of the stream.
    async fn read(&mut self) -> Result<bool, Error> {
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let Some(chunk) = connection.bytes.next().await else {
            return Ok(false);
        };
        let chunk = chunk.map_err(|e| self.client.lost(e))?;
        self.silent_since = Instant::now();
        let mut messages = Vec::new();
        connection.parser.feed(&chunk, &mut messages).map_err(|_| Error::TooLong {
            request: connection.name.clone(),
            limit: crate::sse::EVENT_LIMIT as u64,
        })?;
        for message in messages {
            let event = decode(&message, &connection.name)?;
            let newest = self.ready.back().map_or(self.last, |e| e.seq);
            if event.seq > newest {
                self.ready.push_back(event);
            }
        }
        Ok(true)
    }

    /// Reads what little is left of the answer, so that its connection serves the next request.
    async fn hang_up(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let rest = async { while let Some(Ok(_)) = connection.bytes.next().await {} };
            let _ = tokio::time::timeout(FAREWELL, rest).await;
        }
    }

    /// Decides between another try and giving up.
    fn lost(&mut self, error: Error) -> Result<Update, Error> {
        let had_contact = self.connection.take().is_some();
        let never_had = !had_contact && self.last == 0 && self.attempt == 0;
        if never_had || !error.is_retryable() || self.silent_since.elapsed() > self.patience {
            return Err(error);
        }
        if had_contact && self.attempt == 0 {
            self.silent_since = Instant::now();
        }
        self.attempt += 1;
        self.not_before = Some(Instant::now() + pause(self.attempt));
        Ok(Update::Reconnecting {
            attempt: self.attempt,
            error,
        })
    }
}

fn decode(message: &Message, name: &str) -> Result<RunEvent, Error> {
    serde_json::from_str(&message.data).map_err(|cause| Error::Malformed {
        request: name.to_owned(),
        cause,
    })
}

/// Full jitter under a bound that doubles: many clients must not come back at the same instant.
fn pause(attempt: u32) -> Duration {
    let bound = Duration::from_millis(100).saturating_mul(1 << attempt.min(10)).min(MOST_PAUSE);
    let share = RandomState::new().hash_one(attempt) % 1_000;
    bound.mul_f64((share as f64 / 1_000.0).max(0.1))
}
