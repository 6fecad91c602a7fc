//! What can go wrong with a link, and what to do about it.

use eyot_wire::{CloseCode, DecodeError, EncodeError};
use std::io;
use std::path::{Path, PathBuf};

/// Whether trying again helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The network, or something that passes: try again with back-off.
    Retryable,
    /// Somebody has to do something first; see [`Error::advice`].
    Terminal,
    /// One of the two programs is wrong.
    Bug,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the network address {address}")]
    Address {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("no control plane address is known")]
    NoAddress,
    #[error("join token is mistyped: {0}")]
    MistypedToken(&'static str),
    #[error("the control plane refused to enrol this device: {0}")]
    EnrolmentDenied(String),
    #[error("the control plane refused to renew the certificate: {0}")]
    RenewalDenied(String),
    #[error("the certificate is unusable: {0}")]
    BadCertificate(String),
    #[error("the signing request is unusable: {0}")]
    BadRequest(&'static str),
    #[error("cryptography failed: {0}")]
    Crypto(String),
    /// The other side's certificate is not of the CA that this side knows.
    #[error("the peer's certificate is not of the expected CA")]
    UnknownCa,
    /// The other side does not know the CA of this side's certificate.
    #[error("the peer does not accept a certificate of this CA")]
    CertificateRefused,
    #[error("the agent's certificate was revoked")]
    Revoked,
    #[error("the agent's certificate ran out")]
    Expired,
    /// As this side's clock has it.
    #[error("the control plane's certificate ran out")]
    CloudExpired,
    #[error("the control plane does not know this agent")]
    UnknownAgent,
    #[error("no certificate was presented")]
    NoCertificate,
    #[error("another link of the same agent took over")]
    Replaced,
    #[error("the peer speaks no protocol version of this program")]
    Version,
    #[error("the peer is shutting down")]
    Shutdown,
    #[error("the peer has too many connections at the moment")]
    Busy,
    #[error(
        "another device with a copy of this one's disk was taken by the control plane since, or this disk was put back to an older state"
    )]
    Copied,
    #[error("nothing came from the peer in time")]
    TimedOut,
    #[error("the link is closed")]
    Closed,
    #[error("the connection broke: {0}")]
    Connection(String),
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    #[error("frame refused")]
    Frame(#[from] DecodeError),
    #[error("message cannot be sent")]
    Encode(#[from] EncodeError),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. }
            | Self::Address { .. }
            | Self::Replaced
            | Self::Shutdown
            | Self::Busy
            | Self::TimedOut
            | Self::Closed
            | Self::Expired
            | Self::CloudExpired
            | Self::Connection(_) => Kind::Retryable,
            Self::NoAddress
            | Self::MistypedToken(_)
            | Self::EnrolmentDenied(_)
            | Self::RenewalDenied(_)
            | Self::BadCertificate(_)
            | Self::UnknownCa
            | Self::CertificateRefused
            | Self::Revoked
            | Self::Copied
            | Self::UnknownAgent
            | Self::NoCertificate
            | Self::Version => Kind::Terminal,
            Self::BadRequest(_) | Self::Crypto(_) | Self::Protocol(_) | Self::Frame(_) | Self::Encode(_) => Kind::Bug,
        }
    }

    /// A stable code, such as `link.revoked`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "link.file",
            Self::Address { .. } => "link.address",
            Self::NoAddress => "link.no-address",
            Self::MistypedToken(_) => "link.mistyped-token",
            Self::EnrolmentDenied(_) => "link.enrolment-denied",
            Self::RenewalDenied(_) => "link.renewal-denied",
            Self::BadCertificate(_) => "link.bad-certificate",
            Self::BadRequest(_) => "link.bad-request",
            Self::Crypto(_) => "link.crypto",
            Self::UnknownCa => "link.unknown-ca",
            Self::CertificateRefused => "link.certificate-refused",
            Self::Revoked => "link.revoked",
            Self::Expired => "link.expired",
            Self::CloudExpired => "link.cloud-expired",
            Self::UnknownAgent => "link.unknown-agent",
            Self::NoCertificate => "link.no-certificate",
            Self::Replaced => "link.replaced",
            Self::Version => "link.version",
            Self::Shutdown => "link.shutdown",
            Self::Busy => "link.busy",
            Self::Copied => "link.copied",
            Self::TimedOut => "link.timed-out",
            Self::Closed => "link.closed",
            Self::Connection(_) => "link.connection",
            Self::Protocol(_) => "link.protocol",
            Self::Frame(_) => "link.frame",
            Self::Encode(_) => "link.encode",
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::File { .. } => "check the folder's owner, its mode and the room on its disk",
            Self::Address { .. } => "check that the address is right and resolves, and that no other program has the port",
            Self::NoAddress => "join with a token, which names the control plane's addresses",
            Self::MistypedToken(_) => "copy the token again, whole and without line breaks",
            Self::EnrolmentDenied(_) => "make a new token with `eyot agents invite` and join with that one within its time",
            Self::RenewalDenied(_) | Self::Revoked => {
                "if this device should be an agent: `eyot agents rm` frees its key, then invite it again with `eyot agents invite` and join anew"
            }
            Self::UnknownAgent => "if this device should be an agent, invite it again with `eyot agents invite` and join anew",
            Self::BadCertificate(_) | Self::NoCertificate => "join this device again: its identity files are damaged or missing",
            Self::UnknownCa => "this is not the control plane that the token or the identity was made for: check the address",
            Self::CertificateRefused => "this identity is of another control plane: join this device to the present one",
            Self::Expired => "nothing: the agent renews its certificate by itself",
            Self::CloudExpired => "set this device's clock: it is ahead; or the control plane has not run for long",
            Self::Replaced => "if it keeps happening, two devices use the same identity: join one of them anew",
            Self::Copied => {
                "stop the copy and join that device anew; where this device is the right one, `eyot agents readmit` lets it begin again"
            }
            Self::Version => "update the older of the two programs",
            Self::Shutdown | Self::Busy | Self::TimedOut | Self::Closed | Self::Connection(_) => {
                "nothing: the agent tries again; if it lasts, check the network path and that UDP passes"
            }
            Self::BadRequest(_) | Self::Crypto(_) | Self::Protocol(_) | Self::Frame(_) | Self::Encode(_) => {
                "report it, with the log of both sides"
            }
        }
    }

    pub(crate) fn from_close(code: CloseCode, reason: &str) -> Self {
        match code {
            CloseCode::Done => Self::Closed,
            CloseCode::Shutdown => Self::Shutdown,
            CloseCode::Replaced => Self::Replaced,
            CloseCode::Revoked => Self::Revoked,
            CloseCode::Expired => Self::Expired,
            CloseCode::Unknown => Self::UnknownAgent,
            CloseCode::NoCertificate => Self::NoCertificate,
            CloseCode::Protocol => Self::Protocol(reason.to_owned()),
            CloseCode::Timeout => Self::TimedOut,
            CloseCode::Busy => Self::Busy,
            CloseCode::Copied => Self::Copied,
        }
    }
}

impl From<quinn::ConnectionError> for Error {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as E;
        match error {
            E::ApplicationClosed(close) => {
                let reason = String::from_utf8_lossy(&close.reason);
                match CloseCode::from_number(close.error_code.into_inner()) {
                    Some(code) => Self::from_close(code, &reason),
                    None => Self::Connection(format!("closed by the peer with an unknown code: {reason}")),
                }
            }
            // An alert from the peer: it does not like what we presented.
            E::ConnectionClosed(close) => match alert(close.error_code) {
                Some(44) => Self::Revoked,
                Some(45) => Self::Expired,
                Some(42 | 48 | 51) => Self::CertificateRefused,
                Some(116) => Self::NoCertificate,
                Some(70 | 120) => Self::Version,
                _ => Self::Connection(close.to_string()),
            },
            // An alert from here: we do not like what the peer presented.
            E::TransportError(error) => match alert(error.code) {
                Some(48) => Self::UnknownCa,
                Some(45) => Self::CloudExpired,
                Some(42..=47) => Self::BadCertificate(error.reason),
                Some(70 | 120) => Self::Version,
                _ => Self::Connection(error.to_string()),
            },
            E::VersionMismatch => Self::Version,
            E::TimedOut => Self::TimedOut,
            E::LocallyClosed => Self::Closed,
            E::Reset => Self::Connection("the peer restarted".into()),
            E::CidsExhausted => Self::Connection("no more connection ids".into()),
        }
    }
}

/// The TLS alert in a QUIC error code.
fn alert(code: quinn::TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (0x100..0x200).contains(&code).then_some((code & 0xff) as u8)
}
