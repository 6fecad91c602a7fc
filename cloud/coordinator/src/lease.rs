//! How long an agent that is out of contact keeps its fragments.
//!
//! An agent is out of contact from the moment its link is disconnected until its inventory is here: a link that came up
//! and broke again before that has told nothing. What then happens to a fragment is the workflow's `onDisconnect`. With
//! `reassignAfter` a grace time runs for each fragment; when it ends, another agent is looked for, and the fragment is
//! taken away only once one was found. After a restart of the control plane every agent counts as out of contact from
//! that moment.

use crate::coordinator::Coordinator;
use eyot_model::{AgentId, FragmentId, LinkState, RunId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct Leases {
    links: BTreeMap<AgentId, LinkState>,
    /// Agents out of contact, and since when.
    away: BTreeMap<AgentId, Timestamp>,
    /// Ends of grace times. One that does not hold any more is found out when it is due.
    grace: BTreeSet<(Timestamp, RunId, FragmentId)>,
}

impl Leases {
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.grace.first().map(|(at, _, _)| *at)
    }

    fn due(&mut self, now: Timestamp) -> Option<(RunId, FragmentId)> {
        let first = *self.grace.first().filter(|(at, _, _)| *at <= now)?;
        self.grace.remove(&first);
        Some((first.1, first.2))
    }

    /// The agent has told what it has.
    pub(crate) fn back(&mut self, agent: AgentId) {
        self.away.remove(&agent);
    }
}

impl Coordinator {
    /// The state of an agent's link, as it changes.
    pub fn link_changed(&mut self, agent: AgentId, state: LinkState, now: Timestamp) {
        self.leases.links.insert(agent, state);
        if state == LinkState::Disconnected {
            self.leases.away.entry(agent).or_insert(now);
            self.watch_agent(agent);
        }
    }

    #[must_use]
    pub fn link(&self, agent: AgentId) -> LinkState {
        self.leases.links.get(&agent).copied().unwrap_or_default()
    }

    /// Since when an agent is out of contact.
    #[must_use]
    pub fn away_since(&self, agent: AgentId) -> Option<Timestamp> {
        self.leases.away.get(&agent).copied()
    }

    /// When the fragment will be given to another agent if its own stays out of contact.
    #[must_use]
    pub fn grace_ends(&self, run: RunId, fragment: FragmentId) -> Option<Timestamp> {
        let entry = self.runs.get(&run)?;
        let owned = entry.fragments.get(&fragment)?;
        let since = self.away_since(owned.agent?)?;
        let grace = entry.workflow.on_disconnect.reassign_after?;
        (!entry.fragment_ended(owned)).then(|| since.after(grace))
    }

    /// A fragment was given to an agent: if that is out of contact, it will not have it for ever.
    pub(crate) fn lease(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, now: Timestamp) {
        if self.link(agent) == LinkState::Disconnected {
            self.leases.away.entry(agent).or_insert(now);
        }
        if let Some(at) = self.grace_ends(run, fragment) {
            self.leases.grace.insert((at, run, fragment));
        }
    }

    fn watch_agent(&mut self, agent: AgentId) {
        let ends: Vec<(Timestamp, RunId, FragmentId)> = self
            .runs
            .iter()
            .filter(|(_, entry)| entry.workflow.on_disconnect.reassign_after.is_some())
            .flat_map(|(run, entry)| {
                let own = entry.fragments.iter().filter(|(_, f)| f.agent == Some(agent));
                own.map(|(fragment, _)| (*run, *fragment))
            })
            .filter_map(|(run, fragment)| Some((self.grace_ends(run, fragment)?, run, fragment)))
            .collect();
        self.leases.grace.extend(ends);
    }

    /// Grace times that ended: those fragments are taken from their agents.
    pub(crate) fn end_graces(&mut self, now: Timestamp) {
        while let Some((run, fragment)) = self.leases.due(now) {
            // It may have changed hands, ended, or its agent may have come back and gone again since the timer was set.
            if self.grace_ends(run, fragment).is_some_and(|at| at <= now) {
                self.grace_ended(run, fragment, now);
            }
        }
    }
}
