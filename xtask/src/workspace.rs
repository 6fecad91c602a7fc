//! Where things are: the repository, the target folder, the packages.

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};
use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// What cargo knows of the workspace; with the whole graph of dependencies where it is asked for.
pub(crate) fn metadata(with_dependencies: bool) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    if !with_dependencies {
        command.no_deps();
    }
    command.exec().context("cargo metadata failed")
}

/// The target folder, `CARGO_TARGET_DIR` heeded.
pub(crate) fn target_dir() -> Result<PathBuf> {
    Ok(metadata(false)?.target_directory.into_std_path_buf())
}

/// The cargo that runs this, as somebody would call it by hand: what cargo tells xtask of its own package is nothing to what is
/// built. Some build scripts (`ring`) run again whenever it changes, and everything above them is compiled anew.
pub(crate) fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if of_package(&name) {
            command.env_remove(name);
        }
    }
    command
}

/// Compiles release programs and gives the folder that they are in. `eyot-unify` goes along so that no dependency is
/// compiled with two sets of features.
pub(crate) fn build_programs() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--release", "-p", "eyot-unify"]);
    for package in ["eyot-cli", "eyot-control", "eyot-agent"] {
        cargo.args(["-p", package]);
    }
    crate::command::run("building eyot, eyot-cloud and eyot-agent", &mut cargo)?;
    Ok(target_dir()?.join("release"))
}
