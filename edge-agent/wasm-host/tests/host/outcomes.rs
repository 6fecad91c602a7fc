//! How attempts end, and the values that go in and out.

use crate::support::{Shell, attempt, host, prepared, probe};
use eyot_model::{BlobForm, FailureKind, Grant, Value};
use eyot_wasm_host::{AttemptEnd, AttemptSpec};
use std::sync::Arc;

fn map(key: &str, value: Value) -> Value {
    Value::Map([(key.to_owned(), value)].into())
}

#[test]
fn values_come_back_as_they_went_in() {
    let shell = Shell::new();
    let blob = shell.blob(b"some bytes", BlobForm::Raw);
    let mut attempt = probe("echo");
    attempt.shell = Arc::new(shell);
    let values = [
        ("null", Value::Null),
        ("bool", Value::Bool(true)),
        ("int", Value::Int(i64::MIN)),
        ("float", Value::Float(0.1)),
        ("string", Value::String("a \"quoted\" line\nand ünicode".to_owned())),
        ("bytes", Value::Bytes(vec![0, 1, 255])),
        ("blob", Value::Blob(blob)),
        (
            "list",
            Value::List(vec![Value::Int(1), Value::Null, Value::Bytes(vec![9]), Value::Blob(blob)]),
        ),
        ("map", map("deep", map("deeper", Value::Blob(blob)))),
    ];
    attempt.spec.inputs.extend(values.map(|(name, value)| (name.to_owned(), value)));
    let mut expected = attempt.spec.inputs.clone();
    expected.remove("do");
    assert_eq!(attempt.outputs(), expected);
}

#[test]
fn failures_of_a_task_keep_their_kind_message_and_details() {
    for (word, kind) in [
        ("invalid-input", FailureKind::InvalidInput),
        ("retryable", FailureKind::Retryable),
        ("permanent", FailureKind::Permanent),
    ] {
        let failure = probe("fail").with("kind", word).failure();
        assert_eq!((failure.kind, failure.message.as_str()), (kind, "as asked"));
        assert_eq!(failure.details.as_deref(), Some("{\"why\":1}"));
    }
}

#[test]
fn a_panic_is_a_trap_with_its_message() {
    let failure = probe("panic").failure();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(failure.message.contains("it went wrong on purpose"), "{failure}");
    assert!(failure.details.is_some());
}

#[test]
fn an_exit_is_a_trap() {
    let failure = probe("exit").failure();
    assert_eq!(failure.kind, FailureKind::Trap, "{failure}");
    assert!(failure.message.contains("exited"), "{failure}");
}

#[test]
fn outputs_that_break_the_contract_are_refused() {
    for (what, said) in [
        ("not-json", "not a value"),
        ("twice", "twice"),
        ("foreign-blob", "neither received nor wrote"),
    ] {
        let failure = probe(what).failure();
        assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
        assert!(failure.message.contains(said), "{failure}");
    }
}

#[test]
fn an_attempt_says_what_it_took() {
    let end = attempt("noop").run();
    assert!(end.usage.peak_memory_bytes >= 64 << 10, "{end:?}");
    assert!(end.usage.wall_micros > 0, "{end:?}");
}

#[test]
fn a_component_says_what_it_is() {
    let description = host().describe(&prepared("noop")).unwrap();
    assert_eq!((description.name.as_str(), description.version.as_str()), ("noop", "1.2.3"));
    assert!(description.idempotent && description.deterministic && description.needs.is_empty());
    assert_eq!(host().describe(&prepared("model")).unwrap().needs, ["inference"]);
}

#[test]
fn what_the_host_is_told_and_what_it_says_can_travel() {
    let attempt = probe("echo").with("n", 1).grant(Grant::Scratch);
    let spec: AttemptSpec = postcard::from_bytes(&postcard::to_stdvec(&attempt.spec).unwrap()).unwrap();
    assert_eq!(spec, attempt.spec);
    let end = attempt.run();
    let back: AttemptEnd = postcard::from_bytes(&postcard::to_stdvec(&end).unwrap()).unwrap();
    assert_eq!(back, end);
}

#[test]
fn attempts_share_nothing() {
    let first = probe("remember").outputs();
    let second = probe("remember").outputs();
    assert_eq!(first, second);
    assert_eq!(first["seen"], Value::List(vec![Value::Null, Value::Bool(true), Value::Int(3)]));
}
