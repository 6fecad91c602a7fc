//! Whether a stored certificate is still what its CA signed: a disk changes bits in silence.

use crate::tls::{provider, roots_of, tls};
use crate::{Error, Identity};
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use std::time::Duration;

impl Identity {
    /// Checks the signature of the present certificate. One that ran out is genuine all the same.
    ///
    /// # Errors
    /// [`Error::BadCertificate`] if it was changed since it was signed, [`Error::Crypto`] if it cannot be checked.
    pub fn check_genuine(&self) -> Result<(), Error> {
        let roots = Arc::new(roots_of(&self.ca()).map_err(tls)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(provider()))
            .build()
            .map_err(tls)?;
        // Any moment of its life will do.
        let at = UnixTime::since_unix_epoch(Duration::from_micros(self.credential().validity.not_after.0));
        let certified = self.certified();
        let leaf = certified.end_entity_cert().map_err(tls)?;
        verifier
            .verify_client_cert(leaf, &[], at)
            .map(drop)
            .map_err(|error| Error::BadCertificate(error.to_string()))
    }
}
