//! Who an agent is: its key and its certificate.

use crate::ca::{crypto, pem};
use crate::{Credential, Error, file};
use eyot_model::{AgentId, Digest};
use parking_lot::RwLock;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use zeroize::Zeroizing;

const KEY_FILE: &str = "agent-key.pem";
const CHAIN_FILE: &str = "agent.pem";

/// The private key of an agent (ECDSA P-256), made on the device; it never leaves it.
pub struct AgentKey {
    pair: KeyPair,
}

impl AgentKey {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn create() -> Result<Self, Error> {
        Ok(Self {
            pair: KeyPair::generate().map_err(crypto)?,
        })
    }

    /// Reads the key from a folder, or makes it there: on disk, mode 0600, before it is ever used.
    ///
    /// # Errors
    /// What the disk reports; [`Error::BadCertificate`] if the file is damaged.
    pub fn open_or_create(dir: &Path) -> Result<Self, Error> {
        if let Some(key) = Self::open(dir)? {
            return Ok(key);
        }
        let path = dir.join(KEY_FILE);
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let key = Self::create()?;
        file::write_private(&path, Zeroizing::new(key.pair.serialize_pem()).as_bytes())?;
        Ok(key)
    }

    /// The key that is in the folder, where there is one.
    ///
    /// # Errors
    /// When the file cannot be read, or is no key.
    pub fn open(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(KEY_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(Error::file("read", &path))?);
        let pair = KeyPair::from_pem(&text).map_err(|_| Error::BadCertificate(format!("{KEY_FILE} is damaged")))?;
        Ok(Some(Self { pair }))
    }

    /// The id of the agent that has this key.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        crate::agent_of_key(&self.pair.subject_public_key_info())
    }

    /// A signing request, DER, which proves the possession of the key.
    ///
    /// # Errors
    /// If signing fails.
    pub fn signing_request(&self) -> Result<Vec<u8>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.pair).map_err(crypto)?.der().to_vec())
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }
}

/// An agent's key and its current certificate chain. Shared by all that make connections: after [`Identity::replace`]
/// new connections use the new chain, those that live keep theirs.
pub struct Identity {
    key: AgentKey,
    current: RwLock<Current>,
    changes: watch::Sender<Credential>,
}

struct Current {
    chain: Vec<CertificateDer<'static>>,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// `chain` is DER, leaf first, the CA last.
    ///
    /// # Errors
    /// [`Error::BadCertificate`] if it is not a chain for this key.
    pub fn new(key: AgentKey, chain: Vec<Vec<u8>>) -> Result<Arc<Self>, Error> {
        let (current, credential) = certify(&key, chain)?;
        Ok(Arc::new(Self {
            key,
            current: RwLock::new(current),
            changes: watch::Sender::new(credential),
        }))
    }

    /// Reads what [`AgentKey::open_or_create`] and [`Identity::save`] wrote; None if this device has not joined.
    ///
    /// # Errors
    /// What the disk reports; [`Error::BadCertificate`] if a file is damaged.
    pub fn load(dir: &Path) -> Result<Option<Arc<Self>>, Error> {
        let path = dir.join(CHAIN_FILE);
        if !path.exists() || !dir.join(KEY_FILE).exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(Error::file("read", &path))?;
        let chain = CertificateDer::pem_slice_iter(&text)
            .map(|der| der.map(|der| der.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::BadCertificate(format!("{CHAIN_FILE} is damaged")))?;
        Self::new(AgentKey::open_or_create(dir)?, chain).map(Some)
    }

    /// Writes the chain, atomically and synced. The key is written too if it is not there.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        if !dir.join(KEY_FILE).exists() {
            let key = Zeroizing::new(self.key.pair.serialize_pem());
            file::write_private(&dir.join(KEY_FILE), key.as_bytes())?;
        }
        let text: String = self.current.read().chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
        file::write_private(&dir.join(CHAIN_FILE), text.as_bytes())
    }

    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.credential().agent
    }

    /// Serial number and validity of the present certificate.
    #[must_use]
    pub fn credential(&self) -> Credential {
        *self.changes.borrow()
    }

    /// Sees each new certificate: a task that saves and one that renews can wait here.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Credential> {
        self.changes.subscribe()
    }

    /// Digest of the CA certificate that the control plane is known by.
    #[must_use]
    pub fn ca_digest(&self) -> Digest {
        Digest::of(&self.ca())
    }

    /// # Errors
    /// If signing fails.
    pub fn signing_request(&self) -> Result<Vec<u8>, Error> {
        self.key.signing_request()
    }

    /// Takes a renewed chain. It must be for this key and of the same CA.
    ///
    /// # Errors
    /// [`Error::BadCertificate`].
    pub fn replace(&self, chain: Vec<Vec<u8>>) -> Result<Credential, Error> {
        let (current, credential) = certify(&self.key, chain)?;
        if current.chain.last().is_none_or(|ca| *ca != self.ca()) {
            return Err(Error::BadCertificate("it is of another CA".into()));
        }
        *self.current.write() = current;
        self.changes.send_replace(credential);
        Ok(credential)
    }

    pub(crate) fn ca(&self) -> CertificateDer<'static> {
        // `certify` makes sure that a chain has at least two certificates.
        self.current
            .read()
            .chain
            .last()
            .cloned()
            .unwrap_or_else(|| CertificateDer::from(Vec::new()))
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.current.read().certified.clone()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.credential()).finish()
    }
}

fn certify(key: &AgentKey, chain: Vec<Vec<u8>>) -> Result<(Current, Credential), Error> {
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    let [leaf, _, ..] = chain.as_slice() else {
        return Err(Error::BadCertificate("a certificate and its CA's are needed".into()));
    };
    let credential = Credential::read(leaf)?;
    if credential.agent != key.agent() {
        return Err(Error::BadCertificate("it is not for this device's key".into()));
    }
    let certified = CertifiedKey::from_der(chain.clone(), key.private_key(), &crate::tls::provider())
        .map_err(|e| Error::BadCertificate(e.to_string()))?;
    Ok((
        Current {
            chain,
            certified: Arc::new(certified),
        },
        credential,
    ))
}
