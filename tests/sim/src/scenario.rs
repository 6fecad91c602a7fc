//! Workflows for the simulation: random ones, and those that a named scenario writes down.

use crate::random::{Random, hash};
use crate::task::{Habit, Nature};
use eyot_model::{
    AgentId, ComponentRef, Digest, Expr, ForEach, Fragment, FragmentId, InputDecl, Inputs, ItemFailure, Jitter, Millis, OnDisconnect,
    OnFailure, Path, Plan, RetryPolicy, Task, TaskIx, Template, TriggerRule, Value, ValueType, Workflow,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A run to be.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub workflow: Arc<Workflow>,
    pub inputs: Arc<Inputs>,
    /// How each task behaves.
    pub habits: Vec<Habit>,
    /// The agent that each task is placed on; None: wherever the plan likes.
    pub homes: Vec<Option<AgentId>>,
}

/// A task of a scenario that is written down.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: &'static str,
    /// Earlier steps, by index; all of them have to succeed, and their outputs are its inputs.
    pub needs: Vec<u32>,
    pub home: Option<AgentId>,
    pub habit: Habit,
    pub idempotent: bool,
    pub max_attempts: u32,
}

impl Step {
    /// Succeeds, in 20 ms, wherever it is placed.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            needs: Vec::new(),
            home: None,
            habit: Habit {
                nature: Some(Nature::Succeeds),
                takes: (20_000, 20_000),
                blob: false,
                saves: false,
            },
            idempotent: true,
            max_attempts: 20,
        }
    }

    #[must_use]
    pub fn after(mut self, need: u32) -> Self {
        self.needs.push(need);
        self
    }

    #[must_use]
    pub fn on(mut self, agent: u128) -> Self {
        self.home = Some(AgentId(agent));
        self
    }

    /// Takes this long, in milliseconds.
    #[must_use]
    pub fn takes(mut self, millis: u64) -> Self {
        self.habit.takes = (millis * 1_000, millis * 1_000);
        self
    }
}

impl Scenario {
    /// A workflow that is written down.
    #[must_use]
    pub fn scripted(on_disconnect: OnDisconnect, steps: &[Step]) -> Self {
        let tasks = steps.iter().map(|step| {
            let with = step.needs.iter().map(|need| {
                let name = steps[*need as usize].name;
                (format!("from-{name}"), Template::Expr(expr(&format!("tasks.{name}.outputs"))))
            });
            Task {
                name: step.name.to_owned(),
                needs: step.needs.iter().map(|n| TaskIx(*n)).collect(),
                with: with.collect(),
                retry: retry(step.max_attempts, 10),
                idempotent: step.idempotent,
                ..plain_task()
            }
        });
        let mut workflow = plain_workflow(tasks.collect());
        workflow.on_disconnect = on_disconnect;
        Self {
            seed: 1,
            workflow: Arc::new(workflow),
            inputs: Arc::new(Inputs::from([("n".into(), Value::Int(1))])),
            habits: steps.iter().map(|step| step.habit).collect(),
            homes: steps.iter().map(|step| step.home).collect(),
        }
    }

    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut r = Random::new(seed);
        let count = r.between(1, 10);
        let mut tasks: Vec<Task> = Vec::new();
        let mut habits = Vec::new();
        for i in 0..count {
            let mut task = random_task(&mut r, u32::try_from(i).unwrap_or(0), &tasks);
            let mut habit = Habit {
                blob: r.chance(25),
                saves: r.chance(20),
                ..Habit::default()
            };
            if r.chance(4) {
                habit.nature = Some(Nature::Kills { power: r.chance(30) });
                habit.takes = (30_000, 150_000);
                task.retry.max_attempts = 3;
            }
            task.idempotent = habit.nature.is_some() || !r.chance(12);
            tasks.push(task);
            habits.push(habit);
        }
        let mut workflow = plain_workflow(tasks);
        workflow.on_failure = if r.chance(15) { OnFailure::Ignore } else { OnFailure::Finish };
        workflow.on_disconnect = policy(&mut r, workflow.tasks.iter().all(|t| t.idempotent));
        workflow.max_parallel = r.chance(30).then(|| u32::try_from(r.between(1, 3)).unwrap_or(1));
        let inputs = Inputs::from([("n".into(), Value::Int(i64::try_from(r.below(4)).unwrap_or(0)))]);
        Self {
            seed,
            homes: vec![None; habits.len()],
            workflow: Arc::new(workflow),
            inputs: Arc::new(inputs),
            habits,
        }
    }

    #[must_use]
    pub fn habit(&self, task: TaskIx) -> Habit {
        self.habits[task.index()]
    }

    #[must_use]
    pub fn nature(&self, path: Path) -> Nature {
        self.habit(path.task).nature(self.seed, path)
    }

    /// A plan over `agents`, one fragment for each: another one for each `salt`, as a planner's is with each state of the
    /// fleet. None where there is nobody.
    #[must_use]
    pub fn plan(&self, agents: &[AgentId], salt: u64) -> Option<Plan> {
        let mut fragments: BTreeMap<AgentId, Vec<TaskIx>> = BTreeMap::new();
        for (ix, home) in (0u32..).zip(&self.homes) {
            let any = hash(&[self.seed, 3, salt, u64::from(ix)]) % (agents.len() as u64).max(1);
            let agent = home.or_else(|| agents.get(usize::try_from(any).unwrap_or(0)).copied())?;
            fragments.entry(agent).or_default().push(TaskIx(ix));
        }
        let fragments = (0u32..).zip(fragments).map(|(id, (agent, tasks))| Fragment {
            id: FragmentId(id),
            agent,
            tasks,
            start: Millis(0),
            finish: Millis(0),
            transfers: Vec::new(),
        });
        Some(Plan {
            fragments: fragments.collect(),
            ..Plan::default()
        })
    }
}

/// What happens while an agent is out of contact. Work that must not be done twice pauses before it is given away, as the
/// language asks for.
fn policy(r: &mut Random, idempotent: bool) -> OnDisconnect {
    let pause = r.chance(40).then(|| r.between(50, 500));
    let given_away = (idempotent || pause.is_some()) && r.chance(50);
    let reassign_after = given_away.then(|| match pause {
        Some(pause) => Millis(pause + 100 + r.below(500)),
        None => Millis(r.between(50, 1_200)),
    });
    OnDisconnect {
        pause_after: pause.map(Millis),
        reassign_after,
        accept_late: given_away && r.chance(30),
    }
}

fn plain_workflow(tasks: Vec<Task>) -> Workflow {
    Workflow {
        inputs: BTreeMap::from([(
            "n".into(),
            InputDecl {
                value_type: ValueType::Integer,
                default: None,
                description: None,
            },
        )]),
        on_failure: OnFailure::Finish,
        ..Workflow::new("sim", "w", "1", tasks)
    }
}

fn plain_task() -> Task {
    Task {
        retry: retry(200, 10),
        trigger_rule: TriggerRule::AllSuccess,
        ..Task::new(
            String::new(),
            ComponentRef {
                name: "sim".into(),
                digest: Some(Digest::of(b"sim")),
                size: 1,
            },
        )
    }
}

fn retry(max_attempts: u32, initial_millis: u64) -> RetryPolicy {
    RetryPolicy {
        max_attempts,
        initial_interval: Millis(initial_millis),
        factor: 1.1,
        max_interval: Millis(200),
        jitter: Jitter::Full,
        when: None,
    }
}

fn random_task(r: &mut Random, index: u32, before: &[Task]) -> Task {
    let mut needs = BTreeSet::new();
    if index > 0 {
        for _ in 0..r.below(3) {
            needs.insert(TaskIx(u32::try_from(r.below(u64::from(index))).unwrap_or(0)));
        }
    }
    let rules = [
        TriggerRule::AllSuccess,
        TriggerRule::AllFailed,
        TriggerRule::AllDone,
        TriggerRule::AllSkipped,
        TriggerRule::OneSuccess,
        TriggerRule::OneFailed,
        TriggerRule::NoneFailed,
        TriggerRule::NoneFailedMinOneSuccess,
    ];
    let trigger_rule = if r.chance(60) {
        TriggerRule::AllSuccess
    } else {
        rules[usize::try_from(r.below(rules.len() as u64)).unwrap_or(0)]
    };
    // Outputs may be named only where every task before has some.
    let source = needs
        .iter()
        .next()
        .filter(|_| trigger_rule == TriggerRule::AllSuccess)
        .map(|t| &before[t.index()]);
    let mut with = BTreeMap::new();
    let mut when = None;
    let mut items = Template::Expr(expr("range(inputs.n)"));
    if let Some(source) = source {
        let path = format!("tasks.{}.outputs", source.name);
        with.insert("from".to_owned(), Template::Expr(expr(&path)));
        if source.for_each.is_none() {
            items = Template::Expr(expr(&format!("{path}.list")));
            when = r.chance(25).then(|| expr(&format!("{path}.n > 1")));
        } else {
            items = Template::Expr(expr(&path));
        }
    }
    let for_each = r.chance(30).then(|| ForEach {
        items,
        name: "it".into(),
        max_parallel: r.chance(40).then_some(2),
        item_failure: if r.chance(50) { ItemFailure::Continue } else { ItemFailure::Fail },
    });
    if for_each.is_some() {
        with.insert("item".to_owned(), Template::Expr(expr("it")));
    }
    Task {
        name: format!("t{index}"),
        needs,
        when,
        with,
        for_each,
        retry: retry(200, r.between(1, 50)),
        trigger_rule,
        ..plain_task()
    }
}

fn expr(source: &str) -> Expr {
    Expr { source: source.to_owned() }
}
