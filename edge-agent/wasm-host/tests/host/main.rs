//! The host with real components, built from `tests/guests`.

mod blobs;
mod cache;
mod capabilities;
mod limits;
#[path = "../../../infer/tests/models/onnx.rs"]
mod onnx;
mod outcomes;
mod support;
