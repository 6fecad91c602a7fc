//! Blobs go up and down as streams.

use super::{App, Error, blocking};
use crate::clock;
use crate::store::Change;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use eyot_model::api::{Problem, Uploaded};
use eyot_model::{BlobForm, Digest};
use futures_util::StreamExt;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::mpsc;

/// A client that sends or takes nothing for so long is sent away.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of a refused upload that are read and thrown away.
const DRAINED: usize = 16 << 20;
/// Bytes read from the disk at once.
const CHUNK: u64 = 256 << 10;
/// Chunks between network and disk.
const AHEAD: usize = 4;

/// Stores the body. What is already here is not stored twice.
#[utoipa::path(post, path = "/v1/blobs", tag = "blobs", request_body(content_type = "application/octet-stream"),
    responses((status = 200, body = Uploaded), (status = 413, body = Problem)))]
pub(super) async fn upload(State(app): State<App>, request: Request) -> Result<Json<Uploaded>, Error> {
    let limit = app.settings.max_upload;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        drain(request.into_body()).await;
        return Err(too_large(limit));
    }
    let (chunks, mut coming) = mpsc::channel::<Bytes>(AHEAD);
    let mut writer = app.blobs.writer(limit);
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
        match tokio::time::timeout(PATIENCE, body.next()).await {
            Ok(None) => {
                whole = true;
                break;
            }
            Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
            // The writer stops at an error, which it tells below.
            Ok(Some(Ok(chunk))) => {
                if chunks.send(chunk).await.is_err() {
                    break;
                }
            }
            Ok(Some(Err(_))) | Err(_) => break,
        }
    }
    if whole {
        let _ = chunks.send(Bytes::new()).await;
    }
    drop(chunks);
    let stored = match writing.await.map_err(|error| Error::internal(&error))? {
        Ok(Some(stored)) => stored,
        Ok(None) => return Err(Error::bad_request("blob.cut-off", "the upload ended before its end")),
        Err(eyot_blob::Error::TooLarge { .. }) => return Err(too_large(limit)),
        Err(error) if error.is_full() => {
            return Err(Error::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "blob.no-room",
                "the control plane's disk is full",
            ));
        }
        Err(error) => return Err(Error::internal(&error)),
    };
    app.store
        .commit(
            vec![],
            vec![Change::NoteUpload {
                digest: stored.digest,
                at: clock::now(),
            }],
        )
        .await?;
    Ok(Json(Uploaded {
        blob: stored.reference(BlobForm::Raw),
    }))
}

/// Takes the rest of a body that is refused, as far as that is little: a client that is cut off while it sends sees a
/// broken connection and not the answer.
async fn drain(body: Body) {
    let mut left = DRAINED;
    let mut body = body.into_data_stream();
    let rest = async {
        while let Some(Ok(chunk)) = body.next().await
            && left > chunk.len()
        {
            left -= chunk.len();
        }
    };
    // Whoever sends slower than that has been told enough.
    let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
}

fn too_large(limit: u64) -> Error {
    Error::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "blob.too-large",
        format!("a blob has at most {limit} bytes here"),
    )
}

/// The bytes of a blob, or a range of them.
#[utoipa::path(get, path = "/v1/blobs/{digest}", tag = "blobs", params(("digest" = String, Path, description = "`b3:` and 64 hexadecimal digits")),
    responses((status = 200, content_type = "application/octet-stream"), (status = 206, content_type = "application/octet-stream"), (status = 404, body = Problem), (status = 416, body = Problem)))]
pub(super) async fn download(State(app): State<App>, Path(digest): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let digest: Digest = digest
        .parse()
        .map_err(|error: eyot_model::ParseDigestError| Error::bad_request("blob.bad-digest", error.to_string()))?;
    let blobs = app.blobs.clone();
    let blob = match blocking(move || blobs.open_sound(&digest)).await? {
        Ok(blob) => blob,
        Err(eyot_blob::Error::Missing { .. }) => return Err(Error::not_found("blob.not-found", format!("blob {digest} is not here"))),
        Err(eyot_blob::Error::Corrupt { .. }) => {
            return Err(Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "blob.damaged",
                format!("blob {digest} was damaged on the control plane's disk and is set aside: upload it again, or restore a back-up"),
            ));
        }
        Err(error) => return Err(Error::internal(&error)),
    };
    let size = blob.size();
    let asked = headers
        .get(header::RANGE)
        .and_then(|v| v.to_str().ok())
        .and_then(|text| range(text, size));
    let (status, range) = match asked {
        None => (StatusCode::OK, 0..size),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(None) => {
            let error = Error::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "blob.bad-range",
                format!("the blob has {size} bytes"),
            );
            let mut response = error.into_response();
            response
                .headers_mut()
                .insert(header::CONTENT_RANGE, text(format!("bytes */{size}")));
            return Ok(response);
        }
    };
    let mut response = Response::new(Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(read(
        blob,
        range.clone(),
    ))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, text(format!("\"{digest}\"")));
    // Whatever a task made is never to be run by a browser.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    if status == StatusCode::PARTIAL_CONTENT {
        headers.insert(
            header::CONTENT_RANGE,
            text(format!("bytes {}-{}/{size}", range.start, range.end - 1)),
        );
    }
    Ok(response)
}

fn text(value: String) -> HeaderValue {
    // Digits and ASCII words alone.
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Reads ahead of the network, a few chunks.
fn read(blob: eyot_blob::Blob, mut range: Range<u64>) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (chunks, coming) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        while range.start < range.end {
            let (source, at) = (blob.clone(), range.start);
            let length = usize::try_from((range.end - at).min(CHUNK)).unwrap_or(0);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; length];
                let read = source.read_at(at, &mut bytes)?;
                bytes.truncate(read);
                Ok(Bytes::from(bytes))
            })
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
            let chunk = match read {
                Ok(bytes) if bytes.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
                other => other,
            };
            range.start += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
            let failed = chunk.is_err();
            if chunks.send_timeout(chunk, PATIENCE).await.is_err() || failed {
                return;
            }
        }
    });
    coming
}

/// One range of bytes as browsers and `curl` write it: `bytes=0-99`, `bytes=100-`, `bytes=-5`. None for what is no such
/// range (the whole blob is the answer then), Some(None) for one that is outside of the blob.
fn range(header: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", last) => {
            let n: u64 = last.parse().ok()?;
            size.saturating_sub(n)..size
        }
        (first, "") => first.parse().ok()?..size,
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some((range.start < range.end).then_some(range))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_within_the_blob_or_refused() {
        for (text, expected) in [
            ("bytes=0-9", Some(Some(0..10))),
            ("bytes=5-", Some(Some(5..100))),
            ("bytes=-5", Some(Some(95..100))),
            ("bytes=-500", Some(Some(0..100))),
            ("bytes=90-500", Some(Some(90..100))),
            ("bytes=100-", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=9-5", None),
            ("bytes=0-1,5-6", None),
            ("items=0-1", None),
            ("bytes=x-y", None),
        ] {
            assert_eq!(range(text, 100), expected, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Some(None));
    }
}
