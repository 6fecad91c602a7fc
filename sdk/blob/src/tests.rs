//! The store against a model, crashes and rot.

use crate::{Begin, Error, RANGE_LEN, Store};
use eyot_model::Digest;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: usize = RANGE_LEN as usize;

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn durable_path(dir: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.to_hex();
    dir.join("blobs").join(&hex[..2]).join(&hex[2..])
}

fn arrival(begin: Begin) -> crate::Arrival {
    match begin {
        Begin::Arrival(arrival) => arrival,
        Begin::Here => panic!("it is here"),
        Begin::Arriving => panic!("somebody else brings it"),
    }
}

#[test]
fn what_is_put_in_comes_out_whole_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for len in [0, 1, MIB, MIB + 1, 3 * MIB] {
        let blob = bytes(len, 1);
        let stored = store.put(&blob).unwrap();
        assert_eq!((stored.digest, stored.size, stored.known), (Digest::of(&blob), len as u64, false));
        assert!(store.put(&blob).unwrap().known);
        assert!(store.read(&stored.digest, u64::MAX).unwrap() == blob);
        assert!(matches!(store.read(&stored.digest, 0), Err(Error::TooLarge { .. })) || len == 0);
        let mut tail = [0; 16];
        let at = (len as u64).saturating_sub(7);
        let read = store.open_blob(&stored.digest).unwrap().read_at(at, &mut tail).unwrap();
        assert_eq!(&tail[..read], &blob[usize::try_from(at).unwrap()..]);
    }
    assert_eq!(store.usage().blobs, 5);
    assert_eq!(store.list().unwrap().len(), 5);
}

#[test]
fn a_writer_gives_the_same_digest_however_the_bytes_come() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let blob = bytes(2 * MIB + 333, 2);
    for piece in [1_000, MIB, MIB + 1, 3 * MIB] {
        let mut writer = store.writer(u64::MAX);
        for part in blob.chunks(piece) {
            writer.append(part).unwrap();
        }
        assert_eq!(writer.finish_durable().unwrap().digest, Digest::of(&blob));
    }
    let mut small = store.writer(10);
    assert!(matches!(small.append(&[0; 11]), Err(Error::TooLarge { .. })));
    drop(small);
    let mut dropped = store.writer(u64::MAX);
    dropped.append(&blob).unwrap();
    drop(dropped);
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(store.usage().blobs, 1);
}

#[test]
fn a_sync_makes_durable_what_it_names_and_nothing_is_lost_without_one_either() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digests: Vec<_> = (0..60).map(|i| store.put(&bytes(100, i)).unwrap().digest).collect();
    for some in [&digests[..1], &digests[..10], &digests[5..60], &digests[..]] {
        store.sync(some).unwrap();
        assert!(some.iter().all(|digest| durable_path(dir.path(), digest).exists()));
    }
    assert!(matches!(store.sync(&[Digest::of(b"none")]), Err(Error::Missing { .. })));
    let late = store.put(b"late").unwrap().digest;
    drop(store);
    // The process died, not the machine: what was whole is whole.
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.usage().blobs, 61);
    assert_eq!(store.read(&late, 10).unwrap(), b"late");
    store.sync(&[late]).unwrap();
}

/// After a power loss a file that was never synced may hold anything.
#[test]
fn a_power_loss_leaves_no_wrong_blob() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let kept = store.put_durable(b"kept").unwrap().digest;
    let lost: Vec<_> = (0..3).map(|i| store.put(&bytes(5_000, i)).unwrap().digest).collect();
    drop(store);
    let fresh = dir.path().join("fresh");
    fs::write(fresh.join(lost[0].to_hex()), b"").unwrap();
    fs::write(fresh.join(lost[1].to_hex()), vec![0; 5_000]).unwrap();
    fs::write(dir.path().join("tmp").join("77"), b"torn").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(!store.contains(&lost[0]) && !store.contains(&lost[1]));
    assert!(store.contains(&lost[2]) && store.contains(&kept));
    assert_eq!(store.usage().blobs, 2);
    assert!(!dir.path().join("tmp").join("77").exists());
}

#[test]
fn rot_is_found_quarantined_and_healed_by_the_right_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for len in [10, 2 * MIB] {
        let blob = bytes(len, 3);
        let digest = store.put_durable(&blob).unwrap().digest;
        let mut rotten = blob.clone();
        rotten[len / 2] ^= 1;
        fs::write(durable_path(dir.path(), &digest), &rotten).unwrap();
        assert!(matches!(store.read(&digest, u64::MAX), Err(Error::Corrupt { .. })));
        assert!(!store.contains(&digest));
        assert!(matches!(store.verify(&digest), Err(Error::Missing { .. })));
        store.put_durable(&blob).unwrap();
        // Cut short, which leaves another tree.
        fs::write(durable_path(dir.path(), &digest), &blob[..len - 1]).unwrap();
        assert!(matches!(store.verify(&digest), Err(Error::Corrupt { .. })));
        store.put_durable(&blob).unwrap();
        store.verify(&digest).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 4);
    assert_eq!(store.usage().blobs, 2);
}

#[test]
fn a_lost_or_forged_outline_is_computed_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = store.put(&bytes(3 * MIB, 4)).unwrap().digest;
    let right = store.outline(&digest).unwrap();
    let path = dir.path().join("outlines").join(digest.to_hex());
    fs::write(&path, vec![1; 96]).unwrap();
    assert_eq!(store.outline(&digest).unwrap(), right);
    fs::remove_file(&path).unwrap();
    assert_eq!(store.outline(&digest).unwrap(), right);
    assert_eq!(fs::read(&path).unwrap(), right.encode());
}

#[test]
fn an_arrival_takes_only_right_ranges_and_goes_on_after_a_cut() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let from = Store::open(dirs[0].path()).unwrap();
    let blob = bytes(3 * MIB + 5, 5);
    let digest = from.put(&blob).unwrap().digest;
    let outline = from.outline(&digest).unwrap();
    let to = Store::open(dirs[1].path()).unwrap();
    assert!(to.resume(&digest, None).unwrap().is_none());
    let mut first = arrival(to.begin(outline.clone()).unwrap());
    assert!(matches!(to.begin(outline.clone()).unwrap(), Begin::Arriving));
    first.write(&blob[..MIB]).unwrap();
    assert!(matches!(first.write(&blob[..MIB]), Err(Error::WrongRange { range: 1, .. })));
    assert!(matches!(first.write(&blob[MIB..MIB + 10]), Err(Error::WrongRange { range: 1, .. })));
    first.write(&blob[MIB..2 * MIB]).unwrap();
    assert!(matches!(first.finish(), Err(Error::Incomplete { .. })));
    assert!(!to.contains(&digest));
    drop(to);

    // The last range on disk is damaged meanwhile: it does not count.
    let partial = dirs[1].path().join("partial").join(digest.to_hex());
    let mut torn = fs::read(&partial).unwrap();
    torn[MIB + 9] ^= 1;
    fs::write(&partial, torn).unwrap();
    let to = Store::open(dirs[1].path()).unwrap();
    assert!(to.resume(&digest, Some(7)).unwrap().is_none());
    let mut second = arrival(to.resume(&digest, Some(blob.len() as u64)).unwrap().unwrap());
    assert_eq!(second.verified(), RANGE_LEN);
    for range in blob[MIB..].chunks(MIB) {
        second.write(range).unwrap();
    }
    second.finish().unwrap();
    assert!(durable_path(dirs[1].path(), &digest).exists());
    assert_eq!(fs::read_dir(dirs[1].path().join("partial")).unwrap().count(), 0);
    assert!(matches!(to.begin(outline).unwrap(), Begin::Here));
    assert!(to.read(&digest, u64::MAX).unwrap() == blob);
    assert_eq!(to.usage().bytes, blob.len() as u64);
}

#[tokio::test]
async fn a_reader_follows_an_arrival_and_hears_of_its_end() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let from = Store::open(dirs[0].path()).unwrap();
    let blob = bytes(2 * MIB, 6);
    let digest = from.put(&blob).unwrap().digest;
    let to = Store::open(dirs[1].path()).unwrap();
    assert!(to.source(&digest).unwrap().is_none());
    let waiting = tokio::spawn({
        let to = to.clone();
        async move { to.appears(&digest).await.unwrap() }
    });
    let mut first = arrival(to.begin(from.outline(&digest).unwrap()).unwrap());
    let mut source = waiting.await.unwrap();
    first.write(&blob[..MIB]).unwrap();
    assert_eq!(source.ready(0).await.unwrap(), RANGE_LEN);
    let mut half = vec![0; MIB];
    source.read_at(0, &mut half).unwrap();
    assert!(half == blob[..MIB]);
    drop(first);
    assert!(matches!(
        source.ready(RANGE_LEN).await,
        Err(Error::Interrupted { verified: RANGE_LEN, .. })
    ));
    assert!(matches!(to.whole(&digest).await, Err(Error::Interrupted { .. })));

    let mut second = arrival(to.resume(&digest, None).unwrap().unwrap());
    let mut source = to.source(&digest).unwrap().unwrap();
    second.write(&blob[MIB..]).unwrap();
    assert_eq!(source.ready(RANGE_LEN).await.unwrap(), 2 * RANGE_LEN);
    second.finish().unwrap();
    to.whole(&digest).await.unwrap();
    // The name changed; who reads reads on.
    source.read_at(RANGE_LEN, &mut half).unwrap();
    assert!(half == blob[MIB..]);
}

#[test]
fn a_sweep_spares_what_is_alive_young_or_arriving() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let store = Store::open(dirs[0].path()).unwrap();
    let live = store.put_durable(b"live").unwrap().digest;
    let dead = store.put_durable(b"dead").unwrap().digest;
    let fresh = store.put(b"fresh").unwrap().digest;
    let other = Store::open(dirs[1].path()).unwrap();
    let far = other.put(&bytes(2 * MIB, 7)).unwrap().digest;
    let arriving = arrival(store.begin(other.outline(&far).unwrap()).unwrap());
    let alive = BTreeSet::from([live]);
    assert_eq!(store.sweep(&alive, Duration::from_secs(3_600)).unwrap().removed, 0);
    let swept = store.sweep(&alive, Duration::ZERO).unwrap();
    assert_eq!((swept.removed, swept.bytes), (2, 9));
    assert!(store.contains(&live) && !store.contains(&dead) && !store.contains(&fresh));
    drop(arriving);
    assert_eq!(store.sweep(&alive, Duration::ZERO).unwrap().removed, 1);
    assert_eq!(store.usage().blobs, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Durable(u8),
    Sync,
    Delete(u8),
    Reopen,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_store_does_what_a_map_does(steps in proptest::collection::vec(prop_oneof![
        (0u8..6).prop_map(Step::Put),
        (0u8..6).prop_map(Step::Durable),
        Just(Step::Sync),
        (0u8..6).prop_map(Step::Delete),
        Just(Step::Reopen),
    ], 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let mut model: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
        let blob = |n: u8| vec![n; usize::from(n) * 10];
        for step in steps {
            match step {
                Step::Put(n) => {
                    let stored = store.put(&blob(n)).unwrap();
                    let known = model.insert(stored.digest, blob(n)).is_some();
                    prop_assert_eq!(stored.known, known);
                }
                Step::Durable(n) => {
                    let digest = store.put_durable(&blob(n)).unwrap().digest;
                    prop_assert!(durable_path(dir.path(), &digest).exists());
                    model.insert(digest, blob(n));
                }
                Step::Sync => store.sync(&model.keys().copied().collect::<Vec<_>>()).unwrap(),
                Step::Delete(n) => {
                    let digest = Digest::of(&blob(n));
                    prop_assert_eq!(store.delete(&digest).unwrap(), model.remove(&digest).is_some());
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(dir.path()).unwrap();
                }
            }
            let listed: Vec<_> = model.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect();
            prop_assert_eq!(store.list().unwrap(), listed);
            prop_assert_eq!(store.usage().blobs, model.len() as u64);
            prop_assert_eq!(store.usage().bytes, model.values().map(|b| b.len() as u64).sum::<u64>());
            for (digest, bytes) in &model {
                prop_assert_eq!(&store.read(digest, 1_000).unwrap(), bytes);
                prop_assert_eq!(store.size(digest), Some(bytes.len() as u64));
            }
        }
    }
}

fn age(dir: &Path, digest: &Digest, by: Duration) {
    let at = std::time::SystemTime::now() - by;
    fs::File::open(durable_path(dir, digest)).unwrap().set_modified(at).unwrap();
}

#[test]
fn what_nothing_names_goes_by_last_use_and_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let digests: Vec<Digest> = {
        let store = Store::open(dir.path()).unwrap();
        (0..6).map(|n| store.put_durable(&bytes(1_000, n)).unwrap().digest).collect()
    };
    for (n, digest) in (1..).zip(&digests) {
        age(dir.path(), digest, day * n);
    }
    let store = Store::open(dir.path()).unwrap();
    let minute = Duration::from_secs(60);
    // The oldest is read now, the second oldest is named.
    store.open_blob(&digests[5]).unwrap();
    let named = BTreeSet::from([digests[4]]);
    let swept = store.evict(&named, 2_000, 0, minute).unwrap();
    assert_eq!((swept.removed, swept.bytes), (3, 3_000));
    let left: BTreeSet<Digest> = store.list().unwrap().into_iter().map(|(digest, _)| digest).collect();
    assert_eq!(left, BTreeSet::from([digests[0], digests[4], digests[5]]));
    assert_eq!(store.usage().blobs, 3);
    // Room that has to be freed goes before the bound; what is in use stays all the same.
    let swept = store.evict(&named, u64::MAX, 1, minute).unwrap();
    assert_eq!(swept.removed, 1);
    assert_eq!(
        store.evict(&named, 0, u64::MAX, minute).unwrap().removed,
        0,
        "it was used a moment ago"
    );
    assert_eq!(store.evict(&named, 0, u64::MAX, Duration::ZERO).unwrap().removed, 1);
}

#[test]
fn a_reading_keeps_a_blob_in_a_cache_and_in_no_archive() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3_600);
    let digests = [1, 2].map(|n| Store::open(dir.path()).unwrap().put_durable(&bytes(10, n)).unwrap().digest);
    let store = Store::open(dir.path()).unwrap();
    for digest in &digests {
        age(dir.path(), digest, hour * 2);
    }
    store.open_sound(&digests[0]).unwrap();
    assert!(store.put(&bytes(10, 2)).unwrap().known);
    assert_eq!(store.evict(&BTreeSet::new(), 0, 0, hour).unwrap().removed, 0);
    for digest in &digests {
        age(dir.path(), digest, hour * 2);
    }
    store.open_sound(&digests[0]).unwrap();
    assert!(store.put(&bytes(10, 2)).unwrap().known);
    assert_eq!(store.sweep(&BTreeSet::new(), hour).unwrap().removed, 1);
    assert!(
        !store.contains(&digests[0]) && store.contains(&digests[1]),
        "it was put in again a moment ago"
    );
}

#[test]
fn uses_outlive_the_process_and_what_is_not_durable_stays() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3_600);
    let store = Store::open(dir.path()).unwrap();
    let used = store.put_durable(&bytes(10, 1)).unwrap().digest;
    age(dir.path(), &used, hour * 100);
    store.open_blob(&used).unwrap();
    let fresh = store.put(&bytes(10, 2)).unwrap().digest;
    store.evict(&BTreeSet::new(), 0, 0, hour).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.evict(&BTreeSet::new(), 0, 0, hour).unwrap().removed, 0);
    // What was not made durable by its own process is nobody's.
    assert_eq!(store.evict(&BTreeSet::from([used]), 0, 0, Duration::ZERO).unwrap().removed, 1);
    assert!(store.contains(&used) && !store.contains(&fresh));
    let fresh = store.put(&bytes(10, 3)).unwrap().digest;
    assert_eq!(store.evict(&BTreeSet::from([used]), 0, 0, Duration::ZERO).unwrap().removed, 0);
    assert!(store.contains(&fresh), "an attempt may still run that will name it");
}

#[test]
fn a_flipped_bit_is_found_before_the_blob_is_used_and_the_right_bytes_take_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let blob = bytes(2 * MIB + 17, 9);
    let digest = Store::open(dir.path()).unwrap().put_durable(&blob).unwrap().digest;
    let path = durable_path(dir.path(), &digest);
    let flip = |at: usize| {
        let mut damaged = fs::read(&path).unwrap();
        damaged[at] ^= 4;
        fs::write(&path, damaged).unwrap();
    };
    for at in [0, MIB, 2 * MIB + 16] {
        let store = Store::open(dir.path()).unwrap();
        assert!(store.is_sound(&digest).unwrap());
        flip(at);
        let store = Store::open(dir.path()).unwrap();
        assert!(matches!(store.open_sound(&digest), Err(Error::Corrupt { .. })));
        assert!(!store.contains(&digest));
        assert!(!store.put_durable(&blob).unwrap().known);
        assert!(store.is_sound(&digest).unwrap());
    }
    // Whoever brings it again finds it missing, not there.
    flip(5);
    let store = Store::open(dir.path()).unwrap();
    assert!(store.resume(&digest, None).unwrap().is_none());
    store.keep_quarantined(1).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
}
