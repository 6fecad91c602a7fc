//! Tokens of the API: 256 random bits, of which only a hash is stored.

use crate::clock;
use crate::store::{Change, Store, TokenRecord};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a list of tokens is used before it is read again, and so the longest that a revoked token still works.
const FRESH: Duration = Duration::from_secs(1);
const PREFIX: &str = "eyot_";

/// Why a token could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error("cannot write the token to {path}")]
    Write {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The hash under which a secret is stored. The secret has 256 random bits, so nothing slower is needed.
#[must_use]
pub fn hash(secret: &[u8]) -> [u8; 32] {
    *blake3::hash(secret).as_bytes()
}

/// Makes a token and stores its hash. The text is shown once.
///
/// # Errors
/// When there is no randomness or the store fails.
pub async fn create(store: &Store, name: &str) -> Result<(TokenRecord, String), Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(Error::Random)?;
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let hash = hash(text.as_bytes());
    let record = TokenRecord {
        // Names the token to people without telling anything of it.
        id: eyot_model::Digest::of(&hash).to_hex()[..12].to_owned(),
        name: name.to_owned(),
        hash,
        made_at: clock::now(),
        revoked_at: None,
    };
    store.commit(vec![], vec![Change::PutToken(Box::new(record.clone()))]).await?;
    Ok((record, text))
}

/// Makes the first token where there is none, and writes it to a file that only this user can read.
///
/// # Errors
/// When the token cannot be made or the file cannot be written.
pub async fn ensure_admin(store: &Store, file: &Path) -> Result<bool, Error> {
    if !store.tokens().await?.is_empty() {
        return Ok(false);
    }
    let (_, text) = create(store, "admin").await?;
    write_secret(file, text.as_bytes()).map_err(|source| Error::Write {
        path: file.to_owned(),
        source,
    })?;
    Ok(true)
}

fn write_secret(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let part = file.with_extension("part");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    out.write_all(bytes)?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    std::fs::rename(&part, file)
}

/// Hash and name of each valid token.
type Valid = Arc<[([u8; 32], String)]>;

/// The tokens that are valid now.
#[derive(Debug)]
pub(crate) struct Tokens {
    store: Store,
    known: Mutex<Option<(Instant, Valid)>>,
}

impl Tokens {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            known: Mutex::new(None),
        }
    }

    /// The name of the token that the text is, if it is a valid one. Takes as long for one that is nearly right as for one that is not.
    pub(crate) async fn name_of(&self, text: Option<&str>) -> Result<Option<String>, crate::store::Error> {
        let presented = hash(text.unwrap_or_default().as_bytes());
        let valid = self.valid().await?;
        let mut found = None;
        for (hash, name) in valid.iter() {
            if bool::from(hash.ct_eq(&presented)) {
                found = Some(name.clone());
            }
        }
        Ok(found.filter(|_| text.is_some()))
    }

    async fn valid(&self) -> Result<Valid, crate::store::Error> {
        if let Some((at, valid)) = &*self.known.lock()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(valid));
        }
        let valid: Valid = self
            .store
            .tokens()
            .await?
            .into_iter()
            .filter(|t| t.revoked_at.is_none())
            .map(|t| (t.hash, t.name))
            .collect();
        *self.known.lock() = Some((Instant::now(), Arc::clone(&valid)));
        Ok(valid)
    }
}
