//! Heart-beats, on a stream and in a task of their own: nothing else on the link delays them.

use crate::frames::{self, FrameReader, SMALL_FRAME};
use crate::link::Shared;
use crate::pulse::{Pulse, Silence};
use crate::{Clock, Error};
use bytes::Bytes;
use eyot_model::{DiskState, Load};
use eyot_wire::{Heartbeat, HeartbeatReply, ToAgent, ToCloud};
use quinn::{RecvStream, SendStream};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Before everything else that waits to be sent.
pub(crate) const PRIORITY: i32 = 10;
/// After heart-beats, before blobs.
pub(crate) const CONTROL_PRIORITY: i32 = 5;

/// The latest heart-beat: as the control plane got it, or as the agent saw it answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beat {
    Sent(Heartbeat),
    Answered(HeartbeatReply),
}

/// What an agent's heart-beats say.
pub(crate) struct Says {
    pub(crate) load: watch::Receiver<Load>,
    pub(crate) steady: Clock,
    pub(crate) clock: Clock,
}

/// The agent's end: sends heart-beats, watches their answers.
pub(crate) async fn send(shared: Arc<Shared>, (mut send, recv): (SendStream, RecvStream), says: Says) {
    let mut every = shared.heartbeat_every.subscribe();
    let mut pulse = Pulse::new(*every.borrow_and_update(), Instant::now());
    let mut ticks = interval(*every.borrow());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frames = FrameReader::new(recv).limited(SMALL_FRAME);
    let (mut n, mut load) = (0, says.load);
    let mut told = load.borrow().disk;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                n += 1;
                let beat = Heartbeat {
                    n,
                    sent_at: says.steady.now(),
                    clock: says.clock.now(),
                    load: *load.borrow(),
                };
                told = beat.load.disk;
                if frames::write_frame(&mut send, &ToCloud::Heartbeat(beat)).await.is_err() {
                    return;
                }
            }
            frame = frames.next() => match read::<ToAgent>(frame) {
                Ok(Some(ToAgent::HeartbeatReply(reply))) => beat(&shared, &mut pulse, Beat::Answered(reply)),
                other => return end(&shared, other.map(|_| ())),
            },
            () = due(&pulse) => suspect(&shared, &mut pulse),
            // It decides whether the agent is given work, so it is told at once.
            Ok(()) = other_room(&mut load, told) => ticks.reset_immediately(),
            Ok(()) = every.changed() => {
                let every = *every.borrow_and_update();
                pulse.set_every(every);
                ticks = interval(every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
        }
    }
}

/// The room on the disk is another than was told.
async fn other_room(load: &mut watch::Receiver<Load>, told: DiskState) -> Result<(), watch::error::RecvError> {
    load.wait_for(|load| load.disk != told).await.map(drop)
}

/// The control plane's end: answers heart-beats, watches that they come.
pub(crate) async fn answer(shared: Arc<Shared>, (mut send, recv): (SendStream, RecvStream)) {
    let mut every = shared.heartbeat_every.subscribe();
    let mut pulse = Pulse::new(*every.borrow_and_update(), Instant::now());
    let mut frames = FrameReader::new(recv).limited(SMALL_FRAME);
    loop {
        tokio::select! {
            frame = frames.next() => match read::<ToCloud>(frame) {
                Ok(Some(ToCloud::Heartbeat(got))) => {
                    let reply = HeartbeatReply { n: got.n, sent_at: got.sent_at };
                    if frames::write_frame(&mut send, &ToAgent::HeartbeatReply(reply)).await.is_err() {
                        return;
                    }
                    beat(&shared, &mut pulse, Beat::Sent(got));
                }
                other => return end(&shared, other.map(|_| ())),
            },
            () = due(&pulse) => suspect(&shared, &mut pulse),
            Ok(()) = every.changed() => pulse.set_every(*every.borrow_and_update()),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(frame: Result<Option<Bytes>, Error>) -> Result<Option<T>, Error> {
    frame?.map(|body| eyot_wire::decode(&body)).transpose().map_err(Error::from)
}

fn beat(shared: &Shared, pulse: &mut Pulse, beat: Beat) {
    if pulse.beat(Instant::now()) {
        tracing::debug!(who = ?shared.peer, "heart-beats are back");
    }
    shared.signals.send_modify(|s| {
        s.beats = s.beats.wrapping_add(1);
        s.beat = Some(beat);
        s.suspect = false;
    });
}

fn suspect(shared: &Shared, pulse: &mut Pulse) {
    match pulse.timeout(Instant::now()) {
        Some(Silence::Suspect) => {
            tracing::debug!(who = ?shared.peer, "three heart-beats are missing");
            shared.signals.send_modify(|s| s.suspect = true);
        }
        // The connection may linger: whoever comes back opens another one, and says on it what it has.
        Some(Silence::Gone) => {
            tracing::warn!(who = ?shared.peer, "six heart-beats are missing: the link is closed");
            shared.close(eyot_wire::CloseCode::Timeout, Error::TimedOut);
        }
        None => {}
    }
}

async fn due(pulse: &Pulse) {
    match pulse.deadline() {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn end(shared: &Shared, why: Result<(), Error>) {
    if shared.connection.close_reason().is_some() {
        return;
    }
    match why {
        Ok(()) => shared.refuse(Error::Protocol("something else than heart-beats on their stream".into())),
        Err(error @ (Error::Frame(_) | Error::Protocol(_))) => shared.refuse(error),
        Err(_) => {}
    }
}
