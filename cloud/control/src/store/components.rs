//! The registry: which digest a component's name and version mean.

use super::{Error, Store, count, digest, instant, micros, uncount};
use eyot_model::{Digest, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

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

pub(super) async fn unchanged(c: &mut SqliteConnection, name: &str, version: &str, digest: &Digest) -> Result<bool, Error> {
    let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT digest FROM components WHERE name = ? AND version = ?")
        .bind(name.to_owned())
        .bind(version.to_owned())
        .fetch_optional(c)
        .await?;
    Ok(found.is_none_or(|found| found == digest.0))
}

pub(super) async fn put(c: &mut SqliteConnection, record: &ComponentRecord) -> Result<(), Error> {
    sqlx::query("INSERT OR IGNORE INTO components (name, version, digest, size, description, pushed_at) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(record.name.clone())
        .bind(record.version.clone())
        .bind(record.digest.0.to_vec())
        .bind(count(record.size))
        .bind(record.description.clone())
        .bind(micros(record.pushed_at))
        .execute(c)
        .await?;
    Ok(())
}
