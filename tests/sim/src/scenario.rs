//! Random workflows, and what their tasks do.

use crate::random::{Random, hash};
use eyot_model::{
    AgentId, ComponentRef, Digest, Expr, Failure, FailureKind, ForEach, Fragment, FragmentId, InputDecl, Inputs, ItemFailure, Jitter,
    Millis, OnDisconnect, OnFailure, Outcome, Outputs, Path, Placement, Plan, Resources, Retention, RetryPolicy, Task, TaskIx, Template,
    TriggerRule, Value, ValueType, Workflow,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A run to be.
#[derive(Clone)]
pub struct Scenario {
    pub seed: u64,
    pub workflow: Arc<Workflow>,
    pub inputs: Arc<Inputs>,
    pub plan: Plan,
}

/// Which way a task instance goes: a function of its path alone, so that neither retries nor crashes change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Succeeds,
    /// Fails retryably this many times, then succeeds.
    SucceedsAfter(u32),
    Fails,
}

impl Scenario {
    #[must_use]
    pub fn random(seed: u64, agents: &[AgentId]) -> Self {
        let mut r = Random::new(seed);
        let count = r.between(1, 10);
        let mut tasks: Vec<Task> = Vec::new();
        for i in 0..count {
            tasks.push(random_task(&mut r, u32::try_from(i).unwrap_or(0), &tasks));
        }
        let mut fragments: BTreeMap<AgentId, Vec<TaskIx>> = BTreeMap::new();
        for i in 0..tasks.len() {
            let agent = agents[usize::try_from(r.below(agents.len() as u64)).unwrap_or(0)];
            fragments.entry(agent).or_default().push(TaskIx(u32::try_from(i).unwrap_or(0)));
        }
        let fragments = (0u32..).zip(fragments).map(|(id, (agent, tasks))| Fragment {
            id: FragmentId(id),
            agent,
            tasks,
            start: Millis(0),
            finish: Millis(0),
            transfers: Vec::new(),
        });
        let workflow = Workflow {
            namespace: "sim".into(),
            name: "w".into(),
            version: "1".into(),
            inputs: BTreeMap::from([(
                "n".into(),
                InputDecl {
                    value_type: ValueType::Integer,
                    default: None,
                    description: None,
                },
            )]),
            tasks,
            outputs: BTreeMap::new(),
            on_disconnect: OnDisconnect::default(),
            on_failure: if r.chance(15) { OnFailure::Ignore } else { OnFailure::Finish },
            max_parallel: r.chance(30).then(|| u32::try_from(r.between(1, 3)).unwrap_or(1)),
            deadline: None,
            retention: Retention::default(),
            triggers: Vec::new(),
        };
        let plan = Plan {
            fragments: fragments.collect(),
            ..Plan::default()
        };
        let inputs = Inputs::from([("n".into(), Value::Int(i64::try_from(r.below(4)).unwrap_or(0)))]);
        Self {
            seed,
            workflow: Arc::new(workflow),
            inputs: Arc::new(inputs),
            plan,
        }
    }

    #[must_use]
    pub fn nature(&self, path: Path) -> Nature {
        match hash(&[self.seed, 1, u64::from(path.task.0), path.item.map_or(99, u64::from)]) % 10 {
            0 => Nature::Fails,
            1 => Nature::SucceedsAfter(1),
            2 => Nature::SucceedsAfter(2),
            _ => Nature::Succeeds,
        }
    }

    /// What an attempt comes to. `inputs` flow into the outputs, so that a wrong hand-over shows.
    #[must_use]
    pub fn outcome(&self, path: Path, attempt: u32, inputs: &Inputs) -> Outcome {
        let failure = |kind| Outcome::Failed(Failure::new(kind, "as its nature is"));
        match self.nature(path) {
            Nature::Fails => failure(FailureKind::Permanent),
            Nature::SucceedsAfter(n) if attempt <= n => failure(FailureKind::Retryable),
            Nature::Succeeds | Nature::SucceedsAfter(_) => Outcome::Succeeded(self.outputs(path, inputs)),
        }
    }

    #[must_use]
    pub fn outputs(&self, path: Path, inputs: &Inputs) -> Outputs {
        let given = serde_json::to_string(&Value::Map(inputs.clone()).to_json()).unwrap_or_default();
        let n = hash(&[
            self.seed,
            2,
            u64::from(path.task.0),
            path.item.map_or(99, u64::from),
            fingerprint(&given),
        ]) % 5;
        let n = i64::try_from(n).unwrap_or(0);
        Outputs::from([
            ("n".into(), Value::Int(n)),
            ("list".into(), Value::List((0..n).map(Value::Int).collect())),
        ])
    }
}

fn fingerprint(text: &str) -> u64 {
    u64::from_le_bytes(Digest::of(text.as_bytes()).0[..8].try_into().unwrap_or_default())
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
        uses: ComponentRef {
            name: "sim".into(),
            digest: Some(Digest::of(b"sim")),
            size: 1,
        },
        needs,
        when,
        with,
        for_each,
        retry: RetryPolicy {
            max_attempts: 200,
            initial_interval: Millis(r.between(1, 50)),
            factor: 1.1,
            max_interval: Millis(200),
            jitter: Jitter::Full,
            when: None,
        },
        timeout: None,
        cpu_limit: None,
        queue_timeout: None,
        trigger_rule,
        resources: Resources::default(),
        placement: Placement::default(),
        grants: BTreeSet::new(),
        idempotent: true,
    }
}

fn expr(source: &str) -> Expr {
    Expr { source: source.to_owned() }
}
