//! The example's reading against that of the models' own Python package, as it is committed.

use anyhow::{Context, Result, bail};
use eyot_read_text_tests::{Expected, Files, Reader, check, digest, expected_file, pictures};
use serde_json::json;
use std::collections::BTreeMap;

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
                 `cargo xtask reference --bless`",
                picture.name,
                file.display()
            );
        }
    }
    println!("{}", check(&reader, &pictures, &expected)?);
    Ok(())
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
