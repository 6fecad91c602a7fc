//! Histories of whole runs: small workflows, driven by hand or at random.

mod ending;
mod replay;
mod resolving;
mod rewinding;
mod yielding;

use crate::{Command, Graph, Run};
use eyot_model::{
    ComponentRef, Digest, Epoch, Event, Expr, ForEach, Inputs, ItemFailure, Jitter, Millis, OnFailure, Outcome, Outputs, Path, RetryPolicy,
    RunId, RunState, State, Task, TaskIx, Template, Timestamp, TriggerRule, Usage, Value, Workflow,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub(super) fn task(name: &str, needs: &[u32]) -> Task {
    let names = ["a", "b", "c", "d", "e", "f"];
    let with = needs.iter().map(|need| {
        let name = names[*need as usize];
        let source = format!("tasks.{name}.outputs");
        (name.to_owned(), Template::Expr(Expr { source }))
    });
    Task {
        needs: needs.iter().map(|n| TaskIx(*n)).collect(),
        with: with.collect(),
        retry: RetryPolicy {
            max_attempts: 2,
            initial_interval: Millis(1),
            factor: 1.0,
            max_interval: Millis(1),
            jitter: Jitter::None,
            when: None,
        },
        trigger_rule: TriggerRule::NoneFailedMinOneSuccess,
        ..Task::new(
            name.to_owned(),
            ComponentRef {
                name: "t".into(),
                digest: Some(Digest::of(b"t")),
                size: 1,
            },
        )
    }
}

pub(super) fn each(name: &str, needs: &[u32], items: &str) -> Task {
    Task {
        for_each: Some(ForEach {
            items: Template::Expr(Expr { source: items.to_owned() }),
            name: "it".into(),
            max_parallel: Some(2),
            item_failure: ItemFailure::Fail,
        }),
        ..task(name, needs)
    }
}

pub(super) fn must_not_repeat(task: Task) -> Task {
    Task { idempotent: false, ..task }
}

pub(super) fn graph(tasks: Vec<Task>) -> Arc<Graph> {
    let workflow = Workflow {
        on_failure: OnFailure::Finish,
        ..Workflow::new("n", "w", "1", tasks)
    };
    Arc::new(Graph::compile(Arc::new(workflow)).expect("the graph is right"))
}

/// A run that owns everything, with the journal of its events and the instances that it handed out.
pub(super) struct House {
    pub(super) run: Run,
    pub(super) graph: Arc<Graph>,
    pub(super) journal: Vec<Event>,
    pub(super) ready: VecDeque<Path>,
    pub(super) stopped: BTreeSet<(Path, u32)>,
    pub(super) now: Timestamp,
}

pub(super) fn blank(graph: &Arc<Graph>) -> Run {
    Run::new(RunId(1), Arc::clone(graph), &Inputs::new(), Timestamp(0))
}

impl House {
    pub(super) fn new(tasks: Vec<Task>) -> Self {
        let graph = graph(tasks);
        let mut house = Self {
            run: blank(&graph),
            graph,
            journal: Vec::new(),
            ready: VecDeque::new(),
            stopped: BTreeSet::new(),
            now: Timestamp(1),
        };
        house.take_over();
        house
    }

    pub(super) fn all(&self) -> Vec<TaskIx> {
        (0u32..).map(TaskIx).zip(self.run.tasks()).map(|(ix, _)| ix).collect()
    }

    fn take_over(&mut self) {
        self.run.coordinate();
        let all = self.all();
        self.run.own(all, Epoch(1));
        self.run.resume(self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(command) = self.run.poll_command() {
            match command {
                Command::Append(event) => self.journal.push(event),
                Command::Ready(path) => self.ready.push_back(path),
                Command::Stop { path, attempt } => drop(self.stopped.insert((path, attempt))),
                Command::Finished(_) => {}
            }
        }
    }

    /// The process dies and comes back with its journal.
    pub(super) fn crash(&mut self) {
        self.run = blank(&self.graph);
        for event in &self.journal {
            self.run.replay(event).expect("what was written can be replayed");
        }
        self.ready.clear();
        self.stopped.clear();
        self.take_over();
    }

    /// Begins the next ready instance; its attempt.
    pub(super) fn begin(&mut self) -> Option<(Path, u32)> {
        while let Some(path) = self.ready.pop_front() {
            let admitted = self.run.admit(path, self.now);
            self.drain();
            if let Some(admitted) = admitted {
                return Some((path, admitted.id.attempt));
            }
        }
        None
    }

    pub(super) fn end(&mut self, path: Path, attempt: u32, outcome: Outcome) {
        self.now.0 += 1;
        self.run
            .attempt_ended(path, attempt, outcome, Usage::default(), self.now)
            .expect("the instance exists");
        self.drain();
    }

    pub(super) fn succeed(&mut self, name: &str) {
        let (path, attempt) = self.begin().expect("something is ready");
        assert_eq!(self.graph.workflow.task(path.task).name, name);
        self.end(path, attempt, good(path));
    }

    pub(super) fn state(&self, task: u32) -> State {
        self.run.tasks()[task as usize].own.state
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now.0 += millis * 1_000;
        self.run.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn ended(&self) -> Option<RunState> {
        self.run.outcome().map(|outcome| outcome.state)
    }
}

pub(super) fn good(path: Path) -> Outcome {
    Outcome::Succeeded(Outputs::from([
        ("n".to_owned(), Value::Int(i64::from(path.task.0))),
        ("list".to_owned(), Value::List((0..3).map(Value::Int).collect())),
    ]))
}
