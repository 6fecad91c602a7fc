//! Where the control plane is and how to speak to it.

use crate::Error;
use reqwest::Url;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where `eyot-cloud serve --dev` listens.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:7340";

/// A bearer token. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().trim().to_owned())
    }

    /// The secret itself, for a header or a file of mode 0600.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a [`crate::Client`] is made from.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://host:port` or, on loopback, `http://127.0.0.1:port`.
    pub address: String,
    /// The socket of an agent that is asked in place of a control plane; the address has no part in it then.
    pub socket: Option<PathBuf>,
    pub token: Option<Token>,
    /// PEM of the control plane's CA. Given, it is the only one that is trusted; else the system's are.
    pub ca_pem: Option<String>,
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited; streams of events and blobs are not cut by it while they flow.
    pub read_timeout: Duration,
}

impl Options {
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            socket: None,
            token: None,
            ca_pem: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
        }
    }

    /// A control plane in development mode on this machine.
    #[must_use]
    pub fn local() -> Self {
        Self::new(DEFAULT_ADDRESS)
    }

    /// An agent on this machine, by its socket.
    #[must_use]
    pub fn agent(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: Some(socket.into()),
            ..Self::new("http://agent")
        }
    }

    /// The address, checked.
    ///
    /// # Errors
    /// When it is no `http` or `https` address, or a token would leave this machine in clear text.
    pub fn url(&self) -> Result<Url, Error> {
        let bad = |reason: &str| Error::BadAddress {
            address: self.address.clone(),
            reason: reason.to_owned(),
        };
        let mut url = Url::parse(self.address.trim()).map_err(|e| bad(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("it must begin with http:// or https://"));
        }
        if url.host_str().is_none() || !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it must be a host and a port, without a user"));
        }
        if url.scheme() == "http" && self.token.is_some() && !is_loopback(&url) {
            return Err(Error::ClearText {
                server: self.address.trim().to_owned(),
            });
        }
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        Ok(url)
    }
}

/// Whether the address never leaves this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_they_are_used() {
        for (address, token, ok) in [
            ("http://127.0.0.1:7340", false, true),
            ("http://127.0.0.1:7340", true, true),
            ("http://[::1]:7340", true, true),
            ("http://localhost:7340/", true, true),
            ("https://eyot.example:7340", true, true),
            ("http://eyot.example:7340", false, true),
            ("http://eyot.example:7340", true, false),
            ("http://127.0.0.1.example:7340", true, false),
            ("eyot.example:7340", false, false),
            ("ftp://eyot.example", false, false),
            ("https://user:word@eyot.example", false, false),
            ("", false, false),
        ] {
            let mut options = Options::new(address);
            options.token = token.then(|| Token::new("secret"));
            assert_eq!(options.url().is_ok(), ok, "{address}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let mut options = Options::local();
        options.token = Some(Token::new("  hush\n"));
        assert!(!format!("{options:?}").contains("hush"));
        assert_eq!(options.token.map(|t| t.reveal().to_owned()), Some("hush".to_owned()));
    }
}
