//! The task as an agent calls it, with a model that doubles what it is given.

use eyot_task::inference::{InferenceError, Tensor};
use eyot_task::testing::{Host, Model, Models};
use eyot_task::{Blob, FailureKind};
use eyot_task_infer::InferTask;
use serde_json::{Value, json};
use std::sync::Arc;

struct Doubling;

impl Models for Doubling {
    fn load(&self, _: &str, onnx: &[u8]) -> Result<Arc<dyn Model>, InferenceError> {
        if onnx == b"model" {
            Ok(Arc::new(Self))
        } else {
            Err(InferenceError::BadModel("no ONNX".to_owned()))
        }
    }
}

impl Model for Doubling {
    fn compute(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InferenceError> {
        let doubled = |tensor: Tensor| match tensor.to_f32() {
            Ok(values) => Tensor::f32(&tensor.shape, &values.iter().map(|v| v * 2.0).collect::<Vec<_>>()),
            Err(_) => tensor,
        };
        Ok(inputs.into_iter().map(doubled).collect())
    }
}

fn run(inputs: Value) -> Result<(Host, Value), eyot_task::Failure> {
    let host = Host::new().with_models(Doubling);
    let mut inputs = inputs;
    if inputs.get("model").is_none() {
        inputs["model"] = json!(host.blob(b"model"));
    }
    let outputs = host.run::<InferTask>(inputs)?;
    Ok((host, Value::Object(outputs)))
}

#[test]
fn lists_go_in_and_out_in_their_shape() {
    let (_host, outputs) = run(json!({"tensors": [
        {"data": [[1, 2.5], [3, -4]]},
        {"data": [1, 2, 3, 4], "shape": [2, 2]},
        {"data": 7, "element": "i64"},
        {"data": [[], []], "element": "u8"},
    ]}))
    .unwrap();
    let tensors = &outputs["tensors"];
    assert_eq!(
        tensors[0],
        json!({"shape": [2, 2], "element": "f32", "data": [[2.0, 5.0], [6.0, -8.0]]})
    );
    assert_eq!(tensors[1]["data"], json!([[2.0, 4.0], [6.0, 8.0]]));
    assert_eq!(tensors[2], json!({"shape": [], "element": "i64", "data": 7}));
    assert_eq!(tensors[3]["data"], json!([[], []]));
    assert!(outputs.get("top").is_none());
}

#[test]
fn large_tensors_are_blobs() {
    let blob: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let host = Host::new();
    let tensor = json!({"shape": [3], "data": host.blob(&blob)});
    let host = host.with_models(Doubling);
    let inputs = json!({"model": host.blob(b"model"), "tensors": [tensor], "list": 2});
    let outputs = host.run::<InferTask>(inputs).unwrap();
    let out: Blob = serde_json::from_value(outputs["tensors"][0]["data"].clone()).unwrap();
    let values: Vec<u8> = [2.0f32, 4.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(out.read_all(100).unwrap(), values);
}

#[test]
fn classes_are_ranked() {
    let (_host, outputs) = run(json!({
        "tensors": [{"data": [[0, 0.5, 0.25], [1, 0, 0]]}], "softmax": true, "top": 2, "labels": ["a", "b", "c"],
    }))
    .unwrap();
    let names = |row: usize| {
        outputs["top"][row]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["label"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!((names(0), names(1)), (vec![json!("b"), json!("c")], vec![json!("a"), json!("b")]));
    let row = outputs["tensors"][0]["data"][0].as_array().unwrap();
    let sum: f64 = row.iter().filter_map(Value::as_f64).sum();
    assert!((sum - 1.0).abs() < 1e-6);
}

#[test]
fn what_does_not_fit_is_said() {
    for (inputs, message) in [
        (
            json!({"tensors": [{"data": [[1, 2], [3]]}]}),
            "input `tensors[0]`: lists of one depth must have the same length",
        ),
        (
            json!({"tensors": [{"data": [1, [2]]}]}),
            "input `tensors[0]`: lists of one depth must have the same length",
        ),
        (
            json!({"tensors": [{"data": [[1], 2]}]}),
            "input `tensors[0]`: lists of one depth must have the same length",
        ),
        (
            json!({"tensors": [{"data": [1, 2], "shape": [3]}]}),
            "input `tensors[0]`: expected as many elements as the shape [3] has, found 2",
        ),
        (
            json!({"tensors": [{"data": ["x"]}]}),
            "input `tensors[0]`: expected a number of type F32, found \"x\"",
        ),
        (
            json!({"tensors": [{"data": [300], "element": "u8"}]}),
            "input `tensors[0]`: expected a number of type U8, found 300",
        ),
        (
            json!({"tensors": [{"data": {"$bytes": "00"}}]}),
            "input `tensors[0]`: a tensor in a blob needs its `shape`",
        ),
        (json!({"tensors": [], "model": {"$bytes": "00"}}), "model is not usable: no ONNX"),
    ] {
        let failure = run(inputs).err().unwrap();
        assert_eq!((failure.message(), failure.kind()), (message, FailureKind::InvalidInput));
    }
}
