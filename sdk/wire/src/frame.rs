//! Frames: a bounded length, then postcard.

use serde::{Serialize, de::DeserializeOwned};

/// Longest frame body, in bytes. Larger things travel as blobs or as several messages.
pub const FRAME_LIMIT: usize = 16 << 20;
/// Length of the length.
pub const HEADER_LEN: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("message of {0} bytes is over the frame limit of {FRAME_LIMIT} bytes")]
    TooLong(usize),
    #[error("message cannot be encoded")]
    Postcard(#[source] postcard::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("frame announces {0} bytes, over the limit of {FRAME_LIMIT} bytes")]
    TooLong(usize),
    #[error("frame is empty")]
    Empty,
    #[error("frame is not a message of this protocol version")]
    Postcard(#[source] postcard::Error),
    #[error("frame has {0} bytes after its message")]
    Trailing(usize),
}

/// The whole frame, header included.
///
/// # Errors
/// When the message is longer than [`FRAME_LIMIT`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let mut frame = postcard::to_extend(message, vec![0; HEADER_LEN]).map_err(EncodeError::Postcard)?;
    let len = frame.len() - HEADER_LEN;
    let header = u32::try_from(len)
        .ok()
        .filter(|_| len <= FRAME_LIMIT)
        .ok_or(EncodeError::TooLong(len))?;
    frame[..HEADER_LEN].copy_from_slice(&header.to_le_bytes());
    Ok(frame)
}

/// The length of the body that follows a header.
///
/// # Errors
/// When it is zero or over [`FRAME_LIMIT`]: nothing must be allocated for it then.
pub fn frame_len(header: [u8; HEADER_LEN]) -> Result<usize, DecodeError> {
    let len = u32::from_le_bytes(header) as usize;
    match len {
        0 => Err(DecodeError::Empty),
        _ if len > FRAME_LIMIT => Err(DecodeError::TooLong(len)),
        _ => Ok(len),
    }
}

/// Reads a message from a frame's body.
///
/// # Errors
/// When the bytes are not exactly one message.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let (message, rest) = eyot_model::one_message(|| postcard::take_from_bytes(body)).map_err(DecodeError::Postcard)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(DecodeError::Trailing(rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Heartbeat, ToCloud};
    use eyot_model::{Load, Timestamp};
    use proptest::prelude::*;

    #[test]
    fn a_message_reads_back() {
        let message = ToCloud::Heartbeat(Heartbeat {
            n: 7,
            clock: Timestamp(0),
            sent_at: Timestamp(9),
            load: Load::default(),
        });
        let frame = encode(&message).unwrap();
        let len = frame_len(frame[..HEADER_LEN].try_into().unwrap()).unwrap();
        assert_eq!(len, frame.len() - HEADER_LEN);
        assert_eq!(decode::<ToCloud>(&frame[HEADER_LEN..]).unwrap(), message);
        assert!(matches!(
            decode::<ToCloud>(&[&frame[HEADER_LEN..], &[0]].concat()),
            Err(DecodeError::Trailing(1))
        ));
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_allocated() {
        assert!(matches!(frame_len(u32::MAX.to_le_bytes()), Err(DecodeError::TooLong(_))));
        assert!(matches!(frame_len([0; 4]), Err(DecodeError::Empty)));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_a_message_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<ToCloud>(&bytes);
            let _ = decode::<crate::ToAgent>(&bytes);
            let _ = decode::<crate::EnrolRequest>(&bytes);
            let _ = decode::<crate::BlobRequest>(&bytes);
            let _ = decode::<crate::BlobProof>(&bytes);
        }
    }
}
