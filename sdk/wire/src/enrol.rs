//! Joining and renewal: the only messages on the `eyot-join` and `eyot-renew` protocols.

use eyot_model::{AgentId, Timestamp};
use serde::{Deserialize, Serialize};

/// A device asks to become an agent. The one-time token proves that it was invited.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// 256 random bits.
    pub token: [u8; 32],
    /// PKCS#10 certificate signing request, DER. The key was made on the device and never leaves it.
    pub csr: Vec<u8>,
    /// What the device would like to be called; an invitation may know better.
    pub name: String,
}

impl std::fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolRequest")
            .field("token", &"…")
            .field("csr", &self.csr.len())
            .field("name", &self.name)
            .finish()
    }
}

/// An agent asks for a new certificate, over the working link or, if the old one ran out, over `eyot-renew`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    pub csr: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolReply {
    Granted {
        agent: AgentId,
        /// What the agent is called from now on.
        name: String,
        /// DER, leaf first.
        chain: Vec<Vec<u8>>,
        expires_at: Timestamp,
    },
    Denied {
        reason: String,
    },
}
