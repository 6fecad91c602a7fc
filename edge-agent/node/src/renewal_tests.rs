//! Fragments that go on here under another epoch, and acknowledgements of what was told under the one before.

use crate::yielding_tests::{ALL, Device, NOW, RUN, assignment};
use eyot_model::{Epoch, Event, Outcome, Outputs, Position};
use eyot_wire::{FragmentStanding, ToAgent, ToCloud};

/// The first task has ended, and nobody has acknowledged it when the link goes. Also gives where the journal ends then.
fn cut_off() -> (Device, Position) {
    let mut device = Device::new(true);
    let id = device.started[0];
    device.end(id, Outcome::Succeeded(Outputs::new()));
    let last = device.node.position();
    device.node.link_down(NOW);
    device.sent.clear();
    (device, last)
}

/// The numbers of the tasks whose ends were told under the epoch, in order.
fn told_ends(device: &Device, epoch: u64) -> Vec<u32> {
    let items = device.sent.iter().filter_map(|message| match message {
        ToCloud::Report(report) => Some(&report.items),
        _ => None,
    });
    let ends = items
        .flatten()
        .filter(|item| item.epoch == Epoch(epoch))
        .filter_map(|item| match &item.event {
            Event::Ended { path, .. } => Some(path.task.0),
            _ => None,
        });
    ends.collect()
}

fn keep(epoch: u64) -> ToAgent {
    ToAgent::Reconciled(vec![FragmentStanding::Keep {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(epoch),
    }])
}

/// What came late under the first epoch was not taken, and is acknowledged: before the answer to the inventory, and after it.
/// The result is told under the new epoch, and over each later link until that is acknowledged, also after a restart.
#[test]
fn an_acknowledgement_of_what_came_too_late_does_not_end_what_is_told_anew() {
    for early in [true, false] {
        let (mut device, through) = cut_off();
        device.node.link_up(NOW);
        if early {
            device.hear(ToAgent::Committed { through });
        }
        device.hear(ToAgent::Assign(assignment(3, true, vec![], vec![])));
        device.hear(keep(3));
        device.hear(ToAgent::Committed { through });
        assert_eq!(told_ends(&device, 3), [0]);
        assert!(device.node.has_unreported());
        device.node.link_down(NOW);
        for restart in [false, true] {
            if restart {
                device = device.crash();
            }
            device.sent.clear();
            device.node.link_up(NOW);
            device.hear(keep(3));
            assert_eq!(told_ends(&device, 3), [0], "restart: {restart}");
            device.node.link_down(NOW);
        }
        device.node.link_up(NOW);
        device.hear(keep(3));
        let through = device.node.position();
        device.hear(ToAgent::Committed { through });
        assert!(!device.node.has_unreported());
    }
}
