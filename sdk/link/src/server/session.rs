//! One live link for each agent.

use super::admission::{Acceptor, Refused};
use crate::link::{self, CloudLink, Live, OnRenew, Peer};
use crate::transport::close;
use crate::{Credential, Error, frames, heartbeat};
use eyot_model::{AgentId, Timestamp};
use eyot_wire::{CloseCode, StreamKind, ToAgent, ToCloud};
use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest sleep of the task that watches a certificate's end: clocks may be set.
const EXPIRY_CHECK: Duration = Duration::from_secs(60);

/// The live links by agent.
#[derive(Default)]
pub(super) struct Links(Mutex<BTreeMap<AgentId, Linked>>);

struct Linked {
    link: CloudLink,
    /// The end of the agent's newest certificate, and so of the link.
    valid_until: Arc<watch::Sender<Timestamp>>,
}

impl Links {
    pub(super) fn get(&self, agent: AgentId) -> Option<CloudLink> {
        self.0.lock().get(&agent).map(|linked| linked.link.clone())
    }

    /// The agent has a newer certificate: over its link, or over a connection that does nothing else.
    pub(super) fn renewed(&self, agent: AgentId, not_after: Timestamp) {
        if let Some(linked) = self.0.lock().get(&agent) {
            linked.valid_until.send_if_modified(|until| {
                let later = not_after > *until;
                *until = not_after.max(*until);
                later
            });
        }
    }

    pub(super) fn agents(&self) -> Vec<AgentId> {
        self.0.lock().keys().copied().collect()
    }

    /// The newer link is the one that counts: the older one may be of a path that is dead already.
    fn put(&self, agent: AgentId, linked: Linked) {
        let older = self.0.lock().insert(agent, linked);
        if let Some(Linked { link: older, .. }) = older {
            tracing::warn!(%agent, peer = %older.peer_addr(), "closed a link: the agent has a newer one");
            older.close(CloseCode::Replaced);
        }
    }

    fn remove(&self, agent: AgentId, link: &CloudLink) {
        let mut links = self.0.lock();
        if links.get(&agent).is_some_and(|l| Arc::ptr_eq(&l.link.shared, &link.shared)) {
            links.remove(&agent);
        }
    }
}

type Stream = (SendStream, RecvStream);

/// Takes the two streams that an agent opens first, and makes a link of them.
pub(super) async fn open(
    acceptor: &Arc<Acceptor>,
    connection: Connection,
    credential: Credential,
) -> Result<Live<ToAgent, ToCloud>, Refused> {
    let (mut control, beats) = first_streams(&connection)
        .await
        .map_err(|e| Refused::new(CloseCode::Protocol, e.to_string()))?;
    let _ = control.0.set_priority(heartbeat::CONTROL_PRIORITY);
    let _ = beats.0.set_priority(heartbeat::PRIORITY);
    // Tells the agent that it is admitted.
    frames::write_kind(&mut control.0, StreamKind::Control)
        .await
        .map_err(|e| Refused::new(CloseCode::Protocol, e.to_string()))?;
    let valid_until = Arc::new(watch::Sender::new(credential.validity.not_after));
    let on_renew = on_renew(acceptor.clone(), connection.clone(), credential);
    let live = link::start::<ToAgent, ToCloud>(connection, Peer::Agent(credential.agent), control, Some(on_renew));
    tokio::spawn(heartbeat::answer(live.link.shared.clone(), beats));
    let linked = Linked {
        link: live.link.clone(),
        valid_until: valid_until.clone(),
    };
    acceptor.links.put(credential.agent, linked);
    tokio::spawn(watch_session(acceptor.clone(), live.link.clone(), credential.agent, valid_until));
    Ok(live)
}

/// Control and heart-beats, in whatever order they come.
async fn first_streams(connection: &Connection) -> Result<(Stream, Stream), Error> {
    let (mut control, mut beats) = (None, None);
    loop {
        let (send, mut recv) = connection.accept_bi().await?;
        match frames::read_kind(&mut recv).await? {
            StreamKind::Control if control.is_none() => control = Some((send, recv)),
            StreamKind::Heartbeat if beats.is_none() => beats = Some((send, recv)),
            kind => return Err(Error::Protocol(format!("a stream of kind {kind:?} too early, or twice"))),
        }
        if let (Some(_), Some(_)) = (&control, &beats)
            && let (Some(control), Some(beats)) = (control.take(), beats.take())
        {
            return Ok((control, beats));
        }
    }
}

fn on_renew(acceptor: Arc<Acceptor>, connection: Connection, credential: Credential) -> OnRenew {
    Arc::new(move |send, recv| {
        let (acceptor, connection) = (acceptor.clone(), connection.clone());
        tokio::spawn(async move {
            let peer = connection.remote_address();
            if let Err(refused) = acceptor.renew(peer, credential, send, recv).await {
                tracing::warn!(%peer, reason = refused.reason, "closed a link");
                close(&connection, refused.code, &refused.reason);
            }
        });
    })
}

/// Ends a link with its certificate, and takes ended links off the list.
async fn watch_session(acceptor: Arc<Acceptor>, link: CloudLink, agent: AgentId, valid_until: Arc<watch::Sender<Timestamp>>) {
    let connection = link.shared.connection.clone();
    loop {
        let now = acceptor.options.clock.now();
        let until = *valid_until.borrow();
        if now > until {
            tracing::warn!(%agent, peer = %link.peer_addr(), "closed a link: its certificate ran out");
            link.close(CloseCode::Expired);
        }
        let left = until.since(now).as_duration().max(Duration::from_millis(1));
        tokio::select! {
            reason = connection.closed() => {
                tracing::info!(%agent, %reason, "link is down");
                break;
            }
            () = tokio::time::sleep(left.min(EXPIRY_CHECK)) => {}
        }
    }
    acceptor.links.remove(agent, &link);
}
