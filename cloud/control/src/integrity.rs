//! Whether the control plane's own files are what they were: checked at each start, before anything is served.

use crate::store::{self, Change, Store};
use eyot_link::Ca;
use eyot_model::Digest;

/// Name of the document with the digest of the CA's certificate.
const CA_DOCUMENT: &str = "ca-digest";

/// Compares the CA's certificate with the one that the store knows. Every agent pins it, so one that was changed must not
/// be served; the first one is noted.
///
/// # Errors
/// The digest that is known, where it is another; what the store reports.
pub(crate) async fn check_ca(store: &Store, ca: &Ca) -> Result<(), Error> {
    let found = ca.digest();
    match store.document(CA_DOCUMENT).await? {
        Some(known) if known == found.0 => Ok(()),
        Some(_) => Err(Error::OtherCa { found }),
        None => {
            let change = Change::PutDocument {
                name: CA_DOCUMENT,
                value: found.0.to_vec(),
            };
            Ok(store.commit(vec![], vec![change]).await?)
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "ca.pem is not the CA of this control plane (it has the digest {found}): it is damaged or was exchanged. Put ca.pem and ca-key.pem back from a back-up, as docs/disk.md says; with another CA every agent would have to join again"
    )]
    OtherCa { found: Digest },
    #[error(transparent)]
    Store(#[from] store::Error),
}
