//! `cargo xtask deny`: licences, advisories, bans and sources of all dependencies, by `deny.toml`.

use crate::command;
use crate::workspace::cargo;
use anyhow::{Result, bail};

pub(crate) fn run(json: bool) -> Result<()> {
    if !command::exists("cargo-deny", "--version") {
        bail!("cargo-deny is not installed; `cargo install --locked cargo-deny` does it, in some minutes");
    }
    command::run("cargo deny", cargo().args(["deny", "--all-features", "check"]))?;
    if json {
        println!("{}", serde_json::json!({"ok": true}));
    }
    Ok(())
}
