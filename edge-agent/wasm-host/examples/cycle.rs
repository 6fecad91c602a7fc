//! Measures what an attempt costs beside its floor, a raw cycle of the same component in the same engine:
//!
//! `cargo run --release -p eyot-wasm-host --example cycle -- target/wasm32-wasip2/component/eyot_guest_noop.wasm`

use eyot_blob::Store;
use eyot_model::{AttemptId, Digest, Epoch, Inputs, Path, RunId, TaskIx, Value};
use eyot_wasm_host::{
    AttemptSpec, BlobAccess, CancelToken, Compiler, Host, HostConfig, Limits, LogLevel, RawInputs, ServiceError, Services, StateLost,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Shell(Store);

impl Services for Shell {
    fn blobs(&self) -> &dyn BlobAccess {
        &self.0
    }
    fn log(&self, _level: LogLevel, _message: &str) {}
    fn progress(&self, _done: u64, _total: u64, _message: &str) {}
    fn save_checkpoint(&self, _state: &[u8]) -> Result<(), ServiceError> {
        Ok(())
    }
    fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StateLost> {
        Ok(None)
    }
    fn inference(&self) -> Option<&eyot_infer::Runtime> {
        None
    }
}

const ROUNDS: usize = 2_000;
const THREADS: usize = 2;
const PARALLEL_ROUNDS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    eyot_wasm_host::compile_child::main_if_asked();
    let wasm = std::env::args_os().nth(1).ok_or("give the path of a component")?;
    let digest = Digest::of(&std::fs::read(&wasm)?);
    let folder = tempfile::tempdir()?;
    println!("resident at start        {:>8} KiB", resident()?);
    let config = HostConfig::new(folder.path().join("code"), [7; 32], 2, Compiler::this_program()?);
    let host = Host::new(config.clone())?;
    println!("resident with a host     {:>8} KiB", resident()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    runtime.block_on(host.prepare(digest, wasm.as_ref()))?;
    println!("compile and load         {:>8} us", start.elapsed().as_micros());
    let again = Host::new(config)?;
    let start = Instant::now();
    let prepared = runtime.block_on(again.prepare(digest, wasm.as_ref()))?;
    println!("load from the cache      {:>8} us", start.elapsed().as_micros());
    println!("resident when ready      {:>8} KiB", resident()?);

    let shell: Arc<dyn Services> = Arc::new(Shell(Store::open(folder.path().join("blobs"))?));
    let inputs: Inputs = [("n".to_owned(), Value::Int(1))].into();
    let raw_inputs = RawInputs::new(&inputs);
    let spec = AttemptSpec {
        id: AttemptId {
            run: RunId(1),
            path: Path::task(TaskIx(0)),
            attempt: 1,
            epoch: Epoch(1),
        },
        namespace: "default".to_owned(),
        task: "noop".to_owned(),
        inputs,
        limits: Limits {
            wall: Some(Duration::from_secs(60)),
            ..Limits::default()
        },
        grants: [].into(),
    };
    for round in 0..3 {
        let raw = median(|| again.raw_cycle(&prepared, &raw_inputs).is_ok());
        let ours = median(|| {
            let end = again.run(&prepared, spec.clone(), Arc::clone(&shell), CancelToken::new());
            matches!(end.outcome, eyot_model::Outcome::Succeeded(_))
        });
        println!(
            "round {round}: raw cycle {raw:>6.1} us, attempt {ours:>6.1} us, ratio {:.2}",
            ours / raw
        );
    }
    let rate = |what: &str, call: &(dyn Fn() -> bool + Sync)| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..PARALLEL_ROUNDS).for_each(|_| assert!(call(), "the component has to succeed")));
            }
        });
        let rate = (THREADS * PARALLEL_ROUNDS) as f64 / start.elapsed().as_secs_f64();
        println!("{what} on {THREADS} threads {rate:>8.0}/s");
        rate
    };
    let raw = rate("raw cycles", &|| again.raw_cycle(&prepared, &raw_inputs).is_ok());
    let ours = rate("attempts", &|| {
        let end = again.run(&prepared, spec.clone(), Arc::clone(&shell), CancelToken::new());
        matches!(end.outcome, eyot_model::Outcome::Succeeded(_))
    });
    println!("ratio {:.2}", raw / ours);
    println!("resident after the work  {:>8} KiB", resident()?);
    Ok(())
}

/// Median time of a call, in microseconds.
fn median(mut call: impl FnMut() -> bool) -> f64 {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            assert!(call(), "the component has to succeed");
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2].as_nanos() as f64 / 1_000.0
}

/// Memory of this process that is resident and not shared with files, in KiB.
fn resident() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|l| l.trim().split(' ').next()?.parse().ok()).unwrap_or(0))
}
