//! JSON in and out: what is malformed is said as a problem, with the place in the text.

use super::Error;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// A JSON body of a request.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Error::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "request.too-large",
                    format!("the body is over {} bytes", super::BODY_LIMIT),
                ),
                _ => Error::bad_request("request.malformed", "the body could not be read"),
            })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|cause| Error::bad_request("request.malformed", format!("the body is not what it should be: {cause}")))
    }
}

/// The query part of the address.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Error::bad_request("request.malformed", rejection.body_text())),
        }
    }
}
