//! Blobs travel on streams of their own, in ranges that are verified one by one.
//!
//! The side that has the bytes first sends the blob's *outline*, 32 bytes for each range of [`RANGE_LIMIT`] bytes: the
//! chaining values of its BLAKE3 tree, which merge to the digest. From then on each range is checked against its own
//! value before it is kept, passed on or acknowledged. A blob of one range or less has no outline.
//!
//! ```text
//! Get: -> BlobRequest::Get   <- BlobReply::Ready, outline if asked for, bytes from `offset` to the end
//!                            -> end of the stream, or BlobReply::Corrupt before it
//! Put: -> BlobRequest::Put   <- BlobReply::Ready   -> outline if asked for, bytes from `offset` on
//!                            <- BlobReply::Stored, several, cumulative
//!                            <- BlobReply::Prove   -> BlobProof, where not all bytes came from this side
//!                            <- BlobReply::Stored at `size`
//! ```

use eyot_model::{BlobRef, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Length of a range in bytes (the last one of a blob may be shorter): what is verified as one, and the most that a cut
/// resends of what was acknowledged.
pub const RANGE_LIMIT: u64 = 1 << 20;
/// Largest blob, in bytes. Bounds an outline to 2 MiB.
pub const BLOB_LIMIT: u64 = 64 << 30;

/// First frame of a blob stream, from either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobRequest {
    /// Send the blob from `offset` on, a multiple of [`RANGE_LIMIT`]; and its outline before that, if that is not known.
    Get { digest: Digest, offset: u64, outline: bool },
    /// I have a blob of `size` bytes for you; say where to begin.
    Put { digest: Digest, size: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobReply {
    /// To `Get`: the outline if it was asked for, then `size - offset` bytes follow.
    /// To `Put`: send the outline if `outline`, then from `offset` on; `offset` equals `size` if it is all here, and
    /// `Stored` follows at once.
    Ready {
        size: u64,
        offset: u64,
        outline: bool,
    },
    /// To `Put`: everything up to `offset` is verified and written; at `size` it is on disk under its digest.
    Stored {
        offset: u64,
    },
    NotFound,
    /// The bytes are not those of the digest: the range that was wrong is thrown away.
    Corrupt,
    Denied {
        reason: String,
    },
    /// Not now: too many transfers, or no room. Try again later.
    Busy {
        reason: String,
    },
    /// To `Put`: all of it is here, and not all of it from you; show that you have it.
    Prove {
        nonce: [u8; 32],
    },
}

/// That this side has all bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobProof {
    /// BLAKE3 of the bytes, under the nonce as the key.
    pub keyed: [u8; 32],
}

/// How much the control plane takes from an agent before a committed result names it. A result that names more can never be
/// told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadLimits {
    /// Bytes of one blob.
    pub blob: u64,
    /// Bytes of all.
    pub together: u64,
    pub count: u32,
}

impl UploadLimits {
    /// Whether the blobs of one result get through.
    #[must_use]
    pub fn admit<'a>(&self, blobs: impl IntoIterator<Item = &'a BlobRef>) -> bool {
        let sizes: BTreeMap<Digest, u64> = blobs.into_iter().map(|blob| (blob.digest, blob.size)).collect();
        let together = sizes.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
        let few = u32::try_from(sizes.len()).is_ok_and(|count| count <= self.count);
        few && together <= self.together && sizes.values().all(|size| *size <= self.blob)
    }
}

impl std::fmt::Display for UploadLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { blob, together, count } = self;
        write!(f, "{blob} bytes for one blob, {together} bytes and {count} blobs for a result")
    }
}
