//! Reading a blob for somebody else, maybe while it is still arriving.

use crate::arrival::{Arriving, Progress};
use crate::blob::read_full;
use crate::{Blob, Error, Outline, Store};
use eyot_model::Digest;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// The bytes of a blob that is here or on its way here. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    outline: Arc<Outline>,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Whole(Blob),
    Arriving {
        shared: Arc<Arriving>,
        progress: watch::Receiver<Progress>,
    },
}

impl Store {
    /// A blob that is here or arriving; None if it is neither.
    ///
    /// # Errors
    /// [`Error::Corrupt`]; what the disk reports.
    pub fn source(&self, digest: &Digest) -> Result<Option<Source>, Error> {
        let arriving = self.inner.state.lock().arriving.get(digest).cloned();
        if let Some(shared) = arriving {
            return Ok(Some(Source {
                outline: shared.outline.clone(),
                bytes: Bytes::Arriving {
                    progress: shared.progress.subscribe(),
                    shared,
                },
            }));
        }
        match self.open_blob(digest) {
            Ok(blob) => Ok(Some(Source {
                outline: Arc::new(self.outline(digest)?),
                bytes: Bytes::Whole(blob),
            })),
            Err(Error::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Waits until a blob is here or begins to arrive. Whoever calls this sets the time limit.
    ///
    /// # Errors
    /// As [`Store::source`].
    pub async fn appears(&self, digest: &Digest) -> Result<Source, Error> {
        let mut changes = self.inner.changes.subscribe();
        loop {
            if let Some(source) = self.source(digest)? {
                return Ok(source);
            }
            // The sender lives in the store, which `self` keeps.
            let _ = changes.changed().await;
        }
    }

    /// Waits until a blob is here whole; follows it while it arrives.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is neither here nor arriving, [`Error::Interrupted`] if it stops arriving.
    pub async fn whole(&self, digest: &Digest) -> Result<(), Error> {
        let mut changes = self.inner.changes.subscribe();
        loop {
            let (arriving, verified) = {
                let state = self.inner.state.lock();
                (state.arriving.contains_key(digest), state.verified.get(digest).copied())
            };
            // A blob has its name a moment before it is durable: it is whole when nobody brings it any more.
            if !arriving {
                return match verified {
                    _ if self.contains(digest) => Ok(()),
                    Some(verified) => Err(Error::Interrupted { digest: *digest, verified }),
                    None => Err(Error::Missing { digest: *digest }),
                };
            }
            let _ = changes.changed().await;
        }
    }
}

impl Source {
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Waits until more than `offset` bytes (or all of them) can be read, and says how many.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the blob stopped arriving before that.
    pub async fn ready(&mut self, offset: u64) -> Result<u64, Error> {
        let size = self.outline.size();
        let Bytes::Arriving { progress, .. } = &mut self.bytes else {
            return Ok(size);
        };
        let enough = |verified: u64| verified > offset || verified >= size;
        let seen = progress
            .wait_for(|p| match *p {
                Progress::Verified(verified) => enough(verified),
                Progress::Stopped(_) => true,
            })
            .await
            .map(|p| *p);
        match seen {
            Ok(Progress::Verified(verified)) => Ok(verified),
            Ok(Progress::Stopped(verified)) if enough(verified) => Ok(verified),
            Ok(Progress::Stopped(verified)) => Err(Error::Interrupted {
                digest: self.outline.digest(),
                verified,
            }),
            Err(_) => Err(Error::Interrupted {
                digest: self.outline.digest(),
                verified: offset,
            }),
        }
    }

    /// Fills `buf` from `offset` on; not beyond what [`Source::ready`] said.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match &self.bytes {
            Bytes::Whole(blob) => blob.read_at(offset, buf),
            Bytes::Arriving { shared, .. } => read_full(&shared.file, offset, buf),
        }
    }
}
