//! The events of a run as server-sent events: those so far, then each as it becomes durable, until the run has ended.

use super::problem::Error;
use super::{App, runs};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use eyot_model::{Event as Happened, RunId};
use futures_util::Stream;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Events that wait for a slow reader.
const AHEAD: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) async fn follow(
    State(app): State<App>,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let run = runs::load(&app, runs::parse(&run)?)?.id();
    let after = match headers.get("last-event-id") {
        None => 0,
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse::<usize>().ok())
            .ok_or_else(|| Error::bad_request("request.malformed", "`Last-Event-ID` is not a number"))?,
    };
    let (events, stream) = mpsc::channel(AHEAD);
    tokio::spawn(tell(app, run, after, events));
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn tell(app: App, run: RunId, mut last: usize, events: mpsc::Sender<Result<Event, Infallible>>) {
    // Watched before anything is read, so that nothing falls between.
    let mut synced = app.runtime.watch_synced();
    loop {
        synced.mark_unchanged();
        // Its time may be over meanwhile.
        let Ok(known) = runs::load(&app, run) else { return };
        for (n, (_, event)) in known.own.events.iter().enumerate().skip(last) {
            last = n + 1;
            let mut view = eyot_engine::view::event(last as u64, event, &known.own.submission.workflow);
            view.agent = Some(app.name.clone());
            let ended = view.kind == "run-ended";
            let event = match Event::default().id(last.to_string()).event(&view.kind).json_data(&view) {
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
        if matches!(known.own.events.last(), Some((_, Happened::RunEnded { .. }))) {
            return;
        }
        tokio::select! {
            changed = synced.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = events.closed() => return,
        }
    }
}
