//! `eyot run`: what is sent, what is shown, how it ends.

use crate::fake::{End, Fake, RUN};
use crate::looking::WORKFLOW;
use eyot_model::Digest;

#[test]
fn files_go_up_and_inputs_have_their_declared_types() {
    let fake = Fake::start(End::Succeeded, None);
    fake.write("flows/w.yaml", WORKFLOW);
    fake.write("flows/find.wasm", "component");
    fake.write("pics/b.png", "B");
    fake.write("pics/a.png", "A");
    let answer = fake.eyot(&["run", "flows/w.yaml", "-i", "n=5", "-i", "label=7", "-i", "photos=@pics/*.png"]);
    assert_eq!(
        (answer.code, answer.out.as_str()),
        (0, format!("{RUN}\n").as_str()),
        "{}",
        answer.err
    );
    let seen = fake.seen.lock().unwrap();
    let start = seen.start.as_ref().unwrap();
    let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
    assert_eq!(start["inputs"]["n"], 5);
    assert_eq!(start["inputs"]["label"], "7");
    let photos: Vec<&str> = start["inputs"]["photos"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["$blob"].as_str())
        .collect();
    assert_eq!(photos, [digest("A"), digest("B")]);
    assert_eq!(start["workflow"]["source"]["files"]["./find.wasm"], digest("component"));
    assert_eq!(seen.blobs.len(), 3);
    assert!(start["idempotencyKey"].as_str().is_some_and(|key| key.len() > 16));
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_is_sent() {
    let fake = Fake::start(End::Succeeded, None);
    fake.write("w.yaml", WORKFLOW);
    for (args, part) in [
        (&["run", "w.yaml"][..], "find.wasm"),
        (&["run", "w.yaml", "-i", "other=1"], "its inputs are label, n, photos"),
        (&["run", "w.yaml", "-i", "photos=@none/*.png"], "no file fits none/*.png"),
    ] {
        let answer = fake.eyot(args);
        assert_eq!(answer.code, 4, "{args:?} {}", answer.err);
        assert!(answer.err.contains(part), "{part} is not in {}", answer.err);
    }
    assert_eq!(fake.eyot(&["run", "missing.yaml"]).code, 8);
    assert!(fake.seen.lock().unwrap().start.is_none());
}

#[test]
fn waiting_ends_with_the_state_of_the_run() {
    for (end, code) in [(End::Succeeded, 0), (End::Failed, 1), (End::Cancelled, 5)] {
        let fake = Fake::start(end, None);
        fake.write("w.yaml", WORKFLOW);
        fake.write("find.wasm", "component");
        let answer = fake.eyot(&["run", "w.yaml", "--wait", "--save", "out"]);
        assert_eq!(answer.code, code, "{}", answer.err);
        assert_eq!(answer.out, "count: 3\nreport:\ntwo lines\nof text\n");
        for part in [
            "✓ find succeeded on camera in 1.2 s",
            "✗ read[1] failed: task.invalid-input: not an image",
            "in 2.5 s",
        ] {
            assert!(answer.err.contains(part), "{part} is not in\n{}", answer.err);
        }
        assert!(!answer.err.contains("find running"), "starts are for --verbose: {}", answer.err);
        let saved = std::fs::read_to_string(fake.home.path().join("out/report.txt")).unwrap();
        assert_eq!(saved, "two lines\nof text");
    }
}

#[test]
fn json_is_one_document_and_quiet_is_quiet() {
    let fake = Fake::start(End::Failed, None);
    let answer = fake.eyot(&["-o", "json", "--quiet", "runs", "wait", "last"]);
    assert_eq!((answer.code, answer.err.as_str()), (1, ""));
    assert_eq!(answer.json()["tasks"].as_array().map(Vec::len), Some(4));
}
