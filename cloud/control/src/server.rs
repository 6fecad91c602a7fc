//! The control plane as a whole: from a data folder to listening, and back.

use crate::access::{self, Access, Policy};
use crate::api::{self, App, Flood, Parts, Settings};
use crate::authority::Authority;
use crate::board::Board;
use crate::conductor::{Conductor, Handle, Input, Options, Planning};
use crate::config::ServeArgs;
use crate::disk::Disk;
use crate::fleet::Fleet;
use crate::grants::Grants;
use crate::retention::Retention;
use crate::store::Store;
use crate::tokens::Tokens;
use crate::{backup, clock, conductor, integrity, link, listener, store_id, tls, tokens};
use eyot_link::Ca;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Name of the file with the first API token, in the data folder.
pub const TOKEN_FILE: &str = "admin-token";
const LOCK_FILE: &str = "lock";
/// Blob transfers of all agents at a time.
const TRANSFERS: usize = 256;

/// Why a control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Settings(#[from] crate::config::Error),
    #[error("cannot use the data folder {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another control plane uses the data folder {0}")]
    InUse(PathBuf),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error(transparent)]
    Integrity(#[from] integrity::Error),
    #[error("the store's own number cannot be read or made")]
    StoreId(#[from] store_id::Error),
    #[error("the blob store cannot be opened")]
    Blobs(#[from] eyot_blob::Error),
    #[error("the link for agents cannot be set up")]
    Link(#[from] eyot_link::Error),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("TLS cannot be set up")]
    Tls(#[from] tls::Error),
    #[error("the first API token cannot be made")]
    Token(#[from] tokens::Error),
}

/// A control plane that runs. Dropped without [`Server::stop`], it loses nothing that it has acknowledged.
pub struct Server {
    http: SocketAddr,
    quic: SocketAddr,
    tls: bool,
    stop: CancellationToken,
    fatal: CancellationToken,
    conductor: Handle,
    looping: JoinHandle<()>,
    listening: JoinHandle<()>,
    links: Arc<eyot_link::Server>,
    serving: JoinHandle<()>,
    sweeping: JoinHandle<()>,
    timing: JoinHandle<()>,
    store: Store,
    _lock: File,
}

impl Server {
    /// Starts with these settings: opens everything, takes up the runs that had not ended, and listens.
    ///
    /// # Errors
    /// When the settings do not fit together, the folder is in use or damaged, or an address is taken.
    pub async fn start(args: ServeArgs) -> Result<Self, Error> {
        args.check()?;
        crate::metrics::recorder();
        let data = args.data.clone();
        let lock = open_folder(&data)?;
        clock::open(&data);
        let ca = Arc::new(Ca::open_or_create(&data, clock::wall())?);
        let store = Store::open(&data.join(backup::DATABASE)).await?;
        integrity::check_ca(&store, &ca).await?;
        let store_id = store_id::of(&store).await?;
        let blobs = eyot_blob::Store::open(data.join(backup::BLOBS))?;
        if !args.dev && tokens::ensure_admin(&store, &data.join(TOKEN_FILE)).await? {
            tracing::info!(file = %data.join(TOKEN_FILE).display(), "the first API token was made; it is in this file");
        }
        let fleet = Fleet::load(&store).await?;
        let board = Board::default();
        let access = Access::default();
        access.registered(store.components(None).await?.into_iter().map(|component| component.digest));
        let planning = Arc::new(Planning::new(store.document(conductor::DOCUMENT).await?));
        for agent in fleet.snapshot() {
            planning.set_speed(agent.profile.id, agent.profile.speed);
        }
        let grants = Grants::load(&store).await?;
        let (disk, fatal, stop) = (Disk::new(&data), CancellationToken::new(), CancellationToken::new());
        let options = Options {
            store: store.clone(),
            fleet: fleet.clone(),
            board: board.clone(),
            access: access.clone(),
            planning: Arc::clone(&planning),
            blobs: blobs.clone(),
            keep_succeeded: args.retention.keep_succeeded,
            keep_failed: args.retention.keep_failed,
            disk: disk.clone(),
            fatal: fatal.clone(),
        };
        let (conductor, looping) = Conductor::start(options).await?;
        let listen_error = |source| Error::Listen {
            address: args.listen_http,
            source,
        };
        let listener = TcpListener::bind(args.listen_http).await.map_err(listen_error)?;
        let http = listener.local_addr().map_err(listen_error)?;

        let authority = Authority {
            store: store.clone(),
            fleet: fleet.clone(),
            certificate_life: args.certificate_life,
        };
        let names = host_of(args.public_address.as_deref()).into_iter().collect();
        let options = eyot_link::Options {
            names,
            clock: eyot_link::Clock::new(clock::wall),
            ..eyot_link::Options::default()
        };
        let links = Arc::new(eyot_link::Server::bind(
            args.listen_quic,
            Arc::clone(&ca),
            Arc::new(authority),
            options,
        )?);
        let quic = links.local_addr()?;
        let policy = Policy {
            access: access.clone(),
            limits: access::upload_limits(args.limits.max_upload),
        };
        let agents = link::Links {
            store: store.clone(),
            fleet: fleet.clone(),
            grants: grants.clone(),
            access: access.clone(),
            conductor: conductor.clone(),
            planning: Arc::clone(&planning),
            blobs: eyot_link::BlobService::new(blobs.clone(), Arc::new(policy), TRANSFERS),
            heartbeat: args.heartbeat,
            uploads: access::upload_limits(args.limits.max_upload),
            store_id,
            greetings: link::greetings(),
        };
        let serving = tokio::spawn(link::serve(Arc::clone(&links), agents, stop.clone()));

        let backup = Arc::new(tokio::sync::Mutex::new(()));
        let retention = Retention {
            store: store.clone(),
            blobs: blobs.clone(),
            access: access.clone(),
            keep_uploads: args.retention.keep_uploads,
            every: args.retention.sweep_every,
            backup: Arc::clone(&backup),
        };
        let sweeping = tokio::spawn(retention.run(stop.clone()));
        let timing = tokio::spawn(clock::keep(stop.clone()));

        let app = App::new(Parts {
            tokens: Tokens::new(store.clone()),
            flood: Flood::new(args.limits.requests_per_sec),
            room: Arc::new(tokio::sync::Semaphore::new(args.limits.max_requests.max(1) as usize)),
            settings: Settings {
                dev: args.dev,
                data: data.clone(),
                request_timeout: args.request_timeout(),
                max_upload: args.limits.max_upload,
                agent_addresses: agent_addresses(&args, quic),
                ca: ca.digest(),
            },
            store: store.clone(),
            blobs,
            fleet,
            grants,
            access,
            board,
            conductor: conductor.clone(),
            planning,
            disk,
            backup,
            stop: stop.clone(),
        });
        let acceptor = match args.dev {
            true => None,
            false => Some(tls::acceptor(ca, http_names(&args, http), stop.clone())?),
        };
        let router = api::router(app);
        let bounds = listener::Bounds {
            connections: args.limits.max_connections.max(1) as usize,
            patience: listener::PATIENCE,
        };
        let listening = tokio::spawn(listener::serve(listener, acceptor, router, bounds, stop.clone()));
        tracing::info!(%http, %quic, data = %data.display(), dev = args.dev, "the control plane is up");
        Ok(Self {
            http,
            quic,
            tls: !args.dev,
            stop,
            fatal,
            conductor,
            looping,
            listening,
            links,
            serving,
            sweeping,
            timing,
            store,
            _lock: lock,
        })
    }

    /// Address of the HTTP API.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Address that agents connect to (UDP).
    #[must_use]
    pub fn quic_addr(&self) -> SocketAddr {
        self.quic
    }

    /// The API's URL without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.http)
    }

    /// Resolves when going on would be wrong: the store and the runs in memory have parted.
    pub async fn failed(&self) {
        self.fatal.cancelled().await;
    }

    /// Takes nothing new, commits what is under way, says goodbye to clients and agents, and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.listening.await;
        self.links.shutdown().await;
        let _ = self.serving.await;
        let _ = self.conductor.give(Input::Stop).await;
        let _ = self.looping.await;
        let _ = self.sweeping.await;
        let _ = self.timing.await;
        self.store.close().await;
        tracing::info!("the control plane has stopped");
    }
}

/// Makes the folder if need be, for this user alone, and takes it for this process.
fn open_folder(data: &Path) -> Result<File, Error> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |source| Error::Folder {
        path: data.to_owned(),
        source,
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    let lock = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data.join(LOCK_FILE))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse(data.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The host of `host:port`.
fn host_of(address: Option<&str>) -> Option<String> {
    let (host, _) = address?.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

/// Where agents are told to connect to.
fn agent_addresses(args: &ServeArgs, quic: SocketAddr) -> Vec<String> {
    if let Some(address) = &args.public_address {
        return vec![address.clone()];
    }
    if !quic.ip().is_unspecified() {
        return vec![quic.to_string()];
    }
    match machine_name() {
        Some(name) if !args.dev => vec![format!("{name}:{}", quic.port())],
        _ => vec![format!("127.0.0.1:{}", quic.port())],
    }
}

fn machine_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Names that the HTTP certificate is valid for.
fn http_names(args: &ServeArgs, http: SocketAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(args.http_names.iter().cloned());
    names.extend(host_of(args.public_address.as_deref()));
    names.extend(machine_name());
    if !http.ip().is_unspecified() {
        names.push(http.ip().to_string());
    }
    names.sort();
    names.dedup();
    names
}
