//! Runs: start, look, cancel, reassign.

use crate::{Client, Error, Events};
use eyot_model::RunId;
use eyot_model::api::{LogLine, Page, ReassignRequest, Reassigned, ResolveRequest, RunDetail, RunRequest, RunView};
use reqwest::Method;
use std::time::Duration;

/// Which runs to list; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// One of the words of `RunState`.
    pub state: Option<String>,
    /// Most runs in the answer; the server has its own limit.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// How often a start is repeated when its answer was lost on the way.
const START_TRIES: u32 = 4;

impl Client {
    /// Submits a run. With an idempotency key the request is repeated where the answer was lost: the run is started
    /// once all the same.
    ///
    /// # Errors
    /// When the workflow or its inputs are invalid, or the request fails.
    pub async fn start(&self, request: &RunRequest) -> Result<RunView, Error> {
        let mut pause = Duration::from_millis(250);
        for _ in 1..START_TRIES {
            match self.post_json(&["v1", "runs"], request).await {
                Err(error) if request.idempotency_key.is_some() && answer_was_lost(&error) => {
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
                settled => return settled,
            }
        }
        self.post_json(&["v1", "runs"], request).await
    }

    /// # Errors
    /// When the request fails.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Page<RunView>, Error> {
        let mut request = self.get(&["v1", "runs"]);
        if let Some(state) = &filter.state {
            request = request.query(&[("state", state)]);
        }
        if let Some(limit) = filter.limit {
            request = request.query(&[("limit", limit)]);
        }
        if let Some(after) = &filter.after {
            request = request.query(&[("after", after)]);
        }
        self.json(request).await
    }

    /// # Errors
    /// When there is no such run, or the request fails.
    pub async fn run(&self, id: RunId) -> Result<RunDetail, Error> {
        self.json(self.get(&["v1", "runs", &id.to_string()])).await
    }

    /// The events so far and then the new ones until the run ends; begins after the event with number `after`.
    #[must_use]
    pub fn events(&self, id: RunId, after: u64) -> Events {
        Events::new(self.clone(), id, after)
    }

    /// What the run's tasks wrote, in order of arrival; begins after the line where the page before ended.
    ///
    /// # Errors
    /// When there is no such run, or the request fails.
    pub async fn logs(&self, id: RunId, after: Option<&str>) -> Result<Page<LogLine>, Error> {
        let mut request = self.get(&["v1", "runs", &id.to_string(), "logs"]);
        if let Some(after) = after {
            request = request.query(&[("after", after)]);
        }
        self.json(request).await
    }

    /// Says what became of an attempt whose end nobody knows. The task's agent was told when this returns; the wait has
    /// ended when the run's events say so.
    ///
    /// # Errors
    /// When nothing waits for it, its agent is out of contact, or the request fails.
    pub async fn resolve(&self, id: RunId, request: &ResolveRequest) -> Result<(), Error> {
        let post = self.request(Method::POST, &["v1", "runs", &id.to_string(), "resolve"]);
        self.done(post.json(request)).await
    }

    /// Asks for the run to stop. It has stopped when its state says so.
    ///
    /// # Errors
    /// When there is no such run, or the request fails.
    pub async fn cancel(&self, id: RunId) -> Result<(), Error> {
        self.done(self.request(Method::POST, &["v1", "runs", &id.to_string(), "cancel"]))
            .await
    }

    /// Drops an ended run that the control plane refuses. For an agent's own socket.
    ///
    /// # Errors
    /// When there is no such run, it goes on, the control plane has it or may take it yet, or the request fails.
    pub async fn remove_run(&self, id: RunId) -> Result<(), Error> {
        self.done(self.request(Method::DELETE, &["v1", "runs", &id.to_string()])).await
    }

    /// Takes fragments from their agents, whatever the workflow's policy says. Says which ones.
    ///
    /// # Errors
    /// When there is nothing to take, or the request fails.
    pub async fn reassign(&self, id: RunId, request: &ReassignRequest) -> Result<Reassigned, Error> {
        self.post_json(&["v1", "runs", &id.to_string(), "reassign"], request).await
    }
}

/// A request that was never sent is not repeated: the user wants to hear at once that nothing listens there.
fn answer_was_lost(error: &Error) -> bool {
    matches!(error, Error::Lost { .. }) || matches!(error.status(), Some(502..=504))
}
