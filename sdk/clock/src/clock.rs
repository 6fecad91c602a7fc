//! The clock of a program: a timeline over the machine's clocks, kept in a file.

use crate::source::{Source, System};
use crate::timeline::{BUILT, Mark, Origin, Rest, Timeline};
use eyot_model::Timestamp;
use parking_lot::RwLock;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the file in a data folder.
const FILE: &str = "clock.json";

/// Steady time and wall time. Cheap to clone; clones share one timeline.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Box<dyn Source>,
    timeline: RwLock<Timeline>,
    /// None: nothing is kept.
    path: Option<PathBuf>,
}

impl Clock {
    /// For a program that keeps nothing.
    #[must_use]
    pub fn start() -> Self {
        Self::with(None, System::new())
    }

    /// Goes on from what is kept in the data folder. A file that is missing or damaged is as if nothing was kept: no
    /// reason not to start.
    #[must_use]
    pub fn open(data: &Path) -> Self {
        Self::with(Some(data), System::new())
    }

    /// As [`Clock::open`], over other clocks.
    #[must_use]
    pub fn with(data: Option<&Path>, source: impl Source + 'static) -> Self {
        let path = data.map(|data| data.join(FILE));
        let mark = path.as_deref().and_then(read);
        let now = source.reading();
        let (timeline, origin) = Timeline::resume(mark, now, BUILT);
        match origin {
            Origin::SameBoot | Origin::SystemClock => {}
            Origin::LastSeen | Origin::Build => tracing::warn!(
                system_millis = now.wall.as_millis(),
                taken_millis = timeline.now(now.since_boot_micros).as_millis(),
                "the system's clock is behind what this program knows to be over; the later time is taken"
            ),
        }
        let clock = Self(Arc::new(Inner {
            source: Box::new(source),
            timeline: RwLock::new(timeline),
            path,
        }));
        if let Err(error) = clock.save() {
            tracing::warn!(%error, "the time could not be written down");
        }
        clock
    }

    /// Steady time: for everything that waits, and for the order of things.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.timeline.read().now(self.0.source.since_boot_micros())
    }

    /// The system's clock: for people, for cron, for certificates.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.0.timeline.read().wall(self.0.source.reading())
    }

    /// By how much the system's clock was set forward since, in milliseconds.
    #[must_use]
    pub fn step_millis(&self) -> i64 {
        self.0.timeline.read().step_millis(self.0.source.reading())
    }

    /// Microseconds since the machine started, time in suspend included: for spans that outlive a [`Clock::rebase`].
    #[must_use]
    pub fn since_boot_micros(&self) -> u64 {
        self.0.source.since_boot_micros()
    }

    /// Takes wall time over. See [`Timeline::rebase`] for when that is allowed.
    pub fn rebase(&self, rest: Rest) {
        let now = self.0.source.reading();
        let step_millis = self.step_millis();
        if self.0.timeline.write().rebase(now, rest, BUILT) {
            tracing::info!(step_millis, "nothing waits, so the time was set to the system's clock");
        }
    }

    /// Writes the present moment down, whole or not at all: the least that the next start takes for the time. Blocks.
    ///
    /// # Errors
    /// As the disk fails.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let mark = self.0.timeline.read().mark(self.0.source.reading());
        let temporary = path.with_extension("new");
        let mut file = std::fs::File::create(&temporary)?;
        io::Write::write_all(&mut file, &serde_json::to_vec(&mark)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    }
}

fn read(path: &Path) -> Option<Mark> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the time that was last seen cannot be read");
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!(%error, path = %path.display(), "the time that was last seen cannot be read"))
        .ok()
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&*self.0.timeline.read()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::BootId;
    use std::sync::atomic::{AtomicU64, Ordering};

    const SECOND: u64 = 1_000_000;
    const START: u64 = 2_000_000_000 * SECOND;

    #[derive(Clone)]
    struct Fake {
        boot: u128,
        since_boot: Arc<AtomicU64>,
        wall: Arc<AtomicU64>,
    }

    impl Fake {
        fn new(boot: u128, since_boot: u64, wall: u64) -> Self {
            Self {
                boot,
                since_boot: Arc::new(since_boot.into()),
                wall: Arc::new(wall.into()),
            }
        }

        fn pass(&self, micros: u64) {
            self.since_boot.fetch_add(micros, Ordering::Relaxed);
            self.wall.fetch_add(micros, Ordering::Relaxed);
        }
    }

    impl Source for Fake {
        fn since_boot_micros(&self) -> u64 {
            self.since_boot.load(Ordering::Relaxed)
        }

        fn wall(&self) -> Timestamp {
            Timestamp(self.wall.load(Ordering::Relaxed))
        }

        fn boot(&self) -> BootId {
            BootId(self.boot)
        }
    }

    #[test]
    fn what_is_kept_gives_stored_instants_their_meaning() {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::new(1, 10 * SECOND, START);
        let clock = Clock::with(Some(folder.path()), fake.clone());
        fake.pass(5 * SECOND);
        let due = Timestamp(clock.now().0 + 60 * SECOND);
        // The process dies, the clock is set by a day, the process starts again ten seconds later.
        drop(clock);
        fake.pass(10 * SECOND);
        fake.wall.fetch_add(86_400 * SECOND, Ordering::Relaxed);
        let again = Clock::with(Some(folder.path()), fake.clone());
        assert_eq!(due.0 - again.now().0, 50 * SECOND);
        assert_eq!(again.step_millis(), 86_400_000);
        assert_eq!(again.wall(), fake.wall());
        again.save().unwrap();
        // A reboot without a battery clock: 1970, and yet not before what was seen.
        let seen = again.now();
        let reborn = Clock::with(Some(folder.path()), Fake::new(2, 0, 0));
        assert_eq!((reborn.now(), reborn.wall()), (seen, seen));
    }

    #[test]
    fn a_damaged_file_is_as_if_nothing_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), b"{\"boot\":").unwrap();
        let clock = Clock::with(Some(folder.path()), Fake::new(1, 0, START));
        assert_eq!(clock.now(), Timestamp(START));
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(serde_json::from_str::<Mark>(&text).is_ok(), "{text}");
    }
}
