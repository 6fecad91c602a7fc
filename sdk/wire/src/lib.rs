//! Messages between control plane and agent, and their encoding: a pure codec over byte slices.
//!
//! Each message is one frame: a length (4 bytes, little endian), then postcard. The version of the protocol is agreed
//! by ALPN before the first frame (`eyot-link`), so a frame carries none. Enum variants and fields are only ever
//! appended within a version. Every length is bounded before anything is allocated for it.

mod enrol;
mod frame;
mod message;
mod own;
mod saved;
mod stream;
mod transfer;

pub use enrol::{EnrolReply, EnrolRequest, RenewRequest};
pub use frame::{DecodeError, EncodeError, FRAME_LIMIT, HEADER_LEN, decode, encode, frame_len};
pub use message::{
    Assignment, FragmentStanding, Heartbeat, HeartbeatReply, Held, Hello, Inventory, LogRecord, Refusal, Report, ReportItem, ToAgent,
    ToCloud, Welcome,
};
pub use own::{Deployed, Deployment, OwnRun, Submission};
pub use saved::{INLINE_STATE, SavedBody, SavedState};
pub use stream::{CloseCode, StreamKind, stream_code};
pub use transfer::{BLOB_LIMIT, BlobProof, BlobReply, BlobRequest, RANGE_LIMIT, UploadLimits};

/// Protocol names offered in the TLS handshake, newest first.
pub mod alpn {
    /// Work: needs a valid client certificate.
    pub const WORK: &[u8] = b"eyot/1";
    /// First enrolment by one-time token: no client certificate.
    pub const JOIN: &[u8] = b"eyot-join/1";
    /// Nothing but renewal, for an agent whose certificate ran out while it was alone.
    pub const RENEW: &[u8] = b"eyot-renew/1";
}
