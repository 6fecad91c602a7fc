//! Compiling, seen from the agent: a child process does it, under limits and a time-out.

use crate::Error;
use crate::compile_child::{ARGUMENT, EXIT_COMPONENT, EXIT_FULL};
use eyot_model::Digest;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The program that compiles and what it may take. It must call [`crate::compile_child::main_if_asked`] first of all.
#[derive(Clone, Debug)]
pub struct Compiler {
    pub program: PathBuf,
    /// CPU time of all its threads, in seconds.
    pub cpu_secs: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Compiled code, in bytes.
    pub output_bytes: u64,
    /// From start to end.
    pub wall: Duration,
}

impl Compiler {
    /// This very program, executed again.
    ///
    /// # Errors
    /// Where the system cannot say what program this is.
    pub fn this_program() -> std::io::Result<Self> {
        Ok(Self::program(std::env::current_exe()?))
    }

    /// Another program: at most 10 minutes of CPU time, 2 GiB of memory, 1 GiB of code, 10 minutes.
    #[must_use]
    pub fn program(program: PathBuf) -> Self {
        Self {
            program,
            cpu_secs: 600,
            memory_bytes: 2 << 30,
            output_bytes: 1 << 30,
            wall: Duration::from_secs(600),
        }
    }

    /// Compiles the component at `wasm`, whose digest the child checks, into a new file at `out`.
    pub(crate) async fn compile(&self, digest: Digest, wasm: &Path, out: &Path) -> Result<(), Error> {
        let failed = |message: String| Error::Compile { digest, message };
        let child = Command::new(&self.program)
            .arg(ARGUMENT)
            .args([wasm, out])
            .args([
                digest.to_hex(),
                self.cpu_secs.to_string(),
                self.memory_bytes.to_string(),
                self.output_bytes.to_string(),
            ])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(format!("the compiler does not start: {e}")))?;
        let output = tokio::time::timeout(self.wall, child.wait_with_output())
            .await
            .map_err(|_| failed(format!("the compiler took longer than {:?}", self.wall)))?
            .map_err(|e| failed(format!("the compiler was lost: {e}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.code() == Some(EXIT_COMPONENT) {
            return Err(Error::Component { digest, message: said });
        }
        if output.status.code() == Some(EXIT_FULL) {
            return Err(Error::Cache {
                path: out.parent().unwrap_or(out).to_owned(),
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        Err(failed(format!("the compiler ended with {}: {said}", output.status)))
    }
}
