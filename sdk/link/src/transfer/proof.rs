//! Proof that a peer has the bytes of a blob that is here already: their hash under a key that it cannot have known. To
//! know a blob's digest proves nothing; digests travel with workflows.

use super::TransferError;
use crate::Error;
use eyot_blob::Source;

/// Read and hashed at a time, in bytes.
const CHUNK: usize = 256 << 10;

/// The hash of a blob's bytes under the peer's nonce. Waits for what is still arriving here.
pub(super) async fn of(mut source: Source, nonce: [u8; 32]) -> Result<blake3::Hash, TransferError> {
    let (digest, size) = (source.outline().digest(), source.outline().size());
    let mut hasher = blake3::Hasher::new_keyed(&nonce);
    let mut offset = 0;
    while offset < size {
        let ready = source.ready(offset).await.map_err(|_| TransferError::Cut { digest })?;
        let reader = source.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let mut buf = vec![0; CHUNK];
            while offset < ready {
                let want = usize::try_from(ready - offset).unwrap_or(CHUNK).min(CHUNK);
                let read = reader.read_at(offset, &mut buf[..want])?;
                if read == 0 {
                    break;
                }
                hasher.update(&buf[..read]);
                offset += read as u64;
            }
            Ok::<_, std::io::Error>((hasher, offset))
        });
        (hasher, offset) = match hashed.await {
            Ok(Ok(hashed)) => hashed,
            Ok(Err(error)) => {
                tracing::error!(%digest, %error, "cannot read a blob");
                return Err(TransferError::Cut { digest });
            }
            Err(panicked) => match panicked.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return Err(Error::Closed.into()),
            },
        };
        if offset < ready {
            return Err(eyot_blob::Error::Corrupt { digest }.into());
        }
    }
    Ok(hasher.finalize())
}
