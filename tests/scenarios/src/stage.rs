//! The folder of a scenario, and what is told when it goes wrong.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// Last lines of each log that are told.
const TAIL: usize = 40;

/// Where a scenario plays. A scenario that ends before [`Stage::close`] is told with the tails of the logs.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    ended_well: bool,
}

impl Stage {
    /// # Errors
    /// When there is no folder for it.
    pub fn open() -> Result<Self> {
        // The system's folder for these, because an agent's socket needs a short path.
        let folder = tempfile::Builder::new()
            .prefix("eyot-scenario-")
            .tempdir()
            .context("cannot make a folder")?;
        Ok(Self { folder, ended_well: false })
    }

    /// A path in the folder of the scenario.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The scenario ended as it should.
    pub fn close(mut self) {
        self.ended_well = true;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.ended_well {
            return;
        }
        let Ok(files) = fs::read_dir(self.folder.path()) else { return };
        let mut logs: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|end| end == "log"));
        logs.sort();
        for log in logs {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(TAIL);
            let name = log.file_name().unwrap_or_default().display();
            eprintln!("---- the end of {name}\n{}", lines[from..].join("\n"));
        }
    }
}
