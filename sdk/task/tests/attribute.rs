//! What the attribute makes of a function, called with JSON as an agent calls it.

use eyot_task::prelude::*;
use eyot_task::testing::Host;
use eyot_task::{FailureKind, Task};
use serde_json::json;
use std::collections::BTreeMap;

#[eyot_task::data]
#[derive(Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Fit,
    Fill,
}

#[eyot_task::data]
pub struct Resized {
    /// The new picture.
    image: Blob,
    width: u32,
    quality: u8,
    mode: Mode,
    tags: Vec<String>,
    note: Option<String>,
}

/// Resizes a picture.
#[eyot_task::task(version = "1.2.0", deterministic, needs("inference"))]
pub fn resize_image(
    /// The picture.
    image: Blob,
    width: u32,
    #[default = 80] quality: u8,
    #[default = Mode::Fit] mode: Mode,
    #[default] tags: Vec<String>,
    #[default = "none"] label: String,
    note: Option<String>,
) -> Result<Resized, Failure> {
    if width == 0 {
        return Err(Failure::permanent("nothing left").with_details("width is 0"));
    }
    let copy = Blob::from_bytes(&image.read_all(100)?)?;
    info!("label {label}");
    Ok(Resized {
        image: copy,
        width,
        quality,
        mode,
        tags,
        note,
    })
}

mod others {
    use super::*;

    #[eyot_task::task(name = "greet", idempotent = false)]
    pub(super) fn greeting(r#type: String) -> BTreeMap<String, String> {
        BTreeMap::from([("text".to_owned(), format!("hello, {type}", type = r#type))])
    }

    #[eyot_task::task]
    pub(super) fn nothing() {}

    #[eyot_task::task]
    pub(super) fn any_error(text: String) -> Result<serde_json::Value, std::num::ParseIntError> {
        Ok(json!({"n": text.parse::<i32>()?}))
    }

    #[eyot_task::task]
    pub(super) fn nameless(text: String) -> Result<serde_json::Value, Failure> {
        Ok(json!(text))
    }
}

/// Names that could be in the way of the code that the attribute makes.
#[eyot_task::task]
fn schema(inputs: u32, schema: u32, default: u32) -> serde_json::Value {
    json!({"sum": inputs + schema + default})
}

#[test]
fn inputs_become_parameters_and_fields_become_outputs() {
    let host = Host::new();
    let image = host.blob(b"picture");
    let outputs = host
        .run::<ResizeImageTask>(json!({"image": image, "width": 3, "mode": "fill", "tags": ["a"], "note": "n"}))
        .unwrap();
    let outputs = serde_json::Value::Object(outputs);
    assert_eq!(
        outputs,
        json!({"image": image, "width": 3, "quality": 80, "mode": "fill", "tags": ["a"], "note": "n"})
    );
    assert_eq!(host.logs()[0].message, "label none");
}

#[test]
fn what_is_missing_takes_its_default() {
    let host = Host::new();
    let outputs = host.run::<ResizeImageTask>(json!({"image": host.blob(b"p"), "width": 3})).unwrap();
    assert_eq!(outputs["quality"], 80);
    assert_eq!(outputs["mode"], "fit");
    assert_eq!(outputs["tags"], json!([]));
    assert_eq!(outputs["note"], json!(null));
}

#[test]
fn wrong_inputs_are_the_callers_mistake() {
    let host = Host::new();
    let image = json!(host.blob(b"p"));
    for (inputs, message) in [
        (json!({"width": 3}), "input `image` is missing (expected blob)"),
        (
            json!({"image": image, "width": "3"}),
            "input `width`: expected u32, found string \"3\"",
        ),
        (
            json!({"image": image, "width": -3}),
            "input `width`: expected u32, found integer `-3`",
        ),
        (
            json!({"image": image, "width": 3, "qualty": 1}),
            "unknown input `qualty`, did you mean `quality`?",
        ),
        (
            json!({"image": image, "width": 3, "mode": "stretch"}),
            "input `mode`: unknown variant `stretch`, expected `fit` or `fill`",
        ),
        (
            json!({"image": host.blob(&[0; 101]), "width": 3}),
            "the blob has 101 bytes, more than the 100 that this task reads",
        ),
    ] {
        let failure = host.run::<ResizeImageTask>(inputs).unwrap_err();
        assert_eq!((failure.kind(), failure.message()), (FailureKind::InvalidInput, message));
    }
    let failure = host.run::<ResizeImageTask>(json!({"image": image, "width": 0})).unwrap_err();
    assert_eq!((failure.kind(), failure.details()), (FailureKind::Permanent, Some("width is 0")));
}

#[test]
fn a_task_describes_itself() {
    let description = ResizeImageTask::describe();
    assert_eq!((description.name.as_str(), description.version.as_str()), ("resize-image", "1.2.0"));
    assert!(description.idempotent && description.deterministic);
    assert_eq!(description.needs, ["inference"]);
    let inputs = &description.inputs;
    assert_eq!(inputs["description"], "Resizes a picture.");
    assert_eq!(
        inputs["properties"]["image"],
        json!({"type": "object", "format": "blob", "description": "The picture."})
    );
    assert_eq!(inputs["properties"]["quality"]["default"], 80);
    assert_eq!(inputs["properties"]["label"]["default"], "none");
    assert_eq!(inputs["required"], json!(["image", "width"]));
    assert_eq!(inputs["additionalProperties"], false);
    assert_eq!(inputs["properties"]["mode"]["$ref"], "#/$defs/Mode");
    assert_eq!(inputs["$defs"]["Mode"]["enum"], json!(["fit", "fill"]));
    assert_eq!(description.outputs["properties"]["image"]["format"], "blob");
    assert_eq!(description.outputs["properties"]["image"]["description"], "The new picture.");

    let greet = others::GreetingTask::describe();
    assert_eq!(
        (greet.name.as_str(), greet.idempotent, greet.deterministic),
        ("greet", false, false)
    );
    assert_eq!(greet.version, env!("CARGO_PKG_VERSION"));
    assert!(greet.inputs["properties"].get("type").is_some(), "{}", greet.inputs);
    assert_eq!(others::NothingTask::describe().outputs, json!({"type": "object", "properties": {}}));
}

#[test]
fn all_forms_of_functions_run() {
    let host = Host::new();
    assert_eq!(
        host.run::<others::GreetingTask>(json!({"type": "eyot"})).unwrap()["text"],
        "hello, eyot"
    );
    assert_eq!(
        host.run::<SchemaTask>(json!({"inputs": 1, "schema": 2, "default": 3})).unwrap()["sum"],
        6
    );
    assert!(host.run::<others::NothingTask>(json!({})).unwrap().is_empty());
    assert_eq!(host.run::<others::AnyErrorTask>(json!({"text": "7"})).unwrap()["n"], 7);
    let failure = host.run::<others::AnyErrorTask>(json!({"text": "x"})).unwrap_err();
    assert_eq!(failure.message(), "invalid digit found in string");
    let failure = host.run::<others::NamelessTask>(json!({"text": "x"})).unwrap_err();
    assert_eq!(
        failure.message(),
        "outputs need names: the task returned a string, not a struct or map"
    );
    assert_eq!(
        host.run::<others::NothingTask>(json!({"x": 1})).unwrap_err().message(),
        "unknown input `x`; this task takes none"
    );
}

#[test]
fn hosts_do_not_see_each_other() {
    let outer = Host::new();
    let blob = outer.blob(b"mine");
    checkpoint::save(&json!({"step": 3})).unwrap();
    {
        let _inner = Host::new();
        assert!(blob.read_all(10).is_err());
        assert_eq!(checkpoint::load::<serde_json::Value>().unwrap(), None);
    }
    assert_eq!(blob.read_all(10).unwrap(), b"mine");
    assert_eq!(checkpoint::load::<serde_json::Value>().unwrap(), Some(json!({"step": 3})));
    progress::report(1, 2, "half");
    assert_eq!((outer.progress()[0].done, outer.progress()[0].total), (1, 2));
    assert_eq!(Context::current().attempt, 1);
}
