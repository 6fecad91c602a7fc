//! What waits for the journal, and what becomes of it.
#![allow(clippy::unwrap_used)]

use eyot_checkpoint::{JournalError, Record};
use eyot_ledger::{Gate, Journal};
use eyot_model::{Capacity, Origin, Position, RunId, Timestamp, Workflow};
use eyot_node::{Command, Config, Node};
use eyot_wire::{Submission, ToAgent, ToCloud};
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_000_000);

/// A journal whose disk may have no room.
struct Disk {
    full: bool,
    last: Position,
}

impl Journal for Disk {
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, JournalError> {
        if self.full {
            return Err(JournalError::Full(std::io::ErrorKind::StorageFull.into()));
        }
        self.last.n += records.len() as u64;
        records.clear();
        Ok(self.last)
    }

    fn synced(&self) -> Position {
        self.last
    }
}

fn link_up(node: &mut Node) {
    node.link_up(NOW);
    node.handle_message(ToAgent::Reconciled(vec![]), NOW);
}

/// The link is lost and made again while the disk is full: what was meant for the one that is gone does not go out before
/// the greeting over the new one, nor after it. The control plane takes nothing before that, and would take it for something
/// that follows what it heard last.
#[test]
fn what_was_meant_for_an_earlier_link_does_not_go_out_over_a_later_one() {
    let config = Config {
        capacity: Capacity::default(),
    };
    let (mut node, mut gate) = (Node::new(config, 1), Gate::default());
    let mut disk = Disk {
        full: true,
        last: Position { generation: 1, n: 0 },
    };
    link_up(&mut node);
    let submission = Submission {
        run: RunId(1),
        workflow: Arc::new(Workflow::new("n", "w", "1", vec![])),
        inputs: Arc::default(),
        created_at: NOW,
        origin: Origin::Device { key: None },
    };
    node.submit(submission, NOW).unwrap();
    let over_the_first = ToAgent::OwnRunStored { run: RunId(9), through: 1 };
    node.handle_message(over_the_first, NOW);
    assert!(gate.drain(&mut node, &mut disk, NOW).is_empty());
    assert!(gate.is_stuck());
    node.link_down(NOW);
    link_up(&mut node);
    disk.full = false;
    let sent: Vec<ToCloud> = gate
        .drain(&mut node, &mut disk, NOW)
        .into_iter()
        .filter_map(|command| match command {
            Command::Send(message) => Some(message),
            _ => None,
        })
        .collect();
    assert!(matches!(sent[..], [ToCloud::Inventory(_)]), "{sent:?}");
}
