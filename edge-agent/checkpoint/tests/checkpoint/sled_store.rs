//! What is particular to the store on disk.

use eyot_checkpoint::{Batch, Checkpoint, CheckpointStore, Config, Record, SimDisk, SledSource, StoreOpening, StoreSource};
use eyot_model::Position;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::world::{LOG, append, live, log, log_fold, small};

/// A small generator, so that values do not compress or repeat.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2).wrapping_add(1);
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()[3]
        })
        .collect()
}

#[test]
fn nothing_spills_into_files_that_the_database_never_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let source = SledSource::new(dir.path().join("store"), 4 << 20);
    let store = source.open_sled().unwrap();
    let side_files = || fs::read_dir(dir.path().join("store/blobs")).unwrap().count();
    // Long keys without a common beginning, values of every length around the limits, rewritten and deleted in between.
    for round in 0u64..6 {
        for chunk in 0u64..40 {
            let mut batch = Batch::default();
            for i in 0..40 {
                let id = chunk * 40 + i;
                let len = [10, 1_000, 3_071, 3_072, 3_073, 4_096, 3_072][usize::try_from((id + round) % 7).unwrap()];
                let key = noise(id, 192);
                if (id + round) % 11 == 0 {
                    batch.delete("t", key);
                } else {
                    batch.put("t", key, noise(id ^ (round << 32), len));
                }
            }
            store
                .apply(
                    &batch,
                    Some(Position {
                        generation: 1,
                        n: round * 40 + chunk,
                    }),
                )
                .unwrap();
        }
        store.flush().unwrap();
        assert_eq!(store.side_files().unwrap(), 0, "round {round}");
    }
    let mut batch = Batch::default();
    batch.put("t", b"an assignment of the greatest length".to_vec(), noise(5, 24 << 20));
    store.apply(&batch, None).unwrap();
    store.flush().unwrap();
    assert_eq!(side_files(), 0);
    drop(store);
    let store = source.open_sled().unwrap();
    assert_eq!(side_files(), 0);
    assert_eq!(
        store.get("t", b"an assignment of the greatest length").unwrap(),
        Some(noise(5, 24 << 20))
    );
}

#[test]
fn a_database_that_has_grown_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let source = SledSource::new(path.clone(), 4 << 20);
    let store = source.open_sled().unwrap();
    for round in 0u64..8 {
        let mut batch = Batch::default();
        batch.put("t", b"large".to_vec(), noise(round, 20 << 20));
        store.apply(&batch, None).unwrap();
    }
    let mut batch = Batch::default();
    batch.delete("t", b"large".to_vec());
    batch.put("t", b"small".to_vec(), b"kept".to_vec());
    store.apply(&batch, Some(Position { generation: 1, n: 8 })).unwrap();
    store.flush().unwrap();
    drop(store);
    let length = || fs::metadata(path.join("db")).unwrap().len();
    let before = length();
    assert!(before > 64 << 20, "{before}");
    let store = source.open_sled().unwrap();
    assert!(length() < 8 << 20, "{} after {before}", length());
    assert_eq!(store.get("t", b"small").unwrap(), Some(b"kept".to_vec()));
    assert_eq!(store.folded().unwrap(), Some(Position { generation: 1, n: 8 }));
    assert!(!dir.path().join("store.rewrite").exists());
}

fn open(disk: &SimDisk, path: &Path, generation: u64) -> (Checkpoint, eyot_checkpoint::Recovered) {
    let source = Arc::new(SledSource::new(path.to_path_buf(), 1 << 20));
    Checkpoint::open(small(), Arc::new(disk.clone()), source, Arc::new(log_fold), generation, "label").unwrap()
}

#[test]
fn a_database_of_garbage_is_set_aside_and_built_anew() {
    for garbage in ["db", "conf"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let disk = SimDisk::new();
        let (mut checkpoint, _) = open(&disk, &path, 1);
        append(&mut checkpoint, 1..=50);
        checkpoint.fold().unwrap();
        drop(checkpoint);
        disk.kill();
        let len = usize::try_from(fs::metadata(path.join(garbage)).unwrap().len()).unwrap();
        fs::write(path.join(garbage), noise(3, len)).unwrap();

        let (checkpoint, recovered) = open(&disk, &path, 2);
        let report = &recovered.report;
        match (&report.store, garbage) {
            (StoreOpening::Rebuilt { name, .. }, _) => assert!(dir.path().join(name).exists()),
            // Some garbage reads as an empty database.
            (StoreOpening::Created, "db") => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(report.loss, None, "the journal has it all");
        assert_eq!(log(&recovered).len(), 50);
        assert_eq!(
            recovered.store.get(LOG, &50u64.to_be_bytes()).unwrap(),
            Some(crate::world::text(50))
        );
        drop(recovered);
        drop(checkpoint);
    }
}

#[test]
fn an_idle_store_is_small() {
    let dir = tempfile::tempdir().unwrap();
    let source: Arc<dyn StoreSource> = Arc::new(SledSource::new(dir.path().join("store"), 8 << 20));
    let disk = Arc::new(SimDisk::new());
    let (mut checkpoint, recovered) = Checkpoint::open(
        Config {
            segment_bytes: 64 << 10,
            ..small()
        },
        disk,
        source,
        Arc::new(log_fold),
        1,
        "label",
    )
    .unwrap();
    for n in 0..20u64 {
        checkpoint
            .append(&mut (0..100).map(|i| Record::until_folded(noise(n * 100 + i, 200))).collect())
            .unwrap();
        checkpoint.fold().unwrap();
    }
    assert_eq!(recovered.store.scan(LOG, &[], None, usize::MAX).unwrap().len(), 2_000);
    checkpoint.close().unwrap();
}

/// Every record replaces the one before it: the content stays small while the database's log grows.
fn latest(_: Position, record: &[u8], out: &mut Batch) {
    out.put(LOG, b"latest".to_vec(), record);
}

#[test]
fn a_database_that_grows_while_it_is_used_is_written_anew_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let source = Arc::new(SledSource::new(path.clone(), 1 << 20).rewrite_from(4 << 20));
    let disk = Arc::new(SimDisk::new());
    let (mut checkpoint, _) = Checkpoint::open(small(), disk, source, Arc::new(latest), 1, "label").unwrap();
    let mut longest = 0;
    for n in 0..60 {
        checkpoint.append(&mut vec![Record::until_folded(noise(n, 1 << 20))]).unwrap();
        checkpoint.fold().unwrap();
        longest = longest.max(fs::metadata(path.join("db")).unwrap().len());
    }
    assert!(longest < 40 << 20, "{longest} bytes for one value of 1 MiB");
    assert_eq!(checkpoint.store().get(LOG, b"latest").unwrap(), Some(noise(59, 1 << 20)));
    checkpoint.close().unwrap();
}

#[test]
fn a_hundred_thousand_records_are_open_soon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let disk = SimDisk::new();
    {
        let source = Arc::new(SledSource::new(path.clone(), 4 << 20));
        let (mut checkpoint, _) =
            Checkpoint::open(Config::default(), Arc::new(disk.clone()), source, Arc::new(log_fold), 1, "label").unwrap();
        for n in 0..100 {
            checkpoint
                .append(&mut (0..1_000).map(|i| Record::until_folded(noise(n * 1_000 + i, 100))).collect())
                .unwrap();
            checkpoint.fold().unwrap();
        }
        // Killed: it is not closed.
    }
    disk.kill();
    let began = std::time::Instant::now();
    let source = Arc::new(SledSource::new(path, 4 << 20));
    let (_, recovered) = Checkpoint::open(Config::default(), Arc::new(disk), source, Arc::new(log_fold), 2, "label").unwrap();
    let took = began.elapsed();
    assert_eq!(recovered.report.loss, None);
    assert_eq!(recovered.report.last.n, 100_000);
    println!(
        "100,000 records are open after {took:?}, {} of them replayed",
        recovered.report.folded
    );
    assert!(took < std::time::Duration::from_secs(60), "{took:?}");
}

#[test]
fn a_store_that_is_found_damaged_when_it_is_read_is_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let disk = SimDisk::new();
    let (mut checkpoint, _) = open(&disk, &path, 1);
    append(&mut checkpoint, 1..=50);
    checkpoint.fold().unwrap();
    checkpoint.close().unwrap();
    let (mut checkpoint, recovered) = open(&disk, &path, 2);
    assert!(matches!(
        checkpoint.replace_store("a piece is missing").unwrap(),
        StoreOpening::Rebuilt { .. }
    ));
    assert_eq!(log(&recovered).len(), 50);
    append(&mut checkpoint, 51..=60);
    checkpoint.fold().unwrap();
    drop(checkpoint);
    drop(recovered);
    let (_, recovered) = open(&disk, &path, 3);
    assert_eq!(log(&recovered).len(), 60);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The files of the database: its log, its settings, its snapshots.
fn files_of(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && fs::metadata(path).unwrap().len() > 0)
        .collect();
    files.sort();
    files
}

#[test]
fn no_flipped_bit_in_the_database_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let disk = SimDisk::new();
    let (mut checkpoint, _) = open(&disk, &path, 1);
    // What unfinished runs need stays in the journal: it all comes back, whatever became of the database.
    for n in 1..=300 {
        checkpoint.append(&mut vec![live(1, n)]).unwrap();
    }
    checkpoint.close().unwrap();
    let expected: Vec<Vec<u8>> = (1..=300).map(crate::world::text).collect();
    for seed in 0..60u64 {
        let copy = dir.path().join(format!("copy-{seed}"));
        copy_folder(&path, &copy);
        let files = files_of(&copy);
        let file = &files[usize::try_from(seed).unwrap() % files.len()];
        let mut bytes = fs::read(file).unwrap();
        let at = noise(seed, 8)
            .iter()
            .fold(0usize, |at, byte| at.wrapping_mul(257).wrapping_add(usize::from(*byte)))
            % bytes.len();
        bytes[at] ^= 1 << (seed % 8);
        fs::write(file, bytes).unwrap();
        let disk = disk.clone();
        let (mut checkpoint, recovered) = open(&disk, &copy, seed + 2);
        let found = match recovered.store.scan(LOG, &[], None, usize::MAX) {
            Ok(pairs) => pairs,
            Err(error) => {
                checkpoint.replace_store(&error.to_string()).unwrap();
                recovered.store.scan(LOG, &[], None, usize::MAX).unwrap()
            }
        };
        let found: Vec<Vec<u8>> = found.into_iter().map(|(_, text)| text).collect();
        assert!(
            found == expected,
            "bit {} of byte {at} of {}: {} of 300 records",
            seed % 8,
            file.display(),
            found.len()
        );
        assert_eq!(recovered.report.loss, None);
        drop(recovered);
        drop(checkpoint);
        disk.kill();
    }
}

/// Snapshots of the database, the finished ones.
fn snapshots(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = files_of(folder);
    files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."));
    files
}

#[test]
fn a_snapshot_that_was_not_finished_or_is_damaged_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let disk = SimDisk::new();
    // Several lives, so that segments of the database's log are given free and used again.
    for life in 0..4u64 {
        let (mut checkpoint, _) = open(&disk, &path, 1);
        append(&mut checkpoint, life * 500 + 1..=life * 500 + 500);
        checkpoint.fold().unwrap();
        checkpoint.close().unwrap();
    }
    let newest = snapshots(&path).pop().expect("it writes a snapshot when it is opened");
    let whole = fs::read(&newest).unwrap();
    let flipped = {
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 4;
        bytes
    };
    let later = format!("snap.{:016X}", u64::MAX >> 1);
    let unfinished = format!("{later}.generating");
    let own = newest.file_name().unwrap().to_string_lossy().into_owned();
    let cases: [(&str, &[u8]); 5] = [
        (&unfinished, b""),
        (&unfinished, &whole[..whole.len() / 2]),
        (&later, b""),
        (&own, &flipped),
        (&own, &whole[..whole.len() - 3]),
    ];
    for (n, (name, bytes)) in cases.iter().enumerate() {
        let copy = dir.path().join(format!("copy-{n}"));
        copy_folder(&path, &copy);
        fs::write(copy.join(name), bytes).unwrap();
        let (checkpoint, recovered) = open(&disk, &copy, 2);
        assert_eq!(recovered.report.store, StoreOpening::Opened, "{name} of {} bytes", bytes.len());
        assert_eq!(recovered.report.loss, None);
        // Most of it is in the store alone: the journal has dropped it.
        assert_eq!(log(&recovered).len(), 2_000, "{name} of {} bytes", bytes.len());
        drop((recovered, checkpoint));
        disk.kill();
    }
}
