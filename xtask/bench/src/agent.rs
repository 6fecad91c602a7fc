//! The agent's own runtime, with its real journal and folding, and no cloud: what a task costs beyond running it.

use crate::disk::SyncedFile;
use crate::engine::Engine;
use crate::figure::{Better, Figure, Sample, Target, median};
use crate::programs;
use anyhow::{Context, Result, ensure};
use eyot_agent::config::{DiskConfig, LogConfig};
use eyot_agent::{Clock, Logs, Parts, Runtime, Storage};
use eyot_blob::Store;
use eyot_model::{
    Capacity, ComponentRef, Digest, Epoch, FragmentId, Inputs, RunId, RunState, Task, TaskIx, Template, Timestamp, Value, Workflow,
};
use eyot_wire::Assignment;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHAIN: u32 = 1_000;
const LONG_CHAIN: u32 = 5_000;
/// Runs of one task for a sample.
const ALONE: usize = 300;
/// Between two of them is about this, in which nothing of them is used.
const REST: Duration = Duration::from_micros(700);
const PARALLEL: u32 = 10_000;

/// An agent's runtime in this process, and one component that is ready.
struct Bench {
    runtime: Arc<Runtime>,
    engine: Engine,
    tokio: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    runs: u128,
}

impl Bench {
    fn start() -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let folder = tempfile::Builder::new().prefix("eyot-bench-").tempdir_in(programs::scratch())?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let capacity = Capacity {
            cpu_millis: u32::try_from(cores * 1_000)?,
            memory_bytes: 8 << 30,
            disk_bytes: 1 << 40,
            gpus: 0,
        };
        let engine = tokio.block_on(Engine::start(folder.path(), u32::try_from(cores * 4)?))?;
        let clock = Clock::start();
        let limits = DiskConfig::default().on(capacity.disk_bytes);
        let storage = Storage::open(folder.path(), capacity, &limits, &clock, 1)?;
        let parts = Parts {
            host: Arc::clone(&engine.host),
            blobs: Arc::new(Store::open(folder.path().join("blobs"))?),
            models: Arc::new(eyot_infer::Runtime::new(64 << 20)),
            capacity,
            workers: cores * 4,
            clock,
            limits,
            logs: Logs::new(LogConfig::default()),
            data: folder.path().to_owned(),
        };
        let runtime = {
            let _entered = tokio.enter();
            Runtime::start(parts, storage)?.0
        };
        Ok(Self {
            runtime,
            engine,
            tokio,
            folder,
            runs: 0,
        })
    }

    /// A new run of `count` no-op tasks.
    fn assignment(&mut self, count: u32, chained: bool) -> Assignment {
        self.runs += 1;
        let workflow = Arc::new(workflow(self.engine.digest, count, chained));
        Assignment {
            run: RunId(self.runs),
            fragment: FragmentId(0),
            epoch: Epoch(0),
            workflow,
            inputs: Arc::new(Inputs::new()),
            tasks: (0..count).map(TaskIx).collect(),
            awaits: Vec::new(),
            facts: Vec::new(),
            created_at: Timestamp(0),
            saved: Vec::new(),
        }
    }

    /// Seconds from submission to the durable end of a run of `count` no-op tasks.
    fn run(&mut self, count: u32, chained: bool) -> Result<f64> {
        let assignment = self.assignment(count, chained);
        let run = assignment.run;
        let start = Instant::now();
        let outcome = self.tokio.block_on(self.runtime.run_here(assignment))?;
        let taken = start.elapsed().as_secs_f64();
        ensure!(
            outcome.state == RunState::Succeeded,
            "the run ended {}: {:?}",
            outcome.state,
            outcome.failure
        );
        // Nobody waits for what is done with it afterwards.
        self.runtime.release(run);
        Ok(taken)
    }

    /// Seconds that one task by itself takes from being ready to its result in memory, by the agent's own clock; the
    /// median of many runs.
    fn alone(&mut self) -> Result<f64> {
        let mut micros = Vec::new();
        for _ in 0..ALONE {
            let assignment = self.assignment(1, false);
            let (run, runtime) = (assignment.run, Arc::clone(&self.runtime));
            let ended = self.tokio.spawn(async move { runtime.run_here(assignment).await });
            // The result is in memory before it is durable, and gone soon after.
            while !ended.is_finished() {
                let seen = self.runtime.look(|node| {
                    let task = &node.run(run)?.tasks().first()?.own;
                    Some(task.ended_at?.0.saturating_sub(task.queued_at?.0))
                });
                if let Some(seen) = seen {
                    #[allow(clippy::cast_precision_loss, reason = "durations far below 2^52")]
                    micros.push(seen as f64);
                    break;
                }
                std::thread::sleep(Duration::from_micros(5));
            }
            self.tokio.block_on(ended)??;
            self.runtime.release(run);
        }
        ensure!(micros.len() * 2 >= ALONE, "results were gone before they were seen");
        Ok(median(micros) / 1e6)
    }

    /// Seconds of one raw cycle on one thread.
    fn raw_cycle(&self) -> Result<f64> {
        self.engine.raw_cycle(2_000)
    }

    /// Seconds of a raw cycle that begins after a rest, as a task by itself does: the caches hold other things by then. The
    /// median of many.
    fn rested_cycle(&self) -> Result<f64> {
        let cycle = |_| {
            std::thread::sleep(REST);
            self.engine.raw_cycle(1)
        };
        Ok(median((0..ALONE).map(cycle).collect::<Result<_>>()?))
    }

    /// Raw cycles in a second on all cores at once.
    fn raw_rate(&self) -> Result<f64> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let each = PARALLEL / u32::try_from(cores)?;
        let start = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| self.engine.raw_cycle(each).map(drop))).collect();
            threads
                .into_iter()
                .try_for_each(|t| t.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
        })?;
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        Ok((each as usize * cores) as f64 / start.elapsed().as_secs_f64())
    }

    /// Seconds of one append of about a record's size with an fdatasync, on the journal's own disk.
    fn synced_append(&self, count: u32) -> Result<f64> {
        SyncedFile::create(self.folder.path())?.append(128, count)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.runtime.stop();
    }
}

fn workflow(digest: Digest, count: u32, chained: bool) -> Workflow {
    let task = |n: u32| Task {
        needs: if chained && n > 0 {
            BTreeSet::from([TaskIx(n - 1)])
        } else {
            BTreeSet::new()
        },
        with: BTreeMap::from([("n".to_owned(), Template::Literal(Value::Int(1)))]),
        ..Task::new(
            format!("t{n}"),
            ComponentRef {
                name: "noop".into(),
                digest: Some(digest),
                size: 0,
            },
        )
    };
    Workflow::new("bench", "noop", "1", (0..count).map(task).collect())
}

type Shared = Rc<RefCell<Option<Bench>>>;

fn with<T>(bench: &Shared, measure: impl FnOnce(&mut Bench) -> Result<T>) -> Result<T> {
    let mut bench = bench.borrow_mut();
    if bench.is_none() {
        *bench = Some(Bench::start()?);
    }
    // What an earlier run left to fold is not this one's cost.
    std::thread::sleep(Duration::from_millis(200));
    measure(bench.as_mut().context("the runtime did not start")?)
}

/// (a), (b) and (c).
pub(crate) fn figures() -> Vec<Figure> {
    let bench: Shared = Rc::default();
    let figure = |name, what, unit, better, target, run: fn(&mut Bench) -> Result<Sample>| {
        let bench = Rc::clone(&bench);
        Figure {
            name,
            what,
            unit,
            better,
            target,
            run: Box::new(move || with(&bench, run)),
        }
    };
    vec![
        figure(
            "agent.noop",
            "one no-op task by itself, from ready to result in memory, against a raw cycle",
            "us",
            Better::Less,
            Target::Ratio(2.0),
            |b| {
                let floor = b.raw_cycle()? * 1e6;
                let value = b.alone()? * 1e6;
                Ok(Sample { value, floor: Some(floor) })
            },
        ),
        figure(
            "agent.noop_rested",
            "the same against a raw cycle that begins after a rest too; no target",
            "us",
            Better::Less,
            Target::None,
            |b| {
                let floor = b.rested_cycle()? * 1e6;
                let value = b.alone()? * 1e6;
                Ok(Sample { value, floor: Some(floor) })
            },
        ),
        figure(
            "agent.noop_in_chain",
            "the mean of a no-op task in a chain of 5,000, journal and folding included, against a raw cycle; no target",
            "us",
            Better::Less,
            Target::None,
            |b| {
                let floor = b.raw_cycle()? * 1e6;
                let value = b.run(LONG_CHAIN, true)? / f64::from(LONG_CHAIN) * 1e6;
                Ok(Sample { value, floor: Some(floor) })
            },
        ),
        figure(
            "agent.chain",
            "a chain of 1,000 no-op tasks, durable at its end, against 1,000 raw cycles and 10 synced appends",
            "ms",
            Better::Less,
            Target::Ratio(2.0),
            |b| {
                let floor = (b.raw_cycle()? * f64::from(CHAIN) + b.synced_append(50)? * 10.0) * 1e3;
                let value = b.run(CHAIN, true)? * 1e3;
                Ok(Sample { value, floor: Some(floor) })
            },
        ),
        figure(
            "agent.chain_vs_fdatasync",
            "the same chain against 1,000 appends with an fdatasync each; no target",
            "ms",
            Better::Less,
            Target::None,
            |b| {
                let floor = b.synced_append(CHAIN)? * f64::from(CHAIN) * 1e3;
                let value = b.run(CHAIN, true)? * 1e3;
                Ok(Sample { value, floor: Some(floor) })
            },
        ),
        figure(
            "agent.parallel",
            "10,000 independent no-op tasks, all durable, against the rate of raw cycles on all cores",
            "1/s",
            Better::More,
            Target::Ratio(2.0),
            |b| {
                let floor = b.raw_rate()?;
                let value = f64::from(PARALLEL) / b.run(PARALLEL, false)?;
                Ok(Sample { value, floor: Some(floor) })
            },
        ),
    ]
}
