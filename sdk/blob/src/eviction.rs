//! Keeping what nobody needs within bounds: the blobs that nothing names are a cache, and the least recently used go first.

use crate::{Error, Store, Swept, layout};
use eyot_model::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What is not known to be on disk yet may be the output of an attempt that still runs: it stays for this long after its last
/// use, unless an earlier process left it behind.
const FRESH_SPARE: Duration = Duration::from_secs(86_400);

/// What may go of that which nothing names.
pub(crate) struct Rule {
    pub(crate) keep_bytes: u64,
    pub(crate) free_bytes: u64,
    /// For what is durable.
    pub(crate) spare: Duration,
    /// For what is not.
    pub(crate) spare_fresh: Duration,
    /// Whether a blob that is read is in use: not where anybody may read anything for ever.
    pub(crate) readings_count: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Durable,
    Fresh,
    Partial,
}

struct Candidate {
    used: SystemTime,
    digest: Digest,
    size: u64,
    path: PathBuf,
    kind: Kind,
}

impl Store {
    /// Removes blobs, whole or partial, that are not in `live`, the least recently used first, until those that are left
    /// have at most `keep_bytes` together and at least `free_bytes` were freed. What was used within the last `spare` stays,
    /// and what arrives at the moment.
    ///
    /// A crash on the way leaves some of them removed and nothing else.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn evict(&self, live: &BTreeSet<Digest>, keep_bytes: u64, free_bytes: u64, spare: Duration) -> Result<Swept, Error> {
        let rule = Rule {
            keep_bytes,
            free_bytes,
            spare,
            spare_fresh: spare.max(FRESH_SPARE),
            readings_count: true,
        };
        self.remove_unnamed(live, &rule)
    }

    pub(crate) fn remove_unnamed(&self, live: &BTreeSet<Digest>, rule: &Rule) -> Result<Swept, Error> {
        let used = self.write_uses_down(rule.readings_count);
        let mut candidates = Vec::new();
        self.for_each_durable(|digest, size, path| {
            if !live.contains(&digest) {
                let used = used.get(&digest).copied().unwrap_or_else(|| last_write(path));
                candidates.push(Candidate {
                    used,
                    digest,
                    size,
                    path: path.to_owned(),
                    kind: Kind::Durable,
                });
            }
        })?;
        let fresh = self.inner.state.lock().fresh.clone();
        for (digest, size) in fresh.into_iter().filter(|(digest, _)| !live.contains(digest)) {
            let path = self.inner.layout.fresh(&digest);
            candidates.push(Candidate {
                used: used.get(&digest).copied().unwrap_or_else(|| last_write(&path)),
                digest,
                size,
                path,
                kind: Kind::Fresh,
            });
        }
        for path in layout::files_in(&self.inner.layout.root.join("partial"))? {
            if let Some(digest) = layout::digest_of_name(layout::name_of(&path))
                && !live.contains(&digest)
            {
                candidates.push(Candidate {
                    used: last_write(&path),
                    digest,
                    size: fs::metadata(&path).map_or(0, |m| m.len()),
                    path,
                    kind: Kind::Partial,
                });
            }
        }
        candidates.sort_by_key(|c| c.used);
        let mut left: u64 = candidates.iter().map(|c| c.size).sum();
        let mut swept = Swept::default();
        for candidate in candidates {
            if left <= rule.keep_bytes && swept.bytes >= rule.free_bytes {
                break;
            }
            if self.evict_one(&candidate, rule)? {
                left -= candidate.size;
                swept.removed += 1;
                swept.bytes += candidate.size;
            }
        }
        self.drop_orphans()?;
        Ok(swept)
    }

    /// Under the lock, so that whoever has just been told that the blob is here finds it.
    fn evict_one(&self, candidate: &Candidate, rule: &Rule) -> Result<bool, Error> {
        let digest = &candidate.digest;
        let mut state = self.inner.state.lock();
        let fresh = state.fresh.contains_key(digest);
        let spare = if fresh && !state.left_behind.contains(digest) {
            rule.spare_fresh
        } else {
            rule.spare
        };
        let uses = if rule.readings_count { &state.used } else { &state.claimed };
        let used = uses.get(digest).copied().unwrap_or(candidate.used);
        let young = SystemTime::now().duration_since(used).unwrap_or_default() < spare;
        // What became durable, or was put in anew, since it was listed is looked at next time.
        let moved = candidate.kind != Kind::Partial && fresh != (candidate.kind == Kind::Fresh);
        if young || moved || state.arriving.contains_key(digest) {
            return Ok(false);
        }
        match fs::remove_file(&candidate.path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("remove", &candidate.path)(e)),
        }
        if candidate.kind == Kind::Partial {
            state.verified.remove(digest);
            let _ = fs::remove_file(self.inner.layout.partial_outline(digest));
        } else {
            state.fresh.remove(digest);
            state.usage.remove(candidate.size);
            state.note_gone(digest);
            let _ = fs::remove_file(self.inner.layout.outline(digest));
        }
        Ok(true)
    }

    /// Gives each blob that was used since the last time the time of its use, so that the order outlives this process.
    fn write_uses_down(&self, readings_count: bool) -> BTreeMap<Digest, SystemTime> {
        let used = {
            let state = self.inner.state.lock();
            if readings_count {
                state.used.clone()
            } else {
                state.claimed.clone()
            }
        };
        for (digest, at) in &used {
            // Only an order: where it cannot be written, an older one counts after the next start.
            if let Ok(file) = File::open(self.inner.layout.blob(digest)) {
                let _ = file.set_modified(*at);
            }
        }
        let mut state = self.inner.state.lock();
        state
            .claimed
            .retain(|digest, at| used.get(digest).is_none_or(|written| written < at));
        if readings_count {
            state.used.retain(|digest, at| used.get(digest) != Some(at));
        } else {
            state.used.clear();
        }
        used
    }

    /// Outlines whose blob is gone.
    fn drop_orphans(&self) -> Result<(), Error> {
        for path in layout::files_in(&self.inner.layout.root.join("outlines"))? {
            let here = layout::digest_of_name(layout::name_of(&path)).is_some_and(|digest| self.is_here(&digest));
            if !here {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }
}

fn last_write(path: &std::path::Path) -> SystemTime {
    fs::metadata(path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}
