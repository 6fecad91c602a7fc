//! The registry: which digest a component's name and version mean.

use super::{Error, Statement, Store, count, digest, instant, micros, uncount};
use eyot_model::{Digest, Timestamp};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// A version of a component; its bytes are the blob of that digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentRecord {
    /// `eyot/image`
    pub name: String,
    pub version: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What the component says of itself, as JSON.
    pub description: String,
    pub pushed_at: Timestamp,
}

fn record(row: &SqliteRow) -> Result<ComponentRecord, Error> {
    Ok(ComponentRecord {
        name: row.try_get(0)?,
        version: row.try_get(1)?,
        digest: digest(row.try_get(2)?, "the digest of a component")?,
        size: uncount(row.try_get(3)?),
        description: row.try_get(4)?,
        pushed_at: instant(row.try_get(5)?),
    })
}

impl Store {
    /// All versions of a component, or of all components; the last pushed first within a name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn components(&self, name: Option<&str>) -> Result<Vec<ComponentRecord>, Error> {
        let rows = sqlx::query(
            "SELECT name, version, digest, size, description, pushed_at FROM components WHERE ?1 IS NULL OR name = ?1
             ORDER BY name, pushed_at DESC, rowid DESC",
        )
        .bind(name.map(str::to_owned))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(record).collect()
    }
}

pub(super) fn unchanged(name: &str, version: &str, digest: &Digest) -> Statement {
    Statement::new("SELECT NOT EXISTS (SELECT 1 FROM components WHERE name = ? AND version = ? AND digest <> ?)")
        .bind(name)
        .bind(version)
        .bind(digest.0.to_vec())
}

pub(super) fn put(record: &ComponentRecord) -> Statement {
    Statement::new(
        "INSERT INTO components (name, version, digest, size, description, pushed_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (name, version) DO NOTHING",
    )
    .bind(&record.name)
    .bind(&record.version)
    .bind(record.digest.0.to_vec())
    .bind(count(record.size))
    .bind(&record.description)
    .bind(micros(record.pushed_at))
}
