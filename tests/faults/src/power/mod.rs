//! The power goes: files are put back to what the disk must hold, plus any part of what it may hold.
//!
//! `kill -9` alone never tests an fsync, because what was written is still in the system's cache. So the programs run
//! under `strace`, which writes down every call that changes a file or makes it durable. When the power is cut the
//! process is killed, its calls are replayed into a model of the disk ([`disk::Disk`]), the model is compared with the
//! real folder (so that it is known to know all), and the folder is put into a state that the disk may be in.

mod content;
mod disk;
mod image;
mod names;
mod trace;

use crate::figure::percentile;
use crate::load::{Load, now};
use crate::world::{SIDES, World};
use crate::{Figure, Setting};
use anyhow::{Context, Result, ensure};
use disk::Disk;
use eyot_scenarios::{Manner, until};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use trace::Syncs;

const LANES: u64 = 4;
const PROGRESS: Duration = Duration::from_secs(60);
/// Cuts within which pretended syncs must be noticed.
const PRETENDED: usize = 30;

/// One process from its start to the cut.
struct Life {
    /// The disk as it was at the start.
    disk: Disk,
    data: PathBuf,
    trace: PathBuf,
}

impl Life {
    fn begin(world: &World, name: &str, number: usize, syncs: Syncs) -> Result<(Self, Manner)> {
        let data = world.stage.path(name).canonicalize()?;
        let trace = world.stage.path(&format!("{name}.{number}.trace"));
        let disk = Disk::of(&data)?;
        let manner = Manner::by(trace::strace(&trace, syncs));
        Ok((Self { disk, data, trace }, manner))
    }

    /// The process was killed: the folder becomes what the disk may hold.
    async fn end(mut self, pid: u32, random: &mut fastrand::Rng) -> Result<usize> {
        let pid = pid.to_string();
        until("strace has written everything down", async || {
            let tail = tail(&self.trace)?;
            let killed = |line: &str| {
                line.split_once(' ')
                    .is_some_and(|(of, what)| of == pid && what.contains("+++ killed"))
            };
            Ok(tail.lines().any(killed).then_some(()))
        })
        .await?;
        let image = tokio::task::block_in_place(|| {
            self.replay()?;
            let agrees = self.disk.agrees(is_shared_memory);
            agrees.with_context(|| format!("the model of the disk is wrong; the trace ends with\n{}", last_lines(&self.trace)))?;
            let mut image = self.disk.after_power_loss(random);
            image.retain(|path, _| !is_shared_memory(path));
            image::put(&self.data, &image)?;
            fs::remove_file(&self.trace).context("cannot remove the trace")?;
            anyhow::Ok(image)
        })?;
        Ok(image.len())
    }

    fn replay(&mut self) -> Result<()> {
        let file = File::open(&self.trace).context("there is no trace")?;
        for line in BufReader::new(file).lines() {
            let text = line.context("cannot read the trace")?;
            let read = trace::line(&text).with_context(|| format!("`{}`", text.chars().take(200).collect::<String>()))?;
            if let Some(line) = read {
                self.disk.take(line)?;
            }
        }
        Ok(())
    }
}

/// SQLite's index of its log is made anew at each start, and is written through shared memory, which no trace shows.
fn is_shared_memory(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-shm"))
}

/// For whoever has to find out what the model does not know.
fn last_lines(trace: &Path) -> String {
    let tail = tail(trace).unwrap_or_default();
    let short = |line: &str| {
        let (count, chars) = (line.chars().count(), line.chars());
        let end: String = chars.clone().skip(count.saturating_sub(60)).collect();
        if count < 160 {
            line.to_owned()
        } else {
            format!("{} … {end}", chars.take(90).collect::<String>())
        }
    };
    let lines: Vec<String> = tail.lines().map(short).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn tail(path: &Path) -> Result<String> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(64 << 10);
    let mut bytes = vec![0; usize::try_from(length - from)?];
    file.read_exact_at(&mut bytes, from)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    if !traces() {
        setting.say("skipped: `strace` is not installed, or may trace nothing here");
        return Ok(Vec::new());
    }
    let mut world = World::open().await?;
    let figures = cuts(setting, &mut world, setting.times(5, 100), Syncs::Real).await?;
    world.close()?;
    if !setting.short {
        // That it would be noticed, were nothing synced.
        let mut world = World::open().await?;
        let noticed = cuts(setting, &mut world, PRETENDED, Syncs::Pretended).await.err();
        let noticed =
            noticed.with_context(|| format!("syncs of the control plane that did nothing went unnoticed over {PRETENDED} cuts"))?;
        setting.say(&format!("without syncs: {noticed:#}"));
        world.stage.close();
    }
    Ok(figures)
}

/// Cuts the power so many times. With pretended syncs they are the control plane's.
async fn cuts(setting: &Setting, world: &mut World, cuts: usize, syncs: Syncs) -> Result<Vec<Figure>> {
    let mut random = setting.random(6);
    world.agents[0].stop()?;
    world.cloud.stop()?;
    let mut lives: [Option<Life>; 2] = [None, None];
    for (n, life) in lives.iter_mut().enumerate() {
        *life = Some(start(world, n, 0, syncs).await?);
    }
    let mut load = Load::start(world.cloud.client(), LANES, &mut random);
    load.until(PROGRESS, "a run ends", |load| (load.ended() > 0).then_some(())).await?;
    let mut took = Vec::new();
    for cut in 1..=cuts {
        tokio::time::sleep(Duration::from_millis(random.u64(200..1_500))).await;
        let victims = match random.u8(..3) {
            0 => 0..1,
            1 => 1..2,
            _ => 0..2,
        };
        let mut pids = [0; 2];
        for n in victims.clone() {
            pids[n] = pid(world, n)?;
            if n == AGENT { world.agents[0].kill()? } else { world.cloud.kill()? }
        }
        let mut files = 0;
        for n in victims.clone() {
            let life = lives[n].take().context("it was not started")?;
            files += life.end(pids[n], &mut random).await.with_context(|| NAMES[n])?;
        }
        let begun = now();
        for n in victims.clone() {
            lives[n] = Some(start(world, n, cut, syncs).await.with_context(|| format!("after cut {cut}"))?);
        }
        let what = format!("there is progress after cut {cut}");
        let first = load
            .until(PROGRESS, &what, |load| {
                let agent = load.first_start(SIDES[0], begun);
                if victims.contains(&CLOUD) {
                    load.news_since(begun).or(agent)
                } else {
                    agent
                }
            })
            .await?;
        #[allow(clippy::cast_precision_loss)]
        took.push(first.0.saturating_sub(begun.0) as f64 / 1_000.0);
        let of: Vec<&str> = victims.map(|n| NAMES[n]).collect();
        setting.say(&format!(
            "{cut:>3}/{cuts} {} lost power ({files} files put back), progress after {:.0} ms",
            of.join(" and "),
            took.last().copied().unwrap_or_default()
        ));
    }
    let load = load.finish(0).await?;
    let said = world.agents[0].said();
    let damage: Vec<&str> = said.lines().filter(|line| line.contains("damage in the journal")).collect();
    ensure!(damage.is_empty(), "the agent took a power loss for damage: {}", damage.join("; "));
    let n = took.len();
    Ok(vec![
        setting.count("cuts", cuts),
        setting.count("runs", load.runs),
        setting.count("attempts", load.tally.attempts),
        setting.figure("recovery-p50", percentile(&mut took, 0.5), "ms", n),
        setting.figure("recovery-p99", percentile(&mut took, 0.99), "ms", n),
    ])
}

const AGENT: usize = 0;
const CLOUD: usize = 1;
/// Their folders on the stage.
const NAMES: [&str; 2] = [SIDES[0], "cloud"];

async fn start(world: &mut World, n: usize, number: usize, syncs: Syncs) -> Result<Life> {
    let syncs = if n == CLOUD { syncs } else { Syncs::Real };
    let (life, manner) = tokio::task::block_in_place(|| Life::begin(world, NAMES[n], number, syncs))?;
    if n == AGENT {
        world.agents[0].set_manner(manner);
        world.agents[0].start()?;
    } else {
        world.cloud.set_manner(manner);
        world.cloud.serve().await?;
    }
    Ok(life)
}

fn pid(world: &World, n: usize) -> Result<u32> {
    if n == AGENT { world.agents[0].pid() } else { world.cloud.pid() }
}

/// Whether there is an `strace` that may trace.
fn traces() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]);
    strace.output().is_ok_and(|done| done.status.success())
}
