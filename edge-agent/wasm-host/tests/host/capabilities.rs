//! What a guest can do, and what it cannot.

use crate::support::{Shell, attempt, probe};
use eyot_model::{BlobForm, FailureKind, Grant, Value};
use eyot_wasm_host::LogLevel;
use std::sync::Arc;

#[test]
fn an_import_that_no_grant_gives_is_named() {
    let failure = attempt("socket").failure();
    assert_eq!(failure.kind, FailureKind::Component);
    assert!(failure.message.contains("wasi:sockets/tcp@"), "{failure}");
    assert!(failure.message.contains("no grant gives"), "{failure}");
}

#[test]
fn an_import_that_was_not_granted_is_named_with_its_grant() {
    let failure = attempt("model").failure();
    assert_eq!(failure.kind, FailureKind::Component);
    assert!(failure.message.contains("eyot:task/inference@"), "{failure}");
    assert!(failure.message.contains("add `inference`"), "{failure}");
}

#[test]
fn a_guest_sees_nothing_of_the_machine() {
    let outputs = probe("surroundings").outputs();
    for (name, expected) in [
        ("environment", Value::Int(0)),
        ("arguments", Value::Int(0)),
        ("passwd", Value::Bool(false)),
        ("here", Value::Bool(false)),
        ("input", Value::Int(0)),
    ] {
        assert_eq!(outputs[name], expected, "{name}");
    }
}

#[test]
fn a_guest_knows_its_attempt() {
    let attempt = probe("context");
    let expected = format!("{} default try Some(7) 2 4 64 true", attempt.spec.id.run);
    assert_eq!(attempt.outputs()["context"], Value::String(expected));
}

#[test]
fn what_a_guest_says_reaches_the_log() {
    let attempt = probe("talk");
    attempt.outputs();
    let lines = attempt.shell.lines.lock().unwrap();
    let expected = [
        (LogLevel::Error, "logged"),
        (LogLevel::Info, "printed to stdout"),
        (LogLevel::Warn, "printed to stderr without an end of line"),
    ];
    assert!(lines.iter().map(|(level, line)| (*level, line.as_str())).eq(expected), "{lines:?}");
    let reports = attempt.shell.reports.lock().unwrap();
    assert_eq!(reports.first(), Some(&(1, 2, "half".to_owned())));
    assert_eq!(reports.last(), Some(&(2, 2, "whole".to_owned())));
}

#[test]
fn the_log_of_an_attempt_is_bounded() {
    let attempt = probe("chatter");
    attempt.outputs();
    let lines = attempt.shell.lines.lock().unwrap();
    assert_eq!(lines.len(), 10_001);
    assert!(lines.last().is_some_and(|(_, line)| line.contains("dropped")));
}

#[test]
fn clocks_are_coarse_unless_granted() {
    assert_eq!(probe("clock").outputs()["coarse"], Value::Bool(true));
    assert_eq!(probe("clock").grant(Grant::PreciseClock).outputs()["coarse"], Value::Bool(false));
}

#[test]
fn a_scratch_folder_is_there_only_if_granted() {
    let seen = |bytes| Value::List(vec![Value::Int(bytes), Value::Bool(false)]);
    assert_eq!(probe("scratch").outputs()["seen"], seen(0));
    assert_eq!(probe("scratch").grant(Grant::Scratch).outputs()["seen"], seen(5));
}

#[test]
fn without_models_on_the_agent_inference_fails_for_the_task() {
    let shell = Shell::new();
    let model = shell.blob(b"not a model", BlobForm::Raw);
    let mut attempt = attempt("model")
        .grant(Grant::Inference)
        .with("model", model)
        .with("digest", model.digest.to_string().as_str());
    attempt.shell = Arc::new(shell);
    let failure = attempt.failure();
    assert!(failure.message.contains("runs no models"), "{failure}");
}

#[test]
fn a_model_that_is_none_is_refused() {
    let mut shell = Shell::new();
    shell.models = Some(eyot_infer::Runtime::new(1 << 20));
    let model = shell.blob(b"not a model", BlobForm::Raw);
    let mut attempt = attempt("model")
        .grant(Grant::Inference)
        .with("model", model)
        .with("digest", model.digest.to_string().as_str());
    attempt.shell = Arc::new(shell);
    let failure = attempt.failure();
    assert!(failure.message.contains("BadModel"), "{failure}");
}

#[test]
fn a_model_of_the_agent_computes_for_a_task() {
    let mut shell = Shell::new();
    shell.models = Some(eyot_infer::Runtime::new(1 << 20));
    let model = shell.blob(&crate::onnx::doubling(), BlobForm::Raw);
    let mut attempt = attempt("model")
        .grant(Grant::Inference)
        .with("model", model)
        .with("digest", model.digest.to_string().as_str());
    attempt.shell = Arc::new(shell);
    let outputs = attempt.outputs();
    let expected: Vec<u8> = [3.0f32, 5.0, 7.0, 9.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(outputs["data"], Value::Bytes(expected));
    assert_eq!(outputs["words"], Value::String("one two three".to_owned()));
}
