//! A disk that runs full, and has room again.

use crate::world::{World, append, live, log, log_fold, small, text};
use eyot_checkpoint::{
    Checkpoint, CheckpointStore, Config, DiskMarks, DiskState, JournalError, LiveKey, MemorySource, News, Record, SimDisk, StoreError,
    StoreOpening, StoreSource, Timing,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn config() -> Config {
    Config {
        marks: DiskMarks {
            high_free: 200 << 10,
            critical_free: 50 << 10,
            reserve: 64 << 10,
        },
        ..small()
    }
}

#[test]
fn marks_are_told_and_the_reserve_is_the_last_resort() {
    let world = World::default();
    world.disk.set_capacity(Some(400 << 10));
    let (mut checkpoint, _) = world.open_with(config(), 1);
    assert_eq!(checkpoint.refresh_disk_state(), DiskState::Normal);
    append(&mut checkpoint, 1..=10);
    world.disk.set_capacity(Some(200 << 10));
    assert_eq!(checkpoint.refresh_disk_state(), DiskState::High);
    world.disk.set_capacity(Some(100 << 10));
    assert_eq!(checkpoint.refresh_disk_state(), DiskState::Critical);

    // Nothing left but the reserve: it is given up, and appends go on until that is used too.
    world.disk.set_capacity(Some(1));
    let mut n = 10;
    let mut states = Vec::new();
    let error = loop {
        match checkpoint.append(&mut vec![Record::until_folded(text(n + 1))]) {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
        if states.last() != Some(&checkpoint.disk_state()) {
            states.push(checkpoint.disk_state());
        }
        assert!(n < 10_000);
    };
    assert!(matches!(error, JournalError::Full(_)), "{error:?}");
    assert_eq!(checkpoint.disk_state(), DiskState::Full);
    let acknowledged = n;
    for _ in 0..3 {
        checkpoint.append(&mut vec![Record::until_folded(text(0))]).unwrap_err();
    }

    world.disk.set_capacity(Some(1 << 20));
    append(&mut checkpoint, acknowledged + 1..=acknowledged + 5);
    assert_eq!(checkpoint.refresh_disk_state(), DiskState::Normal, "the reserve is there again");
    checkpoint.sync().unwrap();
    drop(checkpoint);
    world.crash(7);
    let (_, recovered) = world.open_with(config(), 2);
    assert_eq!(recovered.report.loss, None);
    let texts: Vec<Vec<u8>> = log(&recovered).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, (1..=acknowledged + 5).map(text).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_at_the_start_does_not_stop_the_agent() {
    let world = World::default();
    world.disk.set_capacity(Some(0));
    let (mut checkpoint, recovered) = world.open_with(config(), 1);
    assert_eq!(recovered.report.last.n, 0);
    assert!(matches!(
        checkpoint.append(&mut vec![Record::until_folded(text(1))]),
        Err(JournalError::Full(_))
    ));
    world.disk.set_capacity(None);
    append(&mut checkpoint, [1]);
    checkpoint.sync().unwrap();
}

#[test]
fn the_journal_stays_short_and_what_is_alive_stays_in_it() {
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    checkpoint.append(&mut vec![live(1, 1), live(2, 2)]).unwrap();
    for round in 0..60 {
        append(&mut checkpoint, (0..100).map(|i| 10 + round * 100 + i));
        if round == 30 {
            checkpoint.append(&mut vec![Record::ends(LiveKey(2), text(5_000_000))]).unwrap();
            checkpoint.append(&mut vec![live(3, 3)]).unwrap();
        }
        checkpoint.fold().unwrap();
        assert!(
            checkpoint.journal_bytes() <= (64 + 2 * 24) << 10,
            "{} bytes",
            checkpoint.journal_bytes()
        );
    }
    drop(checkpoint);
    // Even with the store gone, what is alive is rebuilt, in order.
    world.crash(1);
    world.source.fail_opens(1);
    let (_, recovered) = world.open(2);
    let alive: Vec<Vec<u8>> = recovered.live.iter().map(|entry| entry.payload.clone()).collect();
    assert_eq!(alive, [text(1), text(3)]);
    assert_eq!(recovered.live[0].position.n, 1, "a copy keeps its position");
    assert_eq!(log(&recovered)[0], (1, text(1)));
    assert_eq!(recovered.report.loss, None);
}

/// What is renewed again and again and what is settled costs the journal nothing for long; what is neither settled nor ended is there
/// when the store is lost after everything was folded.
#[test]
fn what_is_renewed_or_settled_keeps_no_room_and_the_rest_outlives_the_store() {
    let key = |n: u64| LiveKey(u128::from(n));
    let world = World::default();
    let (mut checkpoint, _) = world.open(1);
    for round in 0..400 {
        let mut records = vec![Record::renews(key(0), text(round)), Record::until_folded(text(5_000_000))];
        // One in eight is never settled.
        records.extend([
            Record::renews(key(1_000 + round), text(1_000 + round)),
            live(u128::from(1_000 + round), 2_000 + round),
        ]);
        checkpoint.append(&mut records).unwrap();
        if round % 8 != 0 {
            checkpoint
                .append(&mut vec![Record::settles(key(1_000 + round), text(3_000 + round))])
                .unwrap();
        }
        checkpoint.fold().unwrap();
        let live = 2 * (round / 8 + 2) * 140;
        assert!(
            checkpoint.journal_bytes() <= ((64 + 2 * 24) << 10) + 2 * live,
            "{} bytes in round {round}",
            checkpoint.journal_bytes()
        );
    }
    drop(checkpoint);
    world.crash(1);
    let count = log(&world.open(2).1).len();
    assert!(count > 1_500, "what is settled stays in the store: {count}");
    world.source.quarantine("lost").unwrap();
    let (_, recovered) = world.open(3);
    assert_eq!(recovered.report.loss, None);
    let unsettled = (0..400).step_by(8).flat_map(|round| [text(1_000 + round), text(2_000 + round)]);
    let expected: Vec<Vec<u8>> = unsettled.chain([text(399)]).collect();
    let sorted = |mut texts: Vec<Vec<u8>>| {
        texts.sort();
        texts
    };
    let alive = recovered.live.iter().map(|entry| entry.payload.clone()).collect();
    assert_eq!(sorted(alive), sorted(expected.clone()));
    let kept: Vec<Vec<u8>> = log(&recovered).into_iter().map(|(_, text)| text).collect();
    assert!(expected.iter().all(|text| kept.contains(text)), "it is in the new store");
}

/// A store on a disk that has no room for it, for as long as the flag says.
#[derive(Debug, Default)]
struct Cramped {
    inner: MemorySource,
    full: AtomicBool,
    set_aside: AtomicUsize,
}

impl StoreSource for Cramped {
    fn open(&self) -> Result<Arc<dyn CheckpointStore>, StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Io {
                action: "be opened",
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        self.inner.open()
    }

    fn quarantine(&self, label: &str) -> Result<String, StoreError> {
        self.set_aside.fetch_add(1, Ordering::Relaxed);
        self.inner.quarantine(label)
    }
}

#[test]
fn a_store_without_room_is_not_taken_for_damaged_and_comes_back() {
    let disk = SimDisk::new();
    let source = Arc::new(Cramped::default());
    let open = |generation| {
        Checkpoint::open(
            small(),
            Arc::new(disk.clone()),
            source.clone(),
            Arc::new(log_fold),
            generation,
            "label",
        )
        .unwrap()
    };
    let (mut checkpoint, _) = open(1);
    append(&mut checkpoint, 1..=400);
    checkpoint.fold().unwrap();
    checkpoint.close().unwrap();
    source.full.store(true, Ordering::Relaxed);
    let (mut checkpoint, recovered) = open(2);
    assert!(
        matches!(recovered.report.store, StoreOpening::InMemory { .. }),
        "{:?}",
        recovered.report
    );
    assert_eq!(recovered.report.loss, None);
    append(&mut checkpoint, 401..=900);
    checkpoint.fold().unwrap();
    source.full.store(false, Ordering::Relaxed);
    append(&mut checkpoint, 901..=910);
    checkpoint.fold().unwrap();
    checkpoint.close().unwrap();
    assert_eq!(source.set_aside.load(Ordering::Relaxed), 0);
    let (_, recovered) = open(3);
    assert_eq!(recovered.report.store, StoreOpening::Opened);
    let texts: Vec<Vec<u8>> = log(&recovered).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, (1..=910).map(text).collect::<Vec<_>>());
}

#[test]
fn a_store_on_disk_that_could_not_be_opened_is_told_of_and_not_written_over() {
    let disk = SimDisk::new();
    let source = Arc::new(Cramped::default());
    let open = |generation| {
        let source = source.clone();
        Checkpoint::open(small(), Arc::new(disk.clone()), source, Arc::new(log_fold), generation, "label").unwrap()
    };
    let (mut checkpoint, _) = open(1);
    append(&mut checkpoint, 1..=400);
    checkpoint.fold().unwrap();
    checkpoint.close().unwrap();
    source.full.store(true, Ordering::Relaxed);
    let (told, news) = std::sync::mpsc::channel();
    let timing = Timing {
        fold_every: std::time::Duration::from_millis(1),
        ..Timing::default()
    };
    let start = open(2).0.start(timing, move |news| {
        let _ = told.send(news);
    });
    let service = start.unwrap();
    service.append(&mut vec![Record::until_folded(text(401))]).unwrap();
    service.fold().unwrap();
    assert!(news.try_iter().all(|news| news != News::StoreBack));
    source.full.store(false, Ordering::Relaxed);
    assert!(news.iter().any(|news| news == News::StoreBack));
    let on_disk = source.inner.open().unwrap();
    assert_eq!(on_disk.folded().unwrap().unwrap().n, 400, "what nobody has read is not written to");
    service.close().unwrap();
    assert_eq!(log(&open(3).1).len(), 401);
}
