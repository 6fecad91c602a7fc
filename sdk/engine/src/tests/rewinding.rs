//! Tasks that run anew because what they gave was lost.

use super::{House, each, good, task};
use crate::{Applied, Rejected};
use eyot_model::{Event, Failure, FailureKind, Outcome, RunState, State, TaskIx};

fn rewind(house: &mut House, task: u32) {
    assert_eq!(house.run.rewind(TaskIx(task), house.now), Ok(Applied::New));
    house.drain();
}

#[test]
fn the_task_runs_again_and_what_had_not_begun_waits_for_it() {
    let mut house = House::new(vec![task("a", &[]), task("b", &[0]), task("c", &[1])]);
    house.succeed("a");
    house.succeed("b");
    rewind(&mut house, 1);
    rewind(&mut house, 0);
    assert!([1, 2].iter().all(|t| !house.state(*t).is_terminal()));
    house.succeed("a");
    house.succeed("b");
    house.succeed("c");
    assert_eq!(house.ended(), Some(RunState::Succeeded));
    assert_eq!(house.run.tasks().iter().map(|t| t.generation).collect::<Vec<_>>(), [1, 1, 0]);
}

#[test]
fn a_dependent_that_has_ended_stays_and_one_that_began_keeps_its_attempts() {
    let mut house = House::new(vec![task("a", &[]), task("b", &[0]), task("c", &[0])]);
    house.succeed("a");
    house.succeed("b");
    let (c, attempt) = house.begin().expect("c is ready");
    house.crash();
    assert_eq!(house.state(2), State::Retrying);
    rewind(&mut house, 0);
    assert_eq!(house.state(1), State::Succeeded);
    house.pass(10);
    let (a, one) = house.begin().expect("a is ready, and nothing else");
    assert_eq!((a, one, house.begin()), (house.run.path(TaskIx(0)), 1, None));
    house.end(a, one, good(a));
    assert_eq!(house.begin(), Some((c, attempt + 1)), "what counted before counts still");
    house.end(c, attempt + 1, good(c));
    assert_eq!(house.ended(), Some(RunState::Succeeded));
}

/// A task that is taken over comes with its past, after what is known here already of those that it needs.
#[test]
fn what_began_before_waits_for_what_is_made_again_in_whatever_order_it_is_told() {
    let mut house = House::new(vec![task("a", &[]), task("b", &[0])]);
    house.succeed("a");
    let (b, _) = house.begin().expect("b is ready");
    rewind(&mut house, 0);
    let began = |event: &Event| matches!(event, Event::Started { path, .. } if *path == b);
    let at = house.journal.iter().position(began).expect("b has begun");
    let event = house.journal.remove(at);
    house.journal.push(event);
    house.crash();
    house.pass(100);
    let (a, attempt) = house.begin().expect("a is ready");
    assert_eq!((a, house.begin()), (house.run.path(TaskIx(0)), None), "and nothing else");
    house.end(a, attempt, good(a));
    let (again, attempt) = house.begin().expect("b is ready");
    house.end(again, attempt, good(again));
    assert_eq!((again, house.ended()), (b, Some(RunState::Succeeded)));
}

#[test]
fn items_that_have_ended_stay_and_the_rest_waits() {
    let mut house = House::new(vec![task("a", &[]), each("b", &[0], "tasks.a.outputs.list")]);
    house.succeed("a");
    house.succeed("b");
    rewind(&mut house, 0);
    house.crash();
    house.succeed("a");
    house.succeed("b");
    house.succeed("b");
    assert_eq!((house.begin(), house.ended()), (None, Some(RunState::Succeeded)));
}

#[test]
fn what_cannot_be_made_again_fails_what_is_open_and_needs_it() {
    let mut house = House::new(vec![task("a", &[]), each("b", &[0], "tasks.a.outputs.list")]);
    house.succeed("a");
    house.succeed("b");
    rewind(&mut house, 0);
    let (path, attempt) = house.begin().expect("a is ready");
    house.end(path, attempt, Outcome::Failed(Failure::new(FailureKind::Permanent, "gone")));
    assert_eq!((house.state(0), house.state(1)), (State::Failed, State::Failed));
    assert_eq!(
        house.run.tasks()[1].own.failure.as_ref().map(|f| f.kind),
        Some(FailureKind::StateLost)
    );
    assert_eq!(house.ended(), Some(RunState::Failed));
}

#[test]
fn news_of_an_earlier_generation_change_nothing() {
    let mut house = House::new(vec![each("a", &[], "range(2)"), task("b", &[0])]);
    house.succeed("a");
    house.succeed("a");
    let before = house.journal.clone();
    rewind(&mut house, 0);
    for event in before {
        assert_eq!(house.run.handle_event(event, house.now), Ok(Applied::Known));
    }
    house.succeed("a");
    house.succeed("a");
    house.succeed("b");
    assert_eq!(house.ended(), Some(RunState::Succeeded));
}

#[test]
fn only_what_succeeded_is_rewound_and_each_generation_once() {
    let mut house = House::new(vec![task("a", &[]), task("b", &[0])]);
    house.begin().expect("a is ready");
    assert!(matches!(house.run.rewind(TaskIx(0), house.now), Err(Rejected::Illegal { .. })));
    house.crash();
    house.pass(10);
    house.succeed("a");
    rewind(&mut house, 0);
    let again = Event::Rewound {
        task: TaskIx(0),
        generation: 1,
        at: house.now,
    };
    assert_eq!(house.run.handle_event(again, house.now), Ok(Applied::Known));
    assert!(house.run.rewind(TaskIx(9), house.now).is_err());
}

#[test]
fn a_task_that_is_half_done_begins_anew_with_what_it_reads() {
    let mut house = House::new(vec![task("a", &[]), each("b", &[0], "tasks.a.outputs.list")]);
    house.succeed("a");
    house.succeed("b");
    assert!(house.run.rewind(TaskIx(1), house.now).is_err(), "its items are handed out here");
    rewind(&mut house, 0);
    rewind(&mut house, 1);
    assert_eq!(house.state(1), State::Pending);
    house.succeed("a");
    for _ in 0..3 {
        house.succeed("b");
    }
    assert_eq!((house.begin(), house.ended()), (None, Some(RunState::Succeeded)));
}
