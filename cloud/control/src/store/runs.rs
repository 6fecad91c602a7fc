//! Runs, their entries (the events, and what the control plane itself did), and their fragments.

use super::{Error, Statement, Store, codec, count, digest, id128, instant, key, micros, uncount};
use eyot_model::{
    AgentId, Digest, Epoch, Event, FragmentId, Inputs, Outcome, Plan, RunId, RunOutcome, RunState, State, TaskIx, Timestamp, Value,
};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One entry of a run's history. Appended to only: the encoding is the variant's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// A fact of the run, and who said so; None for the control plane itself.
    Event {
        event: Event,
        agent: Option<AgentId>,
        /// Blobs that it names and gives no right to read: its agent did not show to have them.
        withheld: Vec<Digest>,
    },
    Assigned {
        fragment: FragmentId,
        epoch: Epoch,
        agent: AgentId,
        tasks: Vec<TaskIx>,
        at: Timestamp,
    },
    Superseded {
        fragment: FragmentId,
        epoch: Epoch,
        agent: AgentId,
        reason: String,
        at: Timestamp,
    },
    /// A result that came under an epoch that had passed. It is no part of the run: kept for people to see.
    Late {
        fragment: FragmentId,
        epoch: Epoch,
        agent: AgentId,
        event: Event,
        at: Timestamp,
    },
}

impl Entry {
    fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Event {
                event: Event::RunEnded { .. },
                ..
            }
        )
    }

    /// The blobs that the entry names: while its run is kept, so are they.
    fn blobs(&self, found: &mut BTreeSet<Digest>) {
        let mut values =
            |values: &BTreeMap<String, Value>| values.values().for_each(|v| v.for_each_blob(&mut |b| _ = found.insert(b.digest)));
        match self {
            Self::Event {
                event: Event::Ended {
                    outcome: Outcome::Succeeded(outputs),
                    ..
                },
                ..
            } => values(outputs),
            Self::Event {
                event: Event::RunEnded { outcome, .. },
                ..
            } => values(&outcome.outputs),
            Self::Event { .. } | Self::Assigned { .. } | Self::Superseded { .. } | Self::Late { .. } => {}
        }
    }
}

#[derive(Clone, Debug)]
pub struct NewRun {
    pub id: RunId,
    pub namespace: String,
    pub workflow: String,
    pub version: String,
    pub created_at: Timestamp,
    pub inputs: Arc<Inputs>,
    /// The agent that coordinates it, where one does.
    pub coordinator: Option<AgentId>,
}

/// A run as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    pub id: RunId,
    pub namespace: String,
    pub workflow: String,
    pub version: String,
    pub state: RunState,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub waiting_for: Option<String>,
    /// Task instances by state, once the run has ended.
    pub counts: BTreeMap<State, u32>,
    pub outcome: Option<RunOutcome>,
    /// The agent that coordinates it, where one does.
    pub coordinator: Option<AgentId>,
}

/// An assignment as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct FragmentRow {
    pub run: RunId,
    pub fragment: FragmentId,
    pub epoch: Epoch,
    /// None while it is fenced.
    pub agent: Option<AgentId>,
    /// What the coordinator keeps of it beyond that; its own encoding.
    pub record: Vec<u8>,
}

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub state: Option<RunState>,
    /// Only runs older than this one.
    pub after: Option<RunId>,
    pub limit: u32,
}

const COLUMNS: &str = "id, namespace, workflow, version, state, created_at, ended_at, waiting_for, counts, outcome, coordinator";

fn record(row: &SqliteRow) -> Result<RunRecord, Error> {
    let state: String = row.try_get(4)?;
    let counts: String = row.try_get(8)?;
    let outcome: Option<Vec<u8>> = row.try_get(9)?;
    Ok(RunRecord {
        id: RunId(id128(row.try_get(0)?, "the id of a run")?),
        namespace: row.try_get(1)?,
        workflow: row.try_get(2)?,
        version: row.try_get(3)?,
        state: parse_state(&state)?,
        created_at: instant(row.try_get(5)?),
        ended_at: row.try_get::<Option<i64>, _>(6)?.map(instant),
        waiting_for: row.try_get(7)?,
        counts: serde_json::from_str(&counts).map_err(|_| Error::Corrupt {
            what: "the counts of a run",
            source: None,
        })?,
        outcome: outcome.map(|bytes| codec::decode(&bytes, "the outcome of a run")).transpose()?,
        coordinator: row
            .try_get::<Option<Vec<u8>>, _>(10)?
            .map(|bytes| id128(&bytes, "the coordinator of a run").map(AgentId))
            .transpose()?,
    })
}

fn parse_state(text: &str) -> Result<RunState, Error> {
    use RunState::{Cancelled, Cancelling, Failed, Pending, Running, Succeeded};
    [Pending, Running, Cancelling, Succeeded, Failed, Cancelled]
        .into_iter()
        .find(|s| s.as_str() == text)
        .ok_or(Error::Corrupt {
            what: "the state of a run",
            source: None,
        })
}

impl Store {
    /// # Errors
    /// When the database fails.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRecord>, Error> {
        let sql = AssertSqlSafe(format!("SELECT {COLUMNS} FROM runs WHERE id = ?"));
        let row = sqlx::query(sql).bind(key(run.0)).fetch_optional(self.readers()).await?;
        row.as_ref().map(record).transpose()
    }

    /// Newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>, Error> {
        let sql = AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM runs WHERE id < ?1 AND (?2 IS NULL OR state = ?2) ORDER BY id DESC LIMIT ?3"
        ));
        let rows = sqlx::query(sql)
            .bind(key(filter.after.map_or(u128::MAX, |run| run.0)))
            .bind(filter.state.map(RunState::as_str))
            .bind(i64::from(filter.limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(record).collect()
    }

    /// Every run that has not ended, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_runs(&self) -> Result<Vec<RunRecord>, Error> {
        let sql = AssertSqlSafe(format!("SELECT {COLUMNS} FROM runs WHERE ended_at IS NULL ORDER BY id"));
        sqlx::query(sql).fetch_all(self.readers()).await?.iter().map(record).collect()
    }

    /// Number of runs in each state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_runs(&self) -> Result<Vec<(String, u64)>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT state, count(*) FROM runs WHERE ended_at IS NULL GROUP BY state
             UNION ALL SELECT state, count(*) FROM runs WHERE ended_at IS NOT NULL GROUP BY state",
        )
        .fetch_all(self.readers())
        .await?;
        Ok(rows.into_iter().map(|(state, n)| (state, uncount(n))).collect())
    }

    /// # Errors
    /// When the database fails.
    pub async fn run_inputs(&self, run: RunId) -> Result<Option<Inputs>, Error> {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar("SELECT inputs FROM runs WHERE id = ?")
            .bind(key(run.0))
            .fetch_optional(self.readers())
            .await?;
        bytes.map(|bytes| codec::decode(&bytes, "the inputs of a run")).transpose()
    }

    /// # Errors
    /// When the database fails.
    pub async fn run_plan(&self, run: RunId) -> Result<Option<Plan>, Error> {
        let bytes: Option<Option<Vec<u8>>> = sqlx::query_scalar("SELECT plan FROM runs WHERE id = ?")
            .bind(key(run.0))
            .fetch_optional(self.readers())
            .await?;
        bytes.flatten().map(|bytes| codec::decode(&bytes, "the plan of a run")).transpose()
    }

    /// Entries after `seq`, in order, with their numbers; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn entries(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<(u64, Entry)>, Error> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT seq, entry FROM run_entries WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?")
            .bind(key(run.0))
            .bind(count(after))
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.into_iter()
            .map(|(seq, bytes)| Ok((uncount(seq), codec::decode(&bytes, "an entry of a run")?)))
            .collect()
    }

    /// # Errors
    /// When the database fails.
    pub async fn fragments(&self, run: RunId) -> Result<Vec<FragmentRow>, Error> {
        let rows: Vec<(i64, i64, Option<Vec<u8>>, Vec<u8>)> =
            sqlx::query_as("SELECT fragment, epoch, agent, record FROM fragments WHERE run = ? ORDER BY fragment")
                .bind(key(run.0))
                .fetch_all(self.readers())
                .await?;
        rows.into_iter()
            .map(|(fragment, epoch, agent, record)| {
                Ok(FragmentRow {
                    run,
                    fragment: FragmentId(u32::try_from(fragment).unwrap_or(u32::MAX)),
                    epoch: Epoch(uncount(epoch)),
                    agent: agent
                        .map(|agent| Ok::<_, Error>(AgentId(id128(&agent, "the agent of a fragment")?)))
                        .transpose()?,
                    record,
                })
            })
            .collect()
    }

    /// The run that a request with this key made, and the digest of that request.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_of_key(&self, hash: &[u8; 32]) -> Result<Option<(RunId, Digest)>, Error> {
        let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT run, request FROM idempotency WHERE key = ?")
            .bind(hash.to_vec())
            .fetch_optional(self.readers())
            .await?;
        row.map(|(run, request)| Ok((RunId(id128(&run, "an idempotency key")?), digest(&request, "an idempotency key")?)))
            .transpose()
    }
}

pub(super) fn epoch_holds(run: RunId, fragment: FragmentId, epoch: Epoch) -> Statement {
    Statement::new("SELECT EXISTS (SELECT 1 FROM fragments WHERE run = ? AND fragment = ? AND epoch = ?)")
        .bind(key(run.0))
        .bind(i64::from(fragment.0))
        .bind(count(epoch.0))
}

pub(super) fn is_open(run: RunId) -> Statement {
    Statement::new("SELECT EXISTS (SELECT 1 FROM runs WHERE id = ? AND ended_at IS NULL)").bind(key(run.0))
}

pub(super) fn last_entry_is(run: RunId, seq: u64) -> Statement {
    Statement::new("SELECT coalesce(max(seq), 0) = ? FROM run_entries WHERE run = ?")
        .bind(count(seq))
        .bind(key(run.0))
}

pub(super) fn key_unused(hash: &[u8; 32]) -> Statement {
    Statement::new("SELECT NOT EXISTS (SELECT 1 FROM idempotency WHERE key = ?)").bind(hash.to_vec())
}

pub(super) fn insert(out: &mut Vec<Statement>, run: &NewRun) -> Result<(), Error> {
    out.push(
        Statement::new("INSERT INTO runs (id, namespace, workflow, version, state, created_at, inputs, coordinator) VALUES (?, ?, ?, ?, 'pending', ?, ?, ?)")
        .bind(key(run.id.0))
        .bind(&run.namespace)
        .bind(&run.workflow)
        .bind(&run.version)
        .bind(micros(run.created_at))
        .bind(codec::encode(&*run.inputs, "the inputs of a run")?)
        .bind(run.coordinator.map(|agent| key(agent.0))),
    );
    if run.coordinator.is_some() {
        // What it began with is at its agent.
        return Ok(());
    }
    let mut blobs = BTreeSet::new();
    run.inputs
        .values()
        .for_each(|v| v.for_each_blob(&mut |b| _ = blobs.insert(b.digest)));
    pin(out, run.id, blobs);
    Ok(())
}

pub(super) fn set_state(run: RunId, state: RunState, waiting_for: Option<&str>) -> Statement {
    Statement::new("UPDATE runs SET state = ?, waiting_for = ? WHERE id = ? AND ended_at IS NULL")
        .bind(state.as_str())
        .bind(waiting_for)
        .bind(key(run.0))
}

pub(super) fn set_plan(run: RunId, plan: &Plan) -> Result<Statement, Error> {
    Ok(Statement::new("UPDATE runs SET plan = ? WHERE id = ?")
        .bind(codec::encode(plan, "the plan of a run")?)
        .bind(key(run.0)))
}

pub(super) fn end(
    out: &mut Vec<Statement>,
    run: RunId,
    outcome: &RunOutcome,
    counts: &BTreeMap<State, u32>,
    at: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Error> {
    let counts = serde_json::to_string(counts).map_err(|_| Error::Corrupt {
        what: "the counts of a run",
        source: None,
    })?;
    out.push(
        Statement::new(
        "UPDATE runs SET state = ?, outcome = ?, counts = ?, ended_at = ?, expires_at = ?, waiting_for = NULL WHERE id = ? AND ended_at IS NULL",
    )
    .bind(outcome.state.as_str())
    .bind(codec::encode(outcome, "the outcome of a run")?)
    .bind(counts)
    .bind(micros(at))
    .bind(micros(expires_at))
    .bind(key(run.0)),
    );
    out.push(super::saved::drop_all(run));
    Ok(())
}

pub(super) fn append(out: &mut Vec<Statement>, run: RunId, first: u64, entries: &[Arc<Entry>]) -> Result<(), Error> {
    let (mut ends, mut others) = (BTreeSet::new(), BTreeSet::new());
    for (seq, entry) in (first..).zip(entries) {
        entry.blobs(if entry.is_end() { &mut ends } else { &mut others });
        out.push(
            Statement::new("INSERT INTO run_entries (run, seq, entry) VALUES (?, ?, ?)")
                .bind(key(run.0))
                .bind(count(seq))
                .bind(codec::encode(&**entry, "an entry of a run")?),
        );
    }
    pin(out, run, ends);
    // An agent brings the outputs of its own runs here, and nothing else of them.
    out.extend(others.into_iter().map(|digest| {
        Statement::new(
            "INSERT INTO run_blobs (run, digest) SELECT id, ? FROM runs WHERE id = ? AND coordinator IS NULL ON CONFLICT DO NOTHING",
        )
        .bind(digest.0.to_vec())
        .bind(key(run.0))
    }));
    Ok(())
}

pub(super) fn pin(out: &mut Vec<Statement>, run: RunId, digests: impl IntoIterator<Item = Digest>) {
    out.extend(digests.into_iter().map(|digest| {
        Statement::new("INSERT INTO run_blobs (run, digest) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(key(run.0))
            .bind(digest.0.to_vec())
    }));
}

pub(super) fn put_fragment(row: &FragmentRow) -> Statement {
    // An epoch never goes back, whatever is asked.
    Statement::new(
        "INSERT INTO fragments (run, fragment, epoch, agent, record) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (run, fragment) DO UPDATE SET epoch = excluded.epoch, agent = excluded.agent, record = excluded.record
         WHERE excluded.epoch >= fragments.epoch",
    )
    .bind(key(row.run.0))
    .bind(i64::from(row.fragment.0))
    .bind(count(row.epoch.0))
    .bind(row.agent.map(|agent| key(agent.0)))
    .bind(row.record.clone())
}

pub(super) fn drop_fragments(run: RunId) -> Statement {
    Statement::new("DELETE FROM fragments WHERE run = ?").bind(key(run.0))
}

pub(super) fn delete(run: RunId) -> Statement {
    Statement::new("DELETE FROM runs WHERE id = ?").bind(key(run.0))
}

pub(super) fn remember_key(hash: &[u8; 32], run: RunId, request: &Digest, at: Timestamp) -> Statement {
    Statement::new("INSERT INTO idempotency (key, run, request, made_at) VALUES (?, ?, ?, ?)")
        .bind(hash.to_vec())
        .bind(key(run.0))
        .bind(request.0.to_vec())
        .bind(micros(at))
}

/// Name of the document that says by how much epochs leapt in all restores.
const LEAPT: &str = "epochs";

impl Store {
    /// The epoch above which fragments begin that were never assigned by this store: before it was put back from a back-up
    /// they may have been.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn epochs_before(&self) -> Result<Epoch, Error> {
        let leapt = self.document(LEAPT).await?;
        leapt.map_or(Ok(Epoch(0)), |bytes| codec::decode(&bytes, "the leap of the epochs").map(Epoch))
    }
}

pub(super) fn leap_epochs(out: &mut Vec<Statement>, by: i64, before: Epoch) -> Result<(), Error> {
    let leapt = codec::encode(&before.0.saturating_add(uncount(by)), "the leap of the epochs")?;
    out.push(super::documents::put(LEAPT, &leapt));
    out.push(Statement::new("UPDATE fragments SET epoch = epoch + ? WHERE run IN (SELECT id FROM runs WHERE ended_at IS NULL)").bind(by));
    out.push(Statement::new("UPDATE agents SET incarnation = NULL"));
    Ok(())
}
