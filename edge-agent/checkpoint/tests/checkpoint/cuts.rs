//! The power is cut before each change of the disk in turn, those of a start included.

use crate::world::{World, append, live, log, text};
use eyot_checkpoint::{Checkpoint, LiveKey, Record};
use std::collections::BTreeSet;

/// What a process did until the power was gone, and the last record that it knew to be durable.
#[derive(Default)]
struct Life {
    synced: u64,
    gone: bool,
    /// Numbers of the records that were taken, and those whose place a later one takes.
    written: BTreeSet<u64>,
    renewed: BTreeSet<u64>,
}

impl Life {
    fn append(&mut self, checkpoint: &mut Checkpoint, mut records: Vec<Record>) {
        let count = records.len() as u64;
        let renews: Vec<u64> = (0..)
            .zip(&records)
            .filter(|(_, r)| r.keep.voids().is_some())
            .map(|(i, _)| i)
            .collect();
        let appended = checkpoint.append(&mut records);
        if let Ok(last) = &appended {
            let first = last.n + 1 - count;
            self.written.extend(first..=last.n);
            self.renewed.extend(renews.into_iter().map(|i| first + i));
        }
        self.take(checkpoint, appended.is_ok());
    }

    fn take(&mut self, checkpoint: &Checkpoint, done: bool) {
        self.synced = self.synced.max(checkpoint.synced().n);
        self.gone |= !done;
    }

    /// Enough of everything that segments are begun, written anew after a sync that failed, and dropped.
    fn live(&mut self, world: &World, generation: u64) {
        let (mut checkpoint, recovered) = world.open(generation);
        self.written.extend(log(&recovered).into_iter().map(|(n, _)| n));
        self.written.extend(recovered.tail.iter().map(|entry| entry.position.n));
        self.synced = self.synced.max(checkpoint.synced().n);
        for round in 0..6_u128 {
            let first = checkpoint.appended().n + 1;
            let mut records: Vec<Record> = (first..first + 60).map(|n| Record::until_folded(text(n))).collect();
            records.push(live(round % 3, first + 60));
            records.push(Record::renews(LiveKey(9), text(first + 61)));
            self.append(&mut checkpoint, records);
            if round == 2 {
                world.disk.fail_syncs(1);
            }
            let done = checkpoint.sync().is_ok();
            self.take(&checkpoint, done);
            self.append(&mut checkpoint, vec![Record::until_folded(text(first + 62))]);
            if round % 2 == 1 {
                let done = checkpoint.fold().is_ok();
                self.take(&checkpoint, done);
            }
            if self.gone {
                return;
            }
        }
    }
}

/// Gives whether the power went before all was done.
fn cut(at: u64, seed: u64) -> bool {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    append(&mut checkpoint, 1..=40);
    checkpoint.sync().unwrap();
    append(&mut checkpoint, 41..=80);
    let mut life = Life {
        synced: checkpoint.synced().n,
        written: (1..=40).collect(),
        ..Life::default()
    };
    drop(checkpoint);
    // The next start finds a tail of which it is not sure: it writes it anew.
    if seed.is_multiple_of(2) {
        world.disk.kill();
    } else {
        world.crash(seed);
    }
    world.disk.cut_after(at);
    life.live(&world, 2);
    world.crash(seed + 1_000);
    world.disk.fail_syncs(0);
    let (mut checkpoint, recovered) = world.open(3);
    let report = &recovered.report;
    assert_eq!((report.loss, report.damage.len()), (None, 0), "cut {at}, seed {seed}: {report:?}");
    let found: BTreeSet<u64> = log(&recovered).into_iter().map(|(n, _)| n).collect();
    let last = life.renewed.iter().filter(|n| found.contains(n)).max().copied().unwrap_or_default();
    for n in life.written.range(..=life.synced) {
        let replaced = life.renewed.contains(n) && *n < last;
        assert!(
            replaced || found.contains(n),
            "cut {at}, seed {seed}: record {n} was synced and is lost"
        );
    }
    let next = checkpoint.append(&mut vec![Record::until_folded(text(0))]).unwrap();
    assert!(next.n > life.synced);
    checkpoint.close().unwrap();
    life.gone
}

#[test]
fn a_power_cut_at_any_moment_is_no_damage_and_takes_nothing_that_was_synced() {
    for seed in 0..6 {
        let cuts = (0..).take_while(|at| cut(*at, seed)).count();
        assert!(cuts > 60, "only {cuts} changes of the disk");
    }
}
