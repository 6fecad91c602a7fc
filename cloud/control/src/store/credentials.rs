//! Invitations of agents and tokens of the API: only hashes are stored.

use super::{Error, Store, id128, instant, key, micros};
use eyot_model::{AgentId, Timestamp};
use sqlx::SqliteConnection;

/// An invitation for one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    pub hash: [u8; 32],
    /// The name that the agent gets, whatever it asks for.
    pub name: Option<String>,
    pub made_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_by: Option<AgentId>,
}

/// A token of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: String,
    pub name: String,
    pub hash: [u8; 32],
    pub made_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl Store {
    /// All tokens of the API, revoked ones too, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, Error> {
        let rows: Vec<(String, String, Vec<u8>, i64, Option<i64>)> =
            sqlx::query_as("SELECT id, name, hash, made_at, revoked_at FROM api_tokens ORDER BY made_at, id")
                .fetch_all(self.readers())
                .await?;
        rows.into_iter()
            .map(|(id, name, hash, made_at, revoked_at)| {
                Ok(TokenRecord {
                    id,
                    name,
                    hash: hash.try_into().map_err(|_| Error::Corrupt {
                        what: "a token",
                        source: None,
                    })?,
                    made_at: instant(made_at),
                    revoked_at: revoked_at.map(instant),
                })
            })
            .collect()
    }

    /// An invitation by the hash of its secret.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invite(&self, hash: &[u8; 32]) -> Result<Option<Invite>, Error> {
        let row: Option<(Option<String>, i64, i64, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT name, made_at, expires_at, used_by FROM invites WHERE hash = ?")
                .bind(hash.to_vec())
                .fetch_optional(self.readers())
                .await?;
        row.map(|(name, made_at, expires_at, used_by)| {
            Ok(Invite {
                hash: *hash,
                name,
                made_at: instant(made_at),
                expires_at: instant(expires_at),
                used_by: used_by.map(|id| id128(&id, "an invitation").map(AgentId)).transpose()?,
            })
        })
        .transpose()
    }
}

/// An invitation may be used again by the key that used it: the answer to the first request may have been lost.
pub(super) async fn invite_open(c: &mut SqliteConnection, hash: &[u8; 32], agent: AgentId, now: Timestamp) -> Result<bool, Error> {
    let found: Option<(i64, Option<Vec<u8>>)> = sqlx::query_as("SELECT expires_at, used_by FROM invites WHERE hash = ?")
        .bind(hash.to_vec())
        .fetch_optional(c)
        .await?;
    Ok(found.is_some_and(|(expires_at, used_by)| instant(expires_at) > now && used_by.is_none_or(|by| by == key(agent.0))))
}

pub(super) async fn put_invite(c: &mut SqliteConnection, invite: &Invite) -> Result<(), Error> {
    sqlx::query("INSERT INTO invites (hash, name, made_at, expires_at) VALUES (?, ?, ?, ?)")
        .bind(invite.hash.to_vec())
        .bind(invite.name.clone())
        .bind(micros(invite.made_at))
        .bind(micros(invite.expires_at))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn use_invite(c: &mut SqliteConnection, hash: &[u8; 32], agent: AgentId) -> Result<(), Error> {
    sqlx::query("UPDATE invites SET used_by = ? WHERE hash = ?")
        .bind(key(agent.0))
        .bind(hash.to_vec())
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn put_token(c: &mut SqliteConnection, token: &TokenRecord) -> Result<(), Error> {
    sqlx::query("INSERT INTO api_tokens (id, name, hash, made_at) VALUES (?, ?, ?, ?)")
        .bind(token.id.clone())
        .bind(token.name.clone())
        .bind(token.hash.to_vec())
        .bind(micros(token.made_at))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn revoke_token(c: &mut SqliteConnection, id: &str, at: Timestamp) -> Result<(), Error> {
    sqlx::query("UPDATE api_tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(micros(at))
        .bind(id.to_owned())
        .execute(c)
        .await?;
    Ok(())
}
