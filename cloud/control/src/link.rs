//! The agents' links: each one's greeting, then what it sends, given to the loop; and what is sent to it.

use crate::access::Access;
use crate::clock;
use crate::conductor::{Handle, Input, Planning};
use crate::fleet::{Fleet, Line};
use crate::grants::Grants;
use crate::own_runs::NotGiven;
use crate::store::{Change, LogRow, Store};
use eyot_coordinator::Claim;
use eyot_link::{CloudLink, Events, Happening, Live, Peer, Server};
use eyot_model::{AgentId, AgentProfile, DiskState, LinkState, Millis, RunId};
use eyot_wire::{CloseCode, Hello, LogRecord, Refusal, ToAgent, ToCloud, UploadLimits, Welcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An agent that has not greeted by then is sent away.
const GREETING: Duration = Duration::from_secs(10);
/// Agents that greet at a time. When a whole fleet is back at once the rest waits for its turn, with a link that is up.
const GREETINGS: usize = 64;
/// Messages that may wait for a slow agent. Beyond that its link is closed: with the next one it is told everything anew.
const WAITING: usize = 65_536;
/// Longest line of a task that is kept, in bytes.
const LINE_LIMIT: usize = 8 << 10;
/// Most lines of one message that are kept.
const LINES_LIMIT: usize = 1_000;
/// Bounds on what an agent says of itself.
const PROFILE_WORDS: usize = 256;
const PROFILE_TEXT: usize = 512;
const PROFILE_HOLDS: usize = 100_000;

/// What the links work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) grants: Grants,
    pub(crate) access: Access,
    pub(crate) conductor: Handle,
    pub(crate) planning: Arc<Planning>,
    pub(crate) blobs: eyot_link::BlobService,
    pub(crate) heartbeat: Millis,
    pub(crate) uploads: UploadLimits,
    /// Which store this is.
    pub(crate) store_id: u64,
    pub(crate) greetings: Arc<Semaphore>,
}

/// The places of agents that greet.
pub(crate) fn greetings() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(GREETINGS))
}

/// Accepts links until `stop`; comes back when the last one has ended.
pub(crate) async fn serve(server: Arc<Server>, links: Links, stop: CancellationToken) {
    let open = TaskTracker::new();
    loop {
        let live = tokio::select! {
            live = server.accept() => live,
            () = stop.cancelled() => None,
        };
        let Some(live) = live else { break };
        let Peer::Agent(agent) = live.link.peer() else { continue };
        let links = links.clone();
        open.spawn(async move {
            links.blobs.attach(&live.link);
            if let Err(why) = links.converse(agent, live).await {
                tracing::warn!(%agent, why, "closed a link");
            }
        });
    }
    open.close();
    open.wait().await;
}

/// The way to one agent: what the fleet sends waits here for the link.
struct Outbox {
    messages: mpsc::Sender<ToAgent>,
    link: CloudLink,
}

impl Line for Outbox {
    fn send(&self, message: ToAgent) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.messages.try_send(message) {
            tracing::warn!(peer = %self.link.peer_addr(), "too much waits for an agent: its link is closed");
            self.link.close(CloseCode::Busy);
        }
    }

    fn close(&self, code: CloseCode) {
        self.link.close(code);
    }
}

impl Links {
    /// One link from its greeting to its end. The error is for the log.
    async fn converse(&self, agent: AgentId, live: Live<ToAgent, ToCloud>) -> Result<(), &'static str> {
        static LINKS: AtomicU64 = AtomicU64::new(1);
        let number = LINKS.fetch_add(1, Ordering::Relaxed);
        let Live { link, mut events } = live;
        let refuse = |why| {
            link.close(CloseCode::Protocol);
            Err(why)
        };
        // Never closed. Its time to greet begins here.
        let turn = self.greetings.acquire().await;
        let hello = match greeting(&mut events).await {
            Ok(Some(ToCloud::Hello(hello))) => hello,
            Ok(Some(_)) => return refuse("its first message was no hello"),
            Ok(None) => return Ok(()),
            Err(why) => return refuse(why),
        };
        if !self.is_no_copy(agent, hello.incarnation, &hello.before).await? {
            link.close(CloseCode::Copied);
            return Err("its disk is a copy of another device's, or was put back to an older state");
        }
        let profile = bounded(hello.profile);
        let skew_millis = hello.clock.millis_after(clock::wall());
        let welcome = ToAgent::Welcome(Welcome {
            agent,
            heartbeat_every: self.heartbeat,
            clock: clock::wall(),
            uploads: self.uploads,
            store: self.store_id,
        });
        if link.send(&welcome).await.is_err() {
            return Ok(());
        }
        let inventory = match greeting(&mut events).await {
            Ok(Some(ToCloud::Inventory(inventory))) => inventory,
            Ok(Some(_)) => return refuse("its second message was no inventory"),
            Ok(None) => return Ok(()),
            Err(why) => return refuse(why),
        };
        let (messages, outgoing) = mpsc::channel(WAITING);
        tokio::spawn(pump(link.clone(), outgoing));
        let line = Arc::new(Outbox {
            messages,
            link: link.clone(),
        });
        self.planning.set_speed(agent, profile.speed);
        let Some(changes) = self.fleet.connect(agent, number, line, profile, clock::now()) else {
            link.close(CloseCode::Revoked);
            return Err("it was revoked or removed while it connected");
        };
        drop(turn);
        self.fleet.set_skew(agent, skew_millis);
        tracing::info!(%agent, name = self.fleet.name(agent), peer = %link.peer_addr(), "agent connected");
        self.note(changes).await;
        if self.fleet.get(agent).is_some_and(|(record, _)| record.draining) {
            self.fleet.send(agent, ToAgent::Drain(true));
        }
        let stopped = "the control plane is stopping";
        self.give(Input::Link {
            agent,
            state: LinkState::Connected,
        })
        .await
        .map_err(|()| stopped)?;
        self.give(Input::Inventory {
            agent,
            link: number,
            inventory,
        })
        .await
        .map_err(|()| stopped)?;
        self.redeploy(agent).await;
        let ended = self.listen(agent, number, &mut events).await;
        if let Some(change) = self.fleet.disconnect(agent, number) {
            tracing::info!(%agent, "agent disconnected");
            self.note(vec![change]).await;
            let _ = self
                .give(Input::Link {
                    agent,
                    state: LinkState::Disconnected,
                })
                .await;
        }
        if ended.is_err() {
            link.close(CloseCode::Protocol);
        }
        ended
    }

    /// Takes the number of the agent's start, durably, before anything else is heard from it. If another device with the
    /// same disk was taken since, the agent's fragments are placed anew, unless that other one is here and at work.
    async fn is_no_copy(&self, agent: AgentId, new: u64, before: &[u64]) -> Result<bool, &'static str> {
        let before = before.get(..Hello::BEFORE_LIMIT).unwrap_or(before);
        if let Some(change) = self.fleet.take_incarnation(agent, Claim { new, before }) {
            let stored = self.store.commit(vec![], vec![change]).await;
            return stored.map(|()| true).map_err(|error| {
                tracing::error!(%agent, error = %crate::chain(&error), "the start of an agent was not stored");
                "the store failed"
            });
        }
        metrics::counter!("eyot_alarms_total").increment(1);
        tracing::error!(
            %agent,
            name = self.fleet.name(agent),
            "alarm: two devices use one agent's disk, or a disk was put back to an older state; stop the copy and join that device anew, \
             or let this one begin again with `eyot agents readmit`"
        );
        if self.fleet.link(agent) == LinkState::Disconnected {
            let why = "a copy of the agent's disk was seen";
            let _ = self.give(Input::Expel { agent, why }).await;
        }
        Ok(false)
    }

    async fn listen(&self, agent: AgentId, number: u64, events: &mut Events<ToCloud>) -> Result<(), &'static str> {
        loop {
            let given = match events.next().await {
                Happening::Message(message) => self.message(agent, message).await?,
                Happening::Heartbeat(beat) => {
                    self.fleet.set_skew(agent, beat.clock.millis_after(clock::wall()));
                    let room = self.fleet.disk(agent) != Some(beat.load.disk);
                    if self.fleet.beat(agent, beat.load, clock::now()) {
                        self.give(Input::Link {
                            agent,
                            state: LinkState::Connected,
                        })
                        .await
                    } else if room {
                        self.give(Input::FleetChanged).await
                    } else {
                        Ok(())
                    }
                }
                Happening::Suspect => {
                    if self.fleet.suspect(agent, number) {
                        tracing::warn!(%agent, "heart-beats are missing");
                        self.give(Input::Link {
                            agent,
                            state: LinkState::Suspect,
                        })
                        .await
                    } else {
                        Ok(())
                    }
                }
                // The heart-beat that restored the link comes too.
                Happening::Restored | Happening::Acknowledged(_) => Ok(()),
                Happening::Closed(reason) => {
                    tracing::debug!(%agent, reason = %reason, "link closed");
                    return Ok(());
                }
            };
            if given.is_err() {
                return Ok(());
            }
        }
    }

    async fn message(&self, agent: AgentId, message: ToCloud) -> Result<Result<(), ()>, &'static str> {
        if !self.fleet.is_welcome(agent) {
            return Err("it was revoked or removed");
        }
        let input = match message {
            ToCloud::Report(report) => Input::Report { agent, report },
            ToCloud::Accepted { run, fragment, epoch } => Input::Accepted {
                agent,
                run,
                fragment,
                epoch,
            },
            ToCloud::Refused { run, fragment, epoch, why } => {
                if why == Refusal::DiskFull {
                    // The next heart-beat says so too, but the run may be planned anew before it.
                    self.fleet.note_disk(agent, DiskState::High);
                }
                Input::Refused {
                    agent,
                    run,
                    fragment,
                    epoch,
                    why,
                }
            }
            ToCloud::Saved { run, fragment, state } => {
                // It follows its blob over the same link.
                if let Some(digest) = state
                    .blob()
                    .map(|blob| blob.digest)
                    .filter(|digest| !self.access.may_name(agent, digest))
                {
                    tracing::warn!(%agent, %run, %digest, "dropped a saved state: its agent neither brought nor may read it");
                    return Ok(Ok(()));
                }
                Input::Saved {
                    agent,
                    run,
                    fragment,
                    state,
                }
            }
            ToCloud::Yielded { run, fragment, epoch, .. } => Input::Yielded {
                agent,
                run,
                fragment,
                epoch,
            },
            ToCloud::Logs(records) => {
                self.keep_logs(agent, records).await;
                return Ok(Ok(()));
            }
            ToCloud::Profile(profile) => {
                let profile = bounded(*profile);
                self.planning.set_speed(agent, profile.speed);
                self.note(self.fleet.set_profile(agent, profile, clock::now()).into_iter().collect())
                    .await;
                Input::FleetChanged
            }
            ToCloud::OwnRun(told) => {
                return match self.own_run(agent, told).await {
                    Ok(()) => Ok(Ok(())),
                    Err(NotGiven::Stopping) => Ok(Err(())),
                    Err(NotGiven::Store) => Err("the store cannot be read: it is to tell it again"),
                };
            }
            ToCloud::OwnRunGone { run } => Input::OwnRunGone { agent, run },
            ToCloud::Deployed(deployed) => {
                self.deployed(agent, deployed).await;
                return Ok(Ok(()));
            }
            ToCloud::Hello(_) | ToCloud::Inventory(_) => return Err("it greeted a second time"),
            ToCloud::Heartbeat(_) => return Err("a heart-beat came among the messages"),
        };
        Ok(self.give(input).await)
    }

    async fn give(&self, input: Input) -> Result<(), ()> {
        self.conductor.give(input).await.map_err(|_| ())
    }

    /// Stores what is good to know and nothing depends on: nobody waits for it.
    async fn note(&self, changes: Vec<Change>) {
        if let Err(error) = self.store.submit(vec![], changes).await {
            tracing::debug!(%error, "not noted");
        }
    }

    /// Lines are kept if the agent has to do with the run. The first thing to be dropped.
    async fn keep_logs(&self, agent: AgentId, records: Vec<LogRecord>) {
        let dropped = records.len().saturating_sub(LINES_LIMIT);
        metrics::counter!("eyot_log_lines_dropped_total").increment(dropped as u64);
        let mut by_run: BTreeMap<RunId, Vec<LogRow>> = BTreeMap::new();
        for record in records.into_iter().take(LINES_LIMIT) {
            by_run.entry(record.run).or_default().push(LogRow {
                at: record.at,
                task: record.path.task,
                item: record.path.item,
                attempt: record.attempt,
                level: record.level,
                message: cut(record.message, LINE_LIMIT),
            });
        }
        for (run, lines) in by_run {
            match self.store.agent_knows_run(agent, run).await {
                Ok(true) => self.note(vec![Change::AddLogs { run, lines }]).await,
                Ok(false) => metrics::counter!("eyot_log_lines_dropped_total").increment(lines.len() as u64),
                Err(error) => tracing::warn!(error = %crate::chain(&error), "lines of tasks were not stored"),
            }
        }
    }
}

/// The next message of an agent that is greeting. None if it hung up.
async fn greeting(events: &mut Events<ToCloud>) -> Result<Option<ToCloud>, &'static str> {
    let next = async {
        loop {
            match events.next().await {
                Happening::Message(message) => return Some(message),
                Happening::Closed(_) => return None,
                Happening::Heartbeat(_) | Happening::Acknowledged(_) | Happening::Suspect | Happening::Restored => {}
            }
        }
    };
    tokio::time::timeout(GREETING, next).await.map_err(|_| "it did not greet in time")
}

async fn pump(link: CloudLink, mut messages: mpsc::Receiver<ToAgent>) {
    while let Some(message) = messages.recv().await {
        match link.send(&message).await {
            Ok(()) => {}
            Err(eyot_link::Error::Encode(error)) => tracing::error!(%error, "a message cannot be sent"),
            Err(_) => return,
        }
    }
}

/// What an agent says of itself, within bounds.
fn bounded(mut profile: AgentProfile) -> AgentProfile {
    let short = |text: &mut String| *text = cut(std::mem::take(text), PROFILE_TEXT);
    short(&mut profile.name);
    short(&mut profile.platform);
    short(&mut profile.version);
    profile.site.iter_mut().for_each(short);
    profile.labels = profile
        .labels
        .into_iter()
        .take(PROFILE_WORDS)
        .map(|(key, value)| (cut(key, PROFILE_TEXT), cut(value, PROFILE_TEXT)))
        .collect();
    profile.capabilities = profile
        .capabilities
        .into_iter()
        .take(PROFILE_WORDS)
        .map(|word| cut(word, PROFILE_TEXT))
        .collect();
    profile.holds = profile.holds.into_iter().take(PROFILE_HOLDS).collect();
    if !(profile.speed.is_finite() && profile.speed > 0.0) {
        profile.speed = 1.0;
    }
    profile
}

/// At most `most` bytes, whole characters.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("short".into(), 10), "short");
        assert_eq!(cut("äöü".into(), 3), "ä");
    }
}
