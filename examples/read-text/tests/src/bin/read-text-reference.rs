//! Runs the models' own Python package on the example's pictures and compares what both read. `--bless` keeps the
//! package's reading as the expected one. `cargo xtask reference` is the way to run it.

#![allow(clippy::print_stdout)]

use anyhow::{Context, Result, bail};
use eyot_read_text_tests::{Expected, Files, Line, Picture, Reader, check, digest, example_folder, expected_file, pictures};
use std::collections::BTreeMap;
use std::process::Command;

fn main() -> Result<()> {
    let bless = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--bless") => true,
        Some(other) => bail!("`{other}` is not `--bless`"),
    };
    let files = Files::fetched()?;
    let reader = Reader::new(&files)?;
    let pictures = pictures(&files, &reader)?;
    let read = package(&pictures)?;
    if bless {
        std::fs::write(expected_file(), serde_json::to_string_pretty(&read)? + "\n")?;
    }
    print!("{}", check(&reader, &pictures, &read)?);
    Ok(())
}

/// What the package reads now. It makes a virtual environment of some hundred megabytes on first use.
fn package(pictures: &[Picture]) -> Result<BTreeMap<String, Expected>> {
    let folder = std::env::temp_dir().join(format!("eyot-read-text-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut python = Command::new("python3");
    python.arg(example_folder().join("reference.py"));
    for picture in pictures {
        let path = folder.join(format!("{}.png", picture.name));
        std::fs::write(&path, &picture.png)?;
        python.arg(path);
    }
    let done = python.output().context("python3 does not start");
    std::fs::remove_dir_all(&folder)?;
    let done = done?;
    if !done.status.success() {
        bail!("reference.py failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    let mut read: BTreeMap<String, Vec<Line>> = serde_json::from_slice(&done.stdout)?;
    let mut expected = |picture: &Picture| Expected {
        digest: digest(&picture.png),
        lines: read.remove(&picture.name).unwrap_or_default(),
    };
    Ok(pictures.iter().map(|picture| (picture.name.clone(), expected(picture))).collect())
}
