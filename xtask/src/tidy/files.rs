//! Sizes of files, docs of crates, and texts that do not belong into the tree.

use super::Findings;
use crate::command;
use crate::workspace::root;
use anyhow::Result;
use cargo_metadata::Metadata;
use std::path::Path;
use std::process::Command;

/// Lines of a Rust file.
const MANY_LINES: usize = 300;
const TOO_MANY_LINES: usize = 600;
/// Files over this size are data that should be fetched, in bytes.
const TOO_LARGE: u64 = 1 << 20;

pub(super) fn check(metadata: &Metadata, findings: &mut Findings) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(root())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    for name in command::read(&mut git)?.split('\0').filter(|name| !name.is_empty()) {
        one(name, findings);
    }
    for package in metadata.workspace_packages() {
        for target in &package.targets {
            let path = target.src_path.as_std_path();
            let documented = std::fs::read_to_string(path).is_ok_and(|text| opens_with_doc(&text));
            let root_file = ["lib.rs", "main.rs"].iter().any(|name| path.ends_with(name));
            if root_file && !documented {
                findings
                    .errors
                    .push(format!("{}: opens without a `//!` that says what it is for", shown(path)));
            }
        }
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn opens_with_doc(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty()))
}

fn one(name: &str, findings: &mut Findings) {
    let path = root().join(name);
    // A file that git still lists may be gone from the tree.
    let Ok(meta) = std::fs::metadata(&path) else { return };
    if meta.len() > TOO_LARGE {
        findings.errors.push(format!(
            "{name}: {} KiB; fetch large data in a set-up step instead",
            meta.len() / 1024
        ));
        return;
    }
    let Ok(text) = std::fs::read_to_string(&path) else { return };
    if name.ends_with(".rs") {
        let lines = text.lines().count();
        if lines > TOO_MANY_LINES {
            findings
                .errors
                .push(format!("{name}: {lines} lines; which second noun has appeared?"));
        } else if lines > MANY_LINES {
            findings.warnings.push(format!("{name}: {lines} lines"));
        }
    }
    if name.ends_with("Cargo.lock") {
        return;
    }
    for (at, line) in text.lines().enumerate() {
        if let Some(why) = alien(line) {
            findings.errors.push(format!("{name}:{}: {why}", at + 1));
        }
    }
}

/// Texts that are true on one machine only.
fn alien(line: &str) -> Option<&'static str> {
    // Taken apart, so that this file does not hold what it looks for.
    let homes = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Use", "rs/"),
        concat!("/wo", "rk/"),
    ];
    let registries = [
        concat!("crates", ".io/api"),
        concat!("index.crates", ".io"),
        concat!("pypi", ".org"),
        concat!("registry.", "npmjs", ".org"),
    ];
    let begins = |line: &str, at: usize| at == 0 || line[..at].ends_with(|c: char| c.is_whitespace() || "\"'`=(:".contains(c));
    if homes.iter().any(|home| line.match_indices(home).any(|(at, _)| begins(line, at))) {
        return Some("an absolute path of one machine");
    }
    if registries.iter().any(|registry| line.contains(registry)) {
        return Some("the host name of a package registry; the ordinary client knows it");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_says_what_it_is_for() {
        assert!(opens_with_doc("//! The engine.\n"));
        assert!(opens_with_doc("#![no_std]\n\n//! The engine.\n"));
        assert!(!opens_with_doc("//!\nfn main() {}"));
        assert!(!opens_with_doc("// The engine.\n"));
    }

    #[test]
    fn paths_of_one_machine_are_found_and_others_left_alone() {
        let home = concat!("/ho", "me/");
        assert!(alien(&format!("path = \"{home}anna/x\"")).is_some());
        assert!(alien(&format!("see ~{home}")).is_none());
        assert!(alien("https://docs.example/home/page").is_none());
    }
}
