//! The events of a run as server-sent events: those so far, then each as it is committed, until the run has ended.

use super::views;
use super::{App, Error};
use crate::feed::Numbered;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use eyot_model::api::{Problem, RunEvent};
use eyot_model::{RunId, Workflow};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Entries read from the store at once.
const PAGE: u32 = 500;
/// Events that wait for a slow reader; then the store waits to be read.
const AHEAD: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Events of a run as they are committed (`text/event-stream`). `Last-Event-ID` goes on after that event.
#[utoipa::path(get, path = "/v1/runs/{run}/events", tag = "runs",
    params(("run" = String, Path), ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event that was seen")),
    responses((status = 200, body = RunEvent, content_type = "text/event-stream"), (status = 404, body = Problem)))]
pub(super) async fn follow(State(app): State<App>, Path(run): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let run: RunId = super::runs::parse(&run)?;
    let after = match headers.get("last-event-id") {
        None => 0,
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse::<u64>().ok())
            .ok_or_else(|| Error::bad_request("request.malformed", "`Last-Event-ID` is not a number"))?,
    };
    // Watched before anything is read, so that nothing falls between.
    let news = app.board.watch(run);
    let workflow = match app.board.workflow(run) {
        Some(workflow) => workflow,
        None => super::runs::workflow_of(&app, &super::runs::load(&app, run).await?).await?,
    };
    let (events, stream) = mpsc::channel(AHEAD);
    tokio::spawn(tell(app, run, workflow, after, news, events));
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Committed entries after number `last`: from memory what was just committed, from the store what is older.
async fn entries(app: &App, run: RunId, last: u64) -> Result<Vec<Numbered>, crate::store::Error> {
    if let Some(entries) = app.board.entries(run, last) {
        return Ok(entries);
    }
    let stored = app.store.entries(run, last, PAGE).await?;
    Ok(stored.into_iter().map(|(seq, entry)| (seq, Arc::new(entry))).collect())
}

/// Tells the run's entries until it has ended, the reader is gone, or the control plane stops.
async fn tell(
    app: App,
    run: RunId,
    workflow: Arc<Workflow>,
    mut last: u64,
    mut news: Option<watch::Receiver<()>>,
    events: mpsc::Sender<Result<Event, Infallible>>,
) {
    loop {
        if let Some(news) = &mut news {
            news.mark_unchanged();
        }
        loop {
            let entries = match entries(&app, run, last).await {
                Ok(entries) => entries,
                Err(error) => {
                    // The reader comes back and goes on after what it has.
                    tracing::warn!(%run, error = %crate::chain(&error), "a stream of events was cut off");
                    return;
                }
            };
            let Some((newest, _)) = entries.last() else { break };
            last = *newest;
            for (seq, entry) in &entries {
                let view = views::event(*seq, entry, &workflow, &app.fleet);
                let ended = view.kind == "run-ended";
                let event = match Event::default().id(seq.to_string()).event(&view.kind).json_data(&view) {
                    Ok(event) => event,
                    Err(error) => {
                        tracing::error!(%run, %error, "an event cannot be shown");
                        continue;
                    }
                };
                if events.send(Ok(event)).await.is_err() || ended {
                    return;
                }
            }
        }
        // The run has ended (its stream is read to the end), or its end comes with the next news.
        let Some(watching) = &mut news else { return };
        tokio::select! {
            changed = watching.changed() => {
                if changed.is_err() {
                    // It ended: what is left is read once more.
                    news = None;
                }
            }
            () = events.closed() => return,
            () = app.stop.cancelled() => return,
        }
    }
}
