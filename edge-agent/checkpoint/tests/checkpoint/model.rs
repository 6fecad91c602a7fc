//! Random histories against a reference model: what was reported synced is there, in order, and nothing else is.

use crate::world::{World, log};
use eyot_checkpoint::{Checkpoint, DiskMarks, Keep, LiveKey, Record, StoreSource};
use eyot_model::Position;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Op {
    /// Kind and length of each record.
    Append(Vec<(u8, usize)>),
    Sync,
    Fold,
    Kill,
    Crash(u64),
    /// The power is cut, and the store is found empty.
    LoseStore(u64),
    Close,
    FailSyncs(u32),
    FailWrites(u32),
    FailCreates(u32),
    /// Room left, in KiB.
    Room(u64),
    Roomy,
    FailStore(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![3 => 0usize..200, 1 => 200usize..6_000];
    prop_oneof![
        12 => proptest::collection::vec((0u8..16, len), 1..5).prop_map(Op::Append),
        5 => Just(Op::Sync),
        4 => Just(Op::Fold),
        2 => Just(Op::Kill),
        3 => any::<u64>().prop_map(Op::Crash),
        2 => any::<u64>().prop_map(Op::LoseStore),
        1 => Just(Op::Close),
        1 => (1u32..4).prop_map(Op::FailSyncs),
        1 => (1u32..3).prop_map(Op::FailWrites),
        1 => (1u32..3).prop_map(Op::FailCreates),
        1 => (0u64..60).prop_map(Op::Room),
        2 => Just(Op::Roomy),
        1 => (0u8..3).prop_map(Op::FailStore),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    position: Position,
    keep: Keep,
    payload: Vec<u8>,
}

#[derive(Default)]
struct Model {
    /// Acknowledged, in order, as far as they survived.
    log: Vec<Known>,
    synced: u64,
    /// Refused or cut off: they may turn up after a crash, since nobody was told anything of them.
    attempted: Vec<Known>,
    /// Content of every position that was ever given out.
    given: BTreeMap<(u64, u64), Vec<u8>>,
    /// Something was injected since the start that may cost unsynced records even in a mere kill.
    faulty: bool,
    next_text: u64,
    opens: u64,
    /// Records that may be gone although they were synced.
    lossy: BTreeSet<u64>,
}

impl Model {
    fn record(&mut self, kind: u8, len: usize) -> Record {
        self.next_text += 1;
        let mut payload = self.next_text.to_le_bytes().to_vec();
        payload.resize(8 + len, kind);
        let key = LiveKey(u128::from(kind % 3));
        let keep = match kind {
            0..=2 => Keep::WhileLive(key),
            3 | 4 => Keep::Ends(key),
            5..=7 => Keep::Renews(key),
            8 | 9 => Keep::Settles(key),
            _ => Keep::UntilFolded,
        };
        Record { keep, payload }
    }

    fn append(&mut self, checkpoint: &mut Checkpoint, kinds: &[(u8, usize)]) {
        let records: Vec<Record> = kinds.iter().map(|(kind, len)| self.record(*kind, *len)).collect();
        let before = checkpoint.appended();
        match checkpoint.append(&mut records.clone()) {
            Ok(last) => {
                assert!(last.n >= before.n + records.len() as u64);
                let first = last.n + 1 - records.len() as u64;
                for (n, record) in (first..).zip(records) {
                    let position = Position { n, ..last };
                    let old = self.given.insert((position.generation, n), record.payload.clone());
                    assert!(old.is_none(), "{position:?} was given twice");
                    assert!(self.log.last().is_none_or(|l| l.position.n < n));
                    self.log.push(Known {
                        position,
                        keep: record.keep,
                        payload: record.payload,
                    });
                }
            }
            Err(_) => self.attempted.extend(records.into_iter().map(|record| Known {
                position: Position::default(),
                keep: record.keep,
                payload: record.payload,
            })),
        }
    }

    fn take_synced(&mut self, checkpoint: &Checkpoint) {
        let synced = checkpoint.synced().n;
        assert!(synced >= self.synced, "what is durable stays durable");
        assert!(synced <= checkpoint.appended().n);
        self.synced = synced;
    }

    /// Whether a record that makes this one void was found too.
    fn is_over(&self, known: &Known, found: &[(u64, Vec<u8>)]) -> bool {
        let Some(key) = known.keep.lives_under() else { return false };
        let was_found = |n: u64| found.binary_search_by_key(&n, |(n, _)| *n).is_ok();
        let voids = |later: &Known| later.keep.voids() == Some(key) && later.position.n > known.position.n && was_found(later.position.n);
        // One that was refused may turn up too, and then it counts.
        let turned_up = |attempt: &Known| {
            attempt.keep.voids() == Some(key)
                && found
                    .iter()
                    .any(|(n, payload)| *n > known.position.n && *payload == attempt.payload)
        };
        self.log.iter().any(voids) || self.attempted.iter().any(turned_up)
    }

    /// The store is gone: what the journal need not keep may be gone with it.
    fn lose_store(&mut self, world: &World) {
        world.source.quarantine("lost").unwrap();
        let alive = self.alive();
        self.lossy = self
            .log
            .iter()
            .map(|known| known.position.n)
            .filter(|n| !alive.contains(n))
            .collect();
    }

    /// Opens again and compares.
    fn reopen(&mut self, world: &World, all: bool) -> Checkpoint {
        self.opens += 1;
        let (checkpoint, recovered) = world.open(1_000 + self.opens);
        assert_eq!(recovered.report.loss, None, "{:?}", recovered.report);
        let found = log(&recovered);
        let mut kept = Vec::new();
        let mut old = self.log.iter();
        for (n, payload) in &found {
            // What came to its end within one round of folding never reached the store.
            while let Some(known) = old.as_slice().first()
                && known.position.n < *n
                && (self.lossy.contains(&known.position.n) || self.is_over(known, &found))
            {
                if !self.lossy.contains(&known.position.n) {
                    kept.push(known.clone());
                }
                old.next();
            }
            match old.as_slice().first() {
                Some(known) if known.position.n == *n && known.payload == *payload => {
                    kept.push(known.clone());
                    old.next();
                }
                _ => {
                    let attempt = self.attempted.iter().find(|a| a.payload == *payload);
                    let attempt = attempt.unwrap_or_else(|| panic!("record {n} is invented"));
                    let position = Position {
                        n: *n,
                        ..recovered.report.last
                    };
                    self.given.insert((position.generation, *n), payload.clone());
                    kept.push(Known {
                        position,
                        ..attempt.clone()
                    });
                }
            }
        }
        for lost in old {
            if self.lossy.contains(&lost.position.n) {
                continue;
            }
            if self.is_over(lost, &found) {
                kept.push(lost.clone());
                continue;
            }
            assert!(lost.position.n > self.synced, "record {} was synced and is lost", lost.position.n);
            assert!(!all, "record {} was appended and is lost in a mere kill", lost.position.n);
        }
        self.log = kept;
        self.attempted.clear();
        self.synced = checkpoint.synced().n.max(self.synced);
        self.faulty = false;
        self.lossy.clear();
        assert_eq!(recovered.live.iter().map(|e| e.position.n).collect::<Vec<_>>(), self.alive());
        checkpoint
    }

    fn alive(&self) -> Vec<u64> {
        let mut alive: BTreeMap<LiveKey, Vec<u64>> = BTreeMap::new();
        for known in &self.log {
            if let Keep::Ends(key) | Keep::Renews(key) | Keep::Settles(key) = known.keep {
                alive.remove(&key);
            }
            if let Some(key) = known.keep.lives_under() {
                alive.entry(key).or_default().push(known.position.n);
            }
        }
        let mut numbers: Vec<u64> = alive.into_values().flatten().collect();
        numbers.sort_unstable();
        numbers
    }
}

fn run(ops: &[Op]) {
    let world = World::default();
    let mut model = Model::default();
    let mut checkpoint = model.reopen(&world, true);
    for op in ops {
        match op {
            Op::Append(kinds) => model.append(&mut checkpoint, kinds),
            Op::Sync => {
                let appended = checkpoint.appended();
                if let Ok(synced) = checkpoint.sync() {
                    assert_eq!(synced, appended);
                }
            }
            Op::Fold => {
                if checkpoint.fold().is_ok() {
                    assert_eq!(checkpoint.synced(), checkpoint.appended());
                }
            }
            Op::Kill => {
                model.take_synced(&checkpoint);
                drop(checkpoint);
                world.disk.kill();
                quiet(&world);
                checkpoint = model.reopen(&world, !model.faulty);
            }
            Op::Crash(seed) => {
                model.take_synced(&checkpoint);
                drop(checkpoint);
                world.crash(*seed);
                quiet(&world);
                checkpoint = model.reopen(&world, false);
            }
            Op::LoseStore(seed) => {
                model.take_synced(&checkpoint);
                drop(checkpoint);
                world.crash(*seed);
                quiet(&world);
                model.lose_store(&world);
                checkpoint = model.reopen(&world, false);
            }
            Op::Close => {
                model.take_synced(&checkpoint);
                let faulty = model.faulty;
                let closed = checkpoint.close().is_ok();
                world.disk.kill();
                quiet(&world);
                checkpoint = model.reopen(&world, closed || !faulty);
            }
            Op::FailSyncs(count) => world.disk.fail_syncs(*count),
            Op::FailWrites(count) => world.disk.fail_writes(*count),
            Op::FailCreates(count) => world.disk.fail_creates(*count),
            Op::Room(kib) => {
                world.disk.set_capacity(None);
                let used = world.disk.used();
                world.disk.set_capacity(Some(used + (kib << 10)));
            }
            Op::Roomy => world.disk.set_capacity(None),
            Op::FailStore(which) => match which {
                0 => world.source.fail_applies(1),
                1 => world.source.fail_flushes(1),
                _ => {}
            },
        }
        model.faulty |= matches!(op, Op::FailSyncs(_) | Op::FailWrites(_) | Op::FailCreates(_) | Op::Room(_));
        model.take_synced(&checkpoint);
    }
    drop(checkpoint);
    world.crash(1);
    quiet(&world);
    let mut checkpoint = model.reopen(&world, false);
    model.append(&mut checkpoint, &[(9, 1)]);
    checkpoint.close().unwrap();
    model.reopen(&world, true);
}

/// Failures end with the process, so that what a start finds is what the crash left.
fn quiet(world: &World) {
    world.disk.set_capacity(None);
    world.disk.fail_syncs(0);
    world.disk.fail_writes(0);
    world.disk.fail_creates(0);
    world.source.fail_applies(0);
    world.source.fail_flushes(0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(400), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_synced_is_lost_and_nothing_is_invented(ops in proptest::collection::vec(op(), 1..80)) {
        run(&ops);
    }
}

#[test]
fn marks_of_no_size_mean_no_marks() {
    let none = DiskMarks {
        high_free: 0,
        critical_free: 0,
        reserve: 0,
    };
    assert_eq!(crate::world::small().marks, none);
}

/// Found by the property above: a segment went before it was durable that it was no longer needed.
#[test]
fn a_dropped_segment_goes_only_once_that_is_durable() {
    let append = || Op::Append(vec![(0, 0)]);
    run(&[
        Op::Close,
        append(),
        append(),
        Op::Kill,
        append(),
        Op::Sync,
        Op::FailSyncs(2),
        Op::Close,
    ]);
}

/// An append that the disk refused was on it in part, whole records of it: the end of a key among them counts after a start.
#[test]
fn an_end_that_was_refused_and_turns_up_counts() {
    run(&[
        Op::Append(vec![(2, 0)]),
        Op::FailWrites(1),
        Op::Append(vec![(5, 0), (0, 68)]),
        Op::FailWrites(1),
        Op::Append(vec![(0, 0)]),
        Op::Kill,
    ]);
}
