//! Back-up and restore: one file with the store, the CA and every blob that something names.
//!
//! ```text
//! magic, then for each file: length of the name (u32), name, length (u64), bytes; a length of 0; BLAKE3 of all before
//! ```
//! Numbers are little endian. The store is copied first: a blob is always there before something names it.

use crate::clock;
use crate::store::{self, Store};
use crate::store_id;
use eyot_model::{Digest, Millis, Timestamp};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"EYOTBAK1";
const NAME_LIMIT: usize = 256;
/// Names of the files in the data folder.
pub(crate) const DATABASE: &str = "eyot.db";
pub(crate) const BLOBS: &str = "blobs";
const CA_FILES: [&str; 2] = ["ca.pem", "ca-key.pem"];
/// How far a restored store's epochs are ahead of those that were backed up. What agents did after the back-up was
/// acknowledged to them and is not in it, so all their work from then on must be done under new epochs.
const EPOCH_LEAP: i64 = 1_000_000;

/// What a back-up holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub blobs: u64,
    /// Of the whole file.
    pub bytes: u64,
}

/// Why there is no back-up, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the back-up cannot be written")]
    Write(#[source] io::Error),
    #[error("{0} is no back-up of a control plane")]
    NoBackup(PathBuf),
    #[error("the back-up {0} is cut off or damaged")]
    Damaged(PathBuf),
    #[error("{0} is not empty: restore into a new folder")]
    NotEmpty(PathBuf),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the blobs cannot be read or written")]
    Blobs(#[from] eyot_blob::Error),
    #[error("blob {0} is named by the store and is not there")]
    MissingBlob(Digest),
    #[error("the restored store is damaged: {0}")]
    Integrity(String),
    #[error("no random number can be had for the restored store")]
    Random(#[from] getrandom::Error),
}

impl Error {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// Backs a data folder up into a new file, whether or not a control plane serves it.
///
/// # Errors
/// When something cannot be read or written; no file is left then.
pub async fn save(data: &Path, to: &Path) -> Result<Summary, Error> {
    let store = Store::open(&data.join(DATABASE)).await?;
    let part = with_suffix(to, ".part");
    let summary = write(&store, data, &part).await;
    store.close().await;
    match summary {
        Ok(summary) => {
            fs::rename(&part, to).map_err(Error::file("rename to", to))?;
            Ok(summary)
        }
        Err(error) => {
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

/// Writes a back-up of an open store to `to`.
pub(crate) async fn write(store: &Store, data: &Path, to: &Path) -> Result<Summary, Error> {
    let copy = with_suffix(to, ".db");
    let _ = fs::remove_file(&copy);
    let written = async {
        store.copy_to(&copy).await?;
        // Of the copy, not of the store, which goes on changing.
        let copied = Store::open(&copy).await?;
        let named = copied.named_blobs(Timestamp(0)).await;
        copied.close().await;
        let (named, data, to, copy) = (named?, data.to_owned(), to.to_owned(), copy.clone());
        tokio::task::spawn_blocking(move || archive(&named, &data, &copy, &to))
            .await
            .map_err(|error| Error::Write(io::Error::other(error)))?
    }
    .await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(with_suffix(&copy, suffix));
    }
    written
}

fn archive(named: &std::collections::BTreeSet<Digest>, data: &Path, database: &Path, to: &Path) -> Result<Summary, Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        // It holds the CA's key.
        .mode(0o600)
        .open(to)
        .map_err(Error::file("create", to))?;
    let mut out = Hashing {
        inner: BufWriter::with_capacity(1 << 20, file),
        hasher: blake3::Hasher::new(),
        bytes: 0,
    };
    let mut summary = Summary::default();
    out.write_all(MAGIC).map_err(Error::Write)?;
    entry(&mut out, DATABASE, database)?;
    for name in CA_FILES {
        entry(&mut out, name, &data.join(name))?;
    }
    for digest in named {
        // Read by its path: a control plane that serves this folder has its blob store open, and only one process may.
        let hex = digest.to_hex();
        let places = [
            data.join(BLOBS).join("blobs").join(&hex[..2]).join(&hex[2..]),
            data.join(BLOBS).join("fresh").join(&hex),
        ];
        match places.iter().find(|path| path.exists()) {
            Some(path) => {
                entry(&mut out, &format!("{BLOBS}/{hex}"), path)?;
                summary.blobs += 1;
            }
            // An agent may not have sent an output that a run names yet: its owner has it.
            None => tracing::debug!(%digest, "a blob that is not here is not backed up"),
        }
    }
    out.write_all(&0_u32.to_le_bytes()).map_err(Error::Write)?;
    let hash = out.hasher.finalize();
    out.write_all(hash.as_bytes()).map_err(Error::Write)?;
    summary.bytes = out.bytes;
    let file = out.inner.into_inner().map_err(|error| Error::Write(error.into_error()))?;
    file.sync_all().map_err(Error::Write)?;
    Ok(summary)
}

fn entry(out: &mut impl Write, name: &str, path: &Path) -> Result<(), Error> {
    let mut file = File::open(path).map_err(Error::file("read", path))?;
    let length = file.metadata().map_err(Error::file("read", path))?.len();
    let name_len = u32::try_from(name.len()).unwrap_or(0);
    out.write_all(&name_len.to_le_bytes()).map_err(Error::Write)?;
    out.write_all(name.as_bytes()).map_err(Error::Write)?;
    out.write_all(&length.to_le_bytes()).map_err(Error::Write)?;
    let copied = io::copy(&mut (&mut file).take(length), out).map_err(Error::Write)?;
    if copied < length {
        return Err(Error::file("read", path)(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// Makes a data folder from a back-up. The whole file is verified before anything gets its place. Unfinished runs go on
/// under new epochs, and agents tell again what the back-up may lack of their own runs.
///
/// # Errors
/// When the file is no back-up or damaged, or the folder is not empty.
pub async fn restore(from: &Path, data: &Path) -> Result<Summary, Error> {
    if data.exists() && fs::read_dir(data).map_err(Error::file("read", data))?.next().is_some() {
        return Err(Error::NotEmpty(data.to_owned()));
    }
    let part = with_suffix(data, ".part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(Error::file("remove", &part))?;
    }
    let (source, folder) = (from.to_owned(), part.clone());
    let unpacked = tokio::task::spawn_blocking(move || {
        verify(&source)?;
        unpack(&source, &folder)
    })
    .await
    .map_err(|error| Error::Write(io::Error::other(error)))?;
    let restored = match unpacked {
        Ok(summary) => settle(&part).await.map(|()| summary),
        Err(error) => Err(error),
    };
    if restored.is_err() {
        let _ = fs::remove_dir_all(&part);
        return restored;
    }
    if data.exists() {
        fs::remove_dir(data).map_err(Error::file("replace", data))?;
    }
    fs::rename(&part, data).map_err(Error::file("rename to", data))?;
    restored
}

/// The whole file against the hash at its end.
fn verify(from: &Path) -> Result<(), Error> {
    let read = Error::file("read", from);
    let length = fs::metadata(from).map_err(read)?.len();
    let mut file = BufReader::with_capacity(1 << 20, File::open(from).map_err(Error::file("read", from))?);
    let Some(body) = length.checked_sub(32).filter(|body| *body >= MAGIC.len() as u64) else {
        return Err(Error::NoBackup(from.to_owned()));
    };
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(Error::file("read", from))?;
    if magic != *MAGIC {
        return Err(Error::NoBackup(from.to_owned()));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&magic);
    hasher
        .update_reader((&mut file).take(body - magic.len() as u64))
        .map_err(Error::file("read", from))?;
    let mut hash = [0; 32];
    file.read_exact(&mut hash).map_err(Error::file("read", from))?;
    if *hasher.finalize().as_bytes() != hash {
        return Err(Error::Damaged(from.to_owned()));
    }
    Ok(())
}

fn unpack(from: &Path, folder: &Path) -> Result<Summary, Error> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(Error::file("create", folder))?;
    let blobs = eyot_blob::Store::open(folder.join(BLOBS))?;
    let mut file = BufReader::with_capacity(1 << 20, File::open(from).map_err(Error::file("read", from))?);
    let mut summary = Summary {
        blobs: 0,
        bytes: fs::metadata(from).map_err(Error::file("read", from))?.len(),
    };
    let damaged = |_| Error::Damaged(from.to_owned());
    let mut digests = Vec::new();
    file.read_exact(&mut [0; 8]).map_err(damaged)?;
    loop {
        let mut four = [0; 4];
        file.read_exact(&mut four).map_err(damaged)?;
        let name_len = u32::from_le_bytes(four) as usize;
        if name_len == 0 {
            break;
        }
        if name_len > NAME_LIMIT {
            return Err(Error::Damaged(from.to_owned()));
        }
        let mut name = vec![0; name_len];
        file.read_exact(&mut name).map_err(damaged)?;
        let mut eight = [0; 8];
        file.read_exact(&mut eight).map_err(damaged)?;
        let length = u64::from_le_bytes(eight);
        let mut bytes = (&mut file).take(length);
        // Only names that a back-up has, so that no name leads out of the folder.
        match std::str::from_utf8(&name) {
            Ok(name) if name == DATABASE || CA_FILES.contains(&name) => {
                let path = folder.join(name);
                let mut out = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)
                    .map_err(Error::file("create", &path))?;
                io::copy(&mut bytes, &mut out).map_err(Error::file("write", &path))?;
                out.sync_all().map_err(Error::file("write", &path))?;
            }
            Ok(name) => {
                let wanted: Option<Digest> = name
                    .strip_prefix(BLOBS)
                    .and_then(|n| n.strip_prefix('/'))
                    .and_then(|hex| format!("b3:{hex}").parse().ok());
                let mut writer = blobs.writer(length);
                io::copy(&mut bytes, &mut writer).map_err(Error::Write)?;
                let stored = writer.finish()?;
                if Some(stored.digest) != wanted {
                    return Err(Error::Damaged(from.to_owned()));
                }
                digests.push(stored.digest);
                summary.blobs += 1;
            }
            Err(_) => return Err(Error::Damaged(from.to_owned())),
        }
    }
    blobs.sync(&digests)?;
    Ok(summary)
}

/// Looks the restored store over, and sets what has to be different in it.
async fn settle(folder: &Path) -> Result<(), Error> {
    let store = Store::open(&folder.join(DATABASE)).await?;
    let settled = async {
        let found = store.integrity().await?;
        if found != "ok" {
            return Err(Error::Integrity(found));
        }
        let before = store.epochs_before().await?;
        let mut changes = vec![
            store::Change::LeapEpochs { by: EPOCH_LEAP, before },
            store_id::anew()?,
            store::Change::Forget {
                before: clock::now(),
                now: clock::now().after(Millis(3_600_000)),
            },
        ];
        // What an agent had confirmed it may have been told to give up since.
        let agents = store.agents().await?.into_iter();
        changes.extend(agents.map(|agent| store::Change::DeploymentsUnconfirmed(agent.id)));
        store.commit(vec![], changes).await?;
        Ok(())
    }
    .await;
    store.close().await;
    settled
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

struct Hashing<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
