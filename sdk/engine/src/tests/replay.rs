//! Whatever happens: the journal replayed gives the state that was there, news that come twice change nothing, and the
//! run comes to its end.

use super::{House, blank, each, good, must_not_repeat, task};
use crate::Run;
use eyot_model::{Event, Failure, FailureKind, Outcome, Outputs, Path, Resolution, State, TaskIx, Value};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Step {
    Begin,
    End { which: usize, how: u8 },
    Hold(u32),
    Unhold(u32),
    Yield(u32),
    Crash,
    Pass,
    Resolve { which: usize, how: u8 },
    Rewind(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Begin),
        6 => (0..8usize, 0..5u8).prop_map(|(which, how)| Step::End { which, how }),
        1 => (0..5u32).prop_map(Step::Hold),
        2 => (0..5u32).prop_map(Step::Unhold),
        2 => (0..5u32).prop_map(Step::Yield),
        1 => Just(Step::Crash),
        2 => Just(Step::Pass),
        2 => (0..4usize, 0..3u8).prop_map(|(which, how)| Step::Resolve { which, how }),
        1 => (0..5u32).prop_map(Step::Rewind),
    ]
}

fn house() -> House {
    House::new(vec![
        task("a", &[]),
        each("b", &[0], "tasks.a.outputs.list"),
        must_not_repeat(task("c", &[0])),
        task("d", &[1, 2]),
        must_not_repeat(each("e", &[0], "range(2)")),
    ])
}

/// What everybody who applies events has to agree about. When an owned instance is queued is its owner's to know.
fn seen(run: &Run) -> Vec<(Path, State, u32, u32, Option<Value>, Option<Failure>)> {
    let mut all = Vec::new();
    for (ix, entry) in (0u32..).map(TaskIx).zip(run.tasks()) {
        let items = entry.items.iter().flat_map(|items| (0u32..).zip(&items.instances));
        for (item, instance) in std::iter::once((None, &entry.own)).chain(items.map(|(n, i)| (Some(n), i))) {
            let state = match instance.state {
                State::Queued | State::Retrying | State::Pending => State::Pending,
                other => other,
            };
            all.push((
                Path { item, ..run.path(ix) },
                state,
                instance.attempts,
                instance.yielded,
                instance.outputs.as_deref().cloned(),
                instance.failure.clone(),
            ));
        }
    }
    all
}

fn outcome(path: Path, how: u8) -> Outcome {
    match how {
        0 => Outcome::Failed(Failure::new(FailureKind::Retryable, "busy")),
        1 => Outcome::Cancelled,
        _ => good(path),
    }
}

fn running(house: &House) -> Vec<(Path, u32)> {
    house
        .all()
        .into_iter()
        .flat_map(|task| house.run.running_of(task))
        .map(|path| {
            let instance = house.run.tasks()[path.task.index()].instance(path.item).expect("it runs");
            (path, instance.attempts)
        })
        .collect()
}

fn resolution(how: u8) -> Resolution {
    match how {
        0 => Resolution::Succeeded(Outputs::new()),
        1 => Resolution::Failed,
        _ => Resolution::Retry,
    }
}

fn take(house: &mut House, step: &Step) {
    match step {
        Step::Begin => drop(house.begin()),
        Step::End { which, how } => {
            let running = running(house);
            if let Some((path, attempt)) = running.get(which % running.len().max(1)).copied() {
                // A host ends an attempt as cancelled only when it was told to stop.
                let how = if *how == 1 && !house.stopped.contains(&(path, attempt)) {
                    2
                } else {
                    *how
                };
                house.end(path, attempt, outcome(path, how));
            }
        }
        Step::Hold(task) => house.run.hold([TaskIx(*task)]),
        Step::Unhold(task) => house.run.unhold([TaskIx(*task)], house.now),
        Step::Yield(task) => house.run.yield_running([TaskIx(*task)]),
        Step::Crash => house.crash(),
        Step::Pass => house.pass(5),
        Step::Resolve { which, how } => {
            let waiting: Vec<Path> = house.run.unknown().collect();
            if let Some(path) = waiting.get(which % waiting.len().max(1)).copied() {
                let (path, attempt) = house.run.unknown_attempt(path.task, path.item).expect("it waits");
                house
                    .run
                    .resolve(path, attempt, resolution(*how), "somebody", house.now)
                    .expect("it waits");
            }
        }
        Step::Rewind(task) => {
            if house.run.outcome().is_none() {
                let _ = house.run.rewind(TaskIx(*task), house.now);
            }
        }
    }
    house.drain();
}

/// Everything that is open comes to its end.
fn finish(house: &mut House) {
    let all = house.all();
    house.run.unhold(all, house.now);
    house.drain();
    for _ in 0..1_000 {
        if house.run.outcome().is_some() {
            return;
        }
        for (path, attempt) in running(house) {
            house.end(path, attempt, good(path));
        }
        let waiting: Vec<Path> = house.run.unknown().collect();
        for path in waiting {
            let (path, attempt) = house.run.unknown_attempt(path.task, path.item).expect("it waits");
            house
                .run
                .resolve(path, attempt, Resolution::Retry, "somebody", house.now)
                .expect("it waits");
            house.drain();
        }
        house.pass(5);
        while house.begin().is_some() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_is_the_state(steps in proptest::collection::vec(step(), 1..80), from in 0..40usize) {
        let mut house = house();
        let mut follower = blank(&house.graph);
        let mut told = 0;
        for step in &steps {
            take(&mut house, step);
            let mut replayed = blank(&house.graph);
            for event in &house.journal {
                prop_assert!(replayed.replay(event).is_ok(), "{event:?}");
            }
            prop_assert_eq!(seen(&replayed), seen(&house.run), "after {:?}", step);
            // A follower is told what is new, and, as after a reconnect, much of it again.
            let again = told.min(from);
            for event in &house.journal[again..] {
                prop_assert!(follower.handle_event(event.clone(), house.now).is_ok(), "{event:?}");
            }
            told = house.journal.len();
            prop_assert_eq!(seen(&follower), seen(&house.run), "the follower, after {:?}", step);
        }
        finish(&mut house);
        prop_assert!(house.run.outcome().is_some(), "{:?}", seen(&house.run));
        let graph = Arc::clone(&house.graph);
        let mut ends = std::collections::BTreeMap::new();
        for event in &house.journal {
            if let Event::Ended { path, retry_at: None, outcome, .. } = event {
                let waits = matches!(outcome, Outcome::Failed(f) if graph.workflow.waits_for_operator(path.task, f));
                *ends.entry(*path).or_insert(0) += u32::from(!waits);
            }
        }
        prop_assert!(ends.values().all(|n| *n <= 1), "{ends:?}");
    }
}
