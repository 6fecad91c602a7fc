//! `log`: lines of a task, from the interface of that name and from what it prints.

use super::State;
use crate::bindings::eyot::task::log::{Host, Level};
use crate::{LogLevel, Services};
use parking_lot::Mutex;
use std::sync::Arc;

/// Most lines and bytes that one attempt logs; then one line says so, and the rest is dropped.
const MAX_LINES: u32 = 10_000;
const MAX_BYTES: usize = 4 << 20;
const MAX_LINE_BYTES: usize = 8 << 10;
/// How much of the end of the standard error stream is kept to explain a trap.
const TAIL_BYTES: usize = 4 << 10;

/// Where all lines of an attempt come together.
pub(crate) struct Sink {
    services: Arc<dyn Services>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lines: u32,
    bytes: usize,
    /// What was printed since the last end of a line.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: Vec<u8>,
}

/// The two streams that a guest prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Sink {
    pub(crate) fn new(services: Arc<dyn Services>) -> Self {
        Self {
            services,
            inner: Mutex::default(),
        }
    }

    pub(crate) fn line(&self, level: LogLevel, message: &str) {
        self.send(&mut self.inner.lock(), level, message);
    }

    fn send(&self, inner: &mut Inner, level: LogLevel, message: &str) {
        if inner.lines > MAX_LINES {
            return;
        }
        let message = clip(message, MAX_LINE_BYTES);
        inner.lines += 1;
        inner.bytes += message.len();
        if inner.lines > MAX_LINES || inner.bytes > MAX_BYTES {
            inner.lines = MAX_LINES + 1;
            self.services
                .log(LogLevel::Warn, "the task has logged as much as it may; later lines are dropped");
        } else {
            self.services.log(level, message);
        }
    }

    /// Takes what the guest printed, line by line.
    pub(crate) fn print(&self, stream: Stream, bytes: &[u8]) {
        let mut inner = self.inner.lock();
        if stream == Stream::Stderr {
            inner.tail.extend_from_slice(bytes);
            let excess = inner.tail.len().saturating_sub(TAIL_BYTES);
            inner.tail.drain(..excess);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let pending = inner.pending(stream);
            pending.extend_from_slice(part);
            if part.ends_with(b"\n") || pending.len() >= MAX_LINE_BYTES {
                self.flush_line(&mut inner, stream);
            }
        }
    }

    fn flush_line(&self, inner: &mut Inner, stream: Stream) {
        let line = std::mem::take(inner.pending(stream));
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\n', '\r']);
        if !line.is_empty() {
            let level = match stream {
                Stream::Stdout => LogLevel::Info,
                Stream::Stderr => LogLevel::Warn,
            };
            self.send(inner, level, line);
        }
    }

    /// Sends what was printed without an end of line; called when the guest has ended.
    pub(crate) fn finish(&self) {
        let mut inner = self.inner.lock();
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !inner.pending(stream).is_empty() {
                self.flush_line(&mut inner, stream);
            }
        }
    }

    /// The end of what was printed to standard error.
    pub(crate) fn tail(&self) -> String {
        String::from_utf8_lossy(&self.inner.lock().tail).trim().to_owned()
    }
}

impl Inner {
    fn pending(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        };
        self.log.line(level, &message);
        Ok(())
    }
}

/// The beginning of a text, at most `max` bytes, cut between characters.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, max, expected) in [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("", 0, "")] {
            assert_eq!(clip(text, max), expected);
        }
    }
}
