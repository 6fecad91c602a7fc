//! The example's reading against that of the models' own Python package.

use anyhow::{Context, Result, bail};
use eyot_read_text_tests::{Comparison, Files, Line, MIN_SCORE, Picture, Reader, compare, example_folder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// What the package read of one picture, and which picture that was.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Expected {
    /// Of the PNG that it was given.
    digest: String,
    lines: Vec<Line>,
}

/// The pictures of the demonstration, and the page again larger, standing on its side, and seen at an angle.
fn pictures(files: &Files, reader: &Reader) -> Result<Vec<Picture>> {
    let as_demonstrated = || json!({"resize": {"longest": 960}});
    let standing = json!({"crop": {"quad": [[0, 191], [0, 0], [384, 0], [384, 191]]}});
    let tilted = json!({"crop": {"quad": [[-20, -15], [400, 10], [415, 200], [-10, 185]]}, "resize": {"width": 800}});
    let wanted: [(&str, &str, Value); 7] = [
        ("page", "page", as_demonstrated()),
        ("text", "text", as_demonstrated()),
        ("coffee", "coffee", as_demonstrated()),
        ("rocket", "rocket", as_demonstrated()),
        ("page-large", "page", json!({"resize": {"width": 768}})),
        ("page-standing", "page", standing),
        ("page-tilted", "page", tilted),
    ];
    wanted
        .into_iter()
        .map(|(name, from, with)| reader.picture(name, files.picture(from)?, with))
        .collect()
}

fn expected_file() -> PathBuf {
    example_folder().join("expected/reference.json")
}

fn digest(png: &[u8]) -> String {
    eyot_model::Digest::of(png).to_string()
}

/// Compares picture by picture, prints the figures and checks them.
fn check(reader: &Reader, pictures: &[Picture], expected: &BTreeMap<String, Expected>) -> Result<()> {
    let mut all = Comparison::default();
    for picture in pictures {
        let mut lines = reader.read(picture)?;
        lines.retain(|line| line.score >= MIN_SCORE);
        let reference = &expected
            .get(&picture.name)
            .with_context(|| format!("nothing expected of {}", picture.name))?
            .lines;
        let result = compare(&lines, reference);
        println!(
            "{:14} {:2} lines, reference {:2}, matched {:2}; characters alike {:.4}, boxes overlap {:.4}",
            picture.name,
            result.ours,
            result.reference,
            result.matched,
            result.mean_similarity(),
            result.mean_overlap()
        );
        for line in &lines {
            println!("    {:.3} {}", line.score, line.text);
        }
        all = all.and(result);
    }
    println!(
        "all            {} lines, reference {}, matched {}; characters alike {:.4}, boxes overlap {:.4}",
        all.ours,
        all.reference,
        all.matched,
        all.mean_similarity(),
        all.mean_overlap()
    );
    assert!(all.reference >= 15, "the reference read next to nothing");
    let few = all.ours.abs_diff(all.reference) as f64 <= 0.05 * all.reference as f64;
    assert!(few, "{} lines, the reference has {}", all.ours, all.reference);
    assert!(
        all.matched as f64 >= 0.95 * all.reference as f64,
        "only {} of {} lines matched",
        all.matched,
        all.reference
    );
    assert!(all.mean_similarity() >= 0.95, "characters alike: {:.4}", all.mean_similarity());
    Ok(())
}

#[test]
fn reads_what_the_reference_read() -> Result<()> {
    let files = Files::fetched()?;
    let reader = Reader::new(&files)?;
    let pictures = pictures(&files, &reader)?;
    let file = expected_file();
    let expected: BTreeMap<String, Expected> =
        serde_json::from_slice(&std::fs::read(&file).with_context(|| file.display().to_string())?).context("expected/reference.json")?;
    for picture in &pictures {
        let known = expected.get(&picture.name).map(|e| e.digest.as_str());
        if known != Some(digest(&picture.png).as_str()) {
            bail!(
                "the picture {} is not the one that the reference read; make {} anew: \
                 `EYOT_BLESS=1 cargo test -p eyot-read-text-tests -- --ignored`",
                picture.name,
                file.display()
            );
        }
    }
    check(&reader, &pictures, &expected)
}

/// Runs the package itself. It makes a virtual environment of some hundred megabytes on first use.
#[test]
#[ignore = "installs and runs the reference package"]
fn reads_what_the_reference_reads_now() -> Result<()> {
    let files = Files::fetched()?;
    let reader = Reader::new(&files)?;
    let pictures = pictures(&files, &reader)?;
    let folder = std::env::temp_dir().join(format!("eyot-read-text-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut python = Command::new("python3");
    python.arg(example_folder().join("reference.py"));
    for picture in &pictures {
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
    let now: BTreeMap<String, Expected> = pictures
        .iter()
        .map(|picture| {
            let lines = read.remove(&picture.name).unwrap_or_default();
            let digest = digest(&picture.png);
            (picture.name.clone(), Expected { digest, lines })
        })
        .collect();
    if std::env::var_os("EYOT_BLESS").is_some() {
        std::fs::write(expected_file(), serde_json::to_string_pretty(&now)? + "\n")?;
    }
    check(&reader, &pictures, &now)
}

/// The broken picture is refused by the first task, with its reason.
#[test]
fn the_broken_picture_is_refused_with_a_reason() -> Result<()> {
    let files = Files::fetched()?;
    let reader = Reader::new(&files)?;
    let error = reader
        .picture("broken", files.picture("broken")?, json!({}))
        .err()
        .context("it was taken")?;
    assert_eq!(
        error.to_string(),
        "eyot/image: InvalidInput: the png picture is cut off: its end is missing"
    );
    Ok(())
}
