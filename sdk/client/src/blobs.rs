//! Blobs go up and down as streams and are verified at both ends.

use crate::{Client, Error};
use bytes::Bytes;
use eyot_model::api::Uploaded;
use eyot_model::{BlobRef, Digest};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

/// Called with the number of bytes that went by since the last call.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;

impl Client {
    /// Uploads a file without holding it in memory.
    ///
    /// # Errors
    /// When the file cannot be read, the request fails, or the control plane stored something else.
    pub async fn upload_file(&self, path: &Path, progress: Option<Progress>) -> Result<BlobRef, Error> {
        let open = |cause| Error::File {
            action: "read",
            path: path.to_owned(),
            cause,
        };
        let file = tokio::fs::File::open(path).await.map_err(open)?;
        let meta = file.metadata().await.map_err(open)?;
        if !meta.is_file() {
            return Err(open(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
        }
        // A read error in the middle must not look like a fault of the network.
        let fault: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let seen = Arc::clone(&fault);
        let stream = ReaderStream::with_capacity(file, CHUNK).map_err(move |error| {
            let kind = error.kind();
            *seen.lock() = Some(error);
            io::Error::from(kind)
        });
        let uploaded = self.upload(stream, meta.len(), progress).await;
        match fault.lock().take() {
            Some(cause) => Err(open(cause)),
            None => uploaded,
        }
    }

    /// # Errors
    /// When the request fails, or the control plane stored something else.
    pub async fn upload_bytes(&self, bytes: Bytes) -> Result<BlobRef, Error> {
        let length = bytes.len() as u64;
        self.upload(stream::iter([Ok(bytes)]), length, None).await
    }

    async fn upload(
        &self,
        bytes: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        length: u64,
        progress: Option<Progress>,
    ) -> Result<BlobRef, Error> {
        let hasher = Arc::new(Mutex::new(blake3::Hasher::new()));
        let hashing = Arc::clone(&hasher);
        let body = bytes.inspect_ok(move |chunk| {
            hashing.lock().update(chunk);
            if let Some(progress) = &progress {
                progress(chunk.len() as u64);
            }
        });
        let request = self
            .post(&["v1", "blobs"])
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body));
        let uploaded: Uploaded = self.json(request).await?;
        let digest = Digest(*hasher.lock().finalize().as_bytes());
        if digest != uploaded.blob.digest {
            return Err(Error::Corrupt {
                expected: digest.to_string(),
                found: uploaded.blob.digest.to_string(),
            });
        }
        Ok(uploaded.blob)
    }

    /// Whether the control plane holds the blob.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let request = self.request(reqwest::Method::HEAD, &["v1", "blobs", &digest.to_string()]);
        match self.send(request).await {
            Ok(_) => Ok(true),
            // A server that does not take the question takes the upload.
            Err(error) if matches!(error.status(), Some(404 | 405)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a blob to `path`. What does not have the digest is never left under that name.
    ///
    /// # Errors
    /// When there is no such blob, the bytes are not those of the digest, the file cannot be written, or the request fails.
    pub async fn download(&self, digest: &Digest, path: &Path, progress: Option<Progress>) -> Result<u64, Error> {
        let response = self.send(self.get(&["v1", "blobs", &digest.to_string()])).await?;
        let failed = |cause| Error::File {
            action: "write",
            path: path.to_owned(),
            cause,
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let mut file = tokio::fs::File::create(&part).await.map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        let mut chunks = response.bytes_stream();
        let mut length = 0;
        let outcome = loop {
            match chunks.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(self.lost(error)),
                Some(Ok(chunk)) => {
                    hasher.update(&chunk);
                    length += chunk.len() as u64;
                    if let Some(progress) = &progress {
                        progress(chunk.len() as u64);
                    }
                    if let Err(cause) = file.write_all(&chunk).await {
                        break Err(failed(cause));
                    }
                }
            }
        };
        let found = Digest(*hasher.finalize().as_bytes());
        let outcome = match outcome {
            Ok(()) if found != *digest => Err(Error::Corrupt {
                expected: digest.to_string(),
                found: found.to_string(),
            }),
            Ok(()) => file.flush().await.map_err(failed),
            Err(error) => Err(error),
        };
        drop(file);
        match outcome {
            Ok(()) => tokio::fs::rename(&part, path).await.map_err(failed)?,
            Err(error) => {
                // The first error is the one to tell; a leftover `.part` does no harm.
                drop(tokio::fs::remove_file(&part).await);
                return Err(error);
            }
        }
        Ok(length)
    }
}
