//! What can go wrong between a client and the control plane, and what to do about it.

use eyot_model::api::Problem;
use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

/// Why a request failed. `Display` names the object; the cause is the source; [`Error::advice`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{address}` is not the address of a control plane: {reason}")]
    BadAddress { address: String, reason: String },
    #[error("refused to send the token to {server} in clear text")]
    ClearText { server: String },
    #[error("the CA certificate cannot be read: {reason}")]
    BadCa { reason: String },
    #[error("cannot reach {server} ({why})")]
    Unreachable {
        server: String,
        why: Unreachable,
        #[source]
        cause: Box<reqwest::Error>,
    },
    #[error("the connection to {server} was lost")]
    Lost {
        server: String,
        #[source]
        cause: Option<Box<reqwest::Error>>,
    },
    /// The control plane answered, and said no.
    #[error("{}", problem.message)]
    Refused { status: u16, problem: Box<Problem> },
    #[error("{server} answered {status} with something that is not Eyot's")]
    NotEyot { server: String, status: u16 },
    #[error("the answer to {request} cannot be understood")]
    Malformed {
        request: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the answer to {request} is longer than {limit} bytes")]
    TooLong { request: String, limit: u64 },
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("what the control plane stored is not what was sent: {expected} became {found}")]
    Corrupt { expected: String, found: String },
    #[error("the request could not be made")]
    Internal(#[source] Box<reqwest::Error>),
}

/// Why no connection came about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    #[error("connection refused")]
    ConnectionRefused,
    #[error("no answer in time")]
    TimedOut,
    /// There is no such socket.
    #[error("no agent listens there")]
    NoAgent,
    /// The socket is another user's.
    #[error("permission denied")]
    NotAllowed,
    #[error("no such host")]
    UnknownHost,
    #[error("its certificate is not signed by the CA that was given")]
    UnknownCa,
    #[error("its certificate is not for this host name")]
    WrongName,
    #[error("its certificate has expired")]
    Expired,
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("{0}")]
    Other(String),
}

/// What repeating the request may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The same request may succeed later.
    Retryable,
    /// It fails until something is changed.
    Terminal,
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::Lost { .. } => Recovery::Retryable,
            Self::Unreachable { why, .. } => match why {
                Unreachable::ConnectionRefused | Unreachable::NoAgent | Unreachable::TimedOut | Unreachable::Other(_) => {
                    Recovery::Retryable
                }
                Unreachable::NotAllowed
                | Unreachable::UnknownHost
                | Unreachable::UnknownCa
                | Unreachable::WrongName
                | Unreachable::Expired
                | Unreachable::Tls(_) => Recovery::Terminal,
            },
            Self::Refused { status, .. } | Self::NotEyot { status, .. } if matches!(status, 408 | 429 | 500 | 502..=504 | 507) => {
                Recovery::Retryable
            }
            Self::Refused { .. }
            | Self::NotEyot { .. }
            | Self::BadAddress { .. }
            | Self::ClearText { .. }
            | Self::BadCa { .. }
            | Self::Malformed { .. }
            | Self::TooLong { .. }
            | Self::File { .. }
            | Self::Corrupt { .. }
            | Self::Internal(_) => Recovery::Terminal,
        }
    }

    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.recovery() == Recovery::Retryable
    }

    /// The status of the answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::NotEyot { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// A stable code for scripts: the control plane's own where it answered.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::BadAddress { .. } => "client.bad-address",
            Self::ClearText { .. } => "client.clear-text",
            Self::BadCa { .. } => "client.bad-ca",
            Self::Unreachable { .. } => "client.unreachable",
            Self::Lost { .. } => "client.connection-lost",
            Self::Refused { problem, .. } => &problem.code,
            Self::NotEyot { .. } => "client.not-eyot",
            Self::Malformed { .. } => "client.malformed-answer",
            Self::TooLong { .. } => "client.answer-too-long",
            Self::File { .. } => "client.file",
            Self::Corrupt { .. } => "client.corrupt-upload",
            Self::Internal(_) => "client.internal",
        }
    }

    /// What to do about it, as a sentence for people.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { why, .. } => match why {
                Unreachable::ConnectionRefused => "is eyot-cloud running? `eyot dev` starts one on this machine",
                Unreachable::NoAgent => "is `eyot-agent run` running? --agent takes its data folder, or `agent.sock` in it",
                Unreachable::NotAllowed => "only the agent's own user may open its socket: become that user, or use sudo",
                Unreachable::TimedOut => "is the address right, and does a firewall let it through?",
                Unreachable::UnknownHost => "check the address: `eyot login ADDRESS` or EYOT_SERVER",
                Unreachable::UnknownCa => "give the control plane's own CA: `eyot login ADDRESS --ca FILE` or EYOT_CA",
                Unreachable::WrongName => "use the host name or address that the control plane's certificate names",
                Unreachable::Expired => "renew the control plane's certificate, and check this machine's clock",
                Unreachable::Tls(_) => "does the address need https:// instead of http://, or the other way round?",
                Unreachable::Other(_) => return None,
            },
            Self::Lost { .. } => "try again: it may have restarted",
            Self::Refused { status: 401, .. } => "the token is missing or wrong: `eyot login ADDRESS --token-file FILE` or EYOT_TOKEN",
            Self::Refused { status: 403, .. } => "this token may not do that",
            Self::Refused { status: 429 | 503, .. } => "it is busy: try again in a moment",
            Self::NotEyot { .. } => "is another program listening there? check the address",
            Self::Malformed { .. } => "do `eyot` and `eyot-cloud` have the same version?",
            Self::ClearText { .. } => "use https://; clear text is for loopback only",
            Self::BadAddress { .. } => "for example https://eyot.example.org:7340",
            _ => return None,
        })
    }

    pub(crate) fn from_reqwest(server: &str, error: reqwest::Error) -> Self {
        let cause = Box::new(error);
        if cause.is_builder() {
            return Self::Internal(cause);
        }
        let server = server.trim_end_matches('/').to_owned();
        if cause.is_connect() {
            let why = classify(cause.as_ref());
            return Self::Unreachable { server, why, cause };
        }
        if cause.is_timeout() {
            let why = Unreachable::TimedOut;
            return Self::Unreachable { server, why, cause };
        }
        Self::Lost {
            server,
            cause: Some(cause),
        }
    }
}

/// Finds the cause of a failed connection in the chain of sources.
fn classify(error: &(dyn StdError + 'static)) -> Unreachable {
    let mut last = error.to_string();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(why) = one_cause(error) {
            return why;
        }
        last = error.to_string();
        // An `io::Error` made from another error skips it in its own `source`.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    Unreachable::Other(last)
}

fn one_cause(error: &(dyn StdError + 'static)) -> Option<Unreachable> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_cause(tls));
    }
    if let Some(io) = error.downcast_ref::<io::Error>() {
        match io.kind() {
            io::ErrorKind::ConnectionRefused => return Some(Unreachable::ConnectionRefused),
            io::ErrorKind::TimedOut => return Some(Unreachable::TimedOut),
            io::ErrorKind::NotFound => return Some(Unreachable::NoAgent),
            io::ErrorKind::PermissionDenied => return Some(Unreachable::NotAllowed),
            _ => {}
        }
    }
    if let Some(error) = error.downcast_ref::<reqwest::Error>()
        && error.is_timeout()
    {
        return Some(Unreachable::TimedOut);
    }
    error.to_string().starts_with("dns error").then_some(Unreachable::UnknownHost)
}

fn tls_cause(error: &rustls::Error) -> Unreachable {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => Unreachable::UnknownCa,
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => Unreachable::WrongName,
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => Unreachable::Expired,
        other => Unreachable::Tls(other.to_string()),
    }
}
