//! Runs that an agent coordinates itself: they are stored as they are told, and nothing of them is decided here.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use eyot_engine::{Graph, Run};
use eyot_model::{AgentId, Event, RunId, RunOutcome, RunState, Timestamp};
use eyot_wire::{OwnRun, Submission, ToAgent};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Runs that ended lately and may not be in the store yet.
const RECENT: usize = 4_096;

/// An unfinished run that an agent coordinates.
pub(crate) struct Foreign {
    agent: AgentId,
    run: Run,
    /// Events that are stored, or on their way to it.
    count: u64,
    cancel: bool,
}

impl Foreign {
    /// Who coordinates it, and the run as far as it was told of.
    pub(crate) fn standing(&self) -> (AgentId, &Run) {
        (self.agent, &self.run)
    }
}

/// Such a run as the store has it, unfinished.
#[derive(Clone, Debug)]
pub struct StoredForeign {
    pub agent: AgentId,
    pub submission: Submission,
    /// In the order of their numbers.
    pub events: Vec<Event>,
    /// Somebody asked for it to stop.
    pub cancelling: bool,
}

#[derive(Default)]
pub(crate) struct ForeignRuns {
    pub(crate) open: BTreeMap<RunId, Foreign>,
    over: BTreeMap<RunId, u64>,
    order: VecDeque<RunId>,
}

impl ForeignRuns {
    fn end(&mut self, run: RunId, count: u64) {
        self.open.remove(&run);
        self.over.insert(run, count);
        self.order.push_back(run);
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.over.remove(&oldest);
        }
    }
}

impl Coordinator {
    /// An agent tells of a run of its own. `granted`: it may coordinate runs of the namespace. `ended`: the store has the
    /// run, ended, with this many events. What is known already changes nothing.
    pub fn own_run(&mut self, agent: AgentId, told: OwnRun, granted: bool, ended: Option<u64>, now: Timestamp) {
        let run = told.run;
        if self.runs.contains_key(&run) {
            let message = "it claims to coordinate a run of the control plane".to_owned();
            self.commands.push_back(Command::Alarm { agent, run, message });
            return self.refuse_own(agent, run, "the control plane coordinates this run".to_owned());
        }
        if let Some(count) = self.foreign.over.get(&run).copied().or(ended) {
            let last = told.first.saturating_add(told.events.len() as u64).saturating_sub(1);
            if last > count {
                // Ended here while its agent was gone. Said to be stored, it would be told again for ever.
                return self.refuse_own(agent, run, "it was ended here before these events of it were told".to_owned());
            }
            return self.stored_own(agent, run, count);
        }
        match self.foreign.open.get(&run) {
            Some(known) if known.agent != agent => {
                let message = "it claims to coordinate a run of another agent".to_owned();
                self.commands.push_back(Command::Alarm { agent, run, message });
                return self.refuse_own(agent, run, "another agent coordinates this run".to_owned());
            }
            Some(_) => {}
            None => {
                let Some(submission) = told.submission else {
                    return self.send_own(agent, ToAgent::OwnRunMissing { run });
                };
                if !granted {
                    let namespace = &submission.workflow.namespace;
                    let why = format!("this agent may not coordinate runs of namespace `{namespace}`; `eyot agents grant` allows it");
                    return self.refuse_own(agent, run, why);
                }
                if submission.run != run {
                    return self.refuse_own(agent, run, "the submission is of another run".to_owned());
                }
                match new_foreign(agent, &submission) {
                    Ok(foreign) => drop(self.foreign.open.insert(run, foreign)),
                    Err(why) => return self.refuse_own(agent, run, why),
                }
                self.commands.push_back(Command::Commit(Change::Foreign {
                    agent,
                    submission: *submission,
                }));
            }
        }
        self.take_events(agent, run, told.first, told.events, now);
    }

    fn take_events(&mut self, agent: AgentId, run: RunId, first: u64, events: Vec<Event>, now: Timestamp) {
        let Some(foreign) = self.foreign.open.get_mut(&run) else { return };
        if first > foreign.count + 1 {
            return self.send_own(agent, ToAgent::OwnRunMissing { run });
        }
        let known = usize::try_from(foreign.count + 1 - first.max(1)).unwrap_or(usize::MAX);
        let mut over = None;
        for event in events.into_iter().skip(known) {
            if let Err(rejected) = foreign.run.replay(&event) {
                let message = format!("an event of its own run was told that cannot be: {rejected}");
                self.commands.push_back(Command::Alarm { agent, run, message });
                return self.refuse_own(agent, run, format!("an event cannot be part of it: {rejected}"));
            }
            foreign.count += 1;
            if let Event::RunEnded { outcome, .. } = &event {
                over = Some(outcome.clone());
            }
            self.commands.push_back(Command::Commit(Change::Event {
                run,
                seq: foreign.count,
                event,
                agent: Some(agent),
            }));
            if over.is_some() {
                break;
            }
        }
        let count = foreign.count;
        if let Some(outcome) = over {
            self.end_foreign(run, count, outcome);
        }
        self.stored_own(agent, run, count);
        let _ = now;
    }

    fn end_foreign(&mut self, run: RunId, count: u64, outcome: RunOutcome) {
        self.foreign.end(run, count);
        let ended = outcome.clone();
        self.commands.push_back(Command::Commit(Change::Ended { run, outcome: ended }));
        self.commands.push_back(Command::Ended { run, outcome });
    }

    /// Asks the agent that coordinates a run to stop it: now, and whenever it comes back. With `gone` there is no such
    /// agent any more, and the run ends here. False if the run is no such run.
    pub fn cancel_foreign(&mut self, run: RunId, by: &str, gone: bool, now: Timestamp) -> bool {
        let Some(foreign) = self.foreign.open.get_mut(&run) else {
            return false;
        };
        let agent = foreign.agent;
        if !gone {
            if !std::mem::replace(&mut foreign.cancel, true) {
                self.commands.push_back(Command::Commit(Change::Cancelling { run }));
            }
            self.send_own(agent, ToAgent::Cancel { run });
            return true;
        }
        let outcome = RunOutcome {
            state: RunState::Cancelled,
            outputs: BTreeMap::new(),
            failure: None,
        };
        let events = [
            Event::CancelRequested {
                by: by.to_owned(),
                at: now,
            },
            Event::RunEnded {
                outcome: outcome.clone(),
                at: now,
            },
        ];
        for event in events {
            foreign.count += 1;
            self.commands.push_back(Command::Commit(Change::Event {
                run,
                seq: foreign.count,
                event,
                agent: None,
            }));
        }
        let count = foreign.count;
        self.end_foreign(run, count, outcome);
        true
    }

    /// The agent that coordinates an unfinished run, where one does.
    #[must_use]
    pub fn foreign_agent(&self, run: RunId) -> Option<AgentId> {
        self.foreign.open.get(&run).map(|foreign| foreign.agent)
    }

    /// An agent is back: how far its unfinished runs are known here, which is less than it was told where this store is an
    /// older one; and what was asked of them meanwhile.
    pub(crate) fn foreign_link_up(&mut self, agent: AgentId) {
        let open = self.foreign.open.iter().filter(|(_, foreign)| foreign.agent == agent);
        let open: Vec<(RunId, u64, bool)> = open.map(|(run, foreign)| (*run, foreign.count, foreign.cancel)).collect();
        for (run, count, cancel) in open {
            self.stored_own(agent, run, count);
            if cancel {
                self.send_own(agent, ToAgent::Cancel { run });
            }
        }
    }

    /// An agent does not have a run of its own any more: its disk lost it. Nobody else can tell how it went on, so it ends.
    pub fn own_run_gone(&mut self, agent: AgentId, run: RunId, now: Timestamp) {
        if self.foreign_agent(run) == Some(agent) {
            let message = "it does not have this run of its own any more; the run is cancelled".to_owned();
            self.commands.push_back(Command::Alarm { agent, run, message });
            self.cancel_foreign(run, "the loss of its agent's records", true, now);
        }
    }

    /// An unfinished run of an agent's own from the store, at start.
    ///
    /// # Errors
    /// When the stored workflow cannot be read by this version.
    pub fn restore_foreign(&mut self, stored: StoredForeign) -> Result<(), String> {
        let mut foreign = new_foreign(stored.agent, &stored.submission)?;
        for event in &stored.events {
            let _ = foreign.run.replay(event);
        }
        foreign.count = stored.events.len() as u64;
        foreign.cancel = stored.cancelling;
        self.foreign.open.insert(stored.submission.run, foreign);
        Ok(())
    }

    fn stored_own(&mut self, agent: AgentId, run: RunId, through: u64) {
        self.send_own(agent, ToAgent::OwnRunStored { run, through });
    }

    fn refuse_own(&mut self, agent: AgentId, run: RunId, why: String) {
        self.send_own(agent, ToAgent::OwnRunRefused { run, why });
    }

    fn send_own(&mut self, agent: AgentId, message: ToAgent) {
        let message = Box::new(message);
        self.commands.push_back(Command::Send { agent, message });
    }
}

fn new_foreign(agent: AgentId, submission: &Submission) -> Result<Foreign, String> {
    let graph = Graph::compile(Arc::clone(&submission.workflow)).map_err(|error| error.to_string())?;
    Ok(Foreign {
        agent,
        run: Run::new(submission.run, Arc::new(graph), &submission.inputs, submission.created_at),
        count: 0,
        cancel: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{Origin, Workflow};

    const AGENT: AgentId = AgentId(7);
    const RUN: RunId = RunId(70);
    const NOW: Timestamp = Timestamp(1_000_000);

    fn submission() -> Submission {
        let workflow = Workflow::new("edge", "w", "1", Vec::new());
        Submission {
            run: RUN,
            workflow: Arc::new(workflow),
            inputs: Arc::default(),
            created_at: NOW,
            origin: Origin::Device { key: None },
        }
    }

    fn asked() -> Event {
        Event::CancelRequested { by: "x".into(), at: NOW }
    }

    fn ended() -> Event {
        Event::RunEnded {
            outcome: RunOutcome {
                state: RunState::Cancelled,
                outputs: BTreeMap::new(),
                failure: None,
            },
            at: NOW,
        }
    }

    fn told(first: u64, events: Vec<Event>, whole: bool) -> OwnRun {
        OwnRun {
            run: RUN,
            submission: whole.then(|| Box::new(submission())),
            first,
            events,
        }
    }

    /// What is committed (by kind) and what is answered.
    fn drain(coordinator: &mut Coordinator) -> (Vec<&'static str>, Vec<ToAgent>) {
        let (mut commits, mut answers) = (Vec::new(), Vec::new());
        while let Some(command) = coordinator.poll_command() {
            match command {
                Command::Commit(Change::Foreign { .. }) => commits.push("run"),
                Command::Commit(Change::Event { .. }) => commits.push("event"),
                Command::Commit(Change::Ended { .. }) => commits.push("end"),
                Command::Commit(Change::Cancelling { .. }) => commits.push("cancelling"),
                Command::Send { message, .. } => answers.push(*message),
                _ => {}
            }
        }
        (commits, answers)
    }

    #[test]
    fn a_run_that_is_told_twice_is_stored_once() {
        let mut coordinator = Coordinator::new();
        coordinator.own_run(AGENT, told(1, vec![asked()], true), true, None, NOW);
        let stored = |through| vec![ToAgent::OwnRunStored { run: RUN, through }];
        assert_eq!(drain(&mut coordinator), (vec!["run", "event"], stored(1)));
        coordinator.own_run(AGENT, told(1, vec![asked(), ended()], true), true, None, NOW);
        assert_eq!(drain(&mut coordinator), (vec!["event", "end"], stored(2)));
        // The acknowledgement was lost, and the store may not have the end yet.
        coordinator.own_run(AGENT, told(1, vec![asked(), ended()], true), true, None, NOW);
        assert_eq!(drain(&mut coordinator), (vec![], stored(2)));
        // After a restart only the store knows.
        let mut later = Coordinator::new();
        later.own_run(AGENT, told(1, vec![asked(), ended()], true), true, Some(2), NOW);
        assert_eq!(drain(&mut later), (vec![], stored(2)));
    }

    #[test]
    fn what_happened_after_it_was_ended_here_is_refused_and_not_asked_for_for_ever() {
        for known in [None, Some(2)] {
            let mut coordinator = Coordinator::new();
            if known.is_none() {
                coordinator.own_run(AGENT, told(1, vec![], true), true, None, NOW);
                coordinator.cancel_foreign(RUN, "x", true, NOW);
                drain(&mut coordinator);
            }
            // What it had told before is stored, and what it did meanwhile never will be.
            coordinator.own_run(AGENT, told(1, vec![asked(), asked()], true), true, known, NOW);
            assert_eq!(drain(&mut coordinator).1, [ToAgent::OwnRunStored { run: RUN, through: 2 }]);
            coordinator.own_run(AGENT, told(1, vec![asked(), asked(), ended()], true), true, known, NOW);
            let (commits, answers) = drain(&mut coordinator);
            assert!(commits.is_empty());
            assert!(matches!(&answers[..], [ToAgent::OwnRunRefused { why, .. }] if why.contains("ended here")));
        }
    }

    #[test]
    fn what_is_not_granted_or_not_its_own_is_refused() {
        let mut coordinator = Coordinator::new();
        coordinator.own_run(AGENT, told(1, vec![], true), false, None, NOW);
        let (commits, answers) = drain(&mut coordinator);
        assert!(commits.is_empty());
        assert!(matches!(&answers[..], [ToAgent::OwnRunRefused { why, .. }] if why.contains("eyot agents grant")));
        coordinator.own_run(AGENT, told(1, vec![], true), true, None, NOW);
        drain(&mut coordinator);
        coordinator.own_run(AgentId(8), told(1, vec![asked()], true), true, None, NOW);
        let (commits, answers) = drain(&mut coordinator);
        assert!(commits.is_empty());
        assert!(matches!(answers[..], [ToAgent::OwnRunRefused { .. }]));
    }

    #[test]
    fn a_gap_is_asked_for_again() {
        let mut coordinator = Coordinator::new();
        coordinator.own_run(AGENT, told(3, vec![asked()], false), true, None, NOW);
        assert_eq!(drain(&mut coordinator).1, [ToAgent::OwnRunMissing { run: RUN }]);
        coordinator.own_run(AGENT, told(1, vec![], true), true, None, NOW);
        drain(&mut coordinator);
        coordinator.own_run(AGENT, told(2, vec![ended()], false), true, None, NOW);
        assert_eq!(drain(&mut coordinator).1, [ToAgent::OwnRunMissing { run: RUN }]);
    }

    #[test]
    fn a_cancel_is_forwarded_and_again_when_the_agent_is_back_and_ends_the_run_where_it_is_gone() {
        let mut coordinator = Coordinator::new();
        coordinator.own_run(AGENT, told(1, vec![], true), true, None, NOW);
        drain(&mut coordinator);
        assert!(coordinator.cancel_foreign(RUN, "x", false, NOW));
        assert_eq!(drain(&mut coordinator), (vec!["cancelling"], vec![ToAgent::Cancel { run: RUN }]));
        coordinator.foreign_link_up(AGENT);
        let known = ToAgent::OwnRunStored { run: RUN, through: 0 };
        assert_eq!(drain(&mut coordinator), (vec![], vec![known, ToAgent::Cancel { run: RUN }]));
        assert!(coordinator.cancel_foreign(RUN, "x", true, NOW));
        assert_eq!(drain(&mut coordinator).0, ["event", "event", "end"]);
        assert!(!coordinator.cancel_foreign(RUN, "x", true, NOW));
    }

    #[test]
    fn a_word_about_a_task_whose_end_nobody_knows_goes_to_the_agent_of_the_run() {
        use crate::Unresolvable;
        use eyot_model::{ComponentRef, Epoch, Failure, FailureKind, LinkState, Outcome, Path, Resolution, Task, TaskIx, Usage};
        let uses = ComponentRef {
            name: "t".into(),
            digest: None,
            size: 1,
        };
        let mut pays = submission();
        Arc::make_mut(&mut pays.workflow).tasks = vec![Task {
            idempotent: false,
            ..Task::new("pay".to_owned(), uses)
        }];
        let (path, attempt, epoch, at) = (Path::task(TaskIx(0)), 1, Epoch(1), NOW);
        let unknown = Failure::new(FailureKind::OutcomeUnknown, "cut off");
        let events = vec![
            Event::Started { path, attempt, epoch, at },
            Event::Ended {
                path,
                attempt,
                epoch,
                at,
                outcome: Outcome::Failed(unknown),
                usage: Usage::default(),
                retry_at: None,
            },
        ];
        let mut coordinator = Coordinator::new();
        let told = OwnRun {
            run: RUN,
            submission: Some(Box::new(pays)),
            first: 1,
            events,
        };
        coordinator.own_run(AGENT, told, true, None, NOW);
        drain(&mut coordinator);
        let say = |coordinator: &mut Coordinator| coordinator.resolve(RUN, TaskIx(0), None, Resolution::Retry, "somebody");
        coordinator.link_changed(AGENT, LinkState::Disconnected, NOW);
        assert_eq!(say(&mut coordinator), Err(Unresolvable::Away(AGENT)));
        coordinator.link_changed(AGENT, LinkState::Connected, NOW);
        drain(&mut coordinator);
        assert_eq!(say(&mut coordinator), Ok(()));
        let word = ToAgent::Resolve {
            run: RUN,
            path,
            attempt,
            resolution: Resolution::Retry,
            by: "somebody".into(),
        };
        assert_eq!(drain(&mut coordinator).1, [word]);
    }

    #[test]
    fn a_run_that_its_agent_does_not_have_any_more_ends() {
        let mut coordinator = Coordinator::new();
        coordinator.own_run(AGENT, told(1, vec![asked()], true), true, None, NOW);
        drain(&mut coordinator);
        coordinator.own_run_gone(AgentId(8), RUN, NOW);
        assert_eq!(drain(&mut coordinator), (vec![], vec![]), "another agent has no say in it");
        coordinator.own_run_gone(AGENT, RUN, NOW);
        assert_eq!(drain(&mut coordinator).0, ["event", "event", "end"]);
        coordinator.own_run_gone(AGENT, RUN, NOW);
        assert_eq!(drain(&mut coordinator), (vec![], vec![]), "it has ended");
    }
}
