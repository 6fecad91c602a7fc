//! From the coordinator's commands to what is stored and sent.

use super::carrier::{Effect, Step};
use super::live::Live;
use super::{Conductor, INLINE_PLAN, Input, Unplaced};
use crate::clock;
use crate::store::{Change, Entry, Guard};
use eyot_coordinator::{Change as Wanted, Command};
use eyot_model::{AgentId, Event, Outcome, Plan, RunId, RunOutcome, RunState};
use eyot_wire::ToAgent;
use std::collections::hash_map;
use std::sync::Arc;

impl Conductor {
    /// Takes every command that waits.
    pub(super) fn translate(&mut self, step: &mut Step) {
        while let Some(command) = self.coordinator.poll_command() {
            match command {
                Command::Commit(change) => self.want(change, step),
                Command::Send { agent, message } => {
                    if let ToAgent::OwnRunRefused { run, why } = &*message {
                        tracing::warn!(%agent, %run, why, "a run of an agent's own is not taken");
                    }
                    step.effects.push(Effect::Send { agent, message });
                }
                Command::Plan { run } => self.plan(run, step),
                Command::Replan { run, fragment, exclude } => self.replan(run, fragment, &exclude),
                Command::Ended { run, .. } => step.effects.push(Effect::Ended(run)),
                Command::Alarm { agent, run, message } => {
                    metrics::counter!("eyot_alarms_total").increment(1);
                    tracing::error!(%agent, %run, message, "alarm");
                }
            }
        }
        for (run, live) in self.live.iter_mut().filter(|(_, live)| live.recount) {
            if let Some(entry) = self.coordinator.entry(*run) {
                live.recount(&entry.run);
                step.effects.push(Effect::News {
                    run: *run,
                    counts: live.counts(),
                    entries: Vec::new(),
                });
            }
        }
    }

    fn want(&mut self, change: Wanted, step: &mut Step) {
        match change {
            Wanted::Event { run, event, agent, .. } => self.event(run, event, agent, step),
            Wanted::Planned { run, plan } => {
                step.changes.push(Change::SetPlan { run, plan: Arc::new(plan) });
                self.set_state(run, RunState::Running, None, step);
            }
            Wanted::Assigned {
                run,
                fragment,
                agent,
                epoch,
                tasks,
                why,
            } => self.owned(run, fragment, epoch, Some((agent, tasks)), why, step),
            Wanted::Fenced { run, fragment, epoch, why } => self.owned(run, fragment, epoch, None, Some(why), step),
            Wanted::Late {
                run,
                fragment,
                epoch,
                agent,
                event,
            } => self.late(run, fragment, epoch, agent, event, step),
            Wanted::Waiting { run, why } => {
                let state = self.live.get(&run).map(|live| live.state);
                self.set_state(run, state.unwrap_or(RunState::Running), why, step);
            }
            Wanted::Saved { run, state } => {
                step.effects.push(Effect::Saved {
                    run,
                    path: state.path,
                    state: state.blob().map(|blob| blob.digest),
                });
                step.changes.push(Change::PutSaved { run, state });
            }
            Wanted::Unsaved { run, path } => {
                step.effects.push(Effect::Saved { run, path, state: None });
                step.changes.push(Change::DropSaved { run, path });
            }
            Wanted::Heard { agent, through } => step.changes.push(Change::SetCommitted { agent, through }),
            Wanted::Ended { run, outcome } => self.ended(run, outcome, step),
            Wanted::Foreign { agent, submission } => self.foreign(agent, submission, step),
            Wanted::RecordsLost { agent } => {
                step.changes.push(Change::DeploymentsUnconfirmed(agent));
                step.effects.push(Effect::Redeploy(agent));
            }
            Wanted::Cancelling { run } => self.set_state(run, RunState::Cancelling, None, step),
        }
    }

    fn event(&mut self, run: RunId, event: Event, agent: Option<AgentId>, step: &mut Step) {
        let Some(live) = self.live.get_mut(&run) else { return };
        live.count(&event);
        if let Event::RunEnded { at, .. } = &event {
            live.ended_at = Some(*at);
        }
        metrics::counter!("eyot_events_total", "kind" => kind(&event)).increment(1);
        if let Some(agent) = agent {
            if let Event::Started { path, epoch, .. } | Event::Ended { path, epoch, .. } = &event
                && let Some((fragment, _)) = live.epoch_of(path.task).filter(|(_, current)| current == epoch)
            {
                step.guards.push(Guard::EpochHolds {
                    run,
                    fragment,
                    epoch: *epoch,
                });
            }
            self.options.planning.learn(&live.workflow, &event, agent);
        }
        let mut withheld = Vec::new();
        if let Some((task, blobs)) = crate::access::results(&event) {
            if let Some(agent) = agent {
                // What is not here there is no right to; whoever brings it later has it.
                let (access, here) = (&self.options.access, &self.options.blobs);
                let unproven = blobs
                    .iter()
                    .filter(|digest| !access.may_name(agent, digest) && here.contains(digest));
                withheld.extend(unproven.copied());
            }
            if let (Some(digest), Some(agent)) = (withheld.first(), agent) {
                tracing::warn!(%run, %agent, %digest, "a result names a blob that its agent did not show to have: nobody may read it by that");
            }
            step.effects.push(Effect::Result {
                run,
                task,
                blobs,
                withheld: withheld.clone(),
                from: agent,
            });
        }
        let cancels = matches!(event, Event::CancelRequested { .. });
        push_entry(live, run, Entry::Event { event, agent, withheld }, step);
        if cancels {
            self.set_state(run, RunState::Cancelling, None, step);
        }
    }

    fn ended(&mut self, run: RunId, outcome: RunOutcome, step: &mut Step) {
        let Some(live) = self.live.remove(&run) else { return };
        let at = clock::now();
        let keep = if outcome.state == RunState::Succeeded {
            live.workflow.retention.succeeded.unwrap_or(self.options.keep_succeeded)
        } else {
            live.workflow.retention.failed.unwrap_or(self.options.keep_failed)
        };
        tracing::info!(%run, state = %outcome.state, "run ended");
        let counts = live.counts();
        step.changes.push(Change::EndRun {
            run,
            outcome: Box::new(outcome),
            counts,
            // Agents tell of runs of their own when those are long over.
            at: live.ended_at.unwrap_or(at),
            expires_at: at.after(keep),
        });
        step.assigns = true;
    }

    pub(super) fn set_state(&mut self, run: RunId, state: RunState, waiting_for: Option<String>, step: &mut Step) {
        let Some(live) = self.live.get_mut(&run) else { return };
        if live.state == state && live.waiting_for == waiting_for {
            return;
        }
        live.state = state;
        live.waiting_for.clone_from(&waiting_for);
        step.changes.push(Change::SetRunState { run, state, waiting_for });
        step.effects.push(Effect::News {
            run,
            counts: live.counts(),
            entries: Vec::new(),
        });
    }

    /// Plans at once if that is quick, and beside the loop if it is not.
    pub(super) fn plan(&mut self, run: RunId, step: &mut Step) {
        let Some(entry) = self.coordinator.entry(run) else { return };
        let (workflow, inputs) = (Arc::clone(&entry.workflow), Arc::clone(&entry.inputs));
        let fleet = self.options.fleet.snapshot();
        if workflow.tasks.len() <= INLINE_PLAN {
            let outcome = self.options.planning.plan(run, &workflow, &inputs, &fleet);
            self.planned(run, outcome, step);
            return;
        }
        match self.planning.entry(run) {
            hash_map::Entry::Occupied(mut planned) => {
                // It is being planned. Whatever changed since is looked at if that plan fails.
                planned.insert(true);
                return;
            }
            hash_map::Entry::Vacant(unplanned) => _ = unplanned.insert(false),
        }
        if self
            .live
            .get(&run)
            .is_some_and(|live| live.last_entry == 0 && live.fragments.is_empty())
        {
            let waiting_for = Some("the plan is being made".to_owned());
            self.set_state(run, RunState::Pending, waiting_for, step);
        }
        let (planning, own) = (Arc::clone(&self.options.planning), self.own.clone());
        self.planners.spawn(async move {
            let made = tokio::task::spawn_blocking(move || planning.plan(run, &workflow, &inputs, &fleet)).await;
            let outcome = made.unwrap_or_else(|error| {
                Err(Unplaced {
                    why: format!("planning failed: {error}"),
                    unplaceable: Vec::new(),
                    waits: true,
                })
            });
            if let Some(own) = own.upgrade() {
                let _ = own.send(Input::Planned { run, outcome }).await;
            }
        });
    }

    pub(super) fn planned(&mut self, run: RunId, outcome: Result<Plan, Unplaced>, step: &mut Step) {
        match outcome {
            Ok(plan) => self.coordinator.planned(run, plan, clock::now()),
            Err(unplaced) => {
                self.coordinator.unplaceable(run, unplaced.why.clone());
                self.set_state(run, RunState::Pending, Some(unplaced.why), step);
            }
        }
    }
}

/// Numbers an entry, and says that it is news.
pub(super) fn push_entry(live: &mut Live, run: RunId, entry: Entry, step: &mut Step) {
    let seq = live.last_entry + 1;
    step.guards.push(Guard::LastEntry { run, seq: live.last_entry });
    live.last_entry = seq;
    let entry = Arc::new(entry);
    let told = (seq, Arc::clone(&entry));
    match step.changes.last_mut() {
        Some(Change::AppendEntries { run: last, entries, .. }) if *last == run => entries.push(entry),
        _ => step.changes.push(Change::AppendEntries {
            run,
            first: seq,
            entries: vec![entry],
        }),
    }
    let counts = live.counts();
    match step.effects.last_mut() {
        Some(Effect::News {
            run: last,
            counts: known,
            entries,
        }) if *last == run => {
            *known = counts;
            entries.push(told);
        }
        _ => step.effects.push(Effect::News {
            run,
            counts,
            entries: vec![told],
        }),
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Started { .. } => "started",
        Event::Ended { retry_at: Some(_), .. } => "retrying",
        Event::Ended {
            outcome: Outcome::Succeeded(_),
            ..
        } => "succeeded",
        Event::Ended { .. } | Event::Failed { .. } => "failed",
        Event::Skipped { .. } => "skipped",
        Event::UpstreamFailed { .. } => "upstream-failed",
        Event::Expanded { .. } => "expanded",
        Event::Cancelled { .. } => "cancelled",
        Event::CancelRequested { .. } => "cancel-requested",
        Event::RunEnded { .. } => "run-ended",
        Event::Yielded { .. } => "yielded",
        Event::Resolved { .. } => "resolved",
        Event::Rewound { .. } => "rewound",
    }
}
