//! Where the programs and the component are that the scenarios run. `cargo xtask test` builds them and says where.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program of this workspace: in `EYOT_PROGRAMS`, else where cargo puts it.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("EYOT_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => target()?.join("release"),
    };
    let path = folder.join(name);
    ensure!(
        path.exists(),
        "`{}` is missing; `cargo xtask test` builds it, and `cargo build --release` too",
        path.display()
    );
    Ok(path)
}

/// The component of `tasks/probe`: in `EYOT_COMPONENTS`, else built here, once for all tests of a process.
///
/// # Errors
/// When it cannot be built.
pub fn component() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("EYOT_COMPONENTS") {
        let path = PathBuf::from(folder).join("probe.wasm");
        ensure!(path.exists(), "`{}` is missing; `cargo xtask components` builds it", path.display());
        return Ok(path);
    }
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let target = target()?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--profile", "component", "--target", "wasm32-wasip2"]);
    build
        .args(["-p", "eyot-task-probe", "--target-dir"])
        .arg(&target)
        .current_dir(root());
    let status = build.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the component of the scenarios does not build ({status})");
    }
    Ok(target.join("wasm32-wasip2/component/eyot_task_probe.wasm"))
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The target folder: this program is in `release` of it, or in `release/deps`, as tests are.
fn target() -> Result<PathBuf> {
    let this = std::env::current_exe().context("this program has no path")?;
    let release = this.ancestors().find(|folder| folder.ends_with("release"));
    let target = release
        .and_then(Path::parent)
        .context("this program is not where cargo puts programs")?;
    Ok(target.to_owned())
}
