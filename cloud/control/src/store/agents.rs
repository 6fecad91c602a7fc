//! Agents that have joined, and how far their journals are committed here.

use super::{Error, Statement, Store, codec, count, id128, instant, key, micros, uncount};
use eyot_model::{AgentId, AgentProfile, Position, Timestamp};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

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

    /// Agents whose work is to go on elsewhere.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn moving_agents(&self) -> Result<Vec<AgentId>, Error> {
        let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM agents WHERE moving = 1")
            .fetch_all(self.readers())
            .await?;
        ids.iter().map(|id| id128(id, "the id of an agent").map(AgentId)).collect()
    }
}

pub(super) fn name_free(name: &str, agent: AgentId) -> Statement {
    Statement::new("SELECT NOT EXISTS (SELECT 1 FROM agents WHERE name = ? AND id <> ?)")
        .bind(name)
        .bind(key(agent.0))
}

pub(super) fn welcome(agent: AgentId) -> Statement {
    Statement::new("SELECT NOT EXISTS (SELECT 1 FROM agents WHERE id = ? AND revoked <> 0)").bind(key(agent.0))
}

/// A new agent, or a known key that joins again: what was decided about it (revoked, draining) stays.
pub(super) fn put(agent: &AgentRecord) -> Statement {
    Statement::new(
        "INSERT INTO agents (id, name, joined_at, certificate_expires) VALUES (?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, certificate_expires = excluded.certificate_expires",
    )
    .bind(key(agent.id.0))
    .bind(&agent.name)
    .bind(micros(agent.joined_at))
    .bind(micros(agent.certificate_expires_at))
}

pub(super) fn set_profile(agent: AgentId, profile: &AgentProfile, seen: Timestamp) -> Result<Statement, Error> {
    Ok(Statement::new("UPDATE agents SET profile = ?, last_seen = ? WHERE id = ?")
        .bind(codec::encode(profile, "the profile of an agent")?)
        .bind(micros(seen))
        .bind(key(agent.0)))
}

pub(super) fn set_certificate(agent: AgentId, expires_at: Timestamp) -> Statement {
    Statement::new("UPDATE agents SET certificate_expires = ? WHERE id = ?")
        .bind(micros(expires_at))
        .bind(key(agent.0))
}

pub(super) fn set_seen(agent: AgentId, seen: Timestamp) -> Statement {
    Statement::new("UPDATE agents SET last_seen = ? WHERE id = ?")
        .bind(micros(seen))
        .bind(key(agent.0))
}

pub(super) fn set_committed(agent: AgentId, through: Position) -> Statement {
    Statement::new("UPDATE agents SET committed_generation = ?, committed_n = ? WHERE id = ?")
        .bind(through.generation.to_be_bytes().to_vec())
        .bind(count(through.n))
        .bind(key(agent.0))
}

pub(super) fn set_incarnation(agent: AgentId, incarnation: Option<u64>) -> Statement {
    Statement::new("UPDATE agents SET incarnation = ? WHERE id = ?")
        .bind(incarnation.map(|n| n.to_be_bytes().to_vec()))
        .bind(key(agent.0))
}

pub(super) fn set_draining(agent: AgentId, on: bool) -> Statement {
    Statement::new("UPDATE agents SET draining = ? WHERE id = ?")
        .bind(i64::from(on))
        .bind(key(agent.0))
}

pub(super) fn set_moving(agent: AgentId, on: bool) -> Statement {
    Statement::new("UPDATE agents SET moving = ? WHERE id = ?")
        .bind(i64::from(on))
        .bind(key(agent.0))
}

pub(super) fn revoke(agent: AgentId) -> Statement {
    Statement::new("UPDATE agents SET revoked = 1 WHERE id = ?").bind(key(agent.0))
}

pub(super) fn delete(agent: AgentId) -> Statement {
    Statement::new("DELETE FROM agents WHERE id = ?").bind(key(agent.0))
}
