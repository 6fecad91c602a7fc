//! Many threads on one journal.

use crate::world::{LOG, World, log, log_fold, small, text};
use eyot_checkpoint::{Checkpoint, Config, DiskMarks, JournalError, MemorySource, News, OsDisk, Record, Service, SimDisk, Timing};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(1);
/// For a test that would hang otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(world: &World, sync_every: Duration, fold_every: Duration) -> (Service, mpsc::Receiver<News>) {
    let (sender, news) = mpsc::channel();
    let timing = Timing {
        sync_every,
        fold_every,
        retry_after: SOON,
    };
    let service = world
        .open(1)
        .0
        .start(timing, move |news| {
            let _ = sender.send(news);
        })
        .unwrap();
    (service, news)
}

fn record(n: u64) -> Vec<Record> {
    vec![Record::until_folded(text(n))]
}

#[test]
fn nothing_is_synced_unless_somebody_asks() {
    let world = World::default();
    let (service, news) = start(&world, NEVER, NEVER);
    service.append(&mut record(0)).unwrap();
    let before = world.disk.syncs();
    let mut last = service.appended();
    for n in 1..=50 {
        last = service.append(&mut record(n)).unwrap();
    }
    assert_eq!(service.synced().n, 0);
    assert_eq!(world.disk.syncs(), before);
    assert_eq!(service.wait_synced(last).unwrap(), last);
    assert_eq!(world.disk.syncs(), before + 1, "one for all");
    assert_eq!(news.recv_timeout(PATIENCE).unwrap(), News::Synced(last));
    service.wait_synced(last).unwrap();
    service.request_sync(last);
    assert_eq!(world.disk.syncs(), before + 1, "what is durable is not synced again");
    service.close().unwrap();
}

#[test]
fn what_was_never_appended_is_not_called_durable() {
    let world = World::default();
    let (service, _news) = start(&world, Duration::from_secs(3_600), Duration::from_secs(3_600));
    let last = service.append(&mut record(1)).unwrap();
    world.disk.set_capacity(Some(0));
    let beyond = eyot_model::Position { n: last.n + 1, ..last };
    assert!(matches!(service.wait_synced(beyond), Err(JournalError::NotAppended(_))));
    assert_eq!(service.wait_synced(last).unwrap(), last);
}

#[test]
fn what_nobody_asks_for_is_synced_and_folded_after_a_while() {
    let world = World::default();
    let (service, news) = start(&world, SOON, SOON);
    let last = service.append(&mut record(1)).unwrap();
    assert_eq!(news.recv_timeout(PATIENCE).unwrap(), News::Synced(last));
    while service.store().folded().unwrap() != Some(last) {
        std::thread::yield_now();
    }
    drop(service);
    world.crash(2);
    assert_eq!(log(&world.open(2).1), [(1, text(1))]);
}

#[test]
fn many_threads_share_syncs_and_lose_nothing() {
    let world = World::default();
    let (service, _news) = start(&world, Duration::from_millis(20), Duration::from_millis(5));
    let mut threads = Vec::new();
    for t in 0..4u64 {
        let handle = service.handle();
        threads.push(std::thread::spawn(move || {
            let mut positions = Vec::new();
            for i in 0..400u64 {
                let position = handle.append(&mut record(t * 1_000 + i)).unwrap();
                positions.push((position.n, text(t * 1_000 + i)));
                if i % 40 == 0 {
                    assert!(handle.wait_synced(position).unwrap().n >= position.n);
                }
            }
            positions
        }));
    }
    let mut expected: Vec<(u64, Vec<u8>)> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    expected.sort();
    let numbers: Vec<u64> = expected.iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (1..=1_600).collect::<Vec<_>>());
    service.wait_synced(service.appended()).unwrap();
    drop(service);
    world.crash(8);
    let (_, recovered) = world.open(2);
    assert_eq!(log(&recovered), expected);
    assert_eq!(recovered.report.loss, None);
}

#[test]
fn a_failing_disk_is_told_and_gotten_over() {
    let world = World::default();
    let (service, news) = start(&world, NEVER, NEVER);
    let last = service.append(&mut record(1)).unwrap();
    world.disk.fail_syncs(u32::MAX);
    assert!(matches!(service.wait_synced(last), Err(JournalError::Io { .. })));
    assert!(news.iter().any(|news| news == News::Health));
    assert!(service.health().sync_error.is_some());
    assert_eq!(service.synced().n, 0);
    world.disk.fail_syncs(0);
    while service.wait_synced(last).is_err() {}
    assert!(news.iter().any(|news| news == News::Synced(last)));
    while service.health().sync_error.is_some() {
        std::thread::yield_now();
    }
    assert_eq!(log_len(&service), 0);
    service.fold().unwrap();
    assert_eq!(log_len(&service), 1);
    let handle = service.handle();
    service.close().unwrap();
    assert!(matches!(handle.append(&mut record(2)), Err(JournalError::Closed)));
    assert!(world.open(2).1.report.clean);
}

fn log_len(service: &Service) -> usize {
    service.store().scan(LOG, &[], None, usize::MAX).unwrap().len()
}

#[test]
fn it_works_on_the_systems_disk() {
    let dir = tempfile::tempdir().unwrap();
    let source = MemorySource::new();
    let config = Config {
        marks: DiskMarks {
            reserve: 1 << 20,
            ..small().marks
        },
        ..small()
    };
    let open = || {
        let disk = Arc::new(OsDisk::open(&dir.path().join("journal")).unwrap());
        Checkpoint::open(config, disk, Arc::new(source.clone()), Arc::new(log_fold), 1, "label").unwrap()
    };
    let service = open().0.start(Timing::default(), |_| ()).unwrap();
    for n in 1..=1_000 {
        service.append(&mut record(n)).unwrap();
    }
    service.wait_synced(service.appended()).unwrap();
    drop(service);
    let (checkpoint, recovered) = open();
    assert_eq!(log(&recovered).len(), 1_000);
    assert_eq!(recovered.report.loss, None);
    checkpoint.close().unwrap();
    drop(recovered);
    let (_, recovered) = open();
    assert!(recovered.report.clean);
}

#[test]
fn a_simulated_disk_can_be_shared() {
    let disk = SimDisk::new();
    let (a, b) = (disk.clone(), disk);
    a.set_capacity(Some(5));
    assert_eq!(eyot_checkpoint::Disk::available(&b).unwrap(), 5);
}
