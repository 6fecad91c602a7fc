//! What only an operator does.

use super::{App, Error};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use eyot_model::api::Problem;
use tokio_util::io::ReaderStream;

/// A back-up of everything, as one file. It holds the CA's key: keep it as safe as that.
#[utoipa::path(post, path = "/v1/admin/backup", tag = "admin",
    responses((status = 200, content_type = "application/octet-stream"), (status = 409, body = Problem)))]
pub(super) async fn backup(State(app): State<App>) -> Result<Response, Error> {
    let Ok(_alone) = app.backup.clone().try_lock_owned() else {
        return Err(Error::conflict(
            "admin.busy",
            "another back-up or a sweep is going on; try again in a moment",
        ));
    };
    let file = app.settings.data.join("backup.part");
    let written = crate::backup::write(&app.store, &app.settings.data, &file).await;
    let opened = match written {
        Ok(summary) => tokio::fs::File::open(&file).await.map(|opened| (opened, summary)),
        Err(error) => {
            drop(tokio::fs::remove_file(&file).await);
            return Err(Error::internal(&error));
        }
    };
    // The open file lives on until it is sent.
    drop(tokio::fs::remove_file(&file).await);
    let (opened, summary) = opened.map_err(|error| Error::internal(&error))?;
    tracing::info!(blobs = summary.blobs, bytes = summary.bytes, "backed up");
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(opened, 256 << 10)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(summary.bytes));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"eyot.backup\""),
    );
    Ok(response)
}
