//! Blobs travel on streams of their own: one request, one reply, then raw bytes.

use eyot_model::Digest;
use serde::{Deserialize, Serialize};

/// Most bytes that one side sends before the other has verified them and said so, which bounds what a cut resends.
pub const RANGE_LIMIT: u64 = 1 << 20;

/// Opens a blob stream, from either side. The bytes are verified as a whole against the digest by whoever stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobRequest {
    /// Send the blob from `offset` on.
    Get { digest: Digest, offset: u64 },
    /// I have a blob of `size` bytes for you; say where to begin.
    Put { digest: Digest, size: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobReply {
    /// To `Get`: `size - offset` bytes follow. To `Put`: send from `offset` on; equal to `size` if it is all here.
    Ready {
        size: u64,
        offset: u64,
    },
    /// To `Put`: everything up to `offset` is on disk here; at `size` the digest was right too.
    Stored {
        offset: u64,
    },
    NotFound,
    /// The digest was wrong: what was received is thrown away.
    Corrupt,
    Denied {
        reason: String,
    },
}
