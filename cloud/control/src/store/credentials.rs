//! Invitations of agents and tokens of the API: only hashes are stored.

use super::{Error, Statement, Store, id128, instant, key, micros};
use eyot_model::{AgentId, Timestamp};

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
pub(super) fn invite_open(hash: &[u8; 32], agent: AgentId, now: Timestamp) -> Statement {
    Statement::new("SELECT EXISTS (SELECT 1 FROM invites WHERE hash = ? AND expires_at > ? AND (used_by IS NULL OR used_by = ?))")
        .bind(hash.to_vec())
        .bind(micros(now))
        .bind(key(agent.0))
}

pub(super) fn put_invite(invite: &Invite) -> Statement {
    Statement::new("INSERT INTO invites (hash, name, made_at, expires_at) VALUES (?, ?, ?, ?)")
        .bind(invite.hash.to_vec())
        .bind(invite.name.as_deref())
        .bind(micros(invite.made_at))
        .bind(micros(invite.expires_at))
}

pub(super) fn use_invite(hash: &[u8; 32], agent: AgentId) -> Statement {
    Statement::new("UPDATE invites SET used_by = ? WHERE hash = ?")
        .bind(key(agent.0))
        .bind(hash.to_vec())
}

pub(super) fn put_token(token: &TokenRecord) -> Statement {
    Statement::new("INSERT INTO api_tokens (id, name, hash, made_at) VALUES (?, ?, ?, ?)")
        .bind(&token.id)
        .bind(&token.name)
        .bind(token.hash.to_vec())
        .bind(micros(token.made_at))
}

pub(super) fn revoke_token(id: &str, at: Timestamp) -> Statement {
    Statement::new("UPDATE api_tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(micros(at))
        .bind(id)
}
