//! An operator says what became of an attempt whose end nobody knows.

use crate::run::Run;
use eyot_model::{Event, Path, Resolution, State, TaskIx, Timestamp};

/// Why there is nothing to resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWaiting {
    #[error("the task has no such item")]
    Unknown,
    #[error("it does not wait for an operator: it is {0}")]
    State(State),
    #[error("the run has ended")]
    Over,
}

impl Run {
    /// The attempt of the instance that waits for an operator's word.
    ///
    /// # Errors
    /// When it does not wait for one.
    pub fn unknown_attempt(&self, task: TaskIx, item: Option<u32>) -> Result<(Path, u32), NotWaiting> {
        if self.outcome.is_some() {
            return Err(NotWaiting::Over);
        }
        let path = Path { item, ..self.path(task) };
        let instance = self.instance(path).map_err(|_| NotWaiting::Unknown)?;
        instance
            .unknown_attempt()
            .map(|attempt| (path, attempt))
            .ok_or(NotWaiting::State(instance.state))
    }

    /// Ends the wait of an owned instance whose `attempt` had an end that nobody knows. A word that comes twice, or about
    /// an earlier attempt, changes nothing.
    ///
    /// # Errors
    /// When the instance does not exist or does not wait for this.
    pub fn resolve(&mut self, path: Path, attempt: u32, resolution: Resolution, by: &str, now: Timestamp) -> Result<(), NotWaiting> {
        let (current, waiting) = self.unknown_attempt(path.task, path.item)?;
        if current != path || waiting != attempt || self.owner_epoch(path.task).is_none() {
            return Err(NotWaiting::Unknown);
        }
        self.decided(Event::Resolved {
            path,
            attempt,
            resolution,
            by: by.to_owned(),
            at: now,
        });
        self.decide_all(now);
        Ok(())
    }

    /// Every instance that waits for an operator's word.
    pub fn unknown(&self) -> impl Iterator<Item = Path> {
        (0u32..).map(TaskIx).zip(&self.tasks).flat_map(move |(task, entry)| {
            let own = entry.own.unknown_attempt().map(|_| self.path(task));
            let items = entry.items.iter().flat_map(move |items| {
                (0u32..)
                    .zip(&items.instances)
                    .filter(|(_, instance)| instance.unknown_attempt().is_some())
                    .map(move |(n, _)| self.item_path(task, n))
            });
            own.into_iter().chain(items)
        })
    }
}
