//! Attempts that are stopped on purpose.

use super::{House, each, good, must_not_repeat, task};
use eyot_model::{Event, Failure, FailureKind, Outcome, RunState, State};

#[test]
fn an_attempt_that_yields_does_not_count_and_its_number_is_not_used_again() {
    let mut house = House::new(vec![task("a", &[])]);
    for round in 1..=5 {
        let (path, attempt) = house.begin().expect("it is ready");
        assert_eq!(attempt, round, "two attempts were allowed by the policy, and none has counted");
        let all = house.all();
        house.run.hold(all.clone());
        house.run.yield_running(all.clone());
        house.drain();
        assert!(house.stopped.contains(&(path, attempt)));
        house.end(path, attempt, Outcome::Cancelled);
        assert_eq!(house.state(0), State::Queued);
        assert_eq!(house.begin(), None, "nothing is handed out while it is held");
        house.run.unhold(all, house.now);
        house.drain();
    }
    let failure = || Outcome::Failed(Failure::new(FailureKind::Retryable, "busy"));
    let (path, attempt) = house.begin().expect("it is ready");
    house.end(path, attempt, failure());
    assert_eq!(house.state(0), State::Retrying);
    house.pass(10);
    let (path, attempt) = house.begin().expect("it is tried again");
    house.end(path, attempt, failure());
    assert_eq!((house.state(0), house.ended()), (State::Failed, Some(RunState::Failed)));
}

#[test]
fn an_end_of_its_own_wins_over_the_wish_to_stop() {
    let mut house = House::new(vec![task("a", &[])]);
    let (path, attempt) = house.begin().expect("it is ready");
    let all = house.all();
    house.run.yield_running(all);
    house.drain();
    house.end(path, attempt, good(path));
    assert_eq!(house.ended(), Some(RunState::Succeeded));
}

#[test]
fn what_must_not_be_repeated_is_let_finish() {
    let mut house = House::new(vec![must_not_repeat(task("a", &[])), task("b", &[])]);
    let (a, first) = house.begin().expect("a is ready");
    let (b, second) = house.begin().expect("b is ready");
    let all = house.all();
    house.run.hold(all.clone());
    house.run.yield_running(all);
    house.drain();
    assert_eq!(house.stopped.iter().copied().collect::<Vec<_>>(), [(b, second)]);
    assert_eq!(house.run.running_of(a.task), [a]);
    house.end(b, second, Outcome::Cancelled);
    house.end(a, first, good(a));
    assert!(house.run.running_of(a.task).is_empty());
    assert_eq!((house.state(0), house.state(1)), (State::Succeeded, State::Queued));
}

#[test]
fn a_cancelled_run_stays_cancelled_although_its_attempts_were_to_yield() {
    let mut house = House::new(vec![task("a", &[])]);
    let (path, attempt) = house.begin().expect("it is ready");
    let all = house.all();
    house.run.yield_running(all);
    house.run.cancel("somebody", house.now);
    house.drain();
    house.end(path, attempt, Outcome::Cancelled);
    assert_eq!(house.ended(), Some(RunState::Cancelled));
    assert!(!house.journal.iter().any(|e| matches!(e, Event::Yielded { .. })));
}

#[test]
fn items_keep_their_share_of_parallel_work_when_they_yield() {
    let mut house = House::new(vec![each("a", &[], "range(5)")]);
    let first = house.begin().expect("an item is ready");
    let second = house.begin().expect("another is");
    assert_eq!(house.begin(), None, "two at a time");
    let all = house.all();
    house.run.hold(all.clone());
    house.run.yield_running(all.clone());
    house.drain();
    house.end(first.0, first.1, Outcome::Cancelled);
    house.end(second.0, second.1, Outcome::Cancelled);
    assert_eq!(house.begin(), None);
    house.run.unhold(all, house.now);
    house.drain();
    let mut ended = 0;
    while let Some(one) = house.begin() {
        let two = house.begin();
        assert_eq!(house.begin(), None, "two at a time");
        for (path, attempt) in std::iter::once(one).chain(two) {
            house.end(path, attempt, good(path));
            ended += 1;
        }
    }
    assert_eq!((ended, house.ended()), (5, Some(RunState::Succeeded)));
}

#[test]
fn what_yielded_is_ready_again_after_a_restart() {
    let mut house = House::new(vec![task("a", &[])]);
    let (path, attempt) = house.begin().expect("it is ready");
    let all = house.all();
    house.run.hold(all.clone());
    house.run.yield_running(all);
    house.drain();
    house.end(path, attempt, Outcome::Cancelled);
    house.crash();
    assert_eq!(house.begin(), Some((path, 2)));
}

#[test]
fn about_what_rests_nothing_is_decided_until_it_goes_on() {
    let mut house = House::new(vec![task("a", &[]), task("b", &[0])]);
    house.run.rest([eyot_model::TaskIx(1)]);
    let (a, attempt) = house.begin().expect("a does not rest");
    house.end(a, attempt, Outcome::Failed(Failure::new(FailureKind::Permanent, "no")));
    assert_eq!((house.state(1), house.ended()), (State::Pending, None));
    house.run.unhold([eyot_model::TaskIx(1)], house.now);
    house.drain();
    assert_eq!((house.state(1), house.ended()), (State::UpstreamFailed, Some(RunState::Failed)));
}

#[test]
fn a_task_whose_attempts_cannot_be_numbered_any_more_fails_by_name() {
    let mut house = House::new(vec![task("a", &[])]);
    let (path, epoch, at) = (house.run.path(eyot_model::TaskIx(0)), eyot_model::Epoch(1), house.now);
    let attempt = u32::MAX;
    house
        .run
        .handle_event(Event::Started { path, attempt, epoch, at }, at)
        .expect("it is legal");
    house
        .run
        .handle_event(Event::Yielded { path, attempt, epoch, at }, at)
        .expect("it is legal");
    house.drain();
    assert_eq!(house.begin(), None);
    assert_eq!((house.state(0), house.ended()), (State::Failed, Some(RunState::Failed)));
}
