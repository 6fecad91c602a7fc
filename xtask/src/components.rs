//! `cargo xtask components`: the standard tasks and those of the examples as WASM components.

use crate::command;
use crate::workspace::{cargo, metadata, root, target_dir};
use anyhow::{Context, Result};
use cargo_metadata::{CrateType, Package};
use std::path::{Path, PathBuf};

const TARGET: &str = "wasm32-wasip2";
/// The profile that makes them small, from the workspace's manifest.
const PROFILE: &str = "component";

/// A component on disk.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Component {
    /// Name of its folder.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) bytes: u64,
}

pub(crate) fn run(json: bool) -> Result<()> {
    let components = build()?;
    for component in &components {
        eprintln!("{:>9} KiB  {}", component.bytes / 1024, component.file.display());
    }
    if json {
        println!("{}", serde_json::json!({"ok": true, "components": components}));
    }
    Ok(())
}

/// Compiles them all to `<target>/components/<name>.wasm`.
pub(crate) fn build() -> Result<Vec<Component>> {
    add_target()?;
    let metadata = metadata(false)?;
    let packages: Vec<&Package> = metadata.packages.iter().filter(|package| is_task(package)).collect();
    let mut build = cargo();
    build.args(["build", "--profile", PROFILE, "--target", TARGET]);
    for package in &packages {
        build.args(["-p", &package.name]);
    }
    command::run("building the components", &mut build)?;
    let target = target_dir()?;
    let folder = target.join("components");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    packages.iter().map(|package| collect(package, &target, &folder)).collect()
}

fn collect(package: &Package, target: &Path, folder: &Path) -> Result<Component> {
    let library = package
        .targets
        .iter()
        .find(|t| t.crate_types.contains(&CrateType::CDyLib))
        .with_context(|| format!("{} makes no component", package.name))?;
    let made = target
        .join(TARGET)
        .join(PROFILE)
        .join(format!("{}.wasm", library.name.replace('-', "_")));
    let name = package
        .manifest_path
        .parent()
        .and_then(|p| p.file_name())
        .unwrap_or(&package.name)
        .to_owned();
    let file = folder.join(format!("{name}.wasm"));
    // Renamed into place: an agent may be reading the one before.
    let part = folder.join(format!("{name}.part"));
    let bytes = std::fs::copy(&made, &part).with_context(|| format!("{} was not made", made.display()))?;
    std::fs::rename(&part, &file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Component { name, file, bytes })
}

/// Packages below `tasks` and `examples`, and what the benchmark and the scenarios run, that make a component.
fn is_task(package: &Package) -> bool {
    let path = package.manifest_path.as_std_path();
    let below = ["tasks", "examples", "xtask/bench", "tests/scenarios"]
        .iter()
        .any(|folder| path.starts_with(root().join(folder)));
    below && package.targets.iter().any(|t| t.crate_types.contains(&CrateType::CDyLib))
}

/// Adds the WASM target to the toolchain where it is missing.
pub(crate) fn add_target() -> Result<()> {
    let rustc = || {
        let mut rustc = std::process::Command::new("rustc");
        rustc.current_dir(root());
        rustc
    };
    let sysroot = command::read(rustc().args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    let mut rustup = std::process::Command::new("rustup");
    rustup.current_dir(root()).args(["target", "add", TARGET]);
    command::run(&format!("adding the target {TARGET}"), &mut rustup)
}
