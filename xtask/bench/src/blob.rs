//! A large blob from agent to agent through a control plane's store, over real links and with real stores on disk.

use crate::figure::{Better, Figure, Sample, Target};
use crate::programs;
use anyhow::{Context, Result, ensure};
use eyot_blob::Store;
use eyot_link::{
    Admission, AgentKey, AgentLink, Authority, BlobPolicy, BlobService, Ca, Clock, CloudLink, Dialer, DialerOptions, Enrolment, Events,
    Identity, Live, Options, Peer, Serial, Server, SigningRequest, Standing, fetch, floor, push,
};
use eyot_model::{AgentId, Digest, Load, Millis};
use eyot_wire::{CloseCode, ToAgent, ToCloud};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 256 * MIB;
/// Of the blob whose transfer is cut, and how far it has come then.
const CUT_SIZE: u64 = 64 * MIB;
const CUT_AT: u64 = 24 * MIB;
/// Of the certificates.
const LIFE: Millis = Millis(3_600_000);
/// Transfers that are served at a time.
const TRANSFERS: usize = 8;

/// Everybody may do everything: what is measured is the way, not who may go it.
struct Open;

impl BlobPolicy for Open {
    fn may_read(&self, _: Peer, _: &Digest) -> bool {
        true
    }

    fn may_write(&self, _: Peer, _: &Digest, _: u64) -> Result<(), String> {
        Ok(())
    }
}

impl Authority for Open {
    fn check(&self, _: AgentId, _: Serial) -> Standing {
        Standing::Allowed
    }

    fn enrol<'a>(&'a self, _: Enrolment<'a>) -> eyot_link::Future<'a, Result<Admission, String>> {
        Box::pin(std::future::ready(Err("nobody joins a benchmark".to_owned())))
    }

    fn renew(&self, _: AgentId, _: Serial) -> eyot_link::Future<'_, Result<Admission, String>> {
        Box::pin(std::future::ready(
            Err("no benchmark is as long as a certificate's life".to_owned()),
        ))
    }
}

/// A control plane's end of the links.
struct Cloud {
    ca: Arc<Ca>,
    server: Server,
    store: Store,
}

/// An agent with a link to it. What comes in besides blobs is not looked at.
struct Agent {
    link: AgentLink,
    _events: Events<ToAgent>,
    _there: (CloudLink, Events<ToCloud>),
    _dialer: Dialer,
}

impl Cloud {
    fn start(store: Store) -> Result<Self> {
        let ca = Arc::new(Ca::create(Clock::system().now())?);
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), Arc::clone(&ca), Arc::new(Open), Options::default())?;
        Ok(Self { ca, server, store })
    }

    async fn link(&self) -> Result<Agent> {
        let key = AgentKey::create()?;
        let request = SigningRequest::read(&key.signing_request()?)?;
        let now = Clock::system().now();
        let chain = self.ca.sign(&request, Serial::random()?, now, now.after(LIFE))?;
        let options = DialerOptions {
            addresses: vec![self.server.local_addr()?.to_string()],
            load: watch::channel(Load::default()).1,
            steady: Clock::system(),
            clock: Clock::system(),
        };
        let mut dialer = Dialer::new(Identity::new(key, chain)?, options)?;
        let (here, there) = tokio::join!(dialer.dial(), self.server.accept());
        let Live { link, events } = here?;
        let there = there.context("the control plane's end is closed")?;
        BlobService::new(self.store.clone(), Arc::new(Open), TRANSFERS).attach(&there.link);
        Ok(Agent {
            link,
            _events: events,
            _there: (there.link, there.events),
            _dialer: dialer,
        })
    }
}

/// Three stores in folders of their own on the disk that is measured.
struct Places {
    folder: tempfile::TempDir,
}

impl Places {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("eyot-bench-").tempdir_in(programs::scratch())?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self, name: &str) -> Result<Store> {
        Ok(Store::open(self.path(name))?)
    }
}

/// Bytes that nothing can compress.
fn noise(len: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len)?];
    let mut word = std::process::id().into();
    for chunk in bytes.chunks_mut(8) {
        word = 6_364_136_223_846_793_005_u64
            .wrapping_mul(word)
            .wrapping_add(1_442_695_040_888_963_407);
        let mixed = (word ^ (word >> 29)).to_le_bytes();
        chunk.copy_from_slice(&mixed[..chunk.len()]);
    }
    Ok(bytes)
}

/// Seconds from the beginning of the push to the blob being durable at the agent that wanted it. The bytes are passed
/// on while they arrive.
async fn transfer(size: u64) -> Result<f64> {
    let places = Places::new()?;
    let (from, to) = (places.store("from")?, places.store("to")?);
    let digest = from.put_durable(&noise(size)?)?.digest;
    let cloud = Cloud::start(places.store("cloud")?)?;
    let (giver, taker) = (cloud.link().await?, cloud.link().await?);
    let start = Instant::now();
    let taking = async {
        cloud.store.appears(&digest).await?;
        anyhow::Ok(fetch(&taker.link, digest, &to, |_, _| {}).await?)
    };
    let (pushed, fetched) = tokio::join!(push(&giver.link, digest, &from), taking);
    let taken = start.elapsed().as_secs_f64();
    let (pushed, fetched) = (pushed?, fetched?);
    ensure!(pushed.moved == size && fetched.moved == size, "only a part of the blob was moved");
    Ok(taken)
}

/// Acknowledged bytes that move again after the link to the control plane is cut while an agent pushes.
async fn resent_by_push() -> Result<u64> {
    let places = Places::new()?;
    let from = places.store("from")?;
    let digest = from.put_durable(&noise(CUT_SIZE)?)?.digest;
    let cloud = Cloud::start(places.store("cloud")?)?;
    let agent = cloud.link().await?;
    let cut = async {
        let mut source = cloud.store.appears(&digest).await?;
        let there = source.ready(CUT_AT).await?;
        agent.link.close(CloseCode::Shutdown);
        anyhow::Ok(there)
    };
    let (pushed, acknowledged) = tokio::join!(push(&agent.link, digest, &from), cut);
    ensure!(pushed.is_err(), "the transfer ended before it was cut");
    let moved = push(&cloud.link().await?.link, digest, &from).await?.moved;
    Ok(moved.saturating_sub(CUT_SIZE - acknowledged?))
}

/// Acknowledged bytes that move again after an agent's link is cut while it fetches, and the agent starts anew.
async fn resent_by_fetch() -> Result<u64> {
    let places = Places::new()?;
    let cloud = Cloud::start(places.store("cloud")?)?;
    let digest = cloud.store.put_durable(&noise(CUT_SIZE)?)?.digest;
    let agent = cloud.link().await?;
    let mut acknowledged = 0;
    let fetched = fetch(&agent.link, digest, &places.store("to")?, |verified, _| {
        acknowledged = verified;
        if verified >= CUT_AT {
            agent.link.close(CloseCode::Shutdown);
        }
    })
    .await;
    ensure!(fetched.is_err(), "the transfer ended before it was cut");
    let moved = fetch(&cloud.link().await?.link, digest, &places.store("to")?, |_, _| {})
        .await?
        .moved;
    Ok(moved.saturating_sub(CUT_SIZE - acknowledged))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// (g).
pub(crate) fn figures() -> Vec<Figure> {
    let whole = || {
        let runtime = runtime()?;
        let floor = runtime.block_on(floor::relay(SIZE))?.as_secs_f64();
        let value = runtime.block_on(transfer(SIZE))?;
        Ok(Sample { value, floor: Some(floor) })
    };
    let cut = || {
        let runtime = runtime()?;
        let (push, fetch) = (runtime.block_on(resent_by_push())?, runtime.block_on(resent_by_fetch())?);
        #[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
        let value = push.max(fetch) as f64 / MIB as f64;
        Ok(Sample { value, floor: None })
    };
    vec![
        Figure {
            name: "blob.transfer",
            what: "a 256 MiB blob from agent to agent through the cloud, against the same bytes through a bare QUIC relay",
            unit: "s",
            better: Better::Less,
            target: Target::Ratio(2.0),
            run: Box::new(whole),
        },
        Figure {
            name: "blob.resent",
            what: "what of the acknowledged bytes moves again after a cut",
            unit: "MiB",
            better: Better::Less,
            target: Target::Value(1.0),
            run: Box::new(cut),
        },
    ]
}
