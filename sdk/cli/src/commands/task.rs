//! `eyot task new|build|push|ls`

use crate::args::TaskCommand;
use crate::config::{Connection, file_fault};
use crate::exit::{Exit, Fault, Outcome};
use crate::output::Output;
use crate::paint::Paint;
use crate::table::{Align, Table, cell};
use crate::{human, siblings, source};
use eyot_client::ComponentSpec;
use eyot_model::api::ComponentView;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

mod template {
    include!(concat!(env!("OUT_DIR"), "/template.rs"));
}

const TARGET: &str = "wasm32-wasip2";

pub(crate) async fn task(to: &Connection, command: TaskCommand, output: Output) -> Outcome {
    match command {
        TaskCommand::New { name, dir, sdk } => new(&name, dir, sdk.as_deref(), output),
        TaskCommand::Build { dir } => {
            let files = build(&dir, output).await?;
            if output.is_json() {
                return output.json(&serde_json::json!({"components": files}));
            }
            files.iter().try_for_each(|file| output.line(file.display().to_string()))
        }
        TaskCommand::Push { path, name, version } => push(to, &path, name, version, output).await,
        TaskCommand::Ls => output.show(&to.client()?.components().await?, |list, paint| table(list, paint)),
    }
}

/// Fills the template in. Nothing that exists is overwritten.
fn new(name: &str, dir: Option<PathBuf>, sdk: Option<&Path>, output: Output) -> Outcome {
    let plain = name.strip_prefix("eyot/").unwrap_or(name);
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if plain.is_empty() || !plain.starts_with(|c: char| c.is_ascii_lowercase()) || !plain.chars().all(fits) || plain.len() > 64 {
        return Err(
            Fault::usage(format!("`{name}` is no name for a task")).help("use lower-case letters, digits and `-`, such as `count-words`")
        );
    }
    if template::FILES.is_empty() {
        return Err(Fault::local("this build of `eyot` came without the template of a task"));
    }
    let folder = dir.unwrap_or_else(|| PathBuf::from(plain));
    if folder.exists()
        && std::fs::read_dir(&folder)
            .map_err(|e| file_fault("read", &folder, e))?
            .next()
            .is_some()
    {
        return Err(Fault::local(format!("{} exists and is not empty", folder.display())));
    }
    let sdk = match sdk {
        Some(path) => std::fs::canonicalize(path).map_err(|e| file_fault("find", path, e))?,
        None => PathBuf::new(),
    };
    let dependency = if sdk.as_os_str().is_empty() {
        format!(
            "{{ git = {:?}, tag = \"v{}\" }}",
            env!("CARGO_PKG_REPOSITORY"),
            env!("CARGO_PKG_VERSION")
        )
    } else {
        let inner = sdk.join("sdk/task");
        let path = if inner.is_dir() { inner } else { sdk };
        format!("{{ path = {:?} }}", path.display().to_string())
    };
    for (file, text) in template::FILES {
        // Cargo would take a plain `Cargo.toml` in the SDK for a package of its own.
        let file = file
            .strip_suffix(".template")
            .or_else(|| file.strip_suffix(".tmpl"))
            .unwrap_or(file);
        let path = folder.join(file);
        let text = text
            .replace("{{name}}", plain)
            .replace("{{crate_name}}", &plain.replace('-', "_"))
            .replace("{{sdk}}", &dependency);
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|e| file_fault("write", &path, e))?;
    }
    if output.is_json() {
        return output.json(&serde_json::json!({"name": plain, "folder": folder}));
    }
    output.note(format!(
        "made {}; next: `eyot task build {0}`, then `eyot task push {0}`",
        folder.display()
    ));
    Ok(())
}

/// One line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles the folder's package and gives its components.
async fn build(dir: &Path, output: Output) -> Outcome<Vec<PathBuf>> {
    if !dir.join("Cargo.toml").is_file() {
        return Err(
            Fault::local(format!("{} is not the folder of a Rust task: it has no Cargo.toml", dir.display()))
                .help("`eyot task new NAME` makes one"),
        );
    }
    check_target(dir).await?;
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(dir)
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    if output.quiet {
        cargo.arg("--quiet");
    }
    cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let done = cargo
        .spawn()
        .map_err(missing_cargo)?
        .wait_with_output()
        .await
        .map_err(missing_cargo)?;
    if !done.status.success() {
        return Err(Fault::local(format!("cargo could not build {}", dir.display())));
    }
    let text = String::from_utf8_lossy(&done.stdout);
    let mut files: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .flat_map(|message| message.filenames)
        .filter(|file| file.extension().is_some_and(|end| end == "wasm"))
        .collect();
    files.dedup();
    if files.is_empty() {
        return Err(Fault::local(format!("{} builds, but makes no component", dir.display()))
            .help("its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`"));
    }
    Ok(files)
}

fn missing_cargo(error: std::io::Error) -> Fault {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let fault = Fault::new(Exit::Local, "cli.cargo", anyhow::Error::new(error).context("cannot run cargo"));
    if missing { fault.help("install Rust with rustup") } else { fault }
}

/// A missing target gives errors that name everything but the cause, so it is looked for first.
async fn check_target(dir: &Path) -> Outcome {
    let found = Command::new("rustc")
        .current_dir(dir)
        .args(["--print", "sysroot"])
        .stderr(Stdio::inherit())
        .output()
        .await;
    let found = found.map_err(missing_cargo)?;
    let root = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    if !found.status.success() || root.join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    Err(Fault::local(format!("this Rust cannot compile for {TARGET} yet")).help(format!("rustup target add {TARGET}")))
}

/// What `eyot-agent describe` prints, as far as the registry's entry needs it.
#[derive(Deserialize)]
struct Described {
    name: String,
    version: String,
}

async fn push(to: &Connection, path: &Path, name: Option<String>, version: Option<String>, output: Output) -> Outcome {
    let client = to.client()?;
    let file = if path.is_dir() {
        let mut files = build(path, output).await?;
        match (files.pop(), files.len()) {
            (Some(file), 0) => file,
            _ => return Err(Fault::usage(format!("{} makes several components: name one", path.display()))),
        }
    } else {
        path.to_owned()
    };
    let description = describe(&file).await?;
    let described: Described = serde_json::from_value(description.clone())
        .map_err(|error| anyhow::Error::new(error).context("`eyot-agent describe` printed something unexpected"))?;
    let (digest, size) = source::send(&client, &file, &output).await?;
    let component = ComponentSpec {
        name: name.unwrap_or(described.name),
        version: version.unwrap_or(described.version),
        digest,
        description,
    };
    let view = client.push_component(&component).await?;
    if output.is_json() {
        return output.json(&view);
    }
    output.note(format!("registered ({})", human::bytes(size)));
    output.line(format!("{}@{}", view.name, view.version))
}

/// What the component says of itself. It is asked in `eyot-agent`, where it runs confined as any task does.
async fn describe(file: &Path) -> Outcome<serde_json::Value> {
    if !file.is_file() {
        return Err(Fault::local(format!("there is no file {}", file.display())));
    }
    let agent = siblings::find("eyot-agent")?;
    let mut command = Command::new(&agent);
    command.arg("describe").arg(file).stdin(Stdio::null()).kill_on_drop(true);
    let done = command
        .output()
        .await
        .map_err(|error| anyhow::Error::new(error).context(format!("cannot run {}", agent.display())))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(Fault::new(
            Exit::Invalid,
            "component.unusable",
            anyhow::anyhow!("{} is not a task: {}", file.display(), cell(said.trim(), 1_000)),
        ));
    }
    serde_json::from_slice(&done.stdout).map_err(|error| {
        anyhow::Error::new(error)
            .context("`eyot-agent describe` printed something that is not JSON")
            .into()
    })
}

fn table(list: &[ComponentView], paint: Paint) -> String {
    let mut table = Table::new(&[
        ("COMPONENT", Align::Left),
        ("VERSION", Align::Left),
        ("SIZE", Align::Right),
        ("PUSHED", Align::Left),
        ("DIGEST", Align::Left),
    ]);
    for view in list {
        table.row(vec![
            cell(&view.name, 60),
            cell(&view.version, 32),
            human::bytes(view.size),
            human::age(view.pushed_at, human::now()),
            view.digest.to_string().chars().take(19).collect::<String>() + "…",
        ]);
    }
    if table.is_empty() { String::new() } else { table.render(paint, "") }
}
