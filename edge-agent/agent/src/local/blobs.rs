//! Blobs of the agent's own store, up and down as streams.

use super::App;
use super::problem::Error;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use eyot_model::api::Uploaded;
use eyot_model::{BlobForm, Digest};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes read from the disk at once.
const CHUNK: usize = 256 << 10;
/// Chunks between socket and disk.
const AHEAD: usize = 4;

/// Stores the body. The answer comes once it is durable.
pub(super) async fn upload(State(app): State<App>, request: Request) -> Result<Json<Uploaded>, Error> {
    let (chunks, mut coming) = mpsc::channel::<Bytes>(AHEAD);
    let mut writer = app.runtime.blobs.writer(eyot_wire::BLOB_LIMIT);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = coming.blocking_recv() {
            // An empty chunk ends the blob; a sender that is gone without one was cut off.
            if chunk.is_empty() {
                return writer.finish_durable().map(Some);
            }
            writer.append(&chunk)?;
        }
        Ok(None)
    });
    let mut body = request.into_body().into_data_stream();
    let mut whole = false;
    loop {
        match body.next().await {
            None => {
                whole = true;
                break;
            }
            Some(Ok(chunk)) if chunk.is_empty() => {}
            Some(Ok(chunk)) => {
                if chunks.send(chunk).await.is_err() {
                    break;
                }
            }
            Some(Err(_)) => break,
        }
    }
    if whole {
        // A writer that has failed tells so below.
        let _ = chunks.send(Bytes::new()).await;
    }
    drop(chunks);
    match writing.await.map_err(|error| Error::internal(&error))? {
        Ok(Some(stored)) => Ok(Json(Uploaded {
            blob: stored.reference(BlobForm::Raw),
        })),
        Ok(None) => Err(Error::bad_request("blob.cut-off", "the upload ended before its end")),
        Err(error) if error.is_full() => Err(Error::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "blob.no-room",
            "the device's disk is full",
        )),
        Err(error) => Err(Error::internal(&error)),
    }
}

pub(super) async fn download(State(app): State<App>, Path(digest): Path<String>) -> Result<Response, Error> {
    let digest: Digest = digest
        .parse()
        .map_err(|error: eyot_model::ParseDigestError| Error::bad_request("blob.bad-digest", error.to_string()))?;
    let blob = match app.runtime.blobs.open_blob(&digest) {
        Ok(blob) => blob,
        Err(eyot_blob::Error::Missing { .. }) => {
            return Err(Error::not_found("blob.not-found", format!("blob {digest} is not on this agent")));
        }
        Err(error) => return Err(Error::internal(&error)),
    };
    let size = blob.size();
    let (chunks, coming) = mpsc::channel::<std::io::Result<Bytes>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut at = 0;
        while at < size {
            let mut bytes = vec![0; CHUNK.min(usize::try_from(size - at).unwrap_or(CHUNK))];
            let chunk = match blob.read_at(at, &mut bytes) {
                Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    bytes.truncate(read);
                    at += read as u64;
                    Ok(Bytes::from(bytes))
                }
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            if chunks.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(coming)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    Ok(response)
}
