//! One bit of one file is flipped while its program is down: each kind of file of an agent and of the control plane.
//!
//! What must be true then: the agent starts, whatever file it was, and has what it owns. Each run, those of the agent's own too, ends
//! right, or fails with a word for it. A control plane either serves, and what it tells of runs that had ended is what it told before, or says which file is
//! damaged and does not serve.

use crate::load::{submit, whole};
use crate::recipe::{Kind, Recipe};
use crate::world::World;
use crate::{Figure, Setting, invariant};
use anyhow::{Context, Result, ensure};
use eyot_model::api::RunDetail;
use eyot_model::{RunId, RunState};
use eyot_scenarios::{told, until_within};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program is watched after its start.
const WATCHED: Duration = Duration::from_secs(3);
/// How long a run may take that meets the damage.
const LONGEST: Duration = Duration::from_secs(60);

/// What a device does by itself.
const OWN: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: own, version: "1"}
spec:
  outputs: {answer: "${{ tasks.second.outputs.echo }}"}
  tasks:
    first: {uses: scenarios/probe@1, with: {echo: 1, work_ms: 20}, retry: {maxAttempts: 3, initialInterval: 20ms}}
    second: {uses: scenarios/probe@1, with: {echo: "${{ tasks.first.outputs.echo }}"}, retry: {maxAttempts: 3, initialInterval: 20ms}}
"#;

/// What came of a flipped bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Nothing was wrong, and nothing was said: the bit was of no use any more.
    Unused,
    /// All runs ended right, and the log names what was found.
    Recovered,
    /// The program or a run said what was wrong, and did not go on as before.
    Loud,
}

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let mut random = setting.random(9);
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for round in 0..setting.times(1, 3) {
        let mut world = world().await?;
        for side in ["left", "cloud"] {
            let kinds = kinds(&world.stage.path(side))?;
            for (kind, files) in kinds {
                // All choices are made, whatever came of those before.
                let file = world.stage.path(side).join(&files[random.usize(..files.len())]);
                let (at, recipe) = (random.u64(..), Recipe::of(Kind::Chain, &mut random));
                let flip = Flip {
                    file,
                    at,
                    key: format!("{round}-{side}-{kind}"),
                    recipe,
                };
                let end = match side {
                    "left" => flip.agent(&mut world).await,
                    _ => flip.cloud(&mut world).await,
                };
                match end {
                    Ok((end, what)) => {
                        *ends.entry(end).or_default() += 1;
                        setting.say(&format!("{side}/{kind}: {what}"));
                    }
                    Err(error) => {
                        setting.say(&format!("{side}/{kind}: WRONG: {error:#}"));
                        wrong.push(format!("{side}/{kind}: {error:#}"));
                        // It goes on in a world without damage.
                        world = self::world().await?;
                    }
                }
            }
        }
        world.close()?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    let count = |end| ends.get(&end).copied().unwrap_or_default();
    Ok(vec![
        setting.count("flips", ends.values().sum()),
        setting.count("recovered", count(End::Recovered)),
        setting.count("unused", count(End::Unused)),
        setting.count("failed-loudly", count(End::Loud)),
    ])
}

/// Files that are of the same kind, by their names with all numbers and digests left out; paths below `root`.
fn kinds(root: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let (mut kinds, mut folders) = (BTreeMap::<String, Vec<PathBuf>>::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && entry.metadata()?.len() > 0 && !is_of_no_account(&path) {
                let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
                kinds.entry(without_numbers(&name)).or_default().push(PathBuf::from(name));
            }
        }
    }
    kinds.values_mut().for_each(|files| files.sort());
    Ok(kinds)
}

/// Locks, what is made anew at each start, and the token that is there for people to read.
fn is_of_no_account(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name == "lock" || name == "admin-token" || name.ends_with("-shm")
}

/// `blobs/ab/ab12…` and `blobs/cd/cd34…` are both `blobs/*/*`.
fn without_numbers(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let part = |part: &str| {
        let (stem, end) = part
            .split_once('.')
            .map_or((part, String::new()), |(stem, end)| (stem, format!(".{end}")));
        let hexadecimal = stem.bytes().all(|b| b.is_ascii_hexdigit()) && (stem.len() >= 8 || stem.len() == 2 && part != last);
        if hexadecimal {
            return format!("*{end}");
        }
        let mut plain = String::new();
        for c in part.chars() {
            match c {
                '0'..='9' if plain.ends_with('*') => {}
                '0'..='9' => plain.push('*'),
                c => plain.push(c),
            }
        }
        plain
    };
    name.split('/').map(part).collect::<Vec<_>>().join("/")
}

struct Flip {
    file: PathBuf,
    /// Which bit, modulo their number.
    at: u64,
    key: String,
    /// Runs while it happens.
    recipe: Recipe,
}

impl Flip {
    /// Flips the bit, and gives the content as it was.
    fn flip(&self) -> Result<Vec<u8>> {
        let whole = fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        // What was preallocated holds nothing yet.
        let used = whole.iter().rposition(|byte| *byte != 0).map_or(whole.len(), |last| last + 1);
        ensure!(used > 0, "{} is empty", self.file.display());
        let mut damaged = whole.clone();
        let bit = self.at % (used as u64 * 8);
        damaged[usize::try_from(bit / 8)?] ^= 1 << (bit % 8);
        // Nobody writes the file: the time of its last write stays.
        let written = fs::metadata(&self.file)?.modified()?;
        fs::write(&self.file, damaged)?;
        fs::OpenOptions::new().write(true).open(&self.file)?.set_modified(written)?;
        Ok(whole)
    }

    fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    async fn agent(&self, world: &mut World) -> Result<(End, String)> {
        let client = world.cloud.client().clone();
        let own = submit(&world.agents[0].client()?, OWN, &self.key).await?;
        let run = submit(&client, &self.recipe.text, &self.key).await?;
        tokio::time::sleep(Duration::from_millis(self.at % 100)).await;
        world.agents[0].kill()?;
        if !self.file.exists() {
            // Gone meanwhile, as segments of the journal go.
            world.agents[0].start()?;
            return Ok((End::Unused, "gone before it could be damaged".to_owned()));
        }
        let whole = self.flip()?;
        let said = world.agents[0].said().len();
        world.agents[0].start()?;
        let again = submit(&client, &self.recipe.text, &format!("{}-again", self.key)).await?;
        let mut right = self.right(&client, &[run, again]).await;
        if right.is_ok() {
            right = owns(world, own).await;
        }
        let alive = world.agents[0].must_live().context("the agent does not start");
        let news = world.agents[0].said()[said..].to_owned();
        let word = complaint(&news, &self.name());
        alive.with_context(|| news.lines().last().unwrap_or_default().to_owned())?;
        match (right, word) {
            (Ok(()), None) => Ok((End::Unused, "nothing was wrong".to_owned())),
            (Ok(()), Some(word)) => Ok((End::Recovered, format!("recovered: {word}"))),
            (Err(error), Some(word)) => {
                // As an operator would: the file from a back-up.
                world.agents[0].kill()?;
                fs::write(&self.file, whole)?;
                world.agents[0].start()?;
                let put_back = || format!("with the file put back, after {error:#}");
                self.right(&client, &[again]).await.with_context(put_back)?;
                world.agents[0].answers().await?;
                let own = submit(&world.agents[0].client()?, OWN, &format!("{}-again", self.key)).await?;
                owns(world, own).await.with_context(put_back)?;
                Ok((End::Loud, format!("failed loudly: {word}")))
            }
            (Err(error), None) => Err(error.context(format!("and nothing in the log about {}", self.name()))),
        }
    }

    async fn cloud(&self, world: &mut World) -> Result<(End, String)> {
        let mut client = world.cloud.client().clone();
        let run = submit(&client, &self.recipe.text, &self.key).await?;
        world.cloud.ended(run).await?;
        let before = client.run(run).await?;
        world.cloud.kill()?;
        if !self.file.exists() {
            world.cloud.serve().await?;
            return Ok((End::Unused, "gone before it could be damaged".to_owned()));
        }
        let whole = self.flip()?;
        let said = world.cloud.said().len();
        let served = world.cloud.serve().await;
        let mut failed = served.err();
        if failed.is_none() {
            client = world.cloud.client().clone();
            failed = self.tells_the_same(&client, run, &before).await.err();
        }
        if failed.is_none() {
            let again = submit(&client, &self.recipe.text, &format!("{}-again", self.key)).await?;
            failed = self.right(&client, &[again]).await.err();
        }
        let news = world.cloud.said()[said..].to_owned();
        let word = complaint(&news, &self.name());
        match (failed, word) {
            (None, None) => Ok((End::Unused, "nothing was wrong".to_owned())),
            (None, Some(word)) => Ok((End::Recovered, format!("recovered: {word}"))),
            (Some(error), Some(word)) => {
                // It may have ended by itself, or serve without being of use.
                let _ = world.cloud.kill();
                fs::write(&self.file, whole)?;
                world.cloud.serve().await.context("with the file put back")?;
                self.tells_the_same(world.cloud.client(), run, &before)
                    .await
                    .with_context(|| format!("with the file put back, after {error:#}"))?;
                Ok((End::Loud, format!("failed loudly: {word}")))
            }
            (Some(error), None) => Err(error.context(format!("and nothing in the log about {}", self.name()))),
        }
    }

    /// All runs end as they should.
    async fn right(&self, client: &eyot_client::Client, runs: &[RunId]) -> Result<()> {
        tokio::time::sleep(WATCHED.min(Duration::from_millis(300))).await;
        for run in runs {
            let what = format!("run {run} ends");
            let ended = until_within(LONGEST, &what, async || {
                let detail = client.run(*run).await?;
                Ok(detail.run.state.is_terminal().then_some(detail))
            });
            let detail = ended.await?;
            ensure!(detail.run.state == RunState::Succeeded, "{}", told(&detail));
            let (detail, events) = whole(client, *run).await?;
            invariant::holds(&self.recipe, &detail, &events)?;
        }
        Ok(())
    }

    async fn tells_the_same(&self, client: &eyot_client::Client, run: RunId, before: &RunDetail) -> Result<()> {
        let after = client.run(run).await.context("a run that had ended is not shown")?;
        ensure!(
            after.run.state == before.run.state && after.outputs == before.outputs && after.tasks == before.tasks,
            "run {run} was {} and is {}",
            told(before),
            told(&after)
        );
        Ok(())
    }
}

/// A world whose first device has a workflow and a component of its own.
async fn world() -> Result<World> {
    let world = World::open().await?;
    let device = &world.agents[0];
    device.answers().await?;
    device.push_probe().await?;
    device.own(OWN).await?;
    Ok(world)
}

/// The first device has its workflow still, and the control plane hears of a run that the device coordinated by itself.
async fn owns(world: &World, run: RunId) -> Result<()> {
    let (device, client) = (&world.agents[0], world.cloud.client());
    device.answers().await?;
    let owned = device.client()?.workflows().await?;
    ensure!(
        owned.iter().any(|workflow| workflow.name == "own"),
        "the device's own workflow is gone: {owned:?}"
    );
    let what = format!("the control plane knows the end of {run}, a run of the device's own");
    let ended = until_within(LONGEST, &what, async || {
        let detail = client.run(run).await?;
        Ok(detail.run.state.is_terminal().then_some(detail))
    });
    let detail = ended.await?;
    ensure!(detail.run.state == RunState::Succeeded, "{}", told(&detail));
    let (_, events) = whole(client, run).await?;
    invariant::history(&events, &BTreeMap::new()).map(drop)
}

/// Words of those who speak of damage. Programs complain of other things too when they or the other side is killed.
const OF_DAMAGE: [&str; 4] = ["damage", "is set aside", "MAC is wrong", "records may have been lost"];

/// The first line of a log that speaks of damage, to `file` or at all, or that says why a program did not start.
fn complaint(log: &str, file: &str) -> Option<String> {
    let line = log.lines().find(|line| {
        let last_word = line.starts_with("eyot-agent:") || line.starts_with("eyot-cloud:");
        let complains = ["ERROR", "WARN"].iter().any(|word| line.contains(word));
        last_word || complains && (line.contains(file) || OF_DAMAGE.iter().any(|word| line.contains(word)))
    })?;
    let from = line.find("ERROR").or_else(|| line.find("WARN")).unwrap_or_default();
    Some(line[from..].chars().take(160).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_damage_count() {
        let link = "2026 WARN eyot_agent::link: link is down; work goes on here";
        let clock = "2026 WARN eyot_clock::keeper: the system's clock was set";
        assert_eq!(complaint(&format!("{link}\n{clock}"), "device.key"), None);
        let damage = "2026 ERROR eyot_agent::copies: a file is damaged; it is taken from its copy";
        let key = "2026 ERROR eyot_agent: cannot read device.key";
        for (line, file) in [(damage, "agent.json"), (key, "device.key"), ("eyot-cloud: no", "x")] {
            assert!(complaint(&format!("{link}\n{line}"), file).is_some(), "{line}");
        }
        assert_eq!(complaint(key, "agent.json"), None);
    }

    #[test]
    fn files_of_a_kind_have_one_name() {
        assert_eq!(without_numbers("journal/00000012.seg"), "journal/*.seg");
        assert_eq!(without_numbers("blobs/ab/ab12cd34ef56"), "blobs/*/*");
        assert_eq!(without_numbers("checkpoint/snap.0000000000000AF3"), "checkpoint/snap.*AF*");
        assert_eq!(without_numbers("agent.pem"), "agent.pem");
    }
}
