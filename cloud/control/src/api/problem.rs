//! Answers that are not a success: a status, a stable code, and a message for people.

use crate::{disk, store};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eyot_model::api::{Diagnostic, Problem};

/// Why a request was refused or failed. Becomes a [`Problem`].
#[derive(Debug)]
pub(crate) struct Error {
    status: StatusCode,
    problem: Problem,
    /// Seconds after which trying again may help.
    retry_after: Option<u32>,
}

impl Error {
    #[must_use]
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let problem = Problem {
            code: code.to_owned(),
            message: message.into(),
            diagnostics: Vec::new(),
        };
        Self {
            status,
            problem,
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// What was sent is well-formed, and wrong.
    pub(crate) fn invalid(code: &str, message: impl Into<String>, diagnostics: Vec<Diagnostic>) -> Self {
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message);
        error.problem.diagnostics = diagnostics;
        error
    }

    /// Eyot's own mistake or its disk's: the details go to the log, not to the client.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %crate::chain(error), "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the control plane failed; its log says why",
        )
    }

    /// Asking again may help after so many seconds.
    #[must_use]
    pub(crate) fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn busy(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "service.busy", message).after(1)
    }

    pub(crate) fn unavailable(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service.unavailable", message).after(1)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Closed => Self::unavailable("the control plane is stopping"),
            error if error.is_full() => disk::no_room(),
            error if error.may_pass() => {
                tracing::error!(error = %crate::chain(&error), "a commit failed");
                disk::failing()
            }
            other => Self::internal(&other),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
