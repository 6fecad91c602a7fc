//! Who owns which fragment: what is stored when it changes, and who is found to take one over.

use super::Conductor;
use super::carrier::{Effect, Step};
use super::steps::push_entry;
use crate::clock;
use crate::store::{Change, Entry, FragmentRow};
use eyot_coordinator::Readable;
use eyot_model::{AgentId, Digest, Epoch, Event, FragmentId, LinkState, RunId, TaskIx};
use std::collections::{BTreeMap, BTreeSet};

impl Conductor {
    /// A fragment belongs to an agent, or to nobody, under a new epoch.
    pub(super) fn owned(
        &mut self,
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
        owner: Option<(AgentId, Vec<TaskIx>)>,
        why: Option<String>,
        step: &mut Step,
    ) {
        let Some(live) = self.live.get_mut(&run) else { return };
        let at = clock::now();
        let agent = owner.as_ref().map(|(agent, _)| *agent);
        if let Some((Some(former), old)) = live.fragments.insert(fragment, (agent, epoch)) {
            metrics::counter!("eyot_fragments_superseded_total").increment(1);
            let reason = why.unwrap_or_else(|| format!("epoch {} of fragment {} began", epoch.0, fragment.0));
            tracing::warn!(%run, fragment = fragment.0, epoch = old.0, agent = %former, reason, "superseded");
            let entry = Entry::Superseded {
                fragment,
                epoch: old,
                agent: former,
                reason,
                at,
            };
            push_entry(live, run, entry, step);
        }
        let known = || live.owner.iter().filter(|(_, f)| **f == fragment).map(|(task, _)| *task).collect();
        let tasks: Vec<TaskIx> = owner.map_or_else(known, |(_, tasks)| tasks);
        live.owner.extend(tasks.iter().map(|task| (*task, fragment)));
        let record = encode_tasks(&tasks);
        let readable = |agent| {
            let entry = self.coordinator.entry(run)?;
            Some((agent, Readable::of(entry.run.graph(), &entry.inputs, &tasks)))
        };
        step.effects.push(Effect::Assign {
            run,
            fragment,
            owner: agent.and_then(readable),
        });
        if let Some(agent) = agent {
            let entry = Entry::Assigned {
                fragment,
                epoch,
                agent,
                tasks,
                at,
            };
            push_entry(live, run, entry, step);
        }
        step.changes.push(Change::PutFragment(Box::new(FragmentRow {
            run,
            fragment,
            epoch,
            agent,
            record,
        })));
        step.assigns = true;
    }

    /// A result that came too late.
    pub(super) fn late(&mut self, run: RunId, fragment: FragmentId, epoch: Epoch, agent: AgentId, event: Event, step: &mut Step) {
        metrics::counter!("eyot_results_superseded_total").increment(1);
        let Some(live) = self.live.get_mut(&run) else { return };
        let entry = Entry::Late {
            fragment,
            epoch,
            agent,
            event,
            at: clock::now(),
        };
        push_entry(live, run, entry, step);
    }

    /// What tasks of the fragment may need and the control plane does not have.
    pub(super) fn missing_blobs(&self, run: RunId, fragment: FragmentId) -> BTreeSet<Digest> {
        let needed = self.coordinator.blobs_needed(run, fragment);
        needed.into_iter().filter(|digest| !self.options.blobs.contains(digest)).collect()
    }

    /// Looks for an agent that takes what is left of a fragment.
    pub(super) fn replan(&mut self, run: RunId, fragment: FragmentId, exclude: &BTreeSet<AgentId>) {
        let Some(entry) = self.coordinator.entry(run) else { return };
        let Some((_, settled)) = entry.rest_of(fragment) else { return };
        // What ended lies with its owner while that can be reached, and in the cloud otherwise.
        let lies = |task: &TaskIx| {
            let agent = entry.owner(*task)?.1.agent?;
            (self.options.fleet.link(agent) == LinkState::Connected).then_some((*task, agent))
        };
        let outputs_at: BTreeMap<TaskIx, AgentId> = settled.iter().filter_map(lies).collect();
        let fleet = self.options.fleet.snapshot();
        let planning = &self.options.planning;
        let found = planning.place(run, (&entry.workflow, &entry.inputs), &fleet, (&settled, &outputs_at), exclude);
        if found.is_ok() {
            let missing = self.missing_blobs(run, fragment);
            self.coordinator.note_missing(run, fragment, missing);
        }
        self.coordinator.replanned(run, fragment, found, clock::now());
    }
}

/// The tasks of a fragment as they are stored with it.
pub(super) fn encode_tasks(tasks: &[TaskIx]) -> Vec<u8> {
    tasks.iter().flat_map(|task| task.0.to_le_bytes()).collect()
}

pub(super) fn decode_tasks(bytes: &[u8]) -> Vec<TaskIx> {
    bytes
        .chunks_exact(4)
        .map(|four| TaskIx(u32::from_le_bytes([four[0], four[1], four[2], four[3]])))
        .collect()
}
