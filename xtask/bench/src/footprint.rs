//! What an agent takes of a device: memory and disk.

use crate::figure::{Better, Figure, Sample, Target};
use crate::plane::Plane;
use crate::programs;
use anyhow::{Context, Result, ensure};
use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

/// How long an agent is linked before it is looked at.
const SETTLED: Duration = Duration::from_secs(3);
/// Tasks that it runs before it is looked at again.
const TASKS: u32 = 100;

type Shared = Rc<RefCell<Option<Plane>>>;

/// Resident MiB of an agent that was just started, once it is linked and, where `tasks` says so, has worked.
fn memory(plane: &Shared, tasks: u32) -> Result<Sample> {
    let mut plane = plane.borrow_mut();
    if plane.is_none() {
        let new = Plane::start()?;
        new.store_workflow()?;
        *plane = Some(new);
    }
    let plane = plane.as_mut().context("the control plane did not start")?;
    plane.start_agent()?;
    for _ in 0..tasks {
        plane.run()?;
    }
    std::thread::sleep(SETTLED);
    Ok(Sample {
        value: mib(plane.agent_memory()?),
        floor: None,
    })
}

/// MiB of the agent's program without its symbols.
fn binary() -> Result<Sample> {
    let folder = tempfile::Builder::new().prefix("eyot-bench-").tempdir_in(programs::scratch())?;
    let stripped = folder.path().join("eyot-agent");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(programs::program("eyot-agent")?)
        .status()
        .context("`strip` is missing; it is part of binutils")?;
    ensure!(status.success(), "strip ended with {status}");
    Ok(Sample {
        value: mib(std::fs::metadata(&stripped)?.len()),
        floor: None,
    })
}

#[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// (f).
pub(crate) fn figures() -> Vec<Figure> {
    let plane = Shared::default();
    let after_work = Rc::clone(&plane);
    let figure = |name, what, target, run| Figure {
        name,
        what,
        unit: "MiB",
        better: Better::Less,
        target,
        run,
    };
    vec![
        figure(
            "agent.rss",
            "resident memory of an agent that is joined, linked and idle",
            Target::Value(20.0),
            Box::new(move || memory(&plane, 0)),
        ),
        figure(
            "agent.rss_after_work",
            "the same after 100 runs of a task; no target",
            Target::None,
            Box::new(move || memory(&after_work, TASKS)),
        ),
        figure(
            "agent.binary",
            "the agent's program, inference included, without symbols",
            Target::Value(50.0),
            Box::new(binary),
        ),
    ]
}
