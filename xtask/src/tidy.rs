//! `cargo xtask tidy`: what the compiler does not check.

mod dependencies;
mod files;

use crate::workspace::metadata;
use anyhow::{Result, bail};

/// What tidy found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn run(json: bool) -> Result<()> {
    eprintln!("==> tidy");
    let mut findings = Findings::default();
    let metadata = metadata(true)?;
    dependencies::check(&metadata, &mut findings);
    files::check(&metadata, &mut findings)?;
    findings.warnings.iter().for_each(|text| eprintln!("warning: {text}"));
    findings.errors.iter().for_each(|text| eprintln!("error: {text}"));
    if json {
        let (errors, warnings) = (&findings.errors, &findings.warnings);
        println!(
            "{}",
            serde_json::json!({"ok": errors.is_empty(), "errors": errors, "warnings": warnings})
        );
    }
    if !findings.errors.is_empty() {
        bail!("tidy found {} errors", findings.errors.len());
    }
    Ok(())
}
