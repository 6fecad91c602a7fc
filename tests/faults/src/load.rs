//! Runs that follow one another while harm is done, each watched as an observer would and judged in the end.

use crate::invariant::{self, Tally};
use crate::recipe::Recipe;
use anyhow::{Context, Result, bail, ensure};
use eyot_client::{Client, RunFilter, Update};
use eyot_model::api::{ResolutionView, ResolveRequest, RunDetail, RunEvent, RunRequest, WorkflowChoice, WorkflowSource};
use eyot_model::{Inputs, Outputs, RunId, Timestamp, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;

/// Longest time that a run may take, kills included.
const LONGEST: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(20);
/// Between two words of the operator about the same attempt.
const AGAIN: Duration = Duration::from_millis(300);

/// This machine's time, as the programs on it see it.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// What is seen of the load as it goes.
#[derive(Debug, Default)]
struct Seen {
    /// When each agent started an attempt, by its own word.
    started: BTreeMap<String, BTreeSet<Timestamp>>,
    /// The latest event by its own time, and when it was seen here.
    news: Option<(Timestamp, Timestamp)>,
    ended: usize,
}

/// Runs under way. Dropped, they are left to themselves.
#[derive(Debug)]
pub struct Load {
    client: Client,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Result<(Vec<RunId>, Tally)>>,
}

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub struct Yield {
    pub runs: usize,
    pub tally: Tally,
}

impl Load {
    /// So many runs at the same time, drawn from the seed.
    #[must_use]
    pub fn start(client: &Client, at_once: u64, random: &mut fastrand::Rng) -> Self {
        let mut load = Self {
            client: client.clone(),
            seen: Arc::default(),
            stop: Arc::default(),
            tasks: JoinSet::new(),
        };
        for n in 0..at_once {
            let lane = Lane {
                client: client.clone(),
                seen: Arc::clone(&load.seen),
                stop: Arc::clone(&load.stop),
                random: random.fork(),
                name: format!("{n}-{}", random.u32(..)),
            };
            load.tasks.spawn(lane.go());
        }
        load
    }

    fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first attempt that the agent began at or after `from`.
    #[must_use]
    pub fn first_start(&self, agent: &str, from: Timestamp) -> Option<Timestamp> {
        self.look(|seen| seen.started.get(agent).and_then(|at| at.range(from..).next().copied()))
    }

    /// When an event that happened at or after `from` was seen here; give the time before the wait.
    #[must_use]
    pub fn news_since(&self, from: Timestamp) -> Option<Timestamp> {
        self.look(|seen| seen.news.filter(|(at, _)| *at >= from).map(|(_, seen)| seen))
    }

    #[must_use]
    pub fn ended(&self) -> usize {
        self.look(|seen| seen.ended)
    }

    /// Waits until something is true of the load.
    ///
    /// # Errors
    /// When it does not become so within `limit`, or the load has failed meanwhile.
    pub async fn until<T>(&mut self, limit: Duration, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return Ok(answer);
            }
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
                bail!("the load ended by itself");
            }
            ensure!(begun.elapsed() < limit, "waited {limit:?} in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets the runs end, and judges all. `others` are the runs that were made beside it.
    ///
    /// # Errors
    /// What did not hold.
    pub async fn finish(mut self, others: usize) -> Result<Yield> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut known, mut tally) = (BTreeSet::new(), Tally::default());
        while let Some(done) = self.tasks.join_next().await {
            let (runs, one) = done??;
            known.extend(runs);
            tally += one;
        }
        // A submission whose answer was lost and which was made again is one run.
        let all = all_runs(&self.client).await?;
        ensure!(
            all.is_superset(&known),
            "runs that were acknowledged are gone: {:?}",
            known.difference(&all).collect::<Vec<_>>()
        );
        let strange: Vec<_> = all.difference(&known).collect();
        ensure!(strange.len() == others, "runs that nobody was told of: {strange:?}");
        Ok(Yield { runs: known.len(), tally })
    }
}

/// What an operator says of a task whose end nobody knows.
fn word(task: &str, by_hand: Option<Value>) -> ResolveRequest {
    let resolution = if by_hand.is_some() {
        ResolutionView::Succeeded
    } else {
        ResolutionView::Retry
    };
    ResolveRequest {
        task: task.to_owned(),
        item: None,
        resolution,
        // All that the component declares as required.
        outputs: by_hand
            .map(|echo| Outputs::from([("echo".to_owned(), echo), ("attempt".to_owned(), Value::Int(1))]))
            .unwrap_or_default(),
        by: Some("the faults".to_owned()),
    }
}

async fn all_runs(client: &Client) -> Result<BTreeSet<RunId>> {
    let (mut all, mut filter) = (BTreeSet::new(), RunFilter::default());
    loop {
        let page = client.runs(&filter).await?;
        all.extend(page.items.iter().map(|run| run.id));
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return Ok(all),
        }
    }
}

/// One run after the other.
struct Lane {
    client: Client,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    random: fastrand::Rng,
    name: String,
}

impl Lane {
    async fn go(mut self) -> Result<(Vec<RunId>, Tally)> {
        let (mut runs, mut tally) = (Vec::new(), Tally::default());
        while !self.stop.load(Ordering::Relaxed) {
            let recipe = Recipe::draw(&mut self.random);
            let key = format!("{}-{}", self.name, runs.len());
            let run = submit(&self.client, &recipe.text, &key).await?;
            runs.push(run);
            let by_hand = self.random.bool().then(|| recipe.by_hand.clone()).flatten();
            let watched = tokio::time::timeout(LONGEST, self.watch(run, by_hand)).await;
            let judged = match watched {
                Ok(seen) => self.judge(run, &recipe, &seen?).await,
                Err(_) => {
                    let detail = self.client.run(run).await?;
                    bail!("it has not ended within {LONGEST:?}: {}", eyot_scenarios::told(&detail))
                }
            };
            tally += judged.with_context(|| format!("run {run} ({:?})", recipe.kind))?;
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).ended += 1;
        }
        Ok((runs, tally))
    }

    /// Sees the events as they come, over restarts of the control plane, until the run has ended. Where it waits for an
    /// operator this is the operator: the task is to be tried again, or gave `by_hand`.
    async fn watch(&self, run: RunId, by_hand: Option<Value>) -> Result<Vec<RunEvent>> {
        let mut seen: Vec<RunEvent> = Vec::new();
        let mut asked: Option<String> = None;
        loop {
            let mut stream = self.client.events(run, seen.last().map_or(0, |event| event.seq));
            loop {
                let update = match tokio::time::timeout(AGAIN, stream.next()).await {
                    Ok(Some(Ok(update))) => update,
                    Ok(Some(Err(error))) if error.status() == Some(404) => {
                        return Err(error).context("a run that was acknowledged is gone");
                    }
                    Ok(_) => break,
                    Err(_) => {
                        if let Some(task) = &asked {
                            // Its agent may be away: then it is said again.
                            let _ = self.client.resolve(run, &word(task, by_hand.clone())).await;
                        }
                        continue;
                    }
                };
                match update {
                    Update::Event(event) => {
                        self.note(&event);
                        match event.kind.as_str() {
                            "waiting" => asked = event.task.clone(),
                            "resolved" => asked = None,
                            _ => {}
                        }
                        let over = event.kind == "run-ended";
                        seen.push(*event);
                        if over {
                            return Ok(seen);
                        }
                    }
                    // A stream of its own would wait longer and longer.
                    Update::Reconnecting { .. } => break,
                    Update::Reconnected => {}
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn note(&self, event: &RunEvent) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.news.is_none_or(|(at, _)| event.at > at) {
            seen.news = Some((event.at, now()));
        }
        if event.kind == "started"
            && let Some(agent) = &event.agent
        {
            seen.started.entry(agent.clone()).or_default().insert(event.at);
        }
    }

    async fn judge(&self, run: RunId, recipe: &Recipe, seen: &[RunEvent]) -> Result<Tally> {
        let (detail, events) = whole(&self.client, run).await?;
        invariant::stands(seen, &events)?;
        invariant::holds(recipe, &detail, &events)
    }
}

/// All that the API tells of a run that has ended, asked until it answers.
///
/// # Errors
/// When it does not.
pub async fn whole(client: &Client, run: RunId) -> Result<(RunDetail, Vec<RunEvent>)> {
    let begun = Instant::now();
    loop {
        match ask_whole(client, run).await {
            Ok(all) => return Ok(all),
            Err(error) if begun.elapsed() > eyot_scenarios::LIMIT => {
                return Err(error.context(format!("run {run} is not shown whole")));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn ask_whole(client: &Client, run: RunId) -> Result<(RunDetail, Vec<RunEvent>)> {
    let detail = client.run(run).await?;
    ensure!(detail.run.state.is_terminal(), "run {run} is {} after its end", detail.run.state);
    let (mut stream, mut events) = (client.events(run, 0), Vec::new());
    while let Some(update) = stream.next().await {
        match update? {
            Update::Event(event) => events.push(*event),
            Update::Reconnecting { error, .. } => return Err(error.into()),
            Update::Reconnected => {}
        }
    }
    Ok((detail, events))
}

/// Submits until it is acknowledged.
///
/// # Errors
/// When it is refused, or not answered for a long time.
pub async fn submit(client: &Client, text: &str, key: &str) -> Result<RunId> {
    let request = RunRequest {
        workflow: WorkflowChoice::Source(WorkflowSource {
            text: text.to_owned(),
            files: BTreeMap::new(),
        }),
        inputs: Inputs::new(),
        idempotency_key: Some(key.to_owned()),
    };
    let begun = Instant::now();
    loop {
        match client.start(&request).await {
            Ok(view) => return Ok(view.id),
            Err(error) if error.is_retryable() && begun.elapsed() < LONGEST => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error).context("a workflow was refused"),
        }
    }
}
