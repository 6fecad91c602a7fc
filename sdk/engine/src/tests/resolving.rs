//! Attempts whose end nobody knows.

use super::{House, each, must_not_repeat, task};
use crate::NotWaiting;
use eyot_model::{Event, Expr, Failure, FailureKind, Outcome, Outputs, Resolution, RunState, State, Task, TaskIx, TriggerRule, Value};

/// A task with outside effects was cut off in its first attempt.
fn cut_off(after: Vec<Task>) -> House {
    let mut tasks = vec![must_not_repeat(task("a", &[]))];
    tasks.extend(after);
    let mut house = House::new(tasks);
    house.begin().expect("it is ready");
    house.crash();
    house
}

fn resolve(house: &mut House, resolution: Resolution) {
    let (path, attempt) = house.run.unknown_attempt(TaskIx(0), None).expect("it waits");
    house
        .run
        .resolve(path, attempt, resolution, "somebody", house.now)
        .expect("it waits");
    house.drain();
}

#[test]
fn the_instance_waits_and_each_resolution_ends_the_wait() {
    for resolution in [Resolution::Succeeded(Outputs::new()), Resolution::Failed, Resolution::Retry] {
        let mut house = cut_off(vec![task("b", &[0])]);
        assert_eq!(house.state(0), State::Waiting);
        assert_eq!(
            house.run.tasks()[0].own.failure.as_ref().map(|f| f.kind),
            Some(FailureKind::OutcomeUnknown)
        );
        assert_eq!((house.state(1), house.ended()), (State::Pending, None));
        house.crash();
        assert_eq!(house.state(0), State::Waiting, "it waits over restarts");
        resolve(&mut house, resolution.clone());
        match resolution {
            Resolution::Succeeded(_) => {
                house.succeed("b");
                assert_eq!(house.ended(), Some(RunState::Succeeded));
            }
            Resolution::Failed => assert_eq!(
                (house.state(0), house.state(1), house.ended()),
                (State::Failed, State::UpstreamFailed, Some(RunState::Failed))
            ),
            Resolution::Retry => {
                house.succeed("a");
                house.succeed("b");
                assert_eq!(house.run.tasks()[0].own.attempts, 2);
                assert_eq!(house.ended(), Some(RunState::Succeeded));
            }
        }
    }
}

#[test]
fn outputs_that_the_operator_gives_are_those_of_the_task() {
    let mut house = cut_off(vec![]);
    let outputs = Outputs::from([("id".to_owned(), Value::Int(7))]);
    resolve(&mut house, Resolution::Succeeded(outputs.clone()));
    assert_eq!(house.run.tasks()[0].own.outputs.as_deref(), Some(&Value::Map(outputs)));
}

#[test]
fn a_workflow_that_takes_care_of_failures_does_not_wait() {
    let mut handler = task("b", &[]);
    handler.needs.insert(TaskIx(0));
    handler.trigger_rule = TriggerRule::OneFailed;
    let mut house = cut_off(vec![handler]);
    assert_eq!(house.state(0), State::Failed);
    house.succeed("b");
    assert_eq!(house.ended(), Some(RunState::Succeeded), "the handler took care of it");
}

#[test]
fn a_word_about_an_earlier_attempt_does_not_resolve_a_later_one() {
    let mut house = cut_off(vec![]);
    let (path, first) = house.run.unknown_attempt(TaskIx(0), None).expect("it waits");
    resolve(&mut house, Resolution::Retry);
    assert_eq!(house.run.unknown_attempt(TaskIx(0), None), Err(NotWaiting::State(State::Queued)));
    house.begin().expect("it is tried again");
    house.crash();
    assert_eq!(house.state(0), State::Waiting);
    let again = house.run.resolve(path, first, Resolution::Failed, "somebody", house.now);
    assert_eq!(again, Err(NotWaiting::Unknown));
    let late = Event::Resolved {
        path,
        attempt: first,
        resolution: Resolution::Failed,
        by: "somebody".into(),
        at: house.now,
    };
    assert_eq!(house.run.handle_event(late, house.now), Ok(crate::Applied::Known));
    assert_eq!(house.state(0), State::Waiting);
}

/// As where its report was on its way over a link that broke: it had been told over the next one, and resolved.
#[test]
fn an_unknown_end_that_is_told_again_after_it_was_resolved_is_no_second_end() {
    for resolution in [Resolution::Succeeded(Outputs::new()), Resolution::Failed, Resolution::Retry] {
        let mut house = cut_off(vec![]);
        let unknown = |event: &&Event| matches!(event, Event::Ended { .. });
        let told = house.journal.iter().find(unknown).cloned().expect("it was written down");
        resolve(&mut house, resolution);
        let state = house.state(0);
        assert_eq!(house.run.handle_event(told, house.now), Ok(crate::Applied::Known));
        assert_eq!(house.state(0), state);
    }
}

/// What the attempt itself says is another end than the one that an operator told.
#[test]
fn a_different_end_after_an_operators_word_is_a_second_end() {
    let mut house = cut_off(vec![]);
    let (path, attempt) = house.run.unknown_attempt(TaskIx(0), None).expect("it waits");
    resolve(&mut house, Resolution::Succeeded(Outputs::new()));
    let other = Event::Ended {
        path,
        attempt,
        epoch: house.run.tasks()[0].own.epoch,
        at: house.now,
        outcome: Outcome::Failed(Failure::new(FailureKind::Permanent, "no")),
        usage: eyot_model::Usage::default(),
        retry_at: None,
    };
    assert_eq!(house.run.handle_event(other, house.now), Ok(crate::Applied::Late));
}

#[test]
fn a_cancelled_run_does_not_wait_for_an_operator() {
    let mut house = cut_off(vec![]);
    house.run.cancel("somebody", house.now);
    house.drain();
    assert_eq!((house.state(0), house.ended()), (State::Cancelled, Some(RunState::Cancelled)));

    let mut house = House::new(vec![must_not_repeat(task("a", &[]))]);
    house.begin().expect("it is ready");
    house.run.cancel("somebody", house.now);
    house.drain();
    house.crash();
    assert_eq!((house.state(0), house.ended()), (State::Cancelled, Some(RunState::Cancelled)));
}

#[test]
fn one_item_waits_and_the_others_go_on() {
    let mut house = House::new(vec![must_not_repeat(each("a", &[], "range(3)"))]);
    let (path, _) = house.begin().expect("an item is ready");
    house.crash();
    while let Some((path, attempt)) = house.begin() {
        house.end(path, attempt, super::good(path));
    }
    assert_eq!(house.ended(), None);
    assert_eq!(house.run.unknown().collect::<Vec<_>>(), [path]);
    house
        .run
        .resolve(path, 1, Resolution::Retry, "somebody", house.now)
        .expect("it waits");
    house.drain();
    house.succeed("a");
    assert_eq!(house.ended(), Some(RunState::Succeeded));
}

#[test]
fn what_was_cut_off_in_its_middle_is_begun_again_only_where_that_does_no_harm_or_the_workflow_asks_for_it() {
    let fail = |task: Task, kind| {
        let mut house = House::new(vec![task]);
        let (path, attempt) = house.begin().expect("it is ready");
        house.end(path, attempt, Outcome::Failed(Failure::new(kind, "it happened")));
        let failure = house.run.tasks()[0].own.failure.as_ref().map(|f| f.kind);
        (house.state(0), failure)
    };
    for kind in [FailureKind::Timeout, FailureKind::CpuLimit, FailureKind::Trap] {
        assert_eq!(fail(task("a", &[]), kind), (State::Retrying, Some(kind)));
        let once = must_not_repeat(task("a", &[]));
        assert_eq!(fail(once.clone(), kind), (State::Waiting, Some(FailureKind::OutcomeUnknown)));
        let mut asked = once;
        asked.retry.when = Some(Expr {
            source: "error.retryable".into(),
        });
        assert_eq!(fail(asked, kind), (State::Retrying, Some(kind)));
    }
    // The task's own word that its effect did not happen, and what failed before the task began.
    for kind in [
        FailureKind::Retryable,
        FailureKind::Agent,
        FailureKind::DiskFull,
        FailureKind::BlobUnavailable,
    ] {
        assert_eq!(fail(must_not_repeat(task("a", &[])), kind).0, State::Retrying);
    }
}
