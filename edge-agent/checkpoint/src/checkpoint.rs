//! Journal and store together: opening them after whatever happened, appending, syncing, folding.

use crate::disk::Disk;
use crate::fold::{self, FoldError, Folder, JournalAccess, StoreOpening, StoreView};
use crate::journal::{self, Damage, DamageKind, Journal, JournalError, Scan, Trim};
use crate::record::{Entry, Record};
use crate::space::{DiskMarks, Space};
use crate::store::{Fold, StoreSource};
use eyot_model::{DiskState, Position};
use std::io;
use std::sync::Arc;

/// Settings; [`Config::default`] fits a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Length of a segment's file, reserved when it is begun.
    pub segment_bytes: u64,
    /// Old segments go when the journal is longer than this and twice what is live in it.
    pub journal_bytes: u64,
    /// The service folds when this many bytes of payload wait for it.
    pub fold_bytes: u64,
    pub marks: DiskMarks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 4 << 20,
            journal_bytes: 12 << 20,
            fold_bytes: 4 << 20,
            marks: DiskMarks::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("journal folder cannot be listed")]
    List(#[source] io::Error),
}

/// Why records that had been durable may be gone, or why the disk may be an old copy of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Files of the journal are damaged or missing: see [`Report::damage`].
    Journal,
    /// The store knows of later records than the journal has.
    JournalBehindStore { store: Position, journal: Position },
    /// The store misses records that the journal dropped because the store had them.
    StoreBehindJournal,
    /// Store and journal are of different histories.
    ForeignStore { store: Position },
}

/// What was found at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Last record that there is.
    pub last: Position,
    /// The next record comes after this. It is beyond `last` after an unclean stop: numbers that a lost record may have had
    /// are not given again.
    pub taken: Position,
    /// Set where anything may be lost. Positions have a new generation then, and every fragment needs a new epoch.
    pub loss: Option<Loss>,
    /// What is wrong with which file; also what did no harm.
    pub damage: Vec<Damage>,
    /// Bytes of writes that were under way when the machine stopped, and on which nobody relied.
    pub torn_bytes: u64,
    /// The last stop was in order: no attempt was under way.
    pub clean: bool,
    pub store: StoreOpening,
    /// Records that were folded into the store just now.
    pub folded: u64,
}

/// What the agent builds its state from.
#[derive(Debug)]
pub struct Recovered {
    pub report: Report,
    /// The store, with every durable record folded in.
    pub store: StoreView,
    /// Records of keys that are alive, in order of their numbers: unfinished runs can be rebuilt from them alone.
    pub live: Vec<Entry>,
    /// Records that were not in the store before this start, in order. They are now.
    pub tail: Vec<Entry>,
}

/// Journal and store in one thread, without a clock: what the simulation drives. [`crate::Service`] is the same for many threads.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) journal: Journal,
    pub(crate) folder: Folder,
    pub(crate) space: Space,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: Config,
}

impl Checkpoint {
    /// Opens what is there, whatever its state: what is damaged is set aside, reported, and built anew.
    ///
    /// `new_generation` is random, not 0, and used for a new journal or after a loss. `label`, such as the present time, goes into the
    /// names of files that are set aside.
    ///
    /// # Errors
    /// Only when the folder cannot be read at all.
    pub fn open(
        config: Config,
        disk: Arc<dyn Disk>,
        source: Arc<dyn StoreSource>,
        fold: Arc<dyn Fold>,
        new_generation: u64,
        label: &str,
    ) -> Result<(Self, Recovered), OpenError> {
        let mut scan = journal::scan(&*disk).map_err(OpenError::List)?;
        let (mut folder, mut opening) = Folder::open(source, fold, label);
        let stored = match folder.view().folded() {
            Ok(stored) => stored,
            Err(error) => {
                opening = folder.replace(&fold::chain_of(&error));
                None
            }
        };
        let standing = Standing::of(&scan, stored);
        if standing.set_store_aside {
            opening = folder.replace("it does not belong to this journal");
        }
        let fresh_store = stored.is_none() || standing.set_store_aside;
        if fresh_store && opening == StoreOpening::Opened {
            opening = StoreOpening::Created;
        }
        // Numbers that the store knows of are taken, whatever became of the records.
        scan.next = scan.next.max(stored.map_or(0, |p| p.n) + 1);
        let stored = stored.filter(|_| !fresh_store);
        let store_n = stored.map_or(0, |p| p.n);
        scan.last = scan.last.max(store_n);
        let generation = scan.chain.last().map_or(new_generation, |last| last.header.generation);
        let boundary = scan.chain.first().map_or(0, |first| first.header.before);

        let space = Space::open(disk.clone(), config.marks);
        let journal = Journal::resume(disk.clone(), config.segment_bytes, &mut scan, generation, stored);
        let mut checkpoint = Self {
            journal,
            folder,
            space,
            disk,
            config,
        };
        checkpoint.settle_journal(&mut scan, standing.loss.map(|_| new_generation), label);
        // Older records must not be folded over what later ones, that the journal lacks, have left.
        let behind = matches!(standing.loss, Some(Loss::JournalBehindStore { .. }));
        let folded = checkpoint.refold(
            &scan,
            stored,
            if behind { store_n } else { boundary },
            standing.loss.is_none(),
            &mut opening,
        );

        let live = scan.entries.values().filter(|e| checkpoint.journal.needs(e)).cloned().collect();
        let tail = scan.entries.range(store_n + 1..).map(|(_, entry)| entry.clone()).collect();
        let report = Report {
            last: checkpoint.journal.appended(),
            taken: checkpoint.journal.taken(),
            loss: standing.loss,
            damage: scan.damage,
            torn_bytes: scan.torn,
            clean: scan.clean && standing.loss.is_none(),
            store: opening,
            folded,
        };
        let store = checkpoint.folder.view();
        Ok((checkpoint, Recovered { report, store, live, tail }))
    }

    /// Makes sure that what was found is durable, and that a loss is answered on disk before anything new is written.
    fn settle_journal(&mut self, scan: &mut Scan, new_generation: Option<u64>, label: &str) {
        let settled = self.sync().and_then(|_| match new_generation {
            Some(generation) => self.with_reserve(|journal| journal.begin(generation, scan.next_index - 1)),
            None => Ok(()),
        });
        match settled {
            Ok(()) => {
                set_aside(&*self.disk, scan, label);
                for name in &scan.leftovers {
                    if let Err(error) = self.disk.remove(name) {
                        tracing::warn!(%error, name, "a file that is no longer needed stays behind");
                    }
                }
            }
            Err(error) => tracing::error!(
                error = fold::chain_of(&error),
                "the journal cannot be written at the start; it is tried again"
            ),
        }
    }

    /// Folds what the journal has into the store. After a clean stop that is what the store lacks. Else it is everything after record
    /// `boundary`, because a store that was not closed may have lost what it had not flushed. `known`: nothing was lost, so store and
    /// journal are of one history.
    fn refold(&mut self, scan: &Scan, stored: Option<Position>, boundary: u64, known: bool, opening: &mut StoreOpening) -> u64 {
        let synced = self.journal.synced();
        // The store may be further than the journal can say of itself: what it holds was durable. Folding less than that once
        // more would put older values over later ones.
        let through = stored.filter(|stored| known && stored.n > synced.n).unwrap_or(synced);
        if scan.clean && stored == Some(synced) {
            self.folder.assume(synced.n);
            self.journal.folded(synced.n);
            return 0;
        }
        for _ in 0..2 {
            let from = if *opening == StoreOpening::Opened { boundary } else { 0 };
            let entries: Vec<&Entry> = scan
                .entries
                .range(from + 1..)
                .map(|(_, e)| e)
                .take_while(|e| e.position.n <= through.n)
                .collect();
            let count = entries.len() as u64;
            match self.folder.apply(entries, Some(through)).and_then(|()| self.folder.flush()) {
                Ok(()) => {
                    let applied = self.folder.applied();
                    self.journal.folded(applied.min(synced.n));
                    return count;
                }
                Err(error) => *opening = self.folder.replace(&fold::chain_of(&error)),
            }
        }
        0
    }

    fn with_reserve<T>(&mut self, call: impl FnMut(&mut Journal) -> Result<T, JournalError>) -> Result<T, JournalError> {
        with_reserve(&mut self.journal, &mut self.space, call)
    }

    /// Appends a batch; gives the position of its last record. Numbers within a batch are consecutive, so the first one has
    /// `n - (length - 1)`. It is recovered whole or not at all.
    ///
    /// # Errors
    /// [`JournalError`]; nothing of the batch was acknowledged then, the records are still the caller's and may be appended again.
    pub fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, JournalError> {
        self.with_reserve(|journal| journal.append(records))
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// [`JournalError`]; it is worth trying again.
    pub fn sync(&mut self) -> Result<Position, JournalError> {
        self.with_reserve(Journal::sync)
    }

    /// The last record that was appended.
    #[must_use]
    pub fn appended(&self) -> Position {
        self.journal.appended()
    }

    /// The last record that is durable.
    #[must_use]
    pub fn synced(&self) -> Position {
        self.journal.synced()
    }

    /// Syncs, folds, and drops segments that are no longer needed.
    ///
    /// # Errors
    /// [`FoldError`]; nothing is lost, the next call goes on.
    pub fn fold(&mut self) -> Result<(), FoldError> {
        let mut direct = Direct {
            journal: &mut self.journal,
            space: &mut self.space,
            disk: &*self.disk,
        };
        fold::round(&mut direct, &mut self.folder, self.config.journal_bytes)
    }

    /// Sets the store aside, because its content turned out to be damaged when it was read, and builds it anew from what the
    /// journal has: everything that unfinished runs need.
    ///
    /// # Errors
    /// [`FoldError`]: the journal cannot be read, or the new store not be written.
    pub fn replace_store(&mut self, why: &str) -> Result<StoreOpening, FoldError> {
        let opening = self.folder.replace(why);
        let mut direct = Direct {
            journal: &mut self.journal,
            space: &mut self.space,
            disk: &*self.disk,
        };
        fold::rebuild(&mut direct, &mut self.folder)?;
        self.folder.flush()?;
        Ok(opening)
    }

    #[must_use]
    pub fn store(&self) -> StoreView {
        self.folder.view()
    }

    /// Looks at the disk's free room.
    pub fn refresh_disk_state(&mut self) -> DiskState {
        self.space.refresh()
    }

    #[must_use]
    pub fn disk_state(&self) -> DiskState {
        self.space.state()
    }

    /// Bytes that the journal takes on disk.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// Folds, and says in the journal that the stop was in order.
    ///
    /// # Errors
    /// [`FoldError`]; the next start then takes it for a crash.
    pub fn close(mut self) -> Result<(), FoldError> {
        self.fold()?;
        Ok(self.journal.close()?)
    }
}

/// Runs a call of the journal, and once more with the reserve given up where the disk is full.
pub(crate) fn with_reserve<T>(
    journal: &mut Journal,
    space: &mut Space,
    mut call: impl FnMut(&mut Journal) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let mut result = call(journal);
    if matches!(result, Err(JournalError::Full(_))) && space.release() {
        result = call(journal);
    }
    space.note(matches!(result, Err(JournalError::Full(_))));
    result
}

struct Direct<'a> {
    journal: &'a mut Journal,
    space: &'a mut Space,
    disk: &'a dyn Disk,
}

impl JournalAccess for Direct<'_> {
    fn with<T>(&mut self, call: impl FnOnce(&mut Journal) -> T) -> T {
        call(self.journal)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        with_reserve(self.journal, self.space, Journal::sync).map(|_| ())
    }

    fn begin_trim(&mut self) -> Result<Option<Trim>, JournalError> {
        with_reserve(self.journal, self.space, Journal::begin_trim)
    }

    fn scan(&mut self) -> io::Result<Scan> {
        journal::scan(self.disk)
    }
}

/// How journal and store stand to each other.
#[derive(Debug)]
struct Standing {
    loss: Option<Loss>,
    set_store_aside: bool,
}

impl Standing {
    fn of(scan: &Scan, stored: Option<Position>) -> Self {
        let journal = Position {
            generation: scan.chain.last().map_or(0, |last| last.header.generation),
            n: scan.last,
        };
        let boundary = scan.chain.first().map_or(0, |first| first.header.before);
        let (loss, set_store_aside) = match stored {
            Some(store) if !scan.chain.is_empty() && !scan.generations().any(|g| g == store.generation) => {
                (Some(Loss::ForeignStore { store }), true)
            }
            Some(store) if store.n > scan.last => (Some(Loss::JournalBehindStore { store, journal }), false),
            Some(store) if scan.dropped > 0 && store.n < boundary && !scan.lost() => (Some(Loss::StoreBehindJournal), true),
            _ => (None, false),
        };
        Self {
            loss: if scan.lost() { Some(Loss::Journal) } else { loss },
            set_store_aside,
        }
    }
}

/// Moves what does not belong to the journal out of its way, and copies what is damaged but still in use.
fn set_aside(disk: &dyn Disk, scan: &mut Scan, label: &str) {
    for damage in &mut scan.damage {
        let aside = format!("{}.{label}.damaged", damage.file);
        let done = match damage.kind {
            DamageKind::Missing => continue,
            DamageKind::BadBytes { .. } => copy(disk, &damage.file, &aside),
            DamageKind::BadHeader | DamageKind::Misnamed | DamageKind::OutsideChain | DamageKind::Unreadable => {
                disk.rename(&damage.file, &aside)
            }
        };
        tracing::error!(file = damage.file, kind = ?damage.kind, lost = damage.lost, "the journal is damaged");
        match done {
            Ok(()) => damage.quarantined = Some(aside),
            Err(error) => tracing::error!(%error, file = damage.file, "a damaged segment cannot be set aside"),
        }
    }
}

fn copy(disk: &dyn Disk, from: &str, to: &str) -> io::Result<()> {
    let bytes = crate::disk::read_all(&*disk.open(from)?)?;
    match disk.create(to) {
        Ok(file) => file.write_at(0, &bytes).and_then(|()| file.sync_data()),
        // Several damages of one file need one copy.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
