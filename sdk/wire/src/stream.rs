//! What a stream is for, and how one ends early.

/// First byte on every bidirectional stream, from the side that opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// Framed `ToCloud` and `ToAgent` messages in order; opened once, by the agent.
    Control = 0,
    /// Framed heart-beats and their answers, so that nothing else delays them; opened once, by the agent.
    Heartbeat = 1,
    /// One blob transfer; opened by either side.
    Blob = 2,
    /// One `RenewRequest` and its `EnrolReply`; opened by the agent.
    Renew = 3,
    /// One `EnrolRequest` and its `EnrolReply`; only on the join protocol.
    Enrol = 4,
}

impl StreamKind {
    /// None for a byte that this version does not know.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Control,
            1 => Self::Heartbeat,
            2 => Self::Blob,
            3 => Self::Renew,
            4 => Self::Enrol,
            _ => return None,
        })
    }
}

/// Codes with which a stream is reset or stopped before its end.
pub mod stream_code {
    /// The source of the bytes was cut; asking again later goes on where this ended.
    pub const CUT: u32 = 1;
    /// The bytes are not those of the digest.
    pub const CORRUPT: u32 = 2;
    /// Whoever asked wants no more.
    pub const CANCELLED: u32 = 3;
    /// This kind of stream is not allowed here.
    pub const NOT_ALLOWED: u32 = 4;
}

/// Codes with which a whole connection is closed, and what they tell the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// Done; nothing is wrong.
    Done = 0,
    /// This side stops and may come back.
    Shutdown = 1,
    /// The same agent opened a newer link.
    Replaced = 2,
    Revoked = 3,
    /// The certificate ran out: renew it.
    Expired = 4,
    /// The certificate is right, but the agent is not known (any more).
    Unknown = 5,
    /// A work or renew connection came without a certificate.
    NoCertificate = 6,
    /// A frame was malformed or too long, or a stream was not what it had to be.
    Protocol = 7,
    /// Something expected did not come in time.
    Timeout = 8,
    /// Too many connections at the moment.
    Busy = 9,
    /// Another device with a copy of this one's disk was taken since.
    Copied = 10,
}

impl CloseCode {
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Done,
            1 => Self::Shutdown,
            2 => Self::Replaced,
            3 => Self::Revoked,
            4 => Self::Expired,
            5 => Self::Unknown,
            6 => Self::NoCertificate,
            7 => Self::Protocol,
            8 => Self::Timeout,
            9 => Self::Busy,
            10 => Self::Copied,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_unknown_ones_are_refused() {
        for byte in 0..=u8::MAX {
            if let Some(kind) = StreamKind::from_byte(byte) {
                assert_eq!(kind as u8, byte);
            }
            if let Some(code) = CloseCode::from_number(u64::from(byte)) {
                assert_eq!(code as u32, u32::from(byte));
            }
        }
        assert_eq!(StreamKind::from_byte(200), None);
        assert_eq!(CloseCode::from_number(u64::MAX), None);
    }
}
