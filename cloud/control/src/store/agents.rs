//! Agents that have joined, and how far their journals are committed here.

use super::{Error, Store, codec, count, id128, instant, key, micros, uncount};
use eyot_model::{AgentId, AgentProfile, Position, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

/// An agent as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    pub id: AgentId,
    pub name: String,
    pub joined_at: Timestamp,
    pub certificate_expires_at: Timestamp,
    pub revoked: bool,
    pub draining: bool,
    pub last_seen: Option<Timestamp>,
    /// What it said of itself last; None until its first hello.
    pub profile: Option<AgentProfile>,
    /// Everything in its journal up to here is committed.
    pub committed: Position,
    /// The number of its start that was taken last. None: any is.
    pub incarnation: Option<u64>,
}

fn record(row: &SqliteRow) -> Result<AgentRecord, Error> {
    let profile: Option<Vec<u8>> = row.try_get(7)?;
    let generation: &[u8] = row.try_get(8)?;
    let generation = generation.try_into().map_err(|_| Error::Corrupt {
        what: "the position of an agent",
        source: None,
    })?;
    let incarnation: Option<&[u8]> = row.try_get(10)?;
    let incarnation = incarnation
        .map(|bytes| {
            Ok::<u64, Error>(u64::from_be_bytes(bytes.try_into().map_err(|_| Error::Corrupt {
                what: "the incarnation of an agent",
                source: None,
            })?))
        })
        .transpose()?;
    Ok(AgentRecord {
        id: AgentId(id128(row.try_get(0)?, "the id of an agent")?),
        name: row.try_get(1)?,
        joined_at: instant(row.try_get(2)?),
        certificate_expires_at: instant(row.try_get(3)?),
        revoked: row.try_get::<i64, _>(4)? != 0,
        draining: row.try_get::<i64, _>(5)? != 0,
        last_seen: row.try_get::<Option<i64>, _>(6)?.map(instant),
        profile: profile.map(|bytes| codec::decode(&bytes, "the profile of an agent")).transpose()?,
        committed: Position {
            generation: u64::from_be_bytes(generation),
            n: uncount(row.try_get(9)?),
        },
        incarnation,
    })
}

impl Store {
    /// All agents, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agents(&self) -> Result<Vec<AgentRecord>, Error> {
        let rows = sqlx::query(
            "SELECT id, name, joined_at, certificate_expires, revoked, draining, last_seen, profile, committed_generation, committed_n,
                    incarnation
             FROM agents ORDER BY name",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(record).collect()
    }
}

pub(super) async fn name_free(c: &mut SqliteConnection, name: &str, agent: AgentId) -> Result<bool, Error> {
    let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT id FROM agents WHERE name = ?")
        .bind(name.to_owned())
        .fetch_optional(c)
        .await?;
    Ok(found.is_none_or(|id| id == key(agent.0)))
}

pub(super) async fn welcome(c: &mut SqliteConnection, agent: AgentId) -> Result<bool, Error> {
    let revoked: Option<i64> = sqlx::query_scalar("SELECT revoked FROM agents WHERE id = ?")
        .bind(key(agent.0))
        .fetch_optional(c)
        .await?;
    Ok(revoked.unwrap_or(0) == 0)
}

/// A new agent, or a known key that joins again: what was decided about it (revoked, draining) stays.
pub(super) async fn put(c: &mut SqliteConnection, agent: &AgentRecord) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO agents (id, name, joined_at, certificate_expires) VALUES (?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, certificate_expires = excluded.certificate_expires",
    )
    .bind(key(agent.id.0))
    .bind(agent.name.clone())
    .bind(micros(agent.joined_at))
    .bind(micros(agent.certificate_expires_at))
    .execute(c)
    .await?;
    Ok(())
}

pub(super) async fn set_profile(c: &mut SqliteConnection, agent: AgentId, profile: &AgentProfile, seen: Timestamp) -> Result<(), Error> {
    sqlx::query("UPDATE agents SET profile = ?, last_seen = ? WHERE id = ?")
        .bind(codec::encode(profile, "the profile of an agent")?)
        .bind(micros(seen))
        .bind(key(agent.0))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn set_certificate(c: &mut SqliteConnection, agent: AgentId, expires_at: Timestamp) -> Result<(), Error> {
    sqlx::query("UPDATE agents SET certificate_expires = ? WHERE id = ?")
        .bind(micros(expires_at))
        .bind(key(agent.0))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn set_seen(c: &mut SqliteConnection, agent: AgentId, seen: Timestamp) -> Result<(), Error> {
    sqlx::query("UPDATE agents SET last_seen = ? WHERE id = ?")
        .bind(micros(seen))
        .bind(key(agent.0))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn set_committed(c: &mut SqliteConnection, agent: AgentId, through: Position) -> Result<(), Error> {
    sqlx::query("UPDATE agents SET committed_generation = ?, committed_n = ? WHERE id = ?")
        .bind(through.generation.to_be_bytes().to_vec())
        .bind(count(through.n))
        .bind(key(agent.0))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn set_incarnation(c: &mut SqliteConnection, agent: AgentId, incarnation: Option<u64>) -> Result<(), Error> {
    sqlx::query("UPDATE agents SET incarnation = ? WHERE id = ?")
        .bind(incarnation.map(|n| n.to_be_bytes().to_vec()))
        .bind(key(agent.0))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn set_draining(c: &mut SqliteConnection, agent: AgentId, on: bool) -> Result<(), Error> {
    sqlx::query("UPDATE agents SET draining = ? WHERE id = ?")
        .bind(i64::from(on))
        .bind(key(agent.0))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn revoke(c: &mut SqliteConnection, agent: AgentId) -> Result<(), Error> {
    sqlx::query("UPDATE agents SET revoked = 1 WHERE id = ?")
        .bind(key(agent.0))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn delete(c: &mut SqliteConnection, agent: AgentId) -> Result<(), Error> {
    sqlx::query("DELETE FROM agents WHERE id = ?").bind(key(agent.0)).execute(c).await?;
    Ok(())
}
