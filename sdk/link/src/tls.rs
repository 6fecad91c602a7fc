//! TLS 1.3 with client certificates, and who accepts whom.

use crate::clock::unix_time;
use crate::server::{Authority, Standing};
use crate::{Clock, Credential, Error, Identity};
use eyot_model::Digest;
use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme, version::TLS13,
};
use std::fmt;
use std::sync::Arc;

type TlsError = rustls::Error;

pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

pub(crate) fn roots_of(ca: &CertificateDer<'_>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    Ok(roots)
}

pub(crate) fn tls(error: impl fmt::Display) -> Error {
    Error::Crypto(error.to_string())
}

/// The server's certificate, exchanged while it runs.
pub(crate) struct ServerChain(RwLock<Arc<CertifiedKey>>);

impl ServerChain {
    pub(crate) fn new(chain: crate::KeyedChain) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(RwLock::new(certified(chain)?))))
    }

    pub(crate) fn replace(&self, chain: crate::KeyedChain) -> Result<(), Error> {
        *self.0.write() = certified(chain)?;
        Ok(())
    }
}

fn certified(chain: crate::KeyedChain) -> Result<Arc<CertifiedKey>, Error> {
    CertifiedKey::from_der(chain.chain, chain.key, &provider())
        .map(Arc::new)
        .map_err(tls)
}

impl fmt::Debug for ServerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerChain")
    }
}

impl ResolvesServerCert for ServerChain {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

/// The acceptor's side. No sessions are kept: every connection shows its certificate anew, so a revoked one is refused.
pub(crate) fn server_config(
    ca: &CertificateDer<'static>,
    chain: Arc<ServerChain>,
    authority: Arc<dyn Authority>,
    clock: Clock,
) -> Result<ServerConfig, Error> {
    let provider = Arc::new(provider());
    let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots_of(ca).map_err(tls)?), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(tls)?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock))
        .with_protocol_versions(&[&TLS13])
        .map_err(tls)?
        .with_client_cert_verifier(Arc::new(AgentVerifier { chains, authority }))
        .with_cert_resolver(chain);
    config.alpn_protocols = [eyot_wire::alpn::WORK, eyot_wire::alpn::RENEW, eyot_wire::alpn::JOIN]
        .map(<[u8]>::to_vec)
        .to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Accepts agents' certificates of the control plane's CA.
///
/// Which protocol a client asks for is not known here, so a certificate that is not valid at this time passes: the acceptor refuses it after
/// the handshake on every protocol but the one that renews it. A revoked one is refused here on all of them.
struct AgentVerifier {
    chains: Arc<dyn ClientCertVerifier>,
    authority: Arc<dyn Authority>,
}

impl fmt::Debug for AgentVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentVerifier")
    }
}

impl ClientCertVerifier for AgentVerifier {
    fn client_auth_mandatory(&self) -> bool {
        // A device that joins has no certificate yet.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        // The nearest moment at which it was or will be valid: the clock here may have been set. A certificate that is no
        // agent's is looked at as it is.
        let credential = Credential::read(end_entity);
        let at = match &credential {
            Ok(credential) => {
                let validity = credential.validity;
                now.max(unix_time(validity.not_before)).min(unix_time(validity.not_after))
            }
            Err(_) => now,
        };
        let verified = self.chains.verify_client_cert(end_entity, intermediates, at)?;
        let credential = credential.map_err(|_| CertificateError::ApplicationVerificationFailure)?;
        match self.authority.check(credential.agent, credential.serial) {
            Standing::Revoked => Err(CertificateError::Revoked.into()),
            Standing::Allowed | Standing::Unknown => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// The agent's side for work and renewal: knows its CA and shows its certificate.
pub(crate) fn agent_config(identity: Arc<Identity>, alpn: &[u8], clock: Clock) -> Result<ClientConfig, Error> {
    let pin = identity.ca_digest();
    let mut config = client_builder(pin, clock)?.with_client_cert_resolver(Arc::new(AgentCertificate(identity)));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The side of a device that joins: knows the digest of the CA, shows nothing.
pub(crate) fn join_config(ca: Digest, clock: Clock) -> Result<ClientConfig, Error> {
    let mut config = client_builder(ca, clock)?.with_no_client_auth();
    config.alpn_protocols = vec![eyot_wire::alpn::JOIN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn client_builder(ca: Digest, clock: Clock) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
    let provider = Arc::new(provider());
    let verifier = CloudVerifier {
        ca,
        provider: provider.clone(),
    };
    Ok(ClientConfig::builder_with_details(provider, Arc::new(clock))
        .with_protocol_versions(&[&TLS13])
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

#[derive(Debug)]
struct AgentCertificate(Arc<Identity>);

impl ResolvesClientCert for AgentCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Accepts the control plane whose CA certificate has the pinned digest: the server presents it after its own one, and
/// the chain is verified with that CA as the only root.
#[derive(Debug)]
struct CloudVerifier {
    ca: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for CloudVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let ca = intermediates
            .iter()
            .find(|der| Digest::of(der) == self.ca)
            .ok_or(CertificateError::UnknownIssuer)?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        // That the CA made it proves that it is not earlier than that, whatever this device's clock says.
        let now = match crate::certificate::validity_of(end_entity) {
            Ok(validity) => now.max(unix_time(validity.not_before)),
            Err(_) => return Err(CertificateError::BadEncoding.into()),
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(&leaf, &roots_of(ca)?, &[], now, algorithms)?;
        rustls::client::verify_server_name(&leaf, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
