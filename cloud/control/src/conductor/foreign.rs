//! Runs that agents coordinate, in the store's terms.

use super::Conductor;
use super::carrier::{Effect, Step};
use super::live::Live;
use crate::access;
use crate::clock;
use crate::store::{Change, Entry, Error, RunRecord, WorkflowRecord};
use eyot_coordinator::{StoredForeign, Submission as Taken};
use eyot_model::{AgentId, Digest, Inputs, Origin, RunId, RunState, Workflow};
use eyot_wire::Submission;
use std::sync::Arc;

impl Conductor {
    /// A run that an agent began: stored with its workflow, which goes under a version of its own.
    pub(super) fn foreign(&mut self, agent: AgentId, submission: Submission, step: &mut Step) {
        let record = foreign_workflow(&submission.workflow);
        let run = submission.run;
        let taken = Taken {
            run,
            workflow: Arc::clone(&record.workflow),
            inputs: submission.inputs,
            created_at: submission.created_at,
        };
        let mut live = Live::new(&taken);
        live.state = RunState::Running;
        let mut new = live.record(&taken);
        new.coordinator = Some(agent);
        step.changes.push(Change::PutWorkflow(Box::new(record)));
        step.changes.push(Change::NewRun(Box::new(new)));
        step.changes.push(Change::SetRunState {
            run,
            state: RunState::Running,
            waiting_for: None,
        });
        step.effects.push(Effect::Foreign {
            run,
            agent,
            components: access::components(&live.workflow),
        });
        step.effects.push(Effect::News {
            run,
            counts: live.counts(),
            entries: Vec::new(),
        });
        tracing::info!(%run, %agent, workflow = live.workflow.name, "an agent tells of a run of its own");
        self.live.insert(run, live);
    }

    /// Takes up an unfinished run of an agent's own. The inner error is why it cannot be.
    pub(super) fn restore_foreign(
        &mut self,
        record: &RunRecord,
        agent: AgentId,
        workflow: Arc<Workflow>,
        inputs: Inputs,
        entries: Vec<(u64, Entry)>,
    ) -> Result<(), String> {
        let taken = Taken {
            run: record.id,
            workflow,
            inputs: Arc::new(inputs),
            created_at: record.created_at,
        };
        let components = access::components(&taken.workflow);
        let mut live = Live::new(&taken);
        live.state = record.state;
        let mut events = Vec::new();
        for (seq, entry) in entries {
            live.last_entry = seq;
            if let Entry::Event { event, .. } = entry {
                live.count(&event);
                events.push(event);
            }
        }
        self.coordinator.restore_foreign(StoredForeign {
            agent,
            submission: Submission {
                run: record.id,
                workflow: taken.workflow,
                inputs: taken.inputs,
                created_at: record.created_at,
                origin: Origin::Device { key: None },
            },
            events,
            cancelling: record.state == RunState::Cancelling,
        })?;
        self.options.access.foreign(record.id, agent, components);
        self.options.board.news(record.id, live.counts(), Vec::new());
        self.live.insert(record.id, live);
        Ok(())
    }
}

/// An agent's workflow, under a version that says what it means: what the agent calls its versions never gets in the way
/// of those that are stored here.
fn foreign_workflow(workflow: &Arc<Workflow>) -> WorkflowRecord {
    let mut workflow = Workflow::clone(workflow);
    let bytes = postcard::to_stdvec(&workflow).unwrap_or_default();
    let digest = Digest::of(&bytes);
    let hex: String = digest.0[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    // Behind what the agent calls it, so that people find the run of the one in the list of the other.
    let joint = if workflow.version.contains('+') { '.' } else { '+' };
    workflow.version = format!("{}{joint}{hex}", workflow.version);
    WorkflowRecord {
        workflow: Arc::new(workflow),
        digest,
        text: String::new(),
        stored_at: clock::now(),
        direct: true,
    }
}

/// How many events of an ended run are stored; None where it has not ended or is not known.
pub(crate) async fn ended_events(store: &crate::store::Store, run: RunId) -> Result<Option<u64>, Error> {
    match store.run(run).await? {
        Some(record) if record.ended_at.is_some() => {
            let mut count = 0;
            let mut last = 0;
            loop {
                let page = store.entries(run, last, 5_000).await?;
                let Some((seq, _)) = page.last() else { return Ok(Some(count)) };
                last = *seq;
                count += page.iter().filter(|(_, entry)| matches!(entry, Entry::Event { .. })).count() as u64;
            }
        }
        _ => Ok(None),
    }
}
