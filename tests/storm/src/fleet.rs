//! Many agents at once: their identities, straight into the control plane's data, before it starts.

use anyhow::{Context, Result, bail};
use eyot_control::store::{AgentRecord, Change, Store};
use eyot_link::{AgentKey, Ca, Clock, Identity, Serial, SigningRequest};
use eyot_model::{Millis, Position};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::path::Path;
use std::sync::Arc;

/// The store in the control plane's data folder.
const DATABASE: &str = "eyot.db";
const LIFE: Millis = Millis(86_400_000);
/// Records in one commit.
const BATCH: usize = 500;
/// Descriptors that the program itself needs.
const OWN: u64 = 256;

/// Joins without the wire: signs with the control plane's own CA, and writes the records that joining would.
pub(crate) async fn enrol(data: &Path, agents: u32) -> Result<Vec<Arc<Identity>>> {
    let now = Clock::system().now();
    std::fs::create_dir_all(data)?;
    let ca = Ca::open_or_create(data, now)?;
    let store = Store::open(&data.join(DATABASE)).await?;
    let (mut identities, mut changes) = (Vec::new(), Vec::new());
    for n in 0..agents {
        let key = AgentKey::create()?;
        let request = SigningRequest::read(&key.signing_request()?)?;
        let not_after = now.after(LIFE);
        let chain = ca.sign(&request, Serial::random()?, now, not_after)?;
        changes.push(Change::PutAgent(Box::new(AgentRecord {
            id: key.agent(),
            name: format!("device-{n:05}"),
            joined_at: now,
            certificate_expires_at: not_after,
            revoked: false,
            draining: false,
            last_seen: None,
            profile: None,
            committed: Position::default(),
            incarnation: None,
        })));
        identities.push(Identity::new(key, chain)?);
        if changes.len() >= BATCH {
            store.commit(vec![], std::mem::take(&mut changes)).await?;
        }
    }
    store.commit(vec![], changes).await?;
    store.close().await;
    Ok(identities)
}

/// Each agent has a socket and a descriptor that tells of network changes.
pub(crate) fn allow_sockets(agents: u32) -> Result<()> {
    let wanted = u64::from(agents) * 3 + OWN;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        bail!(
            "{agents} agents need {wanted} descriptors, and this process may have {:?}: raise `ulimit -Hn`",
            limit.maximum
        );
    }
    limit.current = Some(wanted);
    setrlimit(Resource::Nofile, limit).context("cannot raise the number of descriptors")
}
