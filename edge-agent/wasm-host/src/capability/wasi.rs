//! WASI, as much of it as languages need to start: an empty environment, no arguments, printed lines in the log, random
//! numbers, no files except a scratch folder where granted. No network of any kind.

use super::State;
use super::log::{Sink, Stream};
use crate::scratch::Scratch;
use bytes::Bytes;
use eyot_model::Grant;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, sink};
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::sync::filesystem::types;
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bindings::wasi::io::error;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

/// Where a guest finds its scratch folder.
const SCRATCH_PATH: &str = "/scratch";
/// How often the size of a scratch folder is looked at.
const SCRATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Most random bytes of one call.
const MAX_RANDOM_BYTES: u64 = 1 << 20;
/// Most bytes of one write to a printed stream.
const MAX_PRINT_BYTES: usize = 64 << 10;

/// WASI's part of an attempt, made when the guest first needs it.
#[derive(Default)]
pub(crate) struct Wasi {
    context: Option<WasiCtx>,
    scratch: Option<Scratch>,
    looked: Option<Instant>,
}

impl Wasi {
    /// Makes the private folder of an attempt that was granted one; it is removed with this value.
    pub(crate) fn with_scratch(&mut self, parent: &Path) -> io::Result<()> {
        self.scratch = Some(Scratch::make(parent)?);
        Ok(())
    }

    /// Bytes on disk that the attempt's private folder takes, if it is time to look again.
    pub(crate) fn scratch_bytes(&mut self) -> Option<io::Result<u64>> {
        let scratch = self.scratch.as_ref()?;
        let now = Instant::now();
        if self.looked.is_some_and(|last| now.duration_since(last) < SCRATCH_INTERVAL) {
            return None;
        }
        self.looked = Some(now);
        // The guest stands still meanwhile.
        Some(scratch.bytes())
    }
}

/// What [`link`] puts in.
pub(crate) const INTERFACES: [&str; 20] = [
    "wasi:clocks/wall-clock",
    "wasi:clocks/monotonic-clock",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:io/error",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:cli/exit",
    "wasi:cli/environment",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
];

pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let state: fn(&mut State) -> &mut State = |state| state;
    clocks::wall_clock::add_to_linker::<State, HasSelf<State>>(linker, state)?;
    clocks::monotonic_clock::add_to_linker::<State, HasSelf<State>>(linker, state)?;
    poll::add_to_linker::<State, HasSelf<State>>(linker, state)?;
    streams::add_to_linker::<State, HasSelf<State>>(linker, state)?;
    error::add_to_linker::<State, Table>(linker, |state| &mut state.table)?;
    random::random::add_to_linker::<State, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure::add_to_linker::<State, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    types::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    cli::exit::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::environment::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(linker, State::cli)
}

struct Table;

impl wasmtime::component::HasData for Table {
    type Data<'a> = &'a mut wasmtime::component::ResourceTable;
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self {
            wasi: Wasi { context, scratch, .. },
            table,
            log,
            grants,
            ..
        } = self;
        let ctx = context.get_or_insert_with(|| {
            let scratch = scratch.as_ref().filter(|_| grants.contains(&Grant::Scratch));
            build(log, scratch.map(Scratch::path))
        });
        WasiCtxView { ctx, table }
    }
}

fn build(log: &Arc<Sink>, scratch: Option<&Path>) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder
        .stdout(Printed(Arc::clone(log), Stream::Stdout))
        .stderr(Printed(Arc::clone(log), Stream::Stderr))
        .max_random_size(MAX_RANDOM_BYTES)
        .allow_blocking_current_thread(true);
    if let Some(path) = scratch
        && let Err(error) = builder.preopened_dir(path, SCRATCH_PATH, FsPerms::ReadWrite).map(drop)
    {
        tracing::warn!(%error, "scratch folder of an attempt cannot be opened; the task runs without");
    }
    builder.build()
}

/// A printed stream of the guest: its lines go to the log.
struct Printed(Arc<Sink>, Stream);

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    /// Unused: WASI 0.2 asks for [`Self::p2_stream`].
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(Arc::clone(&self.0), self.1))
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.print(self.1, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_PRINT_BYTES)
    }
}
