//! What the agent does when its disk runs full, and when there is room again.
//!
//! At the high-water mark it takes no work that is not here yet; at the critical one it starts no attempts of the work
//! that is. What runs already goes on, and its results wait in the outbox as ever: nothing is acknowledged that is not
//! durable, and nothing that was not acknowledged is dropped.

use crate::node::Node;
use eyot_model::{DiskState, FragmentId, RunId, Timestamp};

impl Node {
    /// How much room the disk has now. Goes on by itself once there is enough.
    pub fn disk_changed(&mut self, state: DiskState, now: Timestamp) {
        let started = self.disk.starts_attempts();
        self.disk = state;
        if !started && state.starts_attempts() {
            self.admit(now);
        }
    }

    /// As [`Node::disk_changed`] told it last.
    #[must_use]
    pub fn disk(&self) -> DiskState {
        self.disk
    }

    /// Whether a fragment is not taken for want of room. One that is held already is: a new epoch of it costs next to
    /// nothing, and refusing it would not make room.
    pub(crate) fn has_no_room_for(&self, run: RunId, fragment: FragmentId) -> bool {
        let held = self.runs.get(&run).is_some_and(|held| held.fragments.contains_key(&fragment));
        !held && !self.disk.takes_work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::node::Config;
    use eyot_model::{Capacity, ComponentRef, Digest, Epoch, Inputs, Task, TaskIx, Workflow};
    use eyot_wire::{Assignment, Refusal, ToAgent, ToCloud};

    use std::sync::Arc;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn task(name: &str) -> Task {
        Task::new(
            name,
            ComponentRef {
                name: "c".into(),
                digest: Some(Digest([9; 32])),
                size: 1,
            },
        )
    }

    fn assignment(run: u128, epoch: u64) -> Assignment {
        let workflow = Workflow {
            triggers: vec![],
            ..Workflow::new("n", "w", "1", vec![task("only")])
        };
        Assignment {
            run: RunId(run),
            fragment: FragmentId(0),
            epoch: Epoch(epoch),
            workflow: Arc::new(workflow),
            inputs: Arc::new(Inputs::new()),
            tasks: vec![TaskIx(0)],
            awaits: vec![],
            facts: vec![],
            saved: vec![],
            created_at: NOW,
        }
    }

    fn submission(run: u128) -> eyot_wire::Submission {
        let Assignment { workflow, inputs, .. } = assignment(run, 1);
        eyot_wire::Submission {
            run: RunId(run),
            workflow,
            inputs,
            created_at: NOW,
            origin: eyot_model::Origin::Device { key: None },
        }
    }

    fn node() -> Node {
        let capacity = Capacity {
            cpu_millis: 4_000,
            memory_bytes: 1 << 30,
            ..Capacity::default()
        };
        Node::new(Config { capacity }, 1)
    }

    fn commands(node: &mut Node) -> Vec<Command> {
        std::iter::from_fn(|| node.poll_command()).collect()
    }

    fn starts(commands: &[Command]) -> usize {
        commands.iter().filter(|c| matches!(c, Command::Start { .. })).count()
    }

    fn assign(node: &mut Node, run: u128, epoch: u64) -> Vec<Command> {
        node.handle_message(ToAgent::Assign(Box::new(assignment(run, epoch))), NOW);
        commands(node)
    }

    #[test]
    fn above_the_high_mark_new_work_is_refused_and_what_is_held_goes_on() {
        let mut node = node();
        assert_eq!(starts(&assign(&mut node, 1, 1)), 1);
        node.disk_changed(DiskState::High, NOW);
        assert!(commands(&mut node).is_empty());
        let refused = assign(&mut node, 2, 1);
        assert!(
            matches!(
                refused[..],
                [Command::Send(ToCloud::Refused {
                    why: Refusal::DiskFull,
                    ..
                })]
            ),
            "{refused:?}"
        );
        assert!(
            !assign(&mut node, 1, 2)
                .iter()
                .any(|c| matches!(c, Command::Send(ToCloud::Refused { .. }))),
            "a new epoch of what is held is no new work"
        );
        assert!(matches!(
            node.submit(submission(3), NOW),
            Err(crate::SubmitError::NoRoom(DiskState::High))
        ));
        assert_eq!(node.load().disk, DiskState::High);
        node.disk_changed(DiskState::Normal, NOW);
        assert_eq!(starts(&assign(&mut node, 2, 1)), 1);
    }

    #[test]
    fn above_the_critical_mark_nothing_starts_until_there_is_room() {
        for full in [DiskState::Critical, DiskState::Full] {
            let mut node = node();
            assert_eq!(starts(&assign(&mut node, 1, 1)), 1);
            node.disk_changed(full, NOW);
            // A task that fails while the disk is full is tried again only once there is room.
            let id = *node.admission.running().next().unwrap();
            let failure = eyot_model::Failure::new(eyot_model::FailureKind::DiskFull, "no room");
            node.attempt_ended(&id, eyot_model::Outcome::Failed(failure), eyot_model::Usage::default(), NOW);
            let later = Timestamp(u64::MAX / 2);
            node.handle_timeout(later);
            assert_eq!(starts(&commands(&mut node)), 0);
            node.disk_changed(DiskState::High, later);
            assert_eq!(starts(&commands(&mut node)), 1, "it goes on by itself");
        }
    }

    #[test]
    fn after_a_restart_on_a_full_disk_nothing_starts_before_there_is_room() {
        let mut node = node();
        let records: Vec<_> = assign(&mut node, 1, 1)
            .into_iter()
            .filter_map(|command| match command {
                Command::Append { position, record } => Some((position, record)),
                _ => None,
            })
            .collect();
        let last = records.last().unwrap().0;
        let capacity = Capacity {
            cpu_millis: 4_000,
            memory_bytes: 1 << 30,
            ..Capacity::default()
        };
        let recovered = crate::Recovered {
            records,
            last,
            synced: last,
        };
        let (mut node, recovery) = Node::recover_on(Config { capacity }, recovered, DiskState::Critical, NOW);
        assert_eq!(recovery.runs, 1);
        let later = Timestamp(u64::MAX / 2);
        node.handle_timeout(later);
        assert_eq!(starts(&commands(&mut node)), 0);
        node.disk_changed(DiskState::High, later);
        assert_eq!(starts(&commands(&mut node)), 1);
    }
}
