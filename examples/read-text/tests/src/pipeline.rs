//! The tasks of the example, one after another, as the workflow joins them.

use crate::{AgentModels, Line};
use anyhow::{Context, Result, anyhow, bail};
use eyot_task::testing::Host;
use eyot_task::{Blob, Failure, Outputs, Task};
use eyot_task_find_text::FindTextTask;
use eyot_task_image::ImageTask;
use eyot_task_read_line::ReadLineTask;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the example's set-up put models and pictures.
#[derive(Clone, Debug, Deserialize)]
pub struct Files {
    pub pictures: Vec<PathBuf>,
    det: PathBuf,
    rec: PathBuf,
}

impl Files {
    /// Runs the set-up, which fetches only what is missing.
    ///
    /// # Errors
    /// What the set-up says: mostly that there is no network.
    pub fn fetched() -> Result<Self> {
        let script = example_folder().join("setup.py");
        let done = Command::new("python3")
            .arg(&script)
            .arg("--json")
            .output()
            .context("python3 does not start")?;
        if !done.status.success() {
            bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&done.stderr));
        }
        Ok(serde_json::from_slice(&done.stdout)?)
    }

    /// # Errors
    /// When there is no picture of that name.
    pub fn picture(&self, name: &str) -> Result<&Path> {
        let found = self.pictures.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
        found.map(PathBuf::as_path).ok_or_else(|| anyhow!("no picture named {name}"))
    }
}

/// The folder of the example.
#[must_use]
pub fn example_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// A picture that the example's first task made: what both readers see.
pub struct Picture {
    pub name: String,
    pub png: Vec<u8>,
    /// Format and size of the file that it was made of.
    pub source: Value,
    blob: Value,
}

/// Reads pictures with the example's tasks.
pub struct Reader {
    host: Host,
    det: Blob,
    rec: Blob,
}

impl Reader {
    /// # Errors
    /// When a model cannot be read from disk.
    pub fn new(files: &Files) -> Result<Self> {
        let host = Host::new().with_models(AgentModels::new());
        let model = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
        Ok(Self {
            det: host.blob(&model(&files.det)?),
            rec: host.blob(&model(&files.rec)?),
            host,
        })
    }

    /// Decodes a picture and changes it as `with` says.
    ///
    /// # Errors
    /// When the file is not there, or the task refuses it.
    pub fn picture(&self, name: &str, path: &Path, mut with: Value) -> Result<Picture> {
        with["image"] = json!(self.host.blob(&std::fs::read(path).with_context(|| path.display().to_string())?));
        let outputs = self.run::<ImageTask>(with)?;
        let blob: Blob = serde_json::from_value(outputs["image"].clone())?;
        Ok(Picture {
            name: name.to_owned(),
            png: blob.read_all(64 << 20)?,
            source: outputs["source"].clone(),
            blob: outputs["image"].clone(),
        })
    }

    /// All lines of a picture, in reading order, however unsure.
    ///
    /// # Errors
    /// What a task says.
    pub fn read(&self, picture: &Picture) -> Result<Vec<Line>> {
        let found = self.run::<FindTextTask>(json!({"image": picture.blob, "model": self.det}))?;
        let boxes = found["lines"].as_array().ok_or_else(|| anyhow!("`lines` is no list"))?;
        let lines = boxes.iter().map(|found| {
            let line = self.run::<ReadLineTask>(json!({"image": found["image"], "quad": found["quad"], "model": self.rec}))?;
            Ok(serde_json::from_value(Value::Object(line))?)
        });
        lines.collect()
    }

    fn run<T: Task>(&self, inputs: Value) -> Result<Outputs> {
        self.host
            .run::<T>(inputs)
            .map_err(|failure: Failure| anyhow!("{}: {failure:?}", T::describe().name))
    }
}
