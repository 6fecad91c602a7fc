//! How a task says that it did not succeed.

use crate::BlobError;
use crate::inference::InferenceError;
use std::error::Error;
use std::fmt;
use std::io;

/// What a retry can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The inputs are wrong: it fails again until they change.
    InvalidInput,
    /// Trying again may help.
    Retryable,
    /// Trying again is no use.
    Permanent,
}

/// Why a task failed. Any error turns into one with `?`: those of blobs, models and of reading and writing choose the
/// kind by what happened, all others are permanent. [`OrFail`] chooses the kind and adds what was being done.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    details: Option<String>,
}

impl Failure {
    /// `message` is a fragment for people: what was found and what was expected.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: None,
        }
    }

    /// The inputs are wrong, and stay wrong however often it is tried.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidInput, message)
    }

    /// Trying again may help.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Retryable, message)
    }

    /// Trying again is no use, though the inputs are not to blame.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Permanent, message)
    }

    /// Adds more for whoever looks closer: a longer text, part of the data.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    #[must_use]
    pub fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }

    /// Puts what was being done before the message.
    #[must_use]
    pub fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        self.details.as_ref().map_or(Ok(()), |details| write!(f, " ({details})"))
    }
}

// `Failure` is no `Error` itself: that is what lets every error become one with `?`.
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(kind_of(&error), chain(&error))
    }
}

/// The kind of the first error of the chain that says one.
fn kind_of(error: &(dyn Error + 'static)) -> FailureKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<BlobError>() {
            return match error {
                BlobError::Unavailable(_) => FailureKind::Retryable,
                BlobError::TooLarge { .. } | BlobError::NotText => FailureKind::InvalidInput,
                BlobError::Denied | BlobError::Limit(_) => FailureKind::Permanent,
            };
        }
        if let Some(error) = error.downcast_ref::<InferenceError>() {
            return match error {
                InferenceError::BadModel(_) | InferenceError::BadInput(_) => FailureKind::InvalidInput,
                InferenceError::Failed(_) => FailureKind::Permanent,
            };
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // An `io::Error` hides the error inside it from `source`.
            if let Some(inner) = error.get_ref() {
                next = Some(inner);
                continue;
            }
            return match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionReset => {
                    FailureKind::Retryable
                }
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => FailureKind::InvalidInput,
                _ => FailureKind::Permanent,
            };
        }
        next = error.source();
    }
    FailureKind::Permanent
}

/// An error and its causes, without saying anything twice.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Turns errors, and values that are missing, into failures of a chosen kind, with what was being done in front.
///
/// ```
/// use eyot_task::prelude::*;
///
/// fn port(text: &str) -> Result<u16, Failure> {
///     let port = text.split(':').nth(1).or_invalid_input("the address has no port")?;
///     port.parse().or_invalid_input("the port is not a number")
/// }
/// assert_eq!(port("host").unwrap_err().to_string(), "the address has no port");
/// ```
pub trait OrFail<T> {
    /// # Errors
    /// [`FailureKind::InvalidInput`] where there is no value.
    fn or_invalid_input(self, what: impl fmt::Display) -> Result<T, Failure>;
    /// # Errors
    /// [`FailureKind::Retryable`] where there is no value.
    fn or_retryable(self, what: impl fmt::Display) -> Result<T, Failure>;
    /// # Errors
    /// [`FailureKind::Permanent`] where there is no value.
    fn or_permanent(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Error> OrFail<T> for Result<T, E> {
    fn or_invalid_input(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::invalid_input(chain(&e)).while_doing(what))
    }
    fn or_retryable(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::retryable(chain(&e)).while_doing(what))
    }
    fn or_permanent(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::permanent(chain(&e)).while_doing(what))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_invalid_input(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::invalid_input(what.to_string()))
    }
    fn or_retryable(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::retryable(what.to_string()))
    }
    fn or_permanent(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::permanent(what.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_comes_from_what_happened() {
        let kind = |failure: Failure| failure.kind();
        assert_eq!(kind(BlobError::Unavailable("link down".into()).into()), FailureKind::Retryable);
        assert_eq!(
            kind(io::Error::other(BlobError::Unavailable("link down".into())).into()),
            FailureKind::Retryable
        );
        assert_eq!(kind(BlobError::TooLarge { size: 9, max: 8 }.into()), FailureKind::InvalidInput);
        assert_eq!(kind(io::Error::from(io::ErrorKind::TimedOut).into()), FailureKind::Retryable);
        assert_eq!(kind("x".parse::<u8>().unwrap_err().into()), FailureKind::Permanent);
    }

    #[test]
    fn what_was_being_done_stands_in_front() {
        let failure = "x".parse::<u8>().or_invalid_input("reading the width").unwrap_err();
        assert_eq!(failure.to_string(), "reading the width: invalid digit found in string");
        assert_eq!(failure.kind(), FailureKind::InvalidInput);
    }
}
