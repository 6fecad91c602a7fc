//! A task that runs the model in its input `model` on the four numbers 1, 2, 3, 4.
// Its exports have names that only WebAssembly knows: on other targets this is an empty crate.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../../../sdk/wit", world: "eyot-task" });

use exports::eyot::task::task::{Description, Failure, Guest, NamedValue};
use eyot::task::inference::{Element, InferenceError, Tensor, load};
use eyot::task::types::{FailureKind, Value};

struct Model;

impl Guest for Model {
    fn describe() -> Description {
        Description {
            name: "model".to_owned(),
            version: "1.0.0".to_owned(),
            inputs: "{}".to_owned(),
            outputs: "{}".to_owned(),
            idempotent: true,
            deterministic: true,
            needs: vec!["inference".to_owned()],
        }
    }

    fn run(inputs: Vec<NamedValue>) -> Result<Vec<NamedValue>, Failure> {
        let Some(Value::Json(digest)) = inputs.iter().find(|i| i.name == "digest").map(|i| &i.value) else {
            return Err(failure("no digest".to_owned()));
        };
        let model = load(digest.trim_matches('"')).map_err(said)?;
        let input = Tensor {
            shape: vec![1, 4],
            element: Element::F32,
            data: [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let outputs = model.compute(&[input]).map_err(said)?;
        let words = model.metadata("words").unwrap_or_default();
        Ok(vec![
            NamedValue {
                name: "data".to_owned(),
                value: Value::Bytes(outputs[0].data.clone()),
            },
            NamedValue {
                name: "words".to_owned(),
                value: Value::Json(format!("{words:?}")),
            },
        ])
    }
}

fn said(error: InferenceError) -> Failure {
    failure(format!("{error:?}"))
}

fn failure(message: String) -> Failure {
    Failure {
        kind: FailureKind::Permanent,
        message,
        details: None,
    }
}

export!(Model);
