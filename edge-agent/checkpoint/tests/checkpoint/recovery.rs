//! One table of what can happen to the files, and what has to come of it.

use crate::world::{World, append, live, log, text};
use eyot_checkpoint::disk::{Disk, read_all};
use eyot_checkpoint::{Checkpoint, DamageKind, Loss, Record, Recovered, SimDisk, StoreOpening};
use std::ops::RangeInclusive;

/// Bytes before the first frame of a segment.
const HEADER: u64 = 8192;
/// Bytes of the frame of `text(n)` for n of one digit.
fn frame() -> u64 {
    17 + text(1).len() as u64
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.ends_with(".seg")).collect()
}

fn content(disk: &SimDisk, name: &str) -> Vec<u8> {
    read_all(&*disk.open(name).unwrap()).unwrap()
}

/// Five records, synced, and two more that are not; one segment.
fn short() -> World {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    append(&mut checkpoint, 1..=5);
    checkpoint.sync().unwrap();
    append(&mut checkpoint, 6..=7);
    drop(checkpoint);
    world.disk.kill();
    world
}

/// Five segments, all synced, nothing folded.
fn long() -> World {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    while segments(&world.disk).len() < 5 {
        let next = checkpoint.appended().n + 1;
        append(&mut checkpoint, [next]);
    }
    checkpoint.sync().unwrap();
    drop(checkpoint);
    world.disk.kill();
    world
}

fn numbers(recovered: &Recovered) -> Vec<u64> {
    let log = log(recovered);
    for (n, payload) in &log {
        assert_eq!(*payload, text(*n), "record {n}");
    }
    log.into_iter().map(|(n, _)| n).collect()
}

fn range(range: RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

/// Whatever was found, the next start finds it in order, and numbers never come again.
fn goes_on(world: &World, mut checkpoint: Checkpoint, recovered: &Recovered) {
    let before = numbers(recovered);
    let position = checkpoint.append(&mut vec![Record::until_folded(b"new".to_vec())]).unwrap();
    assert!(before.iter().all(|n| *n < position.n));
    assert_eq!(position.n, recovered.report.taken.n + 1, "who counts along knows the next number");
    if recovered.report.loss.is_some() {
        assert_eq!(position.generation, 2, "a loss is answered by a new generation");
    } else {
        assert_eq!(position.generation, 1);
    }
    checkpoint.sync().unwrap();
    drop(checkpoint);
    world.crash(99);
    let (_, again) = world.open(3);
    assert_eq!(again.report.loss, None, "a loss is told once: {:?}", again.report);
    assert_eq!(again.report.last, position);
    assert_eq!(log(&again).last(), Some(&(position.n, b"new".to_vec())));
    assert_eq!(log(&again).len(), before.len() + 1);
}

#[test]
fn a_kill_loses_nothing_that_was_appended() {
    let world = short();
    let (checkpoint, recovered) = world.open(2);
    assert_eq!(numbers(&recovered), range(1..=7));
    assert_eq!(recovered.report.loss, None);
    assert!(!recovered.report.clean);
    assert_eq!(recovered.tail.len(), 7);
    goes_on(&world, checkpoint, &recovered);
}

#[test]
fn a_stop_in_order_is_told_from_a_crash_and_goes_on_counting() {
    let world = World::default();
    let (mut checkpoint, recovered) = world.open(1);
    assert_eq!(recovered.report.store, StoreOpening::Created);
    append(&mut checkpoint, 1..=5);
    checkpoint.close().unwrap();
    world.crash(3);
    let (mut checkpoint, recovered) = world.open(2);
    assert!(recovered.report.clean);
    assert_eq!(recovered.report.folded, 0);
    assert_eq!(recovered.report.store, StoreOpening::Opened);
    assert!(recovered.tail.is_empty());
    append(&mut checkpoint, [6]);
    assert_eq!(checkpoint.appended().n, 6);
    checkpoint.close().unwrap();
    let (checkpoint, recovered) = world.open(2);
    assert_eq!(numbers(&recovered), range(1..=6));
    checkpoint.close().unwrap();
    assert!(world.open(2).1.report.clean, "also when nothing was written in between");
}

#[test]
fn damage_behind_the_last_sync_is_a_torn_tail() {
    // Record 6 begins behind five records and the mark.
    let sixth = HEADER + 5 * frame() + 33;
    let cases: [(&str, u64, Vec<u64>); 4] = [
        ("the checksum of record 6", sixth, range(1..=5)),
        ("the length of record 6", sixth + 4, range(1..=5)),
        ("the payload of record 6", sixth + 30, range(1..=5)),
        ("the payload of record 7", sixth + frame() + 30, range(1..=6)),
    ];
    for (what, offset, expected) in cases {
        let world = short();
        world.disk.flip_bit(&segments(&world.disk)[0], offset, 3);
        let (checkpoint, recovered) = world.open(2);
        assert_eq!(numbers(&recovered), expected, "{what}");
        assert_eq!(recovered.report.loss, None, "{what}");
        assert!(recovered.report.torn_bytes > 0, "{what}");
        goes_on(&world, checkpoint, &recovered);
    }
}

#[test]
fn damage_below_the_last_sync_is_reported_and_read_around() {
    let third = HEADER + 2 * frame();
    let name = |world: &World| segments(&world.disk)[0].clone();
    for (what, offset) in [
        ("its checksum", third),
        ("its length, to something huge", third + 7),
        ("its length, by a little", third + 4),
        ("its kind", third + 8),
        ("its number", third + 9),
        ("its payload", third + 40),
    ] {
        let world = short();
        let file = name(&world);
        let before = content(&world.disk, &file);
        world.disk.flip_bit(&file, offset, 2);
        let (checkpoint, recovered) = world.open(2);
        assert_eq!(numbers(&recovered), [1, 2, 4, 5, 6, 7], "{what}");
        assert_eq!(recovered.report.loss, Some(Loss::Journal), "{what}");
        let damage = &recovered.report.damage[0];
        assert_eq!((&damage.file, damage.lost), (&file, true));
        assert_eq!(
            damage.kind,
            DamageKind::BadBytes {
                offset: third,
                len: frame()
            }
        );
        let aside = content(&world.disk, damage.quarantined.as_ref().unwrap());
        assert_eq!(aside.len(), before.len());
        goes_on(&world, checkpoint, &recovered);
    }
}

#[test]
fn a_bad_mark_costs_nothing_when_the_numbers_show_that_nothing_is_missing() {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    append(&mut checkpoint, 1..=5);
    checkpoint.sync().unwrap();
    append(&mut checkpoint, 6..=7);
    checkpoint.sync().unwrap();
    drop(checkpoint);
    world.disk.kill();
    world.disk.flip_bit(&segments(&world.disk)[0], HEADER + 5 * frame() + 20, 1);
    let (checkpoint, recovered) = world.open(2);
    assert_eq!(numbers(&recovered), range(1..=7));
    assert_eq!(recovered.report.loss, None);
    assert!(!recovered.report.damage[0].lost);
    goes_on(&world, checkpoint, &recovered);
}

#[test]
fn a_header_is_read_from_either_of_its_places() {
    for offset in [20, 4096 + 20] {
        let world = long();
        for name in segments(&world.disk) {
            world.disk.flip_bit(&name, offset, 0);
        }
        let (checkpoint, recovered) = world.open(2);
        assert_eq!(recovered.report.loss, None);
        assert_eq!(numbers(&recovered), range(1..=recovered.report.last.n));
        goes_on(&world, checkpoint, &recovered);
    }
}

#[test]
fn a_segment_without_any_header_is_set_aside() {
    for which in [0, 2, 4] {
        let world = long();
        let name = segments(&world.disk)[which].clone();
        for offset in [20, 4096 + 20] {
            world.disk.flip_bit(&name, offset, 0);
        }
        let (checkpoint, recovered) = world.open(2);
        assert_eq!(recovered.report.loss, Some(Loss::Journal), "segment {which}");
        let bad = recovered.report.damage.iter().find(|d| d.kind == DamageKind::BadHeader).unwrap();
        assert_eq!(bad.file, name);
        assert!(bad.quarantined.is_some());
        goes_on(&world, checkpoint, &recovered);
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    for which in 0..4 {
        let world = long();
        let name = segments(&world.disk)[which].clone();
        world.disk.remove(&name).unwrap();
        world.disk.sync_dir().unwrap();
        let (checkpoint, recovered) = world.open(2);
        assert_eq!(recovered.report.loss, Some(Loss::Journal), "segment {which}");
        assert_eq!(recovered.report.damage[0].kind, DamageKind::Missing);
        assert_eq!(recovered.report.damage[0].file, name);
        let kept = numbers(&recovered);
        assert!(!kept.is_empty() && kept.len() < usize::try_from(recovered.report.last.n).unwrap());
        goes_on(&world, checkpoint, &recovered);
    }
}

#[test]
fn a_missing_last_segment_is_noticed_where_the_store_had_it() {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    append(&mut checkpoint, 1..=300);
    checkpoint.fold().unwrap();
    drop(checkpoint);
    world.disk.kill();
    world.disk.remove(segments(&world.disk).last().unwrap()).unwrap();
    let (checkpoint, recovered) = world.open(2);
    assert!(
        matches!(recovered.report.loss, Some(Loss::JournalBehindStore { .. })),
        "{:?}",
        recovered.report
    );
    assert_eq!(numbers(&recovered), range(1..=300), "the store has them");
    goes_on(&world, checkpoint, &recovered);
}

#[test]
fn a_copy_of_a_segment_under_another_name_is_set_aside() {
    let world = long();
    let names = segments(&world.disk);
    // In place of another one, and as one more.
    let bytes = content(&world.disk, &names[1]);
    world.disk.plant(&names[2], bytes.clone());
    world.disk.plant("journal-0000000000000100.seg", bytes);
    let (checkpoint, recovered) = world.open(2);
    assert_eq!(recovered.report.loss, Some(Loss::Journal));
    let misnamed = recovered.report.damage.iter().filter(|d| d.kind == DamageKind::Misnamed);
    assert_eq!(misnamed.count(), 2);
    goes_on(&world, checkpoint, &recovered);
}

#[test]
fn empty_and_zero_filled_files_are_segments_that_were_never_begun() {
    for junk in [Vec::new(), vec![0; 100], vec![0; 24 << 10]] {
        let world = short();
        world.disk.plant("journal-0000000000000002.seg", junk);
        let (checkpoint, recovered) = world.open(2);
        assert_eq!(numbers(&recovered), range(1..=7));
        assert_eq!((recovered.report.loss, recovered.report.damage.len()), (None, 0));
        assert!(
            !segments(&world.disk).contains(&"journal-0000000000000002.seg".to_owned()),
            "it is swept up"
        );
        goes_on(&world, checkpoint, &recovered);
    }
}

#[test]
fn other_files_are_left_alone() {
    let world = short();
    world.disk.plant("notes.txt", b"hello".to_vec());
    let (checkpoint, recovered) = world.open(2);
    assert_eq!(recovered.report.damage, []);
    assert_eq!(content(&world.disk, "notes.txt"), b"hello");
    goes_on(&world, checkpoint, &recovered);
}

#[test]
fn a_batch_is_recovered_whole_or_not_at_all() {
    let mut whole = 0;
    for seed in 0..40 {
        let world = World::default();
        let (mut checkpoint, _) = world.open(1);
        append(&mut checkpoint, [1]);
        checkpoint.sync().unwrap();
        checkpoint
            .append(&mut (2..=20).map(|n| Record::until_folded(text(n))).collect())
            .unwrap();
        drop(checkpoint);
        world.crash(seed);
        let (checkpoint, recovered) = world.open(2);
        let numbers = numbers(&recovered);
        assert!(numbers == [1] || numbers == range(1..=20), "seed {seed}: {numbers:?}");
        whole += usize::from(numbers.len() == 20);
        goes_on(&world, checkpoint, &recovered);
    }
    assert!(whole < 40);
}

#[test]
fn a_store_of_another_history_is_set_aside() {
    let (ours, other) = (short(), World::default());
    let (mut checkpoint, _) = other.open(77);
    append(&mut checkpoint, 100..=103);
    checkpoint.close().unwrap();
    let mixed = World {
        disk: ours.disk,
        source: other.source,
    };
    let (checkpoint, recovered) = mixed.open(2);
    assert!(matches!(recovered.report.loss, Some(Loss::ForeignStore { .. })));
    assert!(matches!(recovered.report.store, StoreOpening::Rebuilt { .. }));
    assert_eq!(numbers(&recovered), range(1..=7));
    goes_on(&mixed, checkpoint, &recovered);
}

#[test]
fn an_older_journal_under_a_newer_store_gets_a_new_generation() {
    let world = short();
    let old: Vec<(String, Vec<u8>)> = segments(&world.disk)
        .into_iter()
        .map(|name| (name.clone(), content(&world.disk, &name)))
        .collect();
    let (mut checkpoint, _) = world.open(2);
    append(&mut checkpoint, 8..=20);
    checkpoint.close().unwrap();
    for name in segments(&world.disk) {
        world.disk.remove(&name).unwrap();
    }
    for (name, bytes) in old {
        world.disk.plant(&name, bytes);
    }
    let (mut checkpoint, recovered) = world.open(2);
    let Some(Loss::JournalBehindStore { store, .. }) = recovered.report.loss else {
        panic!("{:?}", recovered.report)
    };
    let position = checkpoint.append(&mut vec![Record::until_folded(Vec::new())]).unwrap();
    assert_eq!(position.generation, 2);
    assert!(position.n > store.n);
}

#[test]
fn an_older_store_under_a_newer_journal_is_built_anew() {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    checkpoint.append(&mut vec![live(1, 1)]).unwrap();
    append(&mut checkpoint, 2..=3);
    checkpoint.fold().unwrap();
    let (old_store, position) = (log_of(&checkpoint), checkpoint.synced());
    append(&mut checkpoint, 4..=2_000);
    checkpoint.fold().unwrap();
    drop(checkpoint);
    world.disk.kill();
    let restored = World {
        disk: world.disk,
        source: store_with(&old_store, position),
    };
    let (checkpoint, recovered) = restored.open(2);
    assert_eq!(recovered.report.loss, Some(Loss::StoreBehindJournal));
    assert!(matches!(recovered.report.store, StoreOpening::Rebuilt { .. }));
    assert_eq!(recovered.live.len(), 1);
    goes_on(&restored, checkpoint, &recovered);
}

fn log_of(checkpoint: &Checkpoint) -> Vec<(Vec<u8>, Vec<u8>)> {
    checkpoint.store().scan(crate::world::LOG, &[], None, usize::MAX).unwrap()
}

fn store_with(pairs: &[(Vec<u8>, Vec<u8>)], position: eyot_model::Position) -> eyot_checkpoint::MemorySource {
    use eyot_checkpoint::StoreSource;
    let source = eyot_checkpoint::MemorySource::new();
    let store = source.open().unwrap();
    let mut batch = eyot_checkpoint::Batch::default();
    for (key, value) in pairs {
        batch.put(crate::world::LOG, key.clone(), value.clone());
    }
    store.apply(&batch, Some(position)).unwrap();
    store.flush().unwrap();
    source
}

#[test]
fn without_any_store_the_journal_keeps_everything() {
    let world = short();
    world.source.fail_opens(100);
    let (mut checkpoint, recovered) = world.open(2);
    assert!(matches!(recovered.report.store, StoreOpening::InMemory { .. }));
    assert_eq!(numbers(&recovered), range(1..=7));
    let first = checkpoint.appended().n + 1;
    append(&mut checkpoint, (0..2_000).map(|i| first + i));
    checkpoint.fold().unwrap();
    drop(checkpoint);
    world.crash(4);
    world.source.fail_opens(0);
    let (_, recovered) = world.open(2);
    assert_eq!(recovered.report.store, StoreOpening::Created);
    assert_eq!(log(&recovered).len(), 2_007);
}

#[test]
fn a_store_that_fails_is_opened_again_and_misses_nothing() {
    let world = World::default();
    let (mut checkpoint, recovered) = world.open(1);
    append(&mut checkpoint, 1..=10);
    checkpoint.fold().unwrap();
    append(&mut checkpoint, 11..=20);
    world.source.fail_applies(1);
    checkpoint.fold().unwrap_err();
    world.source.fail_flushes(1);
    checkpoint.fold().unwrap_err();
    checkpoint.fold().unwrap();
    assert_eq!(numbers(&recovered), range(1..=20));
    // It does not even open again: built anew from the journal.
    append(&mut checkpoint, 21..=30);
    world.source.fail_applies(1);
    world.source.fail_opens(1);
    checkpoint.fold().unwrap_err();
    checkpoint.fold().unwrap();
    assert_eq!(numbers(&recovered), range(1..=30));
}

#[test]
fn after_a_failed_sync_everything_goes_to_a_new_file() {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    append(&mut checkpoint, 1..=3);
    checkpoint.sync().unwrap();
    append(&mut checkpoint, 4..=6);
    world.disk.fail_syncs(1);
    checkpoint.sync().unwrap();
    assert_eq!(segments(&world.disk).len(), 2);
    append(&mut checkpoint, 7..=8);
    world.disk.fail_syncs(1_000);
    checkpoint.sync().unwrap_err();
    assert_eq!(checkpoint.synced().n, 6, "nothing is claimed");
    world.disk.fail_syncs(0);
    checkpoint.sync().unwrap();
    assert_eq!(checkpoint.synced().n, 8);
    drop(checkpoint);
    world.crash(5);
    let (checkpoint, recovered) = world.open(2);
    assert_eq!(numbers(&recovered), range(1..=8));
    assert_eq!((recovered.report.loss, recovered.report.damage.len()), (None, 0));
    goes_on(&world, checkpoint, &recovered);
}
