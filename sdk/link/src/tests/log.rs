//! What the crate logs while the tests run, to see that refusals are told.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tracing_subscriber::fmt::MakeWriter;

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log {
        text: Arc::default(),
        changes: watch::Sender::new(()),
    };
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .with_writer(log.clone())
        .init();
    log
});

#[derive(Clone)]
struct Log {
    text: Arc<Mutex<String>>,
    changes: watch::Sender<()>,
}

pub(super) fn start() {
    LazyLock::force(&LOG);
}

pub(super) fn so_far() -> String {
    LOG.text.lock().unwrap().clone()
}

/// Waits for a line of level WARN that has all of these in it.
pub(super) async fn warned(parts: &[&str]) -> String {
    let mut changes = LOG.changes.subscribe();
    let found = async {
        loop {
            let line = {
                let text = LOG.text.lock().unwrap();
                text.lines()
                    .find(|line| line.contains("WARN") && parts.iter().all(|part| line.contains(part)))
                    .map(str::to_owned)
            };
            match line {
                Some(line) => return line,
                None => changes.changed().await.unwrap(),
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), found).await {
        Ok(line) => line,
        Err(_) => panic!("no log line with {parts:?} in:\n{}", so_far()),
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.text.lock().unwrap().push_str(&String::from_utf8_lossy(buf));
        self.changes.send_replace(());
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
