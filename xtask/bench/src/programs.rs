//! Where the programs and components are that the figures are about. `cargo xtask bench` builds them and says so.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// A program of this workspace.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    found("EYOT_PROGRAMS", name)
}

/// A component of this workspace.
pub(crate) fn component(name: &str) -> Result<PathBuf> {
    found("EYOT_COMPONENTS", &format!("{name}.wasm"))
}

/// A folder on the disk that the target folder is on: a real disk, where the system's folder for temporary files may be
/// memory.
pub(crate) fn scratch() -> PathBuf {
    std::env::var_os("EYOT_PROGRAMS").map_or_else(std::env::temp_dir, PathBuf::from)
}

fn found(variable: &str, name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os(variable).with_context(|| format!("{variable} is not set; run this by `cargo xtask bench`"))?;
    let path = PathBuf::from(folder).join(name);
    ensure!(path.exists(), "`{}` is missing; run this by `cargo xtask bench`", path.display());
    Ok(path)
}
