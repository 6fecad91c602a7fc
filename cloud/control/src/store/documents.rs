//! Small things that are kept whole under a name.

use super::{Error, Statement, Store};

impl Store {
    /// # Errors
    /// When the database fails.
    pub async fn document(&self, name: &'static str) -> Result<Option<Vec<u8>>, Error> {
        Ok(sqlx::query_scalar("SELECT value FROM documents WHERE name = ?")
            .bind(name)
            .fetch_optional(self.readers())
            .await?)
    }
}

pub(super) fn put(name: &str, value: &[u8]) -> Statement {
    Statement::new("INSERT INTO documents (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value.to_vec())
}
