//! Which store this is. Agents remember to which one they told of their own runs: one that was put back from a back-up lacks
//! what was told after it, and nobody but the agents knows what that was.

use crate::store::{self, Change, Store};

/// Name of the document with the store's number.
const DOCUMENT: &str = "store-id";

/// The number of this store; drawn the first time.
///
/// # Errors
/// What the store reports, or a system without random numbers.
pub(crate) async fn of(store: &Store) -> Result<u64, Error> {
    if let Some(known) = store.document(DOCUMENT).await?
        && let Ok(known) = known.as_slice().try_into()
    {
        return Ok(u64::from_le_bytes(known));
    }
    let id = getrandom::u64()?;
    store.commit(vec![], vec![put(id)]).await?;
    Ok(id)
}

/// What makes a store another one than it was.
///
/// # Errors
/// A system without random numbers.
pub(crate) fn anew() -> Result<Change, getrandom::Error> {
    Ok(put(getrandom::u64()?))
}

fn put(id: u64) -> Change {
    Change::PutDocument {
        name: DOCUMENT,
        value: id.to_le_bytes().to_vec(),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("no random number can be had for the store")]
    Random(#[from] getrandom::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_keeps_its_number_until_it_is_made_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eyot.db");
        let store = Store::open(&path).await.unwrap();
        let first = of(&store).await.unwrap();
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        assert_eq!(of(&store).await.unwrap(), first);
        store.commit(vec![], vec![anew().unwrap()]).await.unwrap();
        let second = of(&store).await.unwrap();
        assert_ne!(second, first);
        assert_eq!(of(&store).await.unwrap(), second);
    }
}
