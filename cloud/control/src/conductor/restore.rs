//! Taking up, at start, the runs that had not ended.

use super::Conductor;
use super::live::Live;
use super::owners::decode_tasks;
use crate::clock;
use crate::store::{Entry, Error};
use eyot_coordinator::{Readable, Stored, StoredFragment, Submission};
use eyot_model::{AgentId, Epoch, FragmentId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Entries read at once.
const PAGE: u32 = 5_000;

impl Conductor {
    pub(super) async fn restore(&mut self) -> Result<(), Error> {
        let store = self.options.store.clone();
        self.coordinator.begin_above(store.epochs_before().await?);
        for agent in store.agents().await? {
            self.coordinator.restore_heard(agent.id, agent.committed);
        }
        let mut count = 0;
        for record in store.open_runs().await? {
            let run = record.id;
            let missing = |what| Error::Corrupt { what, source: None };
            let workflow = store
                .workflow(&record.namespace, &record.workflow, &record.version)
                .await?
                .ok_or_else(|| missing("the workflow of a run"))?;
            let inputs = store.run_inputs(run).await?.ok_or_else(|| missing("the inputs of a run"))?;
            if let Some(agent) = record.coordinator {
                let mut entries = Vec::new();
                loop {
                    let page = store.entries(run, entries.last().map_or(0, |(seq, _)| *seq), PAGE).await?;
                    if page.is_empty() {
                        break;
                    }
                    entries.extend(page);
                }
                if let Err(error) = self.restore_foreign(&record, agent, workflow.workflow, inputs, entries) {
                    tracing::error!(%run, error, "an agent's own run cannot be taken up");
                }
                continue;
            }
            let submission = Submission {
                run,
                workflow: workflow.workflow,
                inputs: Arc::new(inputs),
                created_at: record.created_at,
            };
            let access = &self.options.access;
            let mut live = Live::new(&submission);
            live.state = record.state;
            live.waiting_for = record.waiting_for;
            let mut events = Vec::new();
            let mut former: BTreeMap<FragmentId, BTreeMap<Epoch, AgentId>> = BTreeMap::new();
            loop {
                let page = store.entries(run, live.last_entry, PAGE).await?;
                let Some((last, _)) = page.last() else { break };
                live.last_entry = *last;
                for (_, entry) in page {
                    match entry {
                        Entry::Event { event, agent, withheld } => {
                            live.count(&event);
                            if let Some((task, blobs)) = crate::access::results(&event) {
                                access.result(run, task, blobs, &withheld, agent);
                            }
                            events.push(event);
                        }
                        Entry::Assigned {
                            fragment, epoch, agent, ..
                        } => drop(former.entry(fragment).or_default().insert(epoch, agent)),
                        Entry::Superseded { .. } | Entry::Late { .. } => {}
                    }
                }
            }
            let mut fragments = Vec::new();
            for row in store.fragments(run).await? {
                let tasks = decode_tasks(&row.record);
                live.fragments.insert(row.fragment, (row.agent, row.epoch));
                live.owner.extend(tasks.iter().map(|task| (*task, row.fragment)));
                fragments.push(StoredFragment {
                    fragment: row.fragment,
                    agent: row.agent,
                    epoch: row.epoch,
                    tasks,
                    former: former.remove(&row.fragment).unwrap_or_default(),
                });
            }
            let owners = fragments.clone();
            let plan = store.run_plan(run).await?;
            let saved = store.saved_states(run).await?;
            for state in &saved {
                access.saved(run, state.path, state.blob().map(|blob| blob.digest));
            }
            let recount = live.recount;
            self.options.board.begin(run, Arc::clone(&live.workflow), live.last_entry);
            self.live.insert(run, live);
            if let Err(error) = self.coordinator.restore(
                Stored {
                    submission,
                    plan,
                    fragments,
                    events,
                    saved,
                },
                clock::now(),
            ) {
                // It ran under the version that stored it. It stays as it is, for that version or an operator.
                tracing::error!(%run, error = %crate::chain(&error), "an unfinished run cannot be taken up");
                self.live.remove(&run);
                self.options.access.end(run);
                continue;
            }
            if let (Some(live), Some(entry)) = (self.live.get_mut(&run), self.coordinator.entry(run)) {
                if recount {
                    live.recount(&entry.run);
                }
                self.options.board.news(run, live.counts(), Vec::new());
                for stored in owners {
                    let readable = |agent| (agent, Readable::of(entry.run.graph(), &entry.inputs, &stored.tasks));
                    self.options.access.assign(run, stored.fragment, stored.agent.map(readable));
                }
            }
            count += 1;
        }
        if count > 0 {
            tracing::info!(runs = count, "took up unfinished runs");
        }
        self.expel_those_who_never_come_back();
        self.moving.extend(store.moving_agents().await?);
        for agent in &self.moving {
            self.coordinator.move_all(*agent);
        }
        Ok(())
    }

    /// An agent was revoked or removed, and the control plane stopped before it took its work away.
    fn expel_those_who_never_come_back(&mut self) {
        let owners = self.coordinator.entries().flat_map(|(_, entry)| entry.agents());
        let gone: BTreeSet<AgentId> = owners.filter(|agent| !self.options.fleet.is_welcome(*agent)).collect();
        for agent in gone {
            self.coordinator.expel(agent, "the agent was revoked or removed", clock::now());
        }
    }
}
