//! One task through the whole system: from the request to the news that its result is committed.

use crate::disk::SyncedFile;
use crate::engine::Engine;
use crate::figure::{Better, Figure, Sample, Target, median};
use crate::plane::Plane;
use anyhow::{Context, Result};
use eyot_link::floor::RoundTrips;
use std::cell::RefCell;
use std::rc::Rc;

/// Runs of a sample, of which the median counts.
const RUNS: u32 = 200;
/// Runs before the first sample.
const WARM: u32 = 100;
/// What is synced: about what a commit of the store writes.
const PAGE: usize = 4 << 10;

struct Bench {
    plane: Plane,
    engine: Engine,
    file: SyncedFile,
    trips: RoundTrips,
    tokio: tokio::runtime::Runtime,
}

impl Bench {
    fn start() -> Result<Self> {
        let mut plane = Plane::start()?;
        plane.start_agent()?;
        plane.store_workflow()?;
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let engine = tokio.block_on(Engine::start(&plane.folder().join("engine"), 1))?;
        let trips = tokio.block_on(RoundTrips::start())?;
        for _ in 0..WARM {
            plane.run()?;
        }
        let file = SyncedFile::create(plane.folder())?;
        Ok(Self {
            plane,
            engine,
            file,
            trips,
            tokio,
        })
    }

    /// Seconds of 4 synced appends, 3 round trips and a raw cycle, the latter two warmed up.
    fn floor(&mut self) -> Result<f64> {
        let syncs = 4.0 * self.file.append(PAGE, 4)?;
        self.tokio.block_on(self.trips.take(1))?;
        let trips = self.tokio.block_on(self.trips.take(3))?.as_secs_f64();
        self.engine.raw_cycle(1)?;
        Ok(syncs + trips + self.engine.raw_cycle(1)?)
    }

    /// The floor before each run, so that both see the same noise.
    fn sample(&mut self) -> Result<Sample> {
        let (mut floors, mut values) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            floors.push(self.floor()? * 1e3);
            values.push(self.plane.run()? * 1e3);
        }
        Ok(Sample {
            value: median(values),
            floor: Some(median(floors)),
        })
    }
}

/// (d).
pub(crate) fn figures() -> Vec<Figure> {
    let bench: Rc<RefCell<Option<Bench>>> = Rc::default();
    vec![Figure {
        name: "cloud.single",
        what: "a no-op task from the API call to its committed result, against 4 fsyncs, 3 QUIC round trips and a raw cycle",
        unit: "ms",
        better: Better::Less,
        target: Target::Ratio(2.0),
        run: Box::new(move || {
            let mut bench = bench.borrow_mut();
            if bench.is_none() {
                *bench = Some(Bench::start()?);
            }
            bench.as_mut().context("the programs did not start")?.sample()
        }),
    }]
}
