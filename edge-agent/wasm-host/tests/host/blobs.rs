//! Blobs, and values that travel as blobs.

use crate::support::{Shell, probe};
use eyot_model::{BlobForm, BlobRef, Digest, FailureKind, Value};
use std::sync::Arc;

const LARGE: i64 = 1_500_000;

#[test]
fn a_blob_is_read_and_written_piece_by_piece() {
    let shell = Shell::new();
    let bytes: Vec<u8> = (0..123_456u32).map(|n| (n % 251) as u8).collect();
    let mut attempt = probe("reverse").with("blob", shell.blob(&bytes, BlobForm::Raw));
    attempt.shell = Arc::new(shell);
    let reversed = attempt.shell.bytes(&attempt.outputs()["blob"]);
    assert!(reversed.iter().rev().eq(bytes.iter()));
}

#[test]
fn only_blobs_of_the_inputs_can_be_opened() {
    let shell = Shell::new();
    let given = shell.blob(b"given", BlobForm::Raw);
    let secret = shell.blob(b"a secret of another", BlobForm::Raw);
    let shell = Arc::new(shell);
    for (digest, said) in [
        (given.digest.to_string(), "opened 5"),
        (secret.digest.to_string(), "denied"),
        ("no digest".to_owned(), "denied"),
    ] {
        let inside = Value::List(vec![Value::Null, Value::Blob(given)]);
        let mut attempt = probe("open").with("list", inside).with("digest", digest.as_str());
        attempt.shell = Arc::clone(&shell);
        assert_eq!(attempt.outputs()["error"], Value::String(said.to_owned()));
    }
}

#[test]
fn a_blob_that_is_gone_is_unavailable() {
    let gone = BlobRef {
        digest: Digest::of(b"gone"),
        size: 4,
        form: BlobForm::Raw,
    };
    let attempt = probe("open").with("blob", gone).with("digest", gone.digest.to_string().as_str());
    let said = format!("{:?}", attempt.outputs()["error"]);
    assert!(said.contains("Unavailable"), "{said}");
    for form in [BlobForm::Json, BlobForm::Bytes] {
        let failure = probe("echo").with("value", BlobRef { form, ..gone }).failure();
        assert_eq!(failure.kind, FailureKind::BlobUnavailable, "{failure}");
    }
}

#[test]
fn large_outputs_become_blobs_and_values_again() {
    for (what, form) in [("text", BlobForm::Json), ("bytes", BlobForm::Bytes)] {
        let first = probe(what).with("bytes", LARGE);
        let outputs = first.outputs();
        let Value::Blob(blob) = &outputs[what] else {
            panic!("{what} stayed inline")
        };
        assert_eq!(blob.form, form);

        // The next task gets the value, at the top and deep inside; what it gives back is the same blob again.
        let nested = Value::List(vec![Value::Blob(*blob)]);
        let mut second = probe("echo").with("top", *blob).with("nested", nested);
        second.shell = Arc::clone(&first.shell);
        let outputs = second.outputs();
        assert_eq!(outputs["top"], Value::Blob(*blob));
        let inner: serde_json::Value = serde_json::from_slice(&first.shell.bytes(&outputs["nested"])).unwrap();
        let expected = match what {
            "text" => Value::List(vec![Value::String("x".repeat(LARGE as usize))]),
            _ => Value::List(vec![Value::Bytes(vec![7; LARGE as usize])]),
        };
        assert_eq!(Value::from_json(inner).unwrap(), expected);
    }
}

#[test]
fn outputs_just_below_the_bound_stay_inline() {
    let outputs = probe("bytes").with("bytes", 1_000_000).outputs();
    assert_eq!(outputs["bytes"], Value::Bytes(vec![7; 1_000_000]));
}

#[test]
fn a_blob_that_is_not_the_value_it_stands_for_is_refused() {
    let shell = Shell::new();
    let blob = shell.blob(b"{ not json", BlobForm::Json);
    let mut attempt = probe("echo").with("value", blob);
    attempt.shell = Arc::new(shell);
    assert_eq!(attempt.failure().kind, FailureKind::BlobUnavailable);
}
