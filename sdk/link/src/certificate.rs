//! What a certificate says, and how agents are named by their keys.

use crate::Error;
use eyot_model::{AgentId, Millis, Timestamp};
use std::fmt;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates are valid from a little before their making, for clocks that are behind.
pub(crate) const BACKDATE: Millis = Millis(5 * 60 * 1_000);
/// How an agent's id stands in its certificate, as a URI.
const AGENT_URI: &str = "eyot:agent:";

/// Serial number of a certificate: 127 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u128);

impl Serial {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| Error::Crypto(e.to_string()))?;
        // Certificates know positive numbers only.
        Ok(Self((u128::from_be_bytes(bytes) >> 1) | 1))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The span in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    #[must_use]
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// When to renew: two thirds into its life, which began when it was made.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        let made = self.not_before.after(BACKDATE).min(self.not_after);
        Timestamp(made.0 + (self.not_after.0 - made.0) / 3 * 2)
    }

    /// Time left until it is to be renewed; zero if that is now.
    #[must_use]
    pub fn renew_in(&self, now: Timestamp) -> Millis {
        self.renew_at().since(now)
    }
}

/// What an agent's certificate says. Says nothing about who signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    pub agent: AgentId,
    pub serial: Serial,
    pub validity: Validity,
}

impl Credential {
    /// Reads an agent's certificate. Its id has to be the one that follows from its key.
    ///
    /// # Errors
    /// [`Error::BadCertificate`].
    pub fn read(der: &[u8]) -> Result<Self, Error> {
        let certificate = parse(der)?;
        let names = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .ok_or_else(|| bad("no subject names"))?;
        let named: AgentId = names
            .value
            .general_names
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix(AGENT_URI),
                _ => None,
            })
            .ok_or_else(|| bad("not the certificate of an agent"))?
            .parse()
            .map_err(|_| bad("the agent id is malformed"))?;
        if named != agent_of_key(certificate.public_key().raw) {
            return Err(bad("the agent id is not that of the key"));
        }
        Ok(Self {
            agent: named,
            serial: serial(certificate.raw_serial())?,
            validity: validity(&certificate)?,
        })
    }
}

/// The validity of any certificate.
pub(crate) fn validity_of(der: &[u8]) -> Result<Validity, Error> {
    validity(&parse(der)?)
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(bad("malformed")),
    }
}

fn validity(certificate: &X509Certificate<'_>) -> Result<Validity, Error> {
    let at = |seconds: i64| u64::try_from(seconds).map(|s| Timestamp(s.saturating_mul(1_000_000)));
    let validity = certificate.validity();
    match (at(validity.not_before.timestamp()), at(validity.not_after.timestamp())) {
        (Ok(not_before), Ok(not_after)) => Ok(Validity { not_before, not_after }),
        _ => Err(bad("valid before 1970")),
    }
}

fn serial(bytes: &[u8]) -> Result<Serial, Error> {
    let significant = bytes.iter().position(|b| *b != 0).map_or(&[][..], |first| &bytes[first..]);
    if significant.len() > 16 {
        return Err(bad("the serial number is too long"));
    }
    Ok(Serial(significant.iter().fold(0, |n, b| n << 8 | u128::from(*b))))
}

/// The id of the agent that has this public key (subject public key info, DER): as long as it keeps the key, it keeps
/// the id, and nobody else can have it.
#[must_use]
pub fn agent_of_key(public_key_info: &[u8]) -> AgentId {
    let digest = blake3::derive_key("eyot 2026 agent id", public_key_info);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    AgentId(u128::from_be_bytes(id))
}

pub(crate) fn agent_uri(agent: AgentId) -> String {
    format!("{AGENT_URI}{agent}")
}

fn bad(what: &str) -> Error {
    Error::BadCertificate(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let validity = Validity {
            not_before: Timestamp(3_000_000),
            not_after: Timestamp(309_000_000),
        };
        // It was made at 303 s and lives for six seconds.
        for (now, left) in [
            (0, 307_000),
            (303_000_000, 4_000),
            (306_500_000, 500),
            (307_000_000, 0),
            (900_000_000, 0),
        ] {
            assert_eq!(validity.renew_in(Timestamp(now)), Millis(left), "at {now}");
        }
        assert!(validity.contains(Timestamp(309_000_000)) && !validity.contains(Timestamp(309_000_001)));
    }

    #[test]
    fn serials_are_read_whatever_their_padding() {
        assert_eq!(serial(&[0, 0x80]).unwrap(), Serial(0x80));
        assert_eq!(serial(&[0xff; 16]).unwrap(), Serial(u128::MAX));
        assert!(serial(&[1; 17]).is_err());
    }

    #[test]
    fn garbage_is_no_certificate() {
        for bytes in [&[][..], b"garbage", &[0x30; 40]] {
            assert!(Credential::read(bytes).is_err());
        }
    }
}
