//! What came of a run against the reference, which is told what was nobody's choice: what an operator said, what was cut off, and
//! what was stopped.

use crate::check::replay;
use crate::model::{Earlier, expect};
use crate::scenario::Scenario;
use crate::store::History;
use eyot_engine::Run;
use eyot_model::{Event, FailureKind, Outcome, Path, Resolution, RunId, RunState, State, TaskIx};
use std::collections::{BTreeMap, BTreeSet};

/// Every task, every item and the run ended as the reference has it.
///
/// # Errors
/// What did not.
pub fn as_the_reference_says(run: RunId, row: &History<'_>, scenario: &Scenario) -> Result<(), String> {
    let replayed = replay(run, row)?;
    let stopped = replayed.cancel_requested_by().is_some();
    let (mut forced, mut overtaken) = (BTreeMap::new(), BTreeMap::new());
    for event in row.events {
        match event {
            Event::Ended {
                path,
                outcome: Outcome::Failed(failure),
                ..
            } if failure.kind == FailureKind::OutcomeUnknown => {
                if scenario.workflow.task(path.task).idempotent {
                    return Err(format!("run {run}: the outcome of {path:?} is unknown, which may run again"));
                }
                // Where the workflow has a handler for it, it counts as failed and nobody waits.
                let found = replayed.tasks()[path.task.index()].instance(path.item).map(|i| i.state);
                if found == Some(State::Failed) {
                    forced.insert(path.of_generation(0), State::Failed);
                }
            }
            // Nothing is tried again of a run that was stopped.
            Event::Ended {
                path,
                outcome: Outcome::Failed(failure),
                retry_at: None,
                ..
            } if stopped && matches!(failure.kind, FailureKind::Retryable | FailureKind::AgentLost) => {
                forced.insert(path.of_generation(0), State::Failed);
            }
            // What only a lost device held, and must not be made again, fails what needs it.
            Event::Failed { path, failure, .. } if failure.kind == FailureKind::StateLost && may_lose(scenario) => {
                if path.item.is_some() {
                    forced.insert(path.of_generation(0), State::Failed);
                } else {
                    overtaken.insert(path.of_generation(0), State::Failed);
                }
            }
            Event::Resolved {
                path,
                resolution: Resolution::Failed,
                ..
            } => drop(forced.insert(path.of_generation(0), State::Failed)),
            _ => {}
        }
    }
    if stopped {
        note_cancelled(&replayed, &mut forced, &mut overtaken);
    }
    let earlier = ended_before_another_ran_anew(run, row, &replayed)?;
    let earlier = earlier.map(|(ended, anew)| {
        let natural = |ends: &BTreeMap<Path, State>| {
            let others = ends.iter().filter(|(path, _)| !anew.contains(&path.task));
            others.map(|(path, state)| (*path, *state)).collect()
        };
        let expected = expect(scenario, &natural(&forced), &natural(&overtaken), None);
        Earlier { ended, expected }
    });
    let expected = expect(scenario, &forced, &overtaken, earlier.as_ref());
    for ((task, item), state) in &expected.tasks {
        let found = replayed.tasks()[task.index()].instance(*item).map(|i| i.state);
        if found != Some(*state) {
            return Err(format!(
                "run {run}: {} item {item:?} is {found:?}, the reference says {state}",
                name(scenario, *task)
            ));
        }
    }
    let state = row.outcome.map(|o| o.state);
    if state != expected.run && !(stopped && state == Some(RunState::Cancelled)) {
        return Err(format!("run {run} is {state:?}, the reference says {:?}", expected.run));
    }
    Ok(())
}

/// What was cancelled with its run; everything else follows from that, as from any other end.
fn note_cancelled(run: &Run, forced: &mut BTreeMap<Path, State>, overtaken: &mut BTreeMap<Path, State>) {
    let cancelled = |state: State| state == State::Cancelled;
    for (ix, task) in (0u32..).map(TaskIx).zip(run.tasks()) {
        if cancelled(task.own.state) {
            overtaken.insert(Path::task(ix), State::Cancelled);
        }
        let items = task.items.iter().flat_map(|items| (0u32..).zip(&items.instances));
        for (item, _) in items.filter(|(_, item)| cancelled(item.state)) {
            forced.insert(Path::item(ix, item), State::Cancelled);
        }
    }
}

/// The tasks that had ended when one before them was begun anew, and those that were. A dependent that has ended stays as it
/// is then: what it consumed had been committed, also where the other is stopped while it runs anew.
fn ended_before_another_ran_anew(
    run: RunId,
    row: &History<'_>,
    replayed: &Run,
) -> Result<Option<(BTreeSet<TaskIx>, BTreeSet<TaskIx>)>, String> {
    let tasks = (0u32..).map(TaskIx).zip(replayed.tasks());
    let anew: BTreeSet<TaskIx> = tasks.filter(|(_, task)| task.generation > 0).map(|(ix, _)| ix).collect();
    let mut ended = BTreeSet::new();
    for (at, event) in row.events.iter().enumerate() {
        let Event::Rewound { task, .. } = event else { continue };
        let events = &row.events[..at];
        let before = replay(run, &History { events, ..*row })?;
        let dependents = replayed.graph().dependents(*task);
        let over = |ix: &&TaskIx| before.tasks()[ix.index()].own.state.is_terminal() && !anew.contains(ix);
        ended.extend(dependents.iter().filter(over).copied());
    }
    Ok((!ended.is_empty()).then_some((ended, anew)))
}

fn may_lose(scenario: &Scenario) -> bool {
    let mut tasks = scenario.workflow.tasks.iter().zip(&scenario.habits);
    tasks.any(|(task, habit)| !task.idempotent && habit.blob)
}

fn name(scenario: &Scenario, task: TaskIx) -> &str {
    &scenario.workflow.task(task).name
}
