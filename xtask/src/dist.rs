//! `cargo xtask dist`: stripped programs, units and completions in `dist/`, packed for each target, with checksums.

use crate::command;
use crate::workspace::{cargo, root, target_dir};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 3] = ["eyot", "eyot-cloud", "eyot-agent"];
const SYSTEMD: [&str; 5] = [
    "eyot-agent.service",
    "eyot-agent.path",
    "eyot-cloud.service",
    "sysusers.conf",
    "tmpfiles.conf",
];
const CHECKSUMS: &str = "SHA256SUMS";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A target to build for; may be given again. This machine with a static C library if not given, or with its own
    /// where no musl compiler is installed
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
    /// Link against this machine's C library even where a static build is possible
    #[arg(long, conflicts_with = "targets")]
    dynamic: bool,
}

/// A file of the distribution.
#[derive(Debug, serde::Serialize)]
struct Made {
    file: String,
    bytes: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let host = host()?;
    let targets = match &*args.targets {
        [] if args.dynamic => vec![host.clone()],
        [] => vec![static_target().unwrap_or_else(|| host.clone())],
        named => named.to_vec(),
    };
    let dist = root().join("dist");
    if dist.exists() {
        std::fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    // Completions are made by a program that runs here, whatever the target is.
    let programs = crate::workspace::build_programs()?;
    let mut archives = Vec::new();
    for target in &targets {
        let built = if *target == host { programs.clone() } else { build(target)? };
        let folder = dist.join(name(target));
        fill(&folder, &built, &programs, target)?;
        archives.push(pack(&folder)?);
    }
    let sums = checksums(&dist, &archives)?;
    let made = archives
        .iter()
        .chain([&sums])
        .map(|file| measure(file))
        .collect::<Result<Vec<_>>>()?;
    for file in &made {
        eprintln!("{:>9} KiB  {}", file.bytes.div_ceil(1024), file.file);
    }
    if json {
        println!("{}", serde_json::json!({"ok": true, "targets": targets, "files": made}));
    }
    Ok(())
}

/// The target that programs are built for where none is named.
fn host() -> Result<String> {
    let text = command::read(Command::new("rustc").current_dir(root()).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what machine this is")?.to_owned())
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

/// The C compiler, which also links, and the program that strips, for another target than this machine.
fn tools(target: &str) -> Result<(&'static str, &'static str)> {
    let (compiler, strip) = match target {
        "x86_64-unknown-linux-musl" => ("musl-gcc", "strip"),
        "aarch64-unknown-linux-gnu" => ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-strip"),
        "aarch64-unknown-linux-musl" if std::env::consts::ARCH == "aarch64" => ("musl-gcc", "strip"),
        "aarch64-unknown-linux-musl" => ("aarch64-linux-musl-gcc", "aarch64-linux-musl-strip"),
        other => bail!("there is no recipe for `{other}`; add its C compiler to `tools` in xtask/src/dist.rs"),
    };
    if !command::exists(compiler, "-dumpversion") {
        bail!("`{compiler}` is not installed; {target} needs it for SQLite and the cryptography");
    }
    Ok((compiler, strip))
}

fn build(target: &str) -> Result<PathBuf> {
    let (compiler, _) = tools(target)?;
    let variable = target.replace('-', "_");
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--target", target, "-p", "eyot-unify"]);
    cargo.args(["-p", "eyot-cli", "-p", "eyot-control", "-p", "eyot-agent"]);
    cargo.env(format!("CC_{variable}"), compiler);
    cargo.env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), compiler);
    command::run(&format!("building for {target}"), &mut cargo)?;
    Ok(target_dir()?.join(target).join("release"))
}

/// `eyot-0.1.0-x86_64-unknown-linux-musl`
fn name(target: &str) -> String {
    format!("eyot-{}-{target}", env!("CARGO_PKG_VERSION"))
}

/// Everything that a machine needs, in one folder.
fn fill(folder: &Path, built: &Path, runnable: &Path, target: &str) -> Result<()> {
    let strip = if host()? == target { "strip" } else { tools(target)?.1 };
    for program in PROGRAMS {
        let to = folder.join("bin").join(program);
        copy(&built.join(program), &to)?;
        command::run(&format!("stripping {program}"), Command::new(strip).arg("--strip-all").arg(&to))?;
    }
    for file in SYSTEMD {
        copy(&root().join("packaging/systemd").join(file), &folder.join("systemd").join(file))?;
    }
    for (shell, file) in [("bash", "eyot.bash"), ("zsh", "_eyot"), ("fish", "eyot.fish")] {
        let text = command::read(Command::new(runnable.join("eyot")).args(["completions", shell]))?;
        write(&folder.join("completions").join(file), &text)?;
    }
    for file in ["LICENSE", "README.md", "CHANGELOG.md"] {
        copy(&root().join(file), &folder.join(file))?;
    }
    Ok(())
}

/// Packs a folder beside itself: the same files give the same bytes.
fn pack(folder: &Path) -> Result<PathBuf> {
    let (dist, name) = (
        folder.parent().context("dist is no folder")?,
        folder.file_name().context("the archive has no name")?,
    );
    let archive = dist.join(format!("{}.tar.gz", name.display()));
    let mut tar = Command::new("tar");
    tar.args([
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
        "--format=ustar",
    ]);
    tar.args(["--use-compress-program=gzip -n -9", "-C"])
        .arg(dist)
        .arg("-cf")
        .arg(&archive)
        .arg(name);
    command::run(&format!("packing {}", archive.display()), &mut tar)?;
    Ok(archive)
}

/// `SHA256SUMS`, as `sha256sum -c` reads it.
fn checksums(dist: &Path, archives: &[PathBuf]) -> Result<PathBuf> {
    let names = archives.iter().filter_map(|archive| archive.file_name());
    let text = command::read(Command::new("sha256sum").current_dir(dist).args(names))?;
    let file = dist.join(CHECKSUMS);
    write(&file, &text)?;
    Ok(file)
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
