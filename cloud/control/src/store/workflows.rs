//! Stored workflow versions.

use super::{Error, Statement, Store, codec, digest, instant, micros};
use eyot_model::{Digest, Timestamp, Workflow};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::sync::Arc;

/// A version of a workflow, with the text that it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowRecord {
    pub workflow: Arc<Workflow>,
    /// Of the text and of the files that it names.
    pub digest: Digest,
    pub text: String,
    pub stored_at: Timestamp,
    /// It came as a text with a run: not listed, and gone with the last run of it.
    pub direct: bool,
}

fn record(row: &SqliteRow) -> Result<WorkflowRecord, Error> {
    let spec: Vec<u8> = row.try_get(2)?;
    Ok(WorkflowRecord {
        digest: digest(row.try_get(0)?, "the digest of a workflow")?,
        text: row.try_get(1)?,
        workflow: Arc::new(codec::decode(&spec, "a workflow")?),
        stored_at: instant(row.try_get(3)?),
        direct: row.try_get::<i64, _>(4)? != 0,
    })
}

impl Store {
    /// What a version of a workflow means; of the one that was stored last where none is named. Read once, and then
    /// from memory until a workflow is stored or dropped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spec(&self, namespace: &str, name: &str, version: Option<&str>) -> Result<Option<Arc<Workflow>>, Error> {
        let key = (namespace.to_owned(), name.to_owned(), version.map(str::to_owned));
        let generation = match self.specs().get(&key) {
            Ok(known) => return Ok(Some(known)),
            Err(generation) => generation,
        };
        let record = match version {
            Some(version) => self.workflow(namespace, name, version).await?,
            None => self.newest_workflow(namespace, name).await?,
        };
        let found = record.map(|record| record.workflow);
        if let Some(workflow) = &found {
            self.specs().put(key, Arc::clone(workflow), generation);
        }
        Ok(found)
    }

    /// # Errors
    /// When the database fails.
    pub async fn workflow(&self, namespace: &str, name: &str, version: &str) -> Result<Option<WorkflowRecord>, Error> {
        let row =
            sqlx::query("SELECT digest, text, spec, stored_at, direct FROM workflows WHERE namespace = ? AND name = ? AND version = ?")
                .bind(namespace.to_owned())
                .bind(name.to_owned())
                .bind(version.to_owned())
                .fetch_optional(self.readers())
                .await?;
        row.as_ref().map(record).transpose()
    }

    /// The version that was stored last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_workflow(&self, namespace: &str, name: &str) -> Result<Option<WorkflowRecord>, Error> {
        let row = sqlx::query(
            "SELECT digest, text, spec, stored_at, direct FROM workflows WHERE namespace = ? AND name = ? AND direct = 0
             ORDER BY stored_at DESC, rowid DESC LIMIT 1",
        )
        .bind(namespace.to_owned())
        .bind(name.to_owned())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// Listed versions, by namespace and name, newest first within a name: at most `limit` after the `skip` first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn workflows(&self, skip: u32, limit: u32) -> Result<Vec<WorkflowRecord>, Error> {
        let rows = sqlx::query(
            "SELECT digest, text, spec, stored_at, direct FROM workflows WHERE direct = 0
             ORDER BY namespace, name, stored_at DESC, rowid DESC LIMIT ? OFFSET ?",
        )
        .bind(i64::from(limit))
        .bind(i64::from(skip))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(record).collect()
    }
}

pub(super) fn unchanged(namespace: &str, name: &str, version: &str, digest: &Digest) -> Statement {
    Statement::new("SELECT NOT EXISTS (SELECT 1 FROM workflows WHERE namespace = ? AND name = ? AND version = ? AND digest <> ?)")
        .bind(namespace)
        .bind(name)
        .bind(version)
        .bind(digest.0.to_vec())
}

/// What is stored stays; only a version that came with a run becomes a listed one when it is stored for itself.
pub(super) fn put(out: &mut Vec<Statement>, record: &WorkflowRecord) -> Result<(), Error> {
    let workflow = &*record.workflow;
    out.push(
        Statement::new(
            "INSERT INTO workflows (namespace, name, version, digest, text, spec, tasks, stored_at, direct) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (namespace, name, version) DO UPDATE
             SET direct = CASE WHEN excluded.direct < workflows.direct THEN excluded.direct ELSE workflows.direct END",
        )
        .bind(&workflow.namespace)
        .bind(&workflow.name)
        .bind(&workflow.version)
        .bind(record.digest.0.to_vec())
        .bind(&record.text)
        .bind(codec::encode(workflow, "a workflow")?)
        .bind(i64::try_from(workflow.tasks.len()).unwrap_or(i64::MAX))
        .bind(micros(record.stored_at))
        .bind(i64::from(record.direct)),
    );
    if record.text.is_empty() {
        // It came with a run that an agent coordinates: its components are there.
        return Ok(());
    }
    out.extend(crate::access::named_blobs(workflow).into_iter().map(|digest| {
        Statement::new("INSERT INTO workflow_blobs (namespace, name, version, digest) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(&workflow.namespace)
            .bind(&workflow.name)
            .bind(&workflow.version)
            .bind(digest.0.to_vec())
    }));
    Ok(())
}
