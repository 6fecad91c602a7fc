//! Files that appear in a folder. The folder is looked at again and again: that works on every file system, network
//! shares included, and needs no memory of what happened while the agent was down.

use super::{Listener, Missed, map, text, whole};
use eyot_model::{BlobForm, Digest, Millis, Timestamp, TriggerSource, Value};
use eyot_node::Happening;
use eyot_spec::FilePattern;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The pause after something that an operator has to mend.
const MEND: Duration = Duration::from_secs(5);

/// A file as it was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    size: u64,
    modified: Timestamp,
}

pub(super) async fn listen(listener: Listener, source: &TriggerSource, pattern: &str, settle: Millis) {
    let pattern = match FilePattern::parse(pattern) {
        Ok(pattern) => pattern,
        Err(error) => return listener.stands(Some(error.to_string())),
    };
    let folder = PathBuf::from(pattern.folder());
    let mut settling: HashMap<String, (Seen, Instant)> = HashMap::new();
    let mut full = false;
    loop {
        if !listener.allowed(source).await {
            tokio::time::sleep(MEND).await;
            continue;
        }
        // Before anything is copied: a file stays where it is, so nothing is missed.
        let room = listener.runtime.look(eyot_node::Node::may_submit);
        if let Err(error) = &room
            && !full
        {
            tracing::warn!(%error, trigger = listener.key.trigger, "files start no runs now; they wait");
        }
        full = room.is_err();
        if full {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let found = {
            let (folder, pattern) = (folder.clone(), pattern.clone());
            tokio::task::spawn_blocking(move || look(&folder, &pattern)).await
        };
        match found {
            Ok(Ok(files)) => {
                listener.stands(None);
                if pass(&listener, &folder, files, &mut settling, settle).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => listener.stands(Some(format!("`{}` cannot be looked at: {error}", folder.display()))),
            Err(error) => tracing::error!(%error, "folder was not looked at"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn look(folder: &std::path::Path, pattern: &FilePattern) -> std::io::Result<HashMap<String, Seen>> {
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A link could lead out of the folder.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() && pattern.matches(&name) {
            let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
            let nanos = u64::try_from(metadata.mtime_nsec()).unwrap_or(0);
            files.insert(
                name,
                Seen {
                    size: metadata.len(),
                    modified: Timestamp(seconds * 1_000_000 + nanos / 1_000),
                },
            );
        }
    }
    Ok(files)
}

/// Fires for what has settled. The error says that the trigger is gone.
async fn pass(
    listener: &Listener,
    folder: &std::path::Path,
    files: HashMap<String, Seen>,
    settling: &mut HashMap<String, (Seen, Instant)>,
    settle: Millis,
) -> Result<(), ()> {
    let known = |name: &str, seen: Seen| {
        listener.runtime.look(|node| {
            node.fires(&listener.key)
                .is_some_and(|fires| fires.has_file(name, seen.size, seen.modified))
        })
    };
    let gone: Vec<String> = listener.runtime.look(|node| {
        let names = node.fires(&listener.key).into_iter().flat_map(|fires| fires.file_names());
        names.filter(|name| !files.contains_key(*name)).map(str::to_owned).collect()
    });
    if !gone.is_empty() {
        listener.runtime.turn(|node, _| node.files_gone(&listener.key, &gone));
    }
    settling.retain(|name, _| files.contains_key(name));
    for (name, seen) in files {
        if known(&name, seen) {
            settling.remove(&name);
            continue;
        }
        let since = match settling.get(&name) {
            Some((before, since)) if *before == seen => *since,
            _ => {
                settling.insert(name, (seen, Instant::now()));
                continue;
            }
        };
        if since.elapsed() < settle.as_duration() {
            continue;
        }
        match take(listener, folder, &name, seen).await {
            Ok(()) => drop(settling.remove(&name)),
            Err(Missed::Gone) => return Err(()),
            Err(Missed::Later(why)) => tracing::warn!(why, name, trigger = listener.key.trigger, "a file starts no run now; trying again"),
        }
    }
    Ok(())
}

/// Brings a file into the store and fires.
async fn take(listener: &Listener, folder: &std::path::Path, name: &str, seen: Seen) -> Result<(), Missed> {
    let path = folder.join(name);
    let (runtime, from) = (Arc::clone(&listener.runtime), path.clone());
    let stored = tokio::task::spawn_blocking(move || copy(&runtime, &from)).await;
    let stored = stored
        .map_err(|error| Missed::Later(error.to_string()))?
        .map_err(|error| Missed::Later(format!("it cannot be read: {error}")))?;
    if stored.size != seen.size {
        return Err(Missed::Later("it changed while it was read".to_owned()));
    }
    let blob = stored.reference(BlobForm::Raw);
    let happening = Happening::File {
        name: name.to_owned(),
        size: seen.size,
        modified: seen.modified,
        content: blob.digest,
    };
    let event = map([
        ("source", text("file")),
        ("name", text(name)),
        ("path", text(path.to_string_lossy())),
        ("size", whole(seen.size)),
        ("modified", whole(seen.modified.as_millis())),
        ("file", Value::Blob(blob)),
    ]);
    listener.fire(happening, event).await
}

fn copy(runtime: &crate::runtime::Runtime, path: &std::path::Path) -> Result<eyot_blob::Stored, Box<dyn std::error::Error + Send + Sync>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    // Were it made a link meanwhile, it is not followed.
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut writer = runtime.blobs.writer(eyot_wire::BLOB_LIMIT);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        writer.append(&buffer[..read])?;
    }
    Ok(writer.finish_durable()?)
}

/// The digest of what a message says, for telling it from another.
pub(super) fn content_of(parts: &[&[u8]]) -> Digest {
    let mut whole = Vec::new();
    for part in parts {
        whole.extend((part.len() as u64).to_le_bytes());
        whole.extend(*part);
    }
    Digest::of(&whole)
}
