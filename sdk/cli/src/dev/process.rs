//! One child process: its output with its name before each line, and its end.

use crate::exit::{Fault, Outcome};
use crate::output::Output;
use crate::paint::clean;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a process may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Lines that are kept to explain an end.
const LAST_LINES: usize = 12;
/// Longest line that is shown, in bytes.
const LINE_LIMIT: usize = 16 << 10;

/// How processes are started and their lines shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spawn {
    pub(super) width: usize,
    pub(super) verbose: bool,
    pub(super) output: Output,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
    child: Child,
    last: Arc<Mutex<VecDeque<String>>>,
}

impl Spawn {
    /// Starts it in a process group of its own: Ctrl-C reaches this program alone, which then ends the others in order.
    pub(super) fn start(&self, name: &str, mut command: Command) -> Outcome<Process> {
        if std::env::var_os("EYOT_LOG").is_none() {
            command.env("EYOT_LOG", if self.verbose { "info" } else { "warn" });
        }
        command.env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| Fault::local(format!("cannot start {}: {error}", command.as_std().get_program().display())))?;
        let pid = child.id().ok_or_else(|| Fault::local(format!("{name} ended at once")))?;
        let last = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(out) = child.stdout.take() {
            self.show(name, out, &last);
        }
        if let Some(err) = child.stderr.take() {
            self.show(name, err, &last);
        }
        Ok(Process {
            name: name.to_owned(),
            pid,
            child,
            last,
        })
    }

    fn show(&self, name: &str, stream: impl AsyncRead + Unpin + Send + 'static, last: &Arc<Mutex<VecDeque<String>>>) {
        let output = self.output;
        let lead = output.note_paint.cyan(&format!("{name:<width$} |", width = self.width));
        let last = Arc::clone(last);
        tokio::spawn(async move {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
                line.truncate(LINE_LIMIT);
                let text = clean(String::from_utf8_lossy(&line).trim_end());
                line.clear();
                output.note(format!("{lead} {text}"));
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.len() == LAST_LINES {
                    last.pop_front();
                }
                last.push_back(text);
            }
        });
    }
}

impl Process {
    /// Why and how it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<Fault> {
        let status = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<String> = last.iter().cloned().collect();
        Some(super::ended_fault(&self.name, status, &last))
    }

    fn ask_to_stop(&self) {
        // The pid is ours until the child is waited for, which only happens here.
        if self.child.id().is_some()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may have ended in this instant.
            kill_process(pid, Signal::TERM).ok();
        }
    }
}

/// Asks all to stop, and kills those that do not.
pub(super) async fn stop_all(processes: &mut [Process]) {
    processes.iter().for_each(Process::ask_to_stop);
    for process in processes {
        if timeout(STOP_LIMIT, process.child.wait()).await.is_err() {
            drop(process.child.kill().await);
        }
    }
}

/// Runs a command to its end with a text on its standard input.
pub(super) async fn run_with_input(mut command: Command, input: &str, failure: &str) -> Outcome {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let cannot = |error: std::io::Error| Fault::local(format!("{failure}: {error}"));
    let mut child = command.spawn().map_err(cannot)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended before it read says why itself.
        drop(stdin.write_all(format!("{input}\n").as_bytes()).await);
    }
    let done = child.wait_with_output().await.map_err(cannot)?;
    if done.status.success() {
        return Ok(());
    }
    let said = clean(String::from_utf8_lossy(&done.stderr).trim());
    Err(Fault::local(format!("{failure} ({}): {said}", done.status)))
}
