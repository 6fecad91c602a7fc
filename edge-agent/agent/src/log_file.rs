//! Lines that wait for the link, written down so that they outlive a restart where that is cheap: when the agent stops in
//! order, and now and then while there is no link. A kill loses the lines of the last minutes, and nothing else.

use crate::chain;
use crate::logs::Logs;
use eyot_model::Digest;
use eyot_wire::LogRecord;
use std::io;
use std::path::{Path, PathBuf};

const DIGEST: usize = 32;
/// Longer files are not ours.
const LONGEST: u64 = 256 << 20;

fn path(data: &Path) -> PathBuf {
    data.join("waiting-logs")
}

/// Takes up what an earlier process left, and removes the file. A damaged one is told, and its lines are lost.
pub(crate) fn load(data: &Path, logs: &Logs) {
    let path = path(data);
    match read(&path) {
        Ok(lines) => lines.into_iter().for_each(|line| logs.push(line)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => tracing::warn!(file = %path.display(), error = chain(&error), "log lines of tasks that waited for the link are lost"),
    }
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(file = %path.display(), %error, "log lines that were taken up may be sent twice");
    }
}

/// Writes down what waits, if that has changed.
pub(crate) fn save(data: &Path, logs: &Logs) {
    let Some(lines) = logs.to_keep() else { return };
    let path = path(data);
    let written = if lines.is_empty() {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    } else {
        write(&path, &lines)
    };
    if let Err(error) = written {
        tracing::warn!(file = %path.display(), %error, "log lines that wait for the link are not written down");
    }
}

fn read(path: &Path) -> io::Result<Vec<LogRecord>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if std::fs::metadata(path)?.len() > LONGEST {
        return Err(bad("it is too long"));
    }
    let bytes = std::fs::read(path)?;
    let (digest, body) = bytes.split_at_checked(DIGEST).ok_or_else(|| bad("it is too short"))?;
    if Digest::of(body).0 != digest {
        return Err(bad("it is damaged"));
    }
    postcard::from_bytes(body).map_err(io::Error::other)
}

fn write(path: &Path, lines: &[LogRecord]) -> io::Result<()> {
    let body = postcard::to_stdvec(lines).map_err(io::Error::other)?;
    let bytes = [&Digest::of(&body).0[..], &body].concat();
    let temporary = path.with_extension("new");
    // Not synced: lines are not worth it.
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;
    use eyot_model::{RunId, TaskIx, Timestamp};

    #[test]
    fn lines_outlive_a_restart_and_a_damaged_file_stops_nothing() {
        let data = tempfile::tempdir().unwrap();
        let logs = Logs::new(LogConfig::default());
        logs.push(LogRecord {
            run: RunId(1),
            path: eyot_model::Path::task(TaskIx(0)),
            attempt: 1,
            at: Timestamp(1),
            level: 3,
            message: "kept".into(),
        });
        save(data.path(), &logs);
        let again = Logs::new(LogConfig::default());
        load(data.path(), &again);
        assert_eq!(again.waiting().lines, 1);
        assert!(!path(data.path()).exists());
        save(data.path(), &again);
        let mut bytes = std::fs::read(path(data.path())).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path(data.path()), bytes).unwrap();
        let damaged = Logs::new(LogConfig::default());
        load(data.path(), &damaged);
        assert_eq!(damaged.waiting().lines, 0);
        assert!(!path(data.path()).exists());
    }
}
