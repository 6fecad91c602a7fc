//! TLS of the HTTP listener, with certificates of the control plane's own CA that are renewed while it runs.

use crate::clock;
use eyot_link::{Ca, KeyedChain};
use eyot_model::{Millis, Timestamp};
use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Life of the listener's certificate.
const LIFE: Millis = Millis(90 * 86_400 * 1_000);
const CHECK_EVERY: Duration = Duration::from_secs(3_600);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the certificate of the HTTP listener cannot be made")]
    Certificate(#[from] eyot_link::Error),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

#[derive(Debug)]
struct Present(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// Accepts TLS for `names` (host names and addresses), and keeps the certificate young until `stop`.
pub(crate) fn acceptor(ca: Arc<Ca>, names: Vec<String>, stop: CancellationToken) -> Result<TlsAcceptor, Error> {
    let provider = Arc::new(ring::default_provider());
    let (first, mut renew_at) = make(&ca, &names, &provider)?;
    let present = Arc::new(Present(RwLock::new(first)));
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&present) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(CHECK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            if clock::wall() < renew_at {
                continue;
            }
            match make(&ca, &names, &provider) {
                Ok((next, at)) => {
                    *present.0.write() = next;
                    renew_at = at;
                    tracing::info!("the HTTP certificate was renewed");
                }
                Err(error) => tracing::error!(error = %crate::chain(&error), "the HTTP certificate was not renewed"),
            }
        }
    });
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn make(ca: &Ca, names: &[String], provider: &CryptoProvider) -> Result<(Arc<CertifiedKey>, Timestamp), Error> {
    let now = clock::wall();
    let KeyedChain { chain, key, .. } = ca.server_certificate(names, now, LIFE)?;
    let certified = CertifiedKey::from_der(chain, key, provider)?;
    Ok((Arc::new(certified), now.after(Millis(LIFE.0 / 3 * 2))))
}
