//! Schedules: sleeps until the next instant of wall time, and makes up for the latest one that was missed.

use super::{Listener, Missed, map, text, whole};
use eyot_model::{Mark, Millis, Timestamp, Value};
use eyot_node::Happening;
use eyot_spec::Schedule;
use std::time::Duration;

/// Longest sleep: the wall clock may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(30);
/// An instant that was fired for and lies farther ahead comes of a clock that was wrong.
const AHEAD: Millis = Millis(3_600_000);
/// The pause before a firing is tried again.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn listen(listener: Listener, cron: &str, zone: &str, catch_up: Millis) {
    let schedule = match Schedule::parse(cron, zone) {
        Ok(schedule) => schedule,
        Err(error) => return listener.stands(Some(format!("its schedule cannot be followed: {error}"))),
    };
    let last = || {
        let runtime = &listener.runtime;
        runtime.look(|node| node.fires(&listener.key).and_then(|fires| fires.last))
    };
    if last().is_none() {
        // It counts from now on: what passed before it was there was not missed.
        let now = wall(&listener);
        listener.runtime.turn(|node, _| node.mark(listener.key.clone(), Mark::Instant(now)));
    }
    loop {
        let now = wall(&listener);
        let mut after = last().unwrap_or(now);
        if after > now.after(AHEAD) {
            tracing::warn!(trigger = listener.key.trigger, "the clock went back; the schedule goes on from now");
            listener.runtime.turn(|node, _| node.mark(listener.key.clone(), Mark::Instant(now)));
            after = now;
        }
        let Some(due) = schedule.due(after, now, catch_up) else {
            let Some(next) = schedule.next_after(now.max(after)) else {
                return listener.stands(Some("its schedule has no instant to come".to_owned()));
            };
            let wait = next.since(now).as_duration() + Duration::from_millis(1);
            tokio::time::sleep(wait.min(LONGEST)).await;
            continue;
        };
        match listener.fire(Happening::Instant(due), event(&schedule, due)).await {
            Ok(()) => {}
            Err(Missed::Gone) => return,
            Err(Missed::Later(why)) => {
                tracing::warn!(why, trigger = listener.key.trigger, "a schedule cannot fire now; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Schedules go by the wall, as the agent knows it.
fn wall(listener: &Listener) -> Timestamp {
    listener.runtime.clock.wall()
}

fn event(schedule: &Schedule, at: Timestamp) -> Value {
    map([
        ("source", text("schedule")),
        ("time", text(schedule.show(at))),
        ("millis", whole(at.as_millis())),
    ])
}
