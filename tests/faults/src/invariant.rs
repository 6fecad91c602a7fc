//! Whether the invariant held for a run, by what the API says of it once it has ended.

use crate::recipe::Recipe;
use anyhow::{Result, bail, ensure};
use eyot_model::api::{RunDetail, RunEvent};
use eyot_model::{FailureKind, RunState, State};
use eyot_scenarios::told;
use std::collections::{BTreeMap, BTreeSet};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub attempts: usize,
    pub commits: usize,
    /// Attempts of tasks that are not idempotent which ended nobody knows how: an operator was asked.
    pub unknown: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.commits += other.commits;
        self.unknown += other.unknown;
    }
}

/// A task, or one item of it.
type Instance<'a> = (&'a str, Option<u32>);

/// The run ended as its recipe says, and its events are a history that may be.
///
/// # Errors
/// What did not hold.
pub fn holds(recipe: &Recipe, detail: &RunDetail, events: &[RunEvent]) -> Result<Tally> {
    let tally = history(events, &recipe.needs)?;
    ensure!(detail.run.state == RunState::Succeeded, "{}", told(detail));
    let answer = detail.outputs.get("answer");
    ensure!(
        answer == Some(&recipe.answer),
        "the answer is {answer:?} instead of {:?}",
        recipe.answer
    );
    ensure!(
        tally.unknown == 0 || !recipe.once.is_empty(),
        "unknown though all is idempotent: {}",
        told(detail)
    );
    for name in &recipe.once {
        let of = |event: &&RunEvent| event.task.as_ref() == Some(name);
        let starts = events.iter().filter(of).filter(|event| event.kind == "started").count();
        let retry = |event: &&RunEvent| event.kind == "resolved" && event.state == Some(State::Queued);
        let allowed = 1 + events.iter().filter(of).filter(retry).count();
        ensure!(
            starts <= allowed,
            "`{name}`, which must not run twice unasked, was started {starts} times instead of {allowed}"
        );
    }
    let attempts: usize = detail.tasks.iter().map(|task| task.attempts as usize).sum();
    ensure!(
        attempts == tally.attempts,
        "{attempts} attempts are shown and {} are in the events",
        tally.attempts
    );
    Ok(tally)
}

/// Each instance ended once, each attempt began once and with what it needs committed, nothing happened after the end.
///
/// # Errors
/// What did not hold.
pub fn history(events: &[RunEvent], needs: &BTreeMap<String, Vec<String>>) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut ended: BTreeSet<Instance<'_>> = BTreeSet::new();
    let mut last_attempt: BTreeMap<Instance<'_>, u32> = BTreeMap::new();
    for (n, event) in (1u64..).zip(events) {
        ensure!(event.seq == n, "event {n} is numbered {}", event.seq);
        let last = n == events.len() as u64;
        ensure!(
            (event.kind == "run-ended") == last,
            "event {n} of {} is {}",
            events.len(),
            event.kind
        );
        let Some(task) = event.task.as_deref() else { continue };
        match event.kind.as_str() {
            // What came under an epoch that had passed is told, and is no part of the run.
            "late" | "superseded" => continue,
            // The agent gave it back before its end: no attempt of it is lost.
            "yielded" => tally.attempts = tally.attempts.saturating_sub(1),
            // What only a lost device held is made again, from the beginning.
            "rewound" => {
                ended.retain(|(name, _)| *name != task);
                last_attempt.retain(|(name, _), _| *name != task);
            }
            _ => {}
        }
        let instance = (task, event.item);
        let what = || format!("event {n}, {} of {task} {:?}", event.kind, event.item);
        ensure!(!ended.contains(&instance), "{}, came after its end", what());
        if event.kind == "started" {
            tally.attempts += 1;
            let attempt = event.attempt.unwrap_or_default();
            let before = last_attempt.insert(instance, attempt).unwrap_or_default();
            ensure!(attempt == before + 1, "{}: attempt {attempt} follows {before}", what());
            for need in needs.get(task).into_iter().flatten() {
                ensure!(ended.iter().any(|(name, _)| name == need), "{}: `{need}` had not ended", what());
            }
        }
        if event.failure.as_ref().is_some_and(|f| f.kind == FailureKind::OutcomeUnknown) {
            tally.unknown += 1;
        }
        if event.state.is_some_and(State::is_terminal) {
            ended.insert(instance);
            if event.state == Some(State::Succeeded) {
                tally.commits += 1;
                let attempt = last_attempt.get(&instance).copied();
                ensure!(event.attempt == attempt, "{}: not of the attempt that began last", what());
            }
        }
    }
    Ok(tally)
}

/// What an observer saw while the run went on is what happened.
///
/// # Errors
/// Names the first event that was taken back.
pub fn stands(seen: &[RunEvent], events: &[RunEvent]) -> Result<()> {
    for event in seen {
        let index = usize::try_from(event.seq).unwrap_or_default();
        match index.checked_sub(1).and_then(|index| events.get(index)) {
            Some(now) if now == event => {}
            now => bail!("an observer saw {event:?}, which is now {now:?}"),
        }
    }
    Ok(())
}
