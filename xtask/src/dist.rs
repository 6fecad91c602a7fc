//! `cargo xtask dist`: stripped programs, units and completions in `dist/`.

use crate::command;
use crate::workspace::{cargo, root, target_dir};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

const PROGRAMS: [&str; 3] = ["eyot", "eyot-cloud", "eyot-agent"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Link against this machine's C library even where a static build is possible
    #[arg(long)]
    dynamic: bool,
}

/// A file of the distribution.
#[derive(Debug, serde::Serialize)]
struct Made {
    file: String,
    bytes: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let musl = static_target().filter(|_| !args.dynamic);
    let built = build(musl.as_deref())?;
    let dist = root().join("dist");
    if dist.exists() {
        std::fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    let mut made = Vec::new();
    for program in PROGRAMS {
        let to = dist.join("bin").join(program);
        copy(&built.join(program), &to)?;
        command::run(&format!("stripping {program}"), Command::new("strip").arg("--strip-all").arg(&to))?;
        made.push(measure(&to)?);
    }
    for name in ["eyot-agent.service", "eyot-cloud.service"] {
        let to = dist.join("systemd").join(name);
        copy(&root().join("packaging/systemd").join(name), &to)?;
        made.push(measure(&to)?);
    }
    for (shell, name) in [("bash", "eyot.bash"), ("zsh", "_eyot"), ("fish", "eyot.fish")] {
        let text = command::read(Command::new(dist.join("bin/eyot")).args(["completions", shell]))?;
        let to = dist.join("completions").join(name);
        write(&to, &text)?;
        made.push(measure(&to)?);
    }
    for name in ["LICENSE", "README.md", "CHANGELOG.md"] {
        copy(&root().join(name), &dist.join(name))?;
        made.push(measure(&dist.join(name))?);
    }
    for file in &made {
        eprintln!("{:>9} KiB  {}", file.bytes.div_ceil(1024), file.file);
    }
    let linked = musl.unwrap_or_else(|| "this machine's C library".to_owned());
    eprintln!("linked against {linked}");
    if json {
        println!("{}", serde_json::json!({"ok": true, "linked": linked, "files": made}));
    }
    Ok(())
}

/// The musl target, if it and a C compiler for it are there: SQLite and the cryptography hold C code.
fn static_target() -> Option<String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let sysroot = command::read(Command::new("rustc").current_dir(root()).args(["--print", "sysroot"])).ok()?;
    let installed = Path::new(sysroot.trim()).join("lib/rustlib").join(&target).is_dir();
    if !installed || !command::exists("musl-gcc", "-dumpversion") {
        eprintln!("no static build: it needs `rustup target add {target}` and musl-gcc (package musl-tools)");
        return None;
    }
    Some(target)
}

fn build(target: Option<&str>) -> Result<std::path::PathBuf> {
    let Some(target) = target else {
        return crate::workspace::build_programs();
    };
    let mut cargo = cargo();
    cargo.args([
        "build",
        "--release",
        "--target",
        target,
        "-p",
        "eyot-cli",
        "-p",
        "eyot-control",
        "-p",
        "eyot-agent",
    ]);
    command::run(&format!("building for {target}"), &mut cargo)?;
    Ok(target_dir()?.join(target).join("release"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(to: &Path, text: &str) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

fn measure(file: &Path) -> Result<Made> {
    let bytes = std::fs::metadata(file)
        .with_context(|| format!("{} is not there", file.display()))?
        .len();
    let file = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    Ok(Made { file, bytes })
}
