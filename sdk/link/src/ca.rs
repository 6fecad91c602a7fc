//! The control plane's own certificate authority.

use crate::certificate::{BACKDATE, Serial, Validity, agent_of_key, agent_uri};
use crate::{Error, file, transport};
use eyot_model::{AgentId, Digest, Millis, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// The name that every control plane certificate carries besides its own names, and that agents ask for: an agent
/// trusts the one CA, whatever address it reaches the control plane at.
pub const CLOUD_NAME: &str = "cloud.eyot.internal";
const CA_LIFE: Millis = Millis(25 * 365 * 86_400 * 1_000);
/// Longest signing request that is looked at, in bytes.
const REQUEST_LIMIT: usize = 8 << 10;
const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";

/// A certificate authority (ECDSA P-256): signs agents and the control plane itself, and nothing else.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    validity: Validity,
}

/// A chain (DER, leaf first, CA last) with its key.
pub struct KeyedChain {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub validity: Validity,
}

/// A signing request whose signature was verified. Nothing of it counts but the key.
pub struct SigningRequest {
    key: rcgen::PublicKey,
    agent: AgentId,
}

impl SigningRequest {
    /// # Errors
    /// [`Error::BadRequest`].
    pub fn read(der: &[u8]) -> Result<Self, Error> {
        if der.len() > REQUEST_LIMIT {
            return Err(Error::BadRequest("it is too long"));
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(|_| Error::BadRequest("it is malformed, or its signature is wrong"))?;
        let key = request.public_key;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(Error::BadRequest("its key is not of the kind ECDSA P-256"));
        }
        let info = key.subject_public_key_info();
        Ok(Self {
            agent: agent_of_key(&info),
            key,
        })
    }

    /// The agent that has this key.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.agent
    }
}

impl Ca {
    /// A new authority.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn create(now: Timestamp) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(crypto)?;
        let serial = Serial::random()?;
        // A name of its own, so that a certificate of another CA is told apart from a forged one of this CA.
        let name = format!("Eyot control plane CA {:08x}", serial.0 as u32);
        let mut params = params(&name, serial, now, CA_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(crypto)?.der().clone();
        Ok(Self {
            issuer: Issuer::new(params, key),
            validity: crate::certificate::validity_of(&certificate)?,
            certificate,
        })
    }

    /// Reads `ca.pem` and `ca-key.pem` from a folder, or makes them there. The key file has mode 0600.
    ///
    /// # Errors
    /// What the disk reports; [`Error::BadCertificate`] if the files are damaged, or only one of them is there.
    pub fn open_or_create(dir: &Path, now: Timestamp) -> Result<Self, Error> {
        match (dir.join(CERTIFICATE_FILE).exists(), dir.join(KEY_FILE).exists()) {
            // The key is written first: a key alone is what a crash left before the CA was ever used.
            (false, _) => {
                let ca = Self::create(now)?;
                ca.save(dir)?;
                Ok(ca)
            }
            _ => Self::load(dir),
        }
    }

    /// # Errors
    /// What the disk reports; [`Error::BadCertificate`] if the files are damaged.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let (certificate_path, key_path) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        let pem = fs::read(&certificate_path).map_err(Error::file("read", &certificate_path))?;
        let key = Zeroizing::new(fs::read_to_string(&key_path).map_err(Error::file("read", &key_path))?);
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| Error::BadCertificate("ca.pem is damaged".into()))?;
        let key = KeyPair::from_pem(&key).map_err(|_| Error::BadCertificate("ca-key.pem is damaged".into()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| Error::BadCertificate("ca.pem is damaged".into()))?;
        let validity = crate::certificate::validity_of(&certificate)?;
        Ok(Self {
            issuer,
            certificate,
            validity,
        })
    }

    /// # Errors
    /// What the disk reports.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let key = Zeroizing::new(self.issuer.key().serialize_pem());
        file::write_private(&dir.join(KEY_FILE), key.as_bytes())?;
        file::write_private(&dir.join(CERTIFICATE_FILE), pem("CERTIFICATE", &self.certificate).as_bytes())
    }

    /// DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What it signs ends with it at the latest.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// A secret of the control plane's links that is the same at every start.
    pub(crate) fn link_seed(&self) -> transport::Seed {
        let key = Zeroizing::new(self.issuer.key().serialize_der());
        transport::Seed::new(blake3::derive_key("eyot 2026 quic links", &key))
    }

    /// What join tokens pin.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// A new certificate with a new key for the control plane; also good for its HTTPS. `names` are host names and IP
    /// addresses.
    ///
    /// # Errors
    /// [`Error::BadCertificate`] if a name is neither.
    pub fn server_certificate(&self, names: &[String], now: Timestamp, valid_for: Millis) -> Result<KeyedChain, Error> {
        let key = KeyPair::generate().map_err(crypto)?;
        let not_after = now.after(valid_for).min(self.validity.not_after);
        let mut params = params("Eyot control plane", Serial::random()?, now, not_after.since(now));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in [CLOUD_NAME].into_iter().chain(names.iter().map(String::as_str)) {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(
                    name.try_into()
                        .map_err(|_| Error::BadCertificate(format!("`{name}` is neither a host name nor an IP address")))?,
                ),
            });
        }
        let leaf = params.signed_by(&key, &self.issuer).map_err(crypto)?.der().clone();
        let validity = crate::certificate::validity_of(&leaf)?;
        Ok(KeyedChain {
            chain: vec![leaf, self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            validity,
        })
    }

    /// A certificate for the agent that has the request's key: the chain, DER, leaf first. The caller has decided that
    /// the agent may have it, and chose a serial number that it keeps.
    ///
    /// # Errors
    /// If signing fails.
    pub fn sign(&self, request: &SigningRequest, serial: Serial, now: Timestamp, not_after: Timestamp) -> Result<Vec<Vec<u8>>, Error> {
        let not_after = not_after.min(self.validity.not_after);
        let mut params = params(&request.agent.to_string(), serial, now, not_after.since(now));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = agent_uri(request.agent)
            .try_into()
            .map_err(|_| Error::Crypto("agent id is not ASCII".into()))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        let leaf = params.signed_by(&request.key, &self.issuer).map_err(crypto)?;
        Ok(vec![leaf.der().to_vec(), self.certificate.to_vec()])
    }
}

fn params(name: &str, serial: Serial, now: Timestamp, valid_for: Millis) -> CertificateParams {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |t: Timestamp| epoch + Duration::from_secs(t.0 / 1_000_000);
    params.not_before = at(Timestamp(now.0.saturating_sub(BACKDATE.0 * 1_000)));
    params.not_after = at(now.after(valid_for));
    params.serial_number = Some(SerialNumber::from_slice(&serial.0.to_be_bytes()));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn crypto(error: rcgen::Error) -> Error {
    Error::Crypto(error.to_string())
}

/// PEM text of some DER.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|b| char::from(*b)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Credential;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn request(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn a_saved_ca_is_the_same_ca_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::open_or_create(dir.path(), NOW).unwrap();
        let again = Ca::open_or_create(dir.path(), NOW).unwrap();
        assert_eq!(ca.digest(), again.digest());
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nothing_of_a_request_counts_but_its_key() {
        let ca = Ca::create(NOW).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut wish = CertificateParams::new(["cloud.eyot.internal".to_owned()]).unwrap();
        wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let csr = wish.serialize_request(&key).unwrap();
        let request = SigningRequest::read(csr.der()).unwrap();
        assert_eq!(request.agent(), agent_of_key(&key.subject_public_key_info()));
        let until = NOW.after(Millis::from_secs(3_600));
        let chain = ca.sign(&request, Serial(77), NOW, until).unwrap();
        let credential = Credential::read(&chain[0]).unwrap();
        assert_eq!(credential.agent, request.agent());
        assert_eq!(credential.serial, Serial(77));
        assert_eq!(credential.validity.not_after, until);
        let text = String::from_utf8_lossy(&chain[0]).into_owned();
        assert!(!text.contains("cloud.eyot.internal"));
    }

    #[test]
    fn a_request_with_a_wrong_signature_is_refused() {
        let key = KeyPair::generate().unwrap();
        let mut csr = request(&key);
        let last = csr.len() - 1;
        csr[last] ^= 1;
        assert!(SigningRequest::read(&csr).is_err());
        assert!(SigningRequest::read(&vec![0x30; REQUEST_LIMIT + 1]).is_err());
        assert!(SigningRequest::read(b"").is_err());
    }
}
