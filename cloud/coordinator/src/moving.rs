//! Moving fragments on purpose: an agent is to be empty, and everything that it has goes on elsewhere.
//!
//! Unlike taking a fragment away, a move loses nothing: another agent is looked for first; then the owner is asked to yield;
//! it stops the fragment, reports everything up to a position of its journal and brings up what others will need; and only
//! when it has said that all is at rest, the epoch is raised and the fragment goes to the other agent, with its facts and
//! what its tasks saved. Until then the owner has it: a lost link calls the move off, and it is tried again when the agent is
//! back.

use crate::command::Command;
use crate::coordinator::Coordinator;
use eyot_model::{AgentId, Digest, Epoch, FragmentId, LinkState, RunId, Timestamp};
use eyot_wire::ToAgent;
use std::collections::{BTreeMap, BTreeSet};

/// Fragments that are to move.
#[derive(Default)]
pub(crate) struct Moves(BTreeMap<(RunId, FragmentId), Move>);

#[derive(Default)]
struct Move {
    /// Who takes it, once the owner was asked to yield.
    to: Option<AgentId>,
    /// The owner has it at rest.
    rested: bool,
    /// Why it stays where it is, for people.
    stays: Option<String>,
}

/// How far a move is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    pub run: RunId,
    pub fragment: FragmentId,
    /// Who takes it, where that is known.
    pub to: Option<AgentId>,
    /// Why it does not move.
    pub stays: Option<String>,
}

impl Coordinator {
    /// Has every unfinished fragment of the agent go on elsewhere. Those that are on their way stay so, and for those that
    /// found nobody it is tried again.
    pub fn move_all(&mut self, agent: AgentId) {
        for (run, fragment) in self.open_fragments_of(agent) {
            if self.is_stopping(run) {
                // What is being cancelled ends where it is.
                continue;
            }
            let known = self.moves.0.entry((run, fragment)).or_default();
            if known.to.is_none() {
                self.ask_for_move(run, fragment);
            }
        }
    }

    /// The agent keeps what it has.
    pub fn call_off_moves(&mut self, agent: AgentId) {
        for (run, fragment) in self.open_fragments_of(agent) {
            if self.moves.0.remove(&(run, fragment)).is_some_and(|known| known.to.is_some()) {
                self.go_on(run, fragment);
            }
        }
    }

    /// The moves of an agent's fragments.
    #[must_use]
    pub fn moves_of(&self, agent: AgentId) -> Vec<Moving> {
        let open = self.open_fragments_of(agent).into_iter();
        open.map(|(run, fragment)| {
            let known = self.moves.0.get(&(run, fragment));
            let stopping = self
                .is_stopping(run)
                .then(|| "its run is being cancelled: it ends where it is".to_owned());
            Moving {
                run,
                fragment,
                to: known.and_then(|known| known.to),
                stays: stopping.or_else(|| known.and_then(|known| known.stays.clone())),
            }
        })
        .collect()
    }

    /// The owner has the fragment at rest, and everything of it up to the position that it named was reported before.
    /// `missing` are those of [`Coordinator::blobs_needed`] that the cloud does not have.
    pub fn yielded(&mut self, agent: AgentId, run: RunId, fragment: FragmentId, epoch: Epoch, missing: &BTreeSet<Digest>, now: Timestamp) {
        let current = self
            .runs
            .get(&run)
            .and_then(|entry| entry.fragments.get(&fragment))
            .is_some_and(|owned| owned.is_held_by(agent, epoch));
        if !current {
            return;
        }
        let Some(known) = self.moves.0.get_mut(&(run, fragment)) else {
            // It was called off meanwhile, or the control plane was restarted and knows nothing of it.
            return self.go_on(run, fragment);
        };
        known.rested = true;
        match known.to.take() {
            Some(to) if self.link(to) != LinkState::Disconnected && !self.is_stopping(run) => {
                self.hand_over(run, fragment, to, missing, now);
            }
            _ => self.ask_for_move(run, fragment),
        }
    }

    /// Asks again for what did not move: the fleet has changed.
    pub(crate) fn move_again(&mut self) {
        self.forget_moves();
        let open = self.moves.0.iter().filter(|(_, known)| known.to.is_none());
        let open: Vec<(RunId, FragmentId)> = open.map(|(key, _)| *key).collect();
        for (run, fragment) in open {
            self.ask_for_move(run, fragment);
        }
    }

    /// The agent is back: it went on with what it had not said to be at rest, and was just told to keep the rest.
    pub(crate) fn moves_begin_anew(&mut self, agent: AgentId) {
        for (run, fragment) in self.open_fragments_of(agent) {
            if let Some(known) = self.moves.0.get_mut(&(run, fragment)) {
                *known = Move::default();
                self.ask_for_move(run, fragment);
            }
        }
    }

    /// The answer to the question for another agent. False if the fragment is not to move.
    pub(crate) fn move_found(
        &mut self,
        run: RunId,
        fragment: FragmentId,
        found: &Result<AgentId, String>,
        missing: &BTreeSet<Digest>,
        now: Timestamp,
    ) -> bool {
        let Some(owner) = self.owner_of(run, fragment) else { return false };
        let connected = self.link(owner) == LinkState::Connected;
        let Some(known) = self.moves.0.get_mut(&(run, fragment)) else {
            return false;
        };
        match found {
            Ok(to) if *to == owner => {}
            Ok(to) if known.rested => self.hand_over(run, fragment, *to, missing, now),
            Ok(_) if !connected => {
                known.stays = Some("its agent is out of contact; `eyot runs reassign` takes it away all the same".to_owned());
            }
            Ok(to) => {
                known.to = Some(*to);
                known.stays = None;
                let epoch = self.fragment_mut(run, fragment).map(|owned| owned.epoch).unwrap_or_default();
                let message = Box::new(ToAgent::Yield { run, fragment, epoch });
                self.commands.push_back(Command::Send { agent: owner, message });
            }
            Err(nobody) => {
                known.stays = Some(nobody.clone());
                if std::mem::take(&mut known.rested) {
                    self.go_on(run, fragment);
                }
            }
        }
        true
    }

    /// What it did is committed, so nothing else of the run that its agent holds has to begin again.
    fn hand_over(&mut self, run: RunId, fragment: FragmentId, to: AgentId, missing: &BTreeSet<Digest>, now: Timestamp) {
        self.moves.0.remove(&(run, fragment));
        self.rewind_lost(run, fragment, missing, now);
        // That may have given it another epoch: where its owner makes something anew, whatever it holds of the run begins again.
        let over = self.superseded(run, fragment);
        self.store_owner(run, fragment, to, Some("it was moved".to_owned()), now);
        self.commands.extend(over);
        self.end_earlier_epochs(run, to);
        self.send_assignment(run, fragment);
    }

    /// The fragment got a new epoch otherwise than by its move. Where it has a new owner, or none, that is the end of the move;
    /// where it stays with its owner, the move begins anew.
    pub(crate) fn move_overtaken(&mut self, run: RunId, fragment: FragmentId, same_owner: bool) {
        if self.moves.0.remove(&(run, fragment)).is_some() && same_owner {
            self.moves.0.insert((run, fragment), Move::default());
            self.ask_for_move(run, fragment);
        }
    }

    fn go_on(&mut self, run: RunId, fragment: FragmentId) {
        let Some(owned) = self.fragment_mut(run, fragment) else { return };
        let epoch = owned.epoch;
        if let Some(agent) = owned.agent {
            let message = Box::new(ToAgent::GoOn { run, fragment, epoch });
            self.commands.push_back(Command::Send { agent, message });
        }
    }

    fn ask_for_move(&mut self, run: RunId, fragment: FragmentId) {
        let exclude: BTreeSet<AgentId> = self.owner_of(run, fragment).into_iter().collect();
        self.commands.push_back(Command::Replan { run, fragment, exclude });
    }

    /// Moves of what has ended, or changed hands otherwise.
    fn forget_moves(&mut self) {
        let runs = &self.runs;
        self.moves.0.retain(|(run, fragment), _| {
            let entry = runs.get(run);
            let owned = entry.and_then(|entry| Some((entry, entry.fragments.get(fragment)?)));
            owned.is_some_and(|(entry, owned)| owned.agent.is_some() && owned.search.is_none() && !entry.fragment_ended(owned))
        });
    }
}
