use super::super::{Change, Error, Store};
use super::*;
use std::fs;
use std::path::Path;

const PAGE: usize = 512;
const SALTS: u64 = 0x0102_0304_0a0b_0c0d;

/// A log as SQLite writes it: `true` for the last frame of a commit.
struct Log {
    bytes: Vec<u8>,
    big_endian: bool,
    sum: Sum,
}

impl Log {
    fn new(big_endian: bool) -> Self {
        let mut bytes = Vec::new();
        for word in [MAGIC | u32::from(big_endian), 3_007_000, PAGE as u32, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(SALTS.to_be_bytes());
        let sum = checksum(big_endian, (0, 0), &bytes);
        bytes.extend(sum.0.to_be_bytes());
        bytes.extend(sum.1.to_be_bytes());
        Self { bytes, big_endian, sum }
    }

    fn frame(&mut self, number: u8, commits: bool, salts: u64) {
        let mut head = u32::from(number).to_be_bytes().to_vec();
        head.extend(u32::from(commits).wrapping_mul(8).to_be_bytes());
        let page: Vec<u8> = (0..PAGE).map(|at| (at as u8).wrapping_mul(number)).collect();
        self.sum = checksum(self.big_endian, checksum(self.big_endian, self.sum, &head), &page);
        head.extend(salts.to_be_bytes());
        head.extend(self.sum.0.to_be_bytes());
        head.extend(self.sum.1.to_be_bytes());
        self.bytes.extend(head);
        self.bytes.extend(page);
    }

    /// Commits of so many frames each.
    fn commits(commits: &[u8]) -> Self {
        let mut log = Self::new(false);
        log.add(commits);
        log
    }

    fn add(&mut self, commits: &[u8]) {
        for (commit, frames) in (1..).zip(commits) {
            for frame in 1..=*frames {
                self.frame(commit * 16 + frame, frame == *frames, SALTS);
            }
        }
    }

    fn scan(&self) -> Option<Damage> {
        scan(&*self.bytes).unwrap()
    }
}

/// Where frame `n` begins, counted from 1.
fn at(n: usize) -> usize {
    HEADER + (n - 1) * (FRAME_HEADER + PAGE)
}

#[test]
fn a_log_that_is_whole_or_ends_early_is_sound() {
    let whole = Log::commits(&[1, 3, 2]);
    for cut in 0..=whole.bytes.len() {
        assert_eq!(scan(&whole.bytes[..cut]).unwrap(), None, "cut at {cut}");
    }
    let mut other = Log::new(true);
    other.add(&[2, 2]);
    assert_eq!(other.scan(), None);
    other.bytes[at(1) + 100] ^= 1;
    assert_eq!(other.scan(), Some(Damage::Frame(1)));
}

#[test]
fn every_bit_that_flips_in_what_was_committed_is_found() {
    let whole = Log::commits(&[1, 3, 2]);
    for bit in 0..whole.bytes.len() * 8 {
        let mut log = whole.bytes.clone();
        log[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            // The version and the number of the check point are under the checksum too.
            byte if byte < HEADER => Damage::Header,
            byte => Damage::Frame(1 + ((byte - HEADER) / (FRAME_HEADER + PAGE)) as u64),
        };
        assert_eq!(scan(&*log).unwrap(), Some(expected), "bit {bit}");
    }
}

#[test]
fn what_was_written_and_not_synced_may_be_anything() {
    // A transaction of eight frames of which pages are missing, at every place.
    let whole = Log::commits(&[2, 8]);
    for missing in 3..=10 {
        let mut log = Log::commits(&[2, 8]);
        log.bytes[at(missing)..][..FRAME_HEADER + PAGE].fill(0);
        assert_eq!(log.scan(), None, "frame {missing}");
        let mut log = Log::commits(&[2, 8]);
        log.bytes[at(missing) + FRAME_HEADER..][..PAGE].fill(7);
        assert_eq!(log.scan(), None, "the page of frame {missing}");
    }
    assert_eq!(whole.scan(), None);
}

#[test]
fn a_frame_is_damaged_if_a_later_one_proves_that_it_was_synced() {
    for (commits, wrong, damaged) in [
        (&[1, 1][..], 2, false),
        (&[1, 1, 1], 2, true),
        (&[1, 3, 1], 2, true),
        (&[1, 3, 1], 3, true),
        (&[1, 3, 1], 4, true),
        (&[1, 3, 4], 5, false),
        (&[4], 1, false),
    ] {
        let mut log = Log::commits(commits);
        log.bytes[at(wrong) + FRAME_HEADER..][..PAGE].fill(7);
        let expected = damaged.then_some(Damage::Frame(wrong as u64));
        assert_eq!(log.scan(), expected, "{commits:?}, frame {wrong}");
    }
}

#[test]
fn what_earlier_uses_left_behind_proves_nothing() {
    // The file was begun anew after a check point: frames of its last use, under other salts, follow what is new.
    let mut old = Log::new(false);
    for number in 90..99 {
        old.frame(number, true, SALTS - (1 << 32) + 77);
    }
    for commits in [&[][..], &[1], &[2, 1], &[1, 4]] {
        let mut log = Log::commits(commits);
        log.bytes.extend_from_slice(&old.bytes[log.bytes.len()..]);
        assert_eq!(log.scan(), None, "{commits:?}");
        if commits.len() == 2 {
            log.bytes[at(1) + FRAME_HEADER] ^= 1;
            assert_eq!(log.scan(), Some(Damage::Frame(1)), "{commits:?}");
        }
    }

    // A transaction of nine frames that never was: its second frame is missing. Another one of four went over its
    // beginning and was cut off too; the frames behind it have the same salts.
    let mut log = Log::commits(&[2, 9]);
    let mut over = Log::commits(&[2]);
    for number in 70..=73 {
        over.frame(number, number == 73, SALTS);
    }
    log.bytes[..over.bytes.len()].copy_from_slice(&over.bytes);
    assert_eq!(log.scan(), None, "all four are there");
    log.bytes[at(4) + FRAME_HEADER..][..PAGE].fill(7);
    assert_eq!(log.scan(), None, "one of the four is missing");
}

#[test]
fn a_header_that_is_wrong_is_damage_only_before_frames() {
    let mut log = Log::commits(&[1]);
    log.bytes[20] ^= 4;
    assert_eq!(log.scan(), Some(Damage::Header));
    log.bytes[..HEADER].fill(0);
    assert_eq!(log.scan(), Some(Damage::Header));
    log.bytes.truncate(HEADER);
    assert_eq!(log.scan(), None);
    log.bytes.resize(20_000, 0);
    assert_eq!(log.scan(), None);
    assert_eq!(scan(&[1, 2, 3][..]).unwrap(), None);
}

/// A store with some commits in its log, as a kill leaves it: database, log.
async fn killed(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let path = dir.join("eyot.db");
    let store = Store::open(&path).await.unwrap();
    for n in 0..20 {
        let value = vec![n; 3_000];
        let change = Change::PutDocument { name: "history", value };
        store.commit(vec![], vec![change]).await.unwrap();
    }
    let files = (fs::read(&path).unwrap(), fs::read(dir.join("eyot.db-wal")).unwrap());
    store.close().await;
    files
}

#[tokio::test]
async fn a_store_whose_log_is_damaged_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (database, log) = killed(dir.path()).await;
    let page = usize::try_from(word(&log, 8)).unwrap();
    let frames = (log.len() - HEADER) / (FRAME_HEADER + page);
    assert!(frames >= 20, "{frames}");
    let open = async |log: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eyot.db");
        fs::write(&path, &database).unwrap();
        fs::write(dir.path().join("eyot.db-wal"), log).unwrap();
        let store = Store::open(&path).await?;
        let document = store.document("history").await?;
        store.close().await;
        Ok::<_, Error>(document)
    };
    assert_eq!(open(&log).await.unwrap(), Some(vec![19; 3_000]));
    // Cut off in its last frame: that commit was never acknowledged.
    assert_eq!(open(&log[..log.len() - 1]).await.unwrap(), Some(vec![18; 3_000]));
    for byte in [
        5,
        20,
        HEADER + 1,
        HEADER + 9,
        HEADER + 100,
        log.len() / 2,
        log.len() - 17,
        log.len() - page - 20,
    ] {
        let mut log = log.clone();
        log[byte] ^= 0x10;
        let error = open(&log).await.unwrap_err();
        assert!(matches!(&error, Error::Damaged { .. }), "byte {byte}: {error}");
    }
}
