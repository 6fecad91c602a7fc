//! A flipped bit in each kind of file, on a device and on the control plane: noticed, named, and gotten over or refused.

use crate::SMALL;
use anyhow::{Context, Result, ensure};
use eyot_model::{Digest, Inputs};
use eyot_scenarios::{Cloud, Stage};
use std::fs;
use std::path::{Path, PathBuf};

/// Changes one bit in the `n`th of eight parts of a file.
fn flip(file: &Path, n: usize) -> Result<()> {
    let mut bytes = fs::read(file).with_context(|| format!("no {}", file.display()))?;
    ensure!(!bytes.is_empty(), "{} is empty", file.display());
    let at = bytes.len() * (n % 8) / 8;
    bytes[at] ^= 1 << (n % 8);
    Ok(fs::write(file, bytes)?)
}

/// The files under `folder` whose name the test says yes to, with their size.
fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, wanted));
        } else if path.file_name().and_then(|name| name.to_str()).is_some_and(wanted) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Where a kind of file lies on a device, and words of the line that names the damage, where each flip is one.
struct Kind {
    folder: &'static str,
    wanted: fn(&str) -> bool,
    says: &'static [&'static str],
}

const ON_A_DEVICE: [Kind; 9] = [
    Kind {
        folder: "journal",
        wanted: |name| name != "lock" && name != "reserve" && !name.ends_with(".damaged"),
        says: &[],
    },
    Kind {
        folder: "checkpoint",
        wanted: |name| name == "db",
        says: &[],
    },
    Kind {
        folder: "checkpoint",
        wanted: |name| name == "conf",
        says: &[],
    },
    Kind {
        folder: "blobs/blobs",
        wanted: |_| true,
        says: &[],
    },
    Kind {
        folder: "compiled",
        wanted: |name| name.ends_with(".code"),
        says: &[],
    },
    Kind {
        folder: ".",
        wanted: |name| name == "device.key",
        says: &["a file is damaged", "device.key"],
    },
    Kind {
        folder: ".",
        wanted: |name| name == "agent-key.pem",
        says: &["a file is damaged", "agent-key.pem"],
    },
    Kind {
        folder: ".",
        wanted: |name| name == "agent.pem",
        says: &["a file is damaged", "agent.pem"],
    },
    Kind {
        folder: "copies",
        wanted: |_| true,
        says: &["a copy is damaged"],
    },
];

#[tokio::test]
async fn an_agent_starts_and_works_whatever_file_is_damaged() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "edge").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(SMALL, Inputs::new()).await?;
    cloud.succeeded(run).await?;
    for (n, kind) in ON_A_DEVICE.iter().enumerate() {
        // In turn by a stop in order and by a kill: what is on disk differs.
        if n % 2 == 0 {
            agent.stop()?;
        } else {
            agent.kill()?;
        }
        let found = match kind.folder {
            "." => fs::read_dir(agent.data())?
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_file() && path.file_name().and_then(|n| n.to_str()).is_some_and(kind.wanted))
                .collect(),
            folder => files(&agent.data().join(folder), &kind.wanted),
        };
        ensure!(!found.is_empty(), "there is no file in {}", kind.folder);
        for (i, file) in found.iter().enumerate() {
            flip(file, n * 3 + i)?;
        }
        agent.start()?;
        if !kind.says.is_empty() {
            agent.says(kind.says).await?;
        }
        cloud.connected("edge").await?;
        let run = cloud.submit(SMALL, Inputs::new()).await?;
        cloud
            .succeeded(run)
            .await
            .with_context(|| format!("after damage in {}", kind.folder))?;
        agent.must_live()?;
    }
    // Without its copy, the key is lost: the agent runs all the same and says what to do.
    agent.stop()?;
    fs::remove_dir_all(agent.data().join("copies"))?;
    fs::write(agent.data().join("agent-key.pem"), "no key")?;
    agent.start()?;
    agent.says(&["join again with a token"]).await?;
    agent.must_live()?;
    agent.kill()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn a_control_plane_does_not_serve_from_damaged_files_and_says_what_to_do() -> Result<()> {
    let stage = Stage::open()?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    cloud.push_probe().await?;
    cloud.stop()?;
    let data = cloud.data().clone();
    for (name, words) in [
        ("eyot.db", &["eyot.db", "restore the last back-up"][..]),
        ("ca.pem", &["ca.pem", "damaged"]),
        ("ca-key.pem", &["damaged"]),
    ] {
        let path = data.join(name);
        let before = fs::read(&path)?;
        // In the header of the database, and amid the encoded bytes of the others.
        let at = if name == "eyot.db" { 20 } else { before.len() / 2 };
        let mut damaged = before.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged)?;
        ensure!(cloud.serve().await.is_err(), "it serves with a damaged {name}");
        cloud.says(words).await?;
        fs::write(&path, before)?;
        cloud.serve().await.with_context(|| format!("with {name} put back"))?;
        cloud.stop()?;
    }
    let blob = files(&data.join("blobs/blobs"), &|_| true).pop().context("no blob")?;
    let hex = [blob.parent().and_then(Path::file_name), blob.file_name()].map(|name| name.unwrap_or_default().to_string_lossy());
    let digest: Digest = format!("b3:{}", hex.concat()).parse()?;
    flip(&blob, 5)?;
    cloud.serve().await?;
    let to = stage.path("downloaded");
    let error = cloud
        .client()
        .download(&digest, &to, None)
        .await
        .err()
        .context("damaged bytes were served")?;
    ensure!(error.to_string().contains("damaged"), "{error}");
    cloud.push_probe().await?;
    cloud.client().download(&digest, &to, None).await?;
    cloud.stop()?;
    stage.close();
    Ok(())
}
