//! The agents as they are now: what is stored of them, their link, and the line to them.

use crate::store::{AgentRecord, Change, Store};
use eyot_clock::SKEW_LIMIT;
use eyot_link::Standing;
use eyot_model::api::AgentView;
use eyot_model::{AgentId, AgentProfile, Capacity, DiskState, LinkState, Load, Timestamp};
use eyot_wire::{CloseCode, ToAgent};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A way to an agent that is connected.
pub(crate) trait Line: Send + Sync {
    /// Lost if the link is: what matters is told again on reconnect.
    fn send(&self, message: ToAgent);
    fn close(&self, code: CloseCode);
}

/// An agent, known and maybe connected.
pub(crate) struct Member {
    pub(crate) record: AgentRecord,
    pub(crate) link: LinkState,
    /// Since when it is out of contact. After a restart of the control plane, since that.
    away_since: Option<Timestamp>,
    line: Option<(u64, Arc<dyn Line>)>,
    /// By how much its clock is ahead of ours, in milliseconds.
    skew_millis: Option<i64>,
}

/// All agents. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Fleet {
    members: Arc<RwLock<BTreeMap<AgentId, Member>>>,
}

/// One agent for the planner.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) profile: AgentProfile,
    pub(crate) draining: bool,
    pub(crate) link: LinkState,
}

impl Fleet {
    /// The fleet as it is stored: everybody disconnected.
    pub(crate) async fn load(store: &Store) -> Result<Self, crate::store::Error> {
        let fleet = Self::default();
        for record in store.agents().await? {
            fleet.put(record);
        }
        Ok(fleet)
    }

    /// Someone who joined, or joined again.
    pub(crate) fn put(&self, record: AgentRecord) {
        let mut members = self.members.write();
        match members.get_mut(&record.id) {
            Some(member) => {
                member.record.name = record.name;
                member.record.certificate_expires_at = record.certificate_expires_at;
            }
            None => {
                let id = record.id;
                members.insert(
                    id,
                    Member {
                        record,
                        link: LinkState::Disconnected,
                        away_since: Some(crate::clock::now()),
                        line: None,
                        skew_millis: None,
                    },
                );
            }
        }
    }

    /// An agent that connects. `incarnation` tells its links apart, so that the end of an old one does not end a new one.
    /// None if the agent is unknown or revoked. The name that the operator knows it by wins over its own.
    pub(crate) fn connect(
        &self,
        agent: AgentId,
        link: u64,
        line: Arc<dyn Line>,
        mut profile: AgentProfile,
        now: Timestamp,
    ) -> Option<Vec<Change>> {
        let mut members = self.members.write();
        let member = members.get_mut(&agent).filter(|m| !m.record.revoked)?;
        profile.id = agent;
        profile.name.clone_from(&member.record.name);
        member.record.profile = Some(profile.clone());
        member.record.last_seen = Some(now);
        member.link = LinkState::Connected;
        member.away_since = None;
        member.line = Some((link, line));
        Some(vec![Change::SetProfile {
            agent,
            profile: Box::new(profile),
            seen: now,
        }])
    }

    /// A changed profile of a connected agent.
    pub(crate) fn set_profile(&self, agent: AgentId, mut profile: AgentProfile, now: Timestamp) -> Option<Change> {
        let mut members = self.members.write();
        let member = members.get_mut(&agent)?;
        profile.id = agent;
        profile.name.clone_from(&member.record.name);
        member.record.profile = Some(profile.clone());
        member.record.last_seen = Some(now);
        Some(Change::SetProfile {
            agent,
            profile: Box::new(profile),
            seen: now,
        })
    }

    /// A heart-beat. True if the link was not connected before it.
    pub(crate) fn beat(&self, agent: AgentId, load: Load, now: Timestamp) -> bool {
        let mut members = self.members.write();
        let Some(member) = members.get_mut(&agent) else {
            return false;
        };
        member.record.last_seen = Some(now);
        if let Some(profile) = &mut member.record.profile {
            profile.load = load;
        }
        member.line.is_some() && std::mem::replace(&mut member.link, LinkState::Connected) != LinkState::Connected
    }

    /// How its disk stands, as it said last.
    pub(crate) fn disk(&self, agent: AgentId) -> Option<DiskState> {
        let members = self.members.read();
        Some(members.get(&agent)?.record.profile.as_ref()?.load.disk)
    }

    /// It took no work for want of room.
    pub(crate) fn note_disk(&self, agent: AgentId, state: DiskState) {
        if let Some(profile) = self.members.write().get_mut(&agent).and_then(|m| m.record.profile.as_mut()) {
            profile.load.disk = profile.load.disk.max(state);
        }
    }

    /// By how much an agent's clock is ahead of ours, in milliseconds. Says so when it begins to be too much, and when it
    /// ends.
    pub(crate) fn set_skew(&self, agent: AgentId, skew_millis: i64) {
        let mut members = self.members.write();
        let Some(member) = members.get_mut(&agent) else { return };
        let off = |skew: i64| skew.unsigned_abs() > SKEW_LIMIT.0;
        let was_off = member.skew_millis.replace(skew_millis).is_some_and(off);
        if off(skew_millis) && !was_off {
            tracing::warn!(%agent, name = member.record.name, skew_millis, "the agent's clock is off");
        } else if was_off && !off(skew_millis) {
            tracing::info!(%agent, name = member.record.name, skew_millis, "the agent's clock is right again");
        }
    }

    /// Heart-beats are missed. True if that is news.
    pub(crate) fn suspect(&self, agent: AgentId, link: u64) -> bool {
        let mut members = self.members.write();
        match members.get_mut(&agent) {
            Some(member) if member.line.as_ref().is_some_and(|(current, _)| *current == link) => {
                std::mem::replace(&mut member.link, LinkState::Suspect) == LinkState::Connected
            }
            _ => false,
        }
    }

    /// A link ended. Some (what to store) if it was the agent's present one.
    pub(crate) fn disconnect(&self, agent: AgentId, link: u64) -> Option<Change> {
        let mut members = self.members.write();
        let member = members.get_mut(&agent)?;
        member.line.as_ref().filter(|(current, _)| *current == link)?;
        member.line = None;
        member.link = LinkState::Disconnected;
        member.away_since = Some(crate::clock::now());
        member.record.last_seen.map(|seen| Change::SetSeen { agent, seen })
    }

    /// Whether this is the agent's present link: what an earlier one still says of the agent is out of date.
    pub(crate) fn is_present(&self, agent: AgentId, link: u64) -> bool {
        let members = self.members.read();
        let line = members.get(&agent).and_then(|member| member.line.as_ref());
        line.is_some_and(|(present, _)| *present == link)
    }

    pub(crate) fn send(&self, agent: AgentId, message: ToAgent) {
        let line = self
            .members
            .read()
            .get(&agent)
            .and_then(|m| m.line.as_ref().map(|(_, line)| Arc::clone(line)));
        match line {
            Some(line) => line.send(message),
            None => tracing::debug!(%agent, "not connected: a message waits for its inventory"),
        }
    }

    pub(crate) fn set_draining(&self, agent: AgentId, on: bool) {
        if let Some(member) = self.members.write().get_mut(&agent) {
            member.record.draining = on;
        }
    }

    pub(crate) fn set_certificate(&self, agent: AgentId, expires_at: Timestamp) {
        if let Some(member) = self.members.write().get_mut(&agent) {
            member.record.certificate_expires_at = expires_at;
        }
    }

    /// From now on it is refused; its link is closed.
    pub(crate) fn revoke(&self, agent: AgentId) {
        let line = self.members.write().get_mut(&agent).and_then(|member| {
            member.record.revoked = true;
            member.link = LinkState::Disconnected;
            member.away_since = Some(crate::clock::now());
            member.line.take()
        });
        if let Some((_, line)) = line {
            line.close(CloseCode::Revoked);
        }
    }

    /// From now on it is unknown; a link that came up meanwhile is closed.
    pub(crate) fn remove(&self, agent: AgentId) {
        let line = self.members.write().remove(&agent).and_then(|member| member.line);
        if let Some((_, line)) = line {
            line.close(CloseCode::Unknown);
        }
    }

    /// Whether what the agent says counts.
    pub(crate) fn is_welcome(&self, agent: AgentId) -> bool {
        self.members.read().get(&agent).is_some_and(|m| !m.record.revoked)
    }

    /// Whether the agent may link: asked several times for each connection.
    pub(crate) fn standing(&self, agent: AgentId) -> Standing {
        match self.members.read().get(&agent) {
            Some(member) if member.record.revoked => Standing::Revoked,
            Some(_) => Standing::Allowed,
            None => Standing::Unknown,
        }
    }

    /// The stored record of an agent, and its link.
    pub(crate) fn get(&self, agent: AgentId) -> Option<(AgentRecord, LinkState)> {
        self.members.read().get(&agent).map(|m| (m.record.clone(), m.link))
    }

    /// By id (`a-…`) or by name.
    pub(crate) fn find(&self, id_or_name: &str) -> Option<AgentId> {
        let members = self.members.read();
        if let Some(id) = id_or_name.parse().ok().filter(|id| members.contains_key(id)) {
            return Some(id);
        }
        members.values().find(|m| m.record.name == id_or_name).map(|m| m.record.id)
    }

    pub(crate) fn name(&self, agent: AgentId) -> String {
        self.members
            .read()
            .get(&agent)
            .map_or_else(|| agent.to_string(), |m| m.record.name.clone())
    }

    /// Takes the number of an agent's start, or not: another device with its disk was taken after the numbers that this
    /// one knows. What to store, before it is welcomed.
    pub(crate) fn take_incarnation(&self, agent: AgentId, claim: eyot_coordinator::Claim<'_>) -> Option<Change> {
        let mut members = self.members.write();
        let member = members.get_mut(&agent)?;
        eyot_coordinator::admits(member.record.incarnation, claim).then(|| {
            member.record.incarnation = Some(claim.new);
            Change::SetIncarnation {
                agent,
                incarnation: Some(claim.new),
            }
        })
    }

    /// Whatever an agent presents next is taken.
    pub(crate) fn readmit(&self, agent: AgentId) {
        if let Some(member) = self.members.write().get_mut(&agent) {
            member.record.incarnation = None;
        }
    }

    /// Since when an agent is out of contact; None while it is not.
    pub(crate) fn away_since(&self, agent: AgentId) -> Option<Timestamp> {
        self.members.read().get(&agent).and_then(|member| member.away_since)
    }

    pub(crate) fn link(&self, agent: AgentId) -> LinkState {
        self.members.read().get(&agent).map_or(LinkState::Disconnected, |m| m.link)
    }

    /// Everybody who said hello at least once and is not revoked, for a plan.
    pub(crate) fn snapshot(&self) -> Vec<Snapshot> {
        let members = self.members.read();
        members
            .values()
            .filter(|m| !m.record.revoked)
            .filter_map(|m| {
                Some(Snapshot {
                    profile: m.record.profile.clone()?,
                    draining: m.record.draining,
                    link: m.link,
                })
            })
            .collect()
    }

    /// All agents with the number of fragments that `owned` says for each.
    pub(crate) fn views(&self, owned: impl Fn(AgentId) -> u32) -> Vec<AgentView> {
        let members = self.members.read();
        let mut views: Vec<AgentView> = members.values().map(|m| view(m, owned(m.record.id))).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Number of agents in each state of their link.
    pub(crate) fn count(&self) -> BTreeMap<LinkState, u32> {
        let mut counts = BTreeMap::from([(LinkState::Connected, 0), (LinkState::Suspect, 0), (LinkState::Disconnected, 0)]);
        for member in self.members.read().values() {
            *counts.entry(member.link).or_default() += 1;
        }
        counts
    }
}

fn view(member: &Member, fragments: u32) -> AgentView {
    let record = &member.record;
    let profile = record.profile.as_ref();
    AgentView {
        id: record.id,
        name: record.name.clone(),
        site: profile.and_then(|p| p.site.clone()),
        labels: profile.map(|p| p.labels.clone()).unwrap_or_default(),
        capabilities: profile.map(|p| p.capabilities.iter().cloned().collect()).unwrap_or_default(),
        platform: profile.map(|p| p.platform.clone()).unwrap_or_default(),
        version: profile.map(|p| p.version.clone()).unwrap_or_default(),
        capacity: profile.map_or_else(Capacity::default, |p| p.capacity),
        load: profile.map_or_else(Load::default, |p| p.load),
        link: member.link,
        draining: record.draining,
        revoked: record.revoked,
        last_seen: record.last_seen,
        joined_at: record.joined_at,
        certificate_expires_at: record.certificate_expires_at,
        clock_skew_millis: member.skew_millis,
        fragments,
    }
}
