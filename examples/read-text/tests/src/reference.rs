//! What the models' own Python package read, and how the example's reading has to compare with it.

use crate::{Comparison, Files, Line, MIN_SCORE, Picture, Reader, compare, example_folder};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// What the package read of one picture, and which picture that was.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Of the PNG that it was given.
    pub digest: String,
    pub lines: Vec<Line>,
}

/// The pictures of the demonstration, and the page again larger, standing on its side, and seen at an angle.
///
/// # Errors
/// When a file is missing or a task fails.
pub fn pictures(files: &Files, reader: &Reader) -> Result<Vec<Picture>> {
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

/// The committed reading of the package.
#[must_use]
pub fn expected_file() -> PathBuf {
    example_folder().join("expected/reference.json")
}

/// Of a picture as the package gets it.
#[must_use]
pub fn digest(png: &[u8]) -> String {
    eyot_model::Digest::of(png).to_string()
}

/// Compares picture by picture, gives the figures as text, and fails where they are too far apart.
///
/// # Errors
/// When a task fails, or what was read is not what the package read.
pub fn check(reader: &Reader, pictures: &[Picture], expected: &BTreeMap<String, Expected>) -> Result<String> {
    let mut told = String::new();
    let mut all = Comparison::default();
    for picture in pictures {
        let mut lines = reader.read(picture)?;
        lines.retain(|line| line.score >= MIN_SCORE);
        let reference = &expected
            .get(&picture.name)
            .with_context(|| format!("nothing expected of {}", picture.name))?
            .lines;
        let result = compare(&lines, reference);
        let _ = writeln!(
            told,
            "{:14} {:2} lines, reference {:2}, matched {:2}; characters alike {:.4}, boxes overlap {:.4}",
            picture.name,
            result.ours,
            result.reference,
            result.matched,
            result.mean_similarity(),
            result.mean_overlap()
        );
        for line in &lines {
            let _ = writeln!(told, "    {:.3} {}", line.score, line.text);
        }
        all = all.and(result);
    }
    let _ = writeln!(
        told,
        "all            {} lines, reference {}, matched {}; characters alike {:.4}, boxes overlap {:.4}",
        all.ours,
        all.reference,
        all.matched,
        all.mean_similarity(),
        all.mean_overlap()
    );
    ensure!(all.reference >= 15, "the reference read next to nothing");
    let few = all.ours.abs_diff(all.reference) as f64 <= 0.05 * all.reference as f64;
    ensure!(few, "{} lines, the reference has {}", all.ours, all.reference);
    ensure!(
        all.matched as f64 >= 0.95 * all.reference as f64,
        "only {} of {} lines matched",
        all.matched,
        all.reference
    );
    ensure!(all.mean_similarity() >= 0.95, "characters alike: {:.4}", all.mean_similarity());
    Ok(told)
}
