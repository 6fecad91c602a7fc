//! Dropping a run of this agent's own by hand: one that the cloud refuses would stay for ever, and count among those that it does
//! not have.

use crate::node::Node;
use eyot_model::RunId;

/// Why a run is not dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDropped {
    #[error("there is no such run of this agent's own")]
    Unknown,
    #[error("it has not ended: cancel it first")]
    GoesOn,
    #[error("the control plane has it, and it goes by itself once its time is over")]
    Told,
    /// It may take it yet.
    #[error("the control plane has not refused it: it is kept until the control plane has it")]
    Wanted,
}

impl Node {
    /// Drops an ended run of this agent's own that the cloud refuses, or that there is no cloud to tell of. Durable once
    /// [`Node::position`] is synced.
    ///
    /// # Errors
    /// [`NotDropped`]: nothing has changed then.
    pub fn drop_own(&mut self, run: RunId) -> Result<(), NotDropped> {
        let own = self.own.all.get(&run).ok_or(NotDropped::Unknown)?;
        if own.ended_at.is_none() {
            return Err(NotDropped::GoesOn);
        }
        if self.own.policy.tells && own.refused.is_none() {
            return Err(if own.is_told() { NotDropped::Told } else { NotDropped::Wanted });
        }
        self.own.unsent.remove(&run);
        self.release(run);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::node::Config;
    use crate::record::Record;
    use crate::recover::Recovered;
    use crate::{OwnPolicy, SubmitError};
    use eyot_model::{Capacity, ComponentRef, Digest, Origin, Position, Task, Timestamp, Workflow};
    use eyot_wire::{Submission, ToAgent};
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp(1_000_000);
    const RUN: RunId = RunId(1);

    fn submission(run: RunId, tasks: Vec<Task>) -> Submission {
        Submission {
            run,
            workflow: Arc::new(Workflow::new("n", "w", "1", tasks)),
            inputs: Arc::default(),
            created_at: NOW,
            origin: Origin::Device { key: None },
        }
    }

    fn config() -> Config {
        Config {
            capacity: Capacity::default(),
        }
    }

    fn written(node: &mut Node) -> Vec<(Position, Record)> {
        let commands = std::iter::from_fn(|| node.poll_command());
        let records = commands.filter_map(|command| match command {
            Command::Append { position, record } => Some((position, record)),
            _ => None,
        });
        records.collect()
    }

    /// A node with a run that is over and durable, and the link up.
    fn ended() -> Node {
        let mut node = Node::new(config(), 1);
        node.set_own_policy(OwnPolicy {
            most_untold: 1,
            ..OwnPolicy::default()
        });
        node.submit(submission(RUN, vec![]), NOW).unwrap();
        node.journal_synced(node.position());
        node.link_up(NOW);
        node.handle_message(ToAgent::Reconciled(vec![]), NOW);
        node
    }

    #[test]
    fn what_the_cloud_refuses_is_dropped_for_good_and_makes_room() {
        let mut node = ended();
        let mut records = written(&mut node);
        let why = "not granted".to_owned();
        node.handle_message(ToAgent::OwnRunRefused { run: RUN, why }, NOW);
        let second = submission(RunId(2), vec![]);
        assert!(matches!(node.submit(second.clone(), NOW), Err(SubmitError::TooManyUntold(1))));
        node.drop_own(RUN).unwrap();
        assert_eq!(node.drop_own(RUN), Err(NotDropped::Unknown));
        records.extend(written(&mut node));
        let last = node.position();
        node.submit(second, NOW).unwrap();
        let synced = last;
        let (again, _) = Node::recover(config(), Recovered { records, last, synced }, NOW);
        assert_eq!(again.own_runs().count(), 0);
    }

    #[test]
    fn what_the_cloud_may_take_or_has_or_what_goes_on_is_not_dropped() {
        let mut node = ended();
        assert_eq!(node.drop_own(RUN), Err(NotDropped::Wanted));
        node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
        assert_eq!(node.drop_own(RUN), Err(NotDropped::Told));
        let component = ComponentRef {
            name: "t".into(),
            digest: Some(Digest::of(b"t")),
            size: 1,
        };
        let open = RunId(2);
        node.submit(submission(open, vec![Task::new("a", component)]), NOW).unwrap();
        node.refuse_own(open, "not granted".into());
        assert_eq!(node.drop_own(open), Err(NotDropped::GoesOn));
        assert_eq!(node.own_runs().count(), 2);
    }

    #[test]
    fn a_refusal_is_asked_for_again_over_a_new_link() {
        let mut node = ended();
        node.refuse_own(RUN, "not granted".into());
        node.link_down(NOW);
        node.link_up(NOW);
        node.handle_message(ToAgent::Reconciled(vec![]), NOW);
        assert_eq!(node.drop_own(RUN), Err(NotDropped::Wanted), "it may be granted meanwhile");
    }

    #[test]
    fn without_a_cloud_nobody_has_to_refuse_it() {
        let mut node = ended();
        node.set_own_policy(OwnPolicy {
            tells: false,
            ..OwnPolicy::default()
        });
        node.drop_own(RUN).unwrap();
    }
}
