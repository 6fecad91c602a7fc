//! The reference: what every task of a scenario comes to, worked out in one pass over the graph, without events,
//! epochs, agents or time.

use crate::scenario::Scenario;
use crate::task::{Nature, outputs};
use eyot_engine::{Upstream, Verdict, verdict};
use eyot_expr::{CompiledTemplate, Program, Scope};
use eyot_model::{Inputs, ItemFailure, OnFailure, Path, RunState, State, TaskIx, TriggerRule, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Terminal state of each task, and of each item of the expanded ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    pub tasks: BTreeMap<(TaskIx, Option<u32>), State>,
    pub run: Option<RunState>,
    /// What expressions see of each task.
    values: BTreeMap<String, Value>,
}

/// What had ended before a task ran anew of which it had consumed the result: that it was so, whatever comes of the task then.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    pub ended: BTreeSet<TaskIx>,
    /// As if the tasks that ran anew had not.
    pub expected: Expected,
}

/// `forced` are instances whose way was not theirs to choose, such as an outside effect that was cut off. `overtaken`
/// are those that ended like this whatever else would have become of them: their run was stopped, or what they need was lost
/// and must not be made again.
///
/// # Panics
/// When the scenario itself is wrong.
#[must_use]
pub fn expect(
    scenario: &Scenario,
    forced: &BTreeMap<Path, State>,
    overtaken: &BTreeMap<Path, State>,
    earlier: Option<&Earlier>,
) -> Expected {
    let mut expected = Expected::default();
    let inputs = Value::Map((*scenario.inputs).clone());
    for (ix, task) in (0u32..).map(TaskIx).zip(&scenario.workflow.tasks) {
        if let Some(earlier) = earlier.filter(|earlier| earlier.ended.contains(&ix)) {
            expected.take(ix, &task.name, &earlier.expected);
            continue;
        }
        let mut up = Upstream {
            total: u32::try_from(task.needs.len()).unwrap_or(0),
            ..Upstream::default()
        };
        for need in &task.needs {
            up.count(expected.tasks[&(*need, None)]);
        }
        let mut scope = Scope::new();
        scope.bind("inputs", inputs.clone());
        scope.bind("tasks", Value::Map(expected.values.clone()));
        let mut outputs = None;
        let state = match verdict(task.trigger_rule, &up) {
            _ if overtaken.contains_key(&Path::task(ix)) => overtaken[&Path::task(ix)],
            Verdict::Wait => panic!("a rule waits although everything has ended"),
            Verdict::Skip => State::Skipped,
            Verdict::UpstreamFailed => State::UpstreamFailed,
            Verdict::Run => {
                let wanted = task.when.as_ref().is_none_or(|e| evaluate(&e.source, &scope) == Value::Bool(true));
                if !wanted {
                    State::Skipped
                } else if let Some(each) = &task.for_each {
                    let Value::List(items) = render(&each.items, &scope) else {
                        panic!("items are not a list")
                    };
                    let mut list = Vec::new();
                    let mut failed = 0;
                    for (i, item) in (0u32..).zip(&items) {
                        scope.bind(&each.name, item.clone());
                        let (state, out) = run_instance(scenario, forced, Path::item(ix, i), &task.with, &scope);
                        failed += usize::from(state == State::Failed);
                        expected.tasks.insert((ix, Some(i)), state);
                        list.push(out.unwrap_or(Value::Null));
                    }
                    let tolerant = each.item_failure == ItemFailure::Continue && failed < items.len();
                    if failed > 0 && !tolerant {
                        State::Failed
                    } else {
                        outputs = Some(Value::List(list));
                        State::Succeeded
                    }
                } else {
                    let (state, out) = run_instance(scenario, forced, Path::task(ix), &task.with, &scope);
                    outputs = out;
                    state
                }
            }
        };
        expected.tasks.insert((ix, None), state);
        let mut value = BTreeMap::from([("state".to_owned(), Value::from(state.as_str()))]);
        value.extend(outputs.map(|o| ("outputs".to_owned(), o)));
        expected.values.insert(task.name.clone(), Value::Map(value));
    }
    expected.run = Some(run_state(scenario, &expected));
    expected
}

impl Expected {
    fn take(&mut self, task: TaskIx, name: &str, other: &Self) {
        let ends = other.tasks.iter().filter(|((of, _), _)| *of == task);
        self.tasks.extend(ends.map(|(instance, state)| (*instance, *state)));
        self.values
            .extend(other.values.get(name).map(|value| (name.to_owned(), value.clone())));
    }
}

fn run_instance(
    scenario: &Scenario,
    forced: &BTreeMap<Path, State>,
    path: Path,
    with: &BTreeMap<String, eyot_model::Template>,
    scope: &Scope<'_>,
) -> (State, Option<Value>) {
    if let Some(state) = forced.get(&path) {
        return (*state, None);
    }
    match scenario.nature(path) {
        Nature::Fails | Nature::Kills { .. } => (State::Failed, None),
        Nature::Succeeds | Nature::SucceedsAfter(_) => {
            let inputs: Inputs = with
                .iter()
                .map(|(name, template)| (name.clone(), render(template, scope)))
                .collect();
            (State::Succeeded, Some(Value::Map(outputs(scenario.seed, path, &inputs, 0, false))))
        }
    }
}

fn run_state(scenario: &Scenario, expected: &Expected) -> RunState {
    let failed = (0u32..).map(TaskIx).zip(&scenario.workflow.tasks).any(|(ix, _)| {
        let handled = (0u32..).map(TaskIx).zip(&scenario.workflow.tasks).any(|(d, t)| {
            t.needs.contains(&ix)
                && matches!(t.trigger_rule, TriggerRule::AllFailed | TriggerRule::OneFailed)
                && expected.tasks[&(d, None)] == State::Succeeded
        });
        expected.tasks[&(ix, None)] == State::Failed && !handled
    });
    if failed && scenario.workflow.on_failure != OnFailure::Ignore {
        RunState::Failed
    } else {
        RunState::Succeeded
    }
}

fn render(template: &eyot_model::Template, scope: &Scope<'_>) -> Value {
    match CompiledTemplate::compile(template).map(|t| t.render(scope)) {
        Ok(Ok(value)) => value,
        wrong => panic!("a template of the scenario is wrong: {wrong:?}"),
    }
}

fn evaluate(source: &str, scope: &Scope<'_>) -> Value {
    match Program::parse(source).map(|p| p.evaluate(scope)) {
        Ok(Ok(value)) => value,
        wrong => panic!("an expression of the scenario is wrong: {wrong:?}"),
    }
}
