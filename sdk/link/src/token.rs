//! The one-time token with which a device joins.

use crate::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eyot_model::Digest;
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

const PREFIX: &str = "eyot-join-";
const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;
/// Longest token that is looked at, in characters.
const TEXT_LIMIT: usize = 4 << 10;
const ADDRESSES_LIMIT: usize = 16;

/// 256 random bits, shown to nobody. The control plane keeps only [`Secret::digest`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| Error::Crypto(e.to_string()))?;
        Ok(Self(bytes))
    }

    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What to store and look up instead of the secret. 256 random bits need no slow hash, and looking up a digest
    /// tells nothing about the secret by its timing.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(blake3::derive_key("eyot 2026 join token", &self.0))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// All that a device needs to join: where the control plane is, how to know it, and the secret.
///
/// Its text is `eyot-join-` and base64url, with a checksum: a mistyped token is told apart from a refused one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// `host:port` each, tried in turn. A host is a name, an IPv4 address, or an IPv6 address in brackets.
    pub addresses: Vec<String>,
    /// Digest of the control plane's CA certificate (DER).
    pub ca: Digest,
    pub secret: Secret,
}

impl JoinToken {
    /// The secret text; the only way to get it.
    ///
    /// # Errors
    /// [`Error::NoAddress`] if there is no address, or an address is empty or longer than 255 bytes, or there are more than 16.
    pub fn to_text(&self) -> Result<Zeroizing<String>, Error> {
        if self.addresses.is_empty() || self.addresses.len() > ADDRESSES_LIMIT {
            return Err(Error::NoAddress);
        }
        let mut bytes = Zeroizing::new(vec![VERSION]);
        bytes.extend(self.ca.0);
        bytes.extend(self.secret.expose());
        for address in &self.addresses {
            let len = u8::try_from(address.len()).ok().filter(|n| *n > 0).ok_or(Error::NoAddress)?;
            bytes.push(len);
            bytes.extend(address.as_bytes());
        }
        let sum = checksum(&bytes);
        bytes.extend(sum);
        Ok(Zeroizing::new(format!(
            "{PREFIX}{}",
            *Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes))
        )))
    }
}

impl FromStr for JoinToken {
    type Err = Error;

    /// White space around the token is ignored.
    fn from_str(text: &str) -> Result<Self, Error> {
        let body = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(Error::MistypedToken("it does not begin with `eyot-join-`"))?;
        if body.len() > TEXT_LIMIT {
            return Err(Error::MistypedToken("it is too long"));
        }
        let bytes = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(body)
                .map_err(|_| Error::MistypedToken("it has a character that no token has, or is cut off"))?,
        );
        let cut = Error::MistypedToken("it is cut off");
        let Some((content, sum)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
            return Err(cut);
        };
        if checksum(content) != *sum {
            return Err(Error::MistypedToken("a character is wrong or missing"));
        }
        let (Some(&version), Some(ca), Some(secret)) = (content.first(), array(content, 1), array(content, 33)) else {
            return Err(cut);
        };
        if version != VERSION {
            return Err(Error::MistypedToken("it is of another version of Eyot"));
        }
        let mut addresses = Vec::new();
        let mut rest = &content[65..];
        while let Some((len, tail)) = rest.split_first() {
            let (address, tail) = tail
                .split_at_checked(usize::from(*len))
                .ok_or(Error::MistypedToken("it is cut off"))?;
            let address = std::str::from_utf8(address).map_err(|_| Error::MistypedToken("an address in it is not text"))?;
            addresses.push(address.to_owned());
            rest = tail;
        }
        if addresses.is_empty() || addresses.len() > ADDRESSES_LIMIT {
            return Err(Error::MistypedToken("it names no address"));
        }
        Ok(Self {
            addresses,
            ca: Digest(ca),
            secret: Secret(secret),
        })
    }
}

fn array(bytes: &[u8], at: usize) -> Option<[u8; 32]> {
    bytes.get(at..at + 32)?.try_into().ok()
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut sum = [0; CHECKSUM_LEN];
    sum.copy_from_slice(&blake3::derive_key("eyot 2026 join token checksum", bytes)[..CHECKSUM_LEN]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> JoinToken {
        JoinToken {
            addresses: vec!["cloud.example:7443".into(), "[2001:db8::1]:7443".into()],
            ca: Digest::of(b"ca"),
            secret: Secret([7; 32]),
        }
    }

    #[test]
    fn a_token_reads_back_and_its_debug_hides_the_secret() {
        let text = token().to_text().unwrap();
        assert_eq!(format!("  {}\n", *text).parse::<JoinToken>().unwrap(), token());
        assert!(format!("{:?}", token()).contains("Secret(…)"));
        assert!(!format!("{:?}", token()).contains("7, 7"));
    }

    proptest! {
        #[test]
        fn a_mistyped_token_is_told(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_-]") {
            let text = token().to_text().unwrap().to_string();
            let at = PREFIX.len() + at.index(text.len() - PREFIX.len());
            let mut typed = text.clone();
            typed.replace_range(at..=at, &with);
            prop_assert!(typed == text || matches!(typed.parse::<JoinToken>(), Err(Error::MistypedToken(_))));
            prop_assert!(matches!(text[..at].parse::<JoinToken>(), Err(Error::MistypedToken(_))));
        }

        #[test]
        fn garbage_never_panics(text in ".{0,200}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("{PREFIX}{text}").parse::<JoinToken>();
        }
    }
}
