//! Many seeds, on as many threads as there are processors; and the weather of a failing seed, made as small as it goes.

use crate::mutant::Mutant;
use crate::weather::Weather;
use crate::world::{Report, Setup, World};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Which worlds to run.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    pub from: u64,
    pub count: u64,
    pub mutant: Option<Mutant>,
    /// Stop once so many have failed.
    pub most_failures: usize,
}

/// What came of them.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub seeds: u64,
    pub steps: u64,
    pub attempts: u64,
    /// Of all state hashes; the same for the same seeds, whatever machine ran them.
    pub hash: u64,
    /// Seeds that failed, in order, and why.
    pub failed: Vec<(u64, String)>,
}

/// One world. A panic is a failure like any other.
#[must_use]
pub fn one(seed: u64, mutant: Option<Mutant>) -> Report {
    let setup = Setup {
        mutant,
        ..Setup::random(seed)
    };
    run(setup)
}

fn run(setup: Setup) -> Report {
    let seed = setup.seed;
    std::panic::catch_unwind(|| World::new(setup).run()).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it does not say why");
        Report {
            seed,
            state_hash: 0,
            steps: 0,
            attempts: 0,
            result: Err(format!("a panic: {said}")),
        }
    })
}

impl Seeds {
    /// Runs them all, or until enough have failed. `progress` is told how many are done, now and then.
    ///
    /// # Panics
    /// When a thread cannot be started.
    #[must_use]
    pub fn run(&self, progress: impl Fn(u64) + Sync) -> Found {
        let (next, done, enough) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let found = Mutex::new(Found::default());
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed) {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= self.count {
                            return;
                        }
                        let report = one(self.from + n, self.mutant);
                        let Ok(mut found) = found.lock() else { return };
                        found.add(report);
                        enough.fetch_or(found.failed.len() >= self.most_failures, Ordering::Relaxed);
                        drop(found);
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        if done.is_multiple_of(1_000) {
                            progress(done);
                        }
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_default();
        found.failed.sort();
        found
    }
}

impl Found {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.attempts += report.attempts;
        // In any order, because threads end in any.
        self.hash ^= crate::random::hash(&[report.seed, report.state_hash]);
        if let Err(why) = report.result {
            self.failed.push((report.seed, why));
        }
    }
}

/// The smallest weather found, by leaving out one trouble after the other, under which a seed still fails, and how.
#[must_use]
pub fn shrink(seed: u64, mutant: Option<Mutant>) -> Option<(Weather, String)> {
    let mut setup = Setup {
        mutant,
        ..Setup::random(seed)
    };
    let mut why = run(setup.clone()).result.err()?;
    let mut at = 0;
    while at < setup.weather.len() {
        let mut smaller = setup.clone();
        smaller.weather.remove(at);
        match run(smaller.clone()).result {
            Err(still) => (setup, why) = (smaller, still),
            Ok(()) => at += 1,
        }
    }
    Some((setup.weather, why))
}
