//! Numbered migrations, each in a transaction of its own. A number once released never changes its text.

use super::Error;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use std::path::Path;

const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/0001_initial.sql")];

/// Brings the schema to the newest version that this program knows.
pub(super) async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(Error::TooNew {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (version, text) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql(text).execute(&mut *transaction).await?;
        // A pragma takes no parameters; the number is ours.
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {version}")))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        tracing::info!(version, "store schema updated");
    }
    Ok(())
}
