//! Commands that look: lists, one thing, plans, diagnostics.

use crate::fake::{End, Fake, RUN, bare, run};

#[test]
fn nobody_there_is_said_in_one_line_with_advice() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let answer = run(bare(&["--server", &address, "agents", "ls"]));
    assert_eq!(answer.code, 3);
    let want =
        format!("error: cannot reach {address} (connection refused)\nhelp: is eyot-cloud running? `eyot dev` starts one on this machine\n");
    assert_eq!((answer.err.as_str(), answer.out.as_str()), (want.as_str(), ""));

    let answer = run(bare(&["--server", &address, "-o", "json", "agents", "ls"]));
    let error: serde_json::Value = serde_json::from_str(&answer.err).unwrap();
    assert_eq!(
        (error["error"]["code"].as_str(), error["error"]["exit"].as_u64()),
        (Some("client.unreachable"), Some(3))
    );
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for args in [
        &["run"][..],
        &["nonsense"],
        &["run", "w", "-i", "novalue"],
        &["run", "w", "--save", "x"],
        &["runs", "show", "zz"],
    ] {
        assert_eq!(run(bare(args)).code, 2, "{args:?}");
    }
    assert_eq!(run(bare(&["--server", "ftp://x", "agents", "ls"])).code, 2);
}

#[test]
fn agents_as_a_table_and_as_json() {
    let fake = Fake::start(End::Succeeded, None);
    let table = fake.eyot(&["agents", "ls"]);
    assert_eq!(table.code, 0);
    let lines: Vec<&str> = table.out.lines().collect();
    assert!(lines[0].starts_with("NAME    STATE      LABELS       RUNNING"), "{}", table.out);
    assert!(
        lines[1].starts_with("camera  connected  role=camera        3  2 cores  1.0 GiB"),
        "{}",
        table.out
    );
    assert_eq!(fake.eyot(&["-o", "json", "agents", "ls"]).json()[0]["name"], "camera");
    assert_eq!(fake.eyot(&["agents", "show", "camera"]).code, 0);
    let missing = fake.eyot(&["agents", "show", "none"]);
    assert_eq!((missing.code, missing.err.as_str()), (7, "error: there is no agent `none`\n"));
}

#[test]
fn an_invitation_leaves_the_token_alone_on_standard_output() {
    let fake = Fake::start(End::Succeeded, None);
    let answer = fake.eyot(&["agents", "invite", "--name", "camera"]);
    assert_eq!(answer.out, "eyot1.secret\n");
    assert!(
        answer.err.contains("eyot-agent join --token-file -") && !answer.err.contains("secret"),
        "{}",
        answer.err
    );
}

#[test]
fn a_run_is_shown_with_its_tasks() {
    let fake = Fake::start(End::Failed, None);
    for name in [RUN, "last", "r-019a", "019a0000"] {
        let answer = fake.eyot(&["runs", "show", name]);
        assert_eq!(answer.code, 0, "{name}: {}", answer.err);
        for part in [
            "find",
            "camera",
            "1.2 s",
            "2.0 MiB",
            "read[1]",
            "task.invalid-input: not an image",
            "report:\ntwo lines\nof text",
        ] {
            assert!(answer.out.contains(part), "{part} is not in\n{}", answer.out);
        }
    }
    assert_eq!(fake.eyot(&["runs", "show", "r-ffff"]).code, 7);
    assert!(fake.eyot(&["runs", "ls"]).out.contains("default/w@1"));
    let logs = fake.eyot(&["runs", "logs", "last"]);
    assert_eq!(logs.out, "22:13:20.125  warn   read[1] #2  dim\u{fffd}[31m light\n");
    assert_eq!(fake.eyot(&["runs", "logs", "last", "--task", "other"]).out, "");
    assert_eq!(fake.eyot(&["runs", "cancel", "last"]).code, 0);
    assert!(fake.seen.lock().unwrap().cancelled);
}

#[test]
fn colour_is_for_those_who_ask() {
    let fake = Fake::start(End::Succeeded, None);
    assert!(!fake.eyot(&["agents", "ls"]).out.contains('\x1b'));
    assert!(fake.eyot(&["agents", "ls", "--color", "always"]).out.contains('\x1b'));
}

#[test]
fn a_plan_is_explained() {
    let fake = Fake::start(End::Succeeded, None);
    fake.write("w.yaml", WORKFLOW);
    fake.write("find.wasm", "component");
    let answer = fake.eyot(&["plan", "w.yaml", "--explain"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(
        answer.out.contains("Fragment 0 on camera") && answer.out.contains("why  ends first here"),
        "{}",
        answer.out
    );
    assert_eq!(fake.eyot(&["-o", "json", "plan", "w.yaml"]).json()["plan"]["makespan"], 400);
}

pub(crate) const WORKFLOW: &str = "\
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: w, version: \"1\"}
spec:
  inputs:
    n: {type: integer, default: 1}
    photos: {type: list, default: []}
    label: {type: string, default: x}
  tasks:
    find:
      uses: ./find.wasm
      with: {n: \"${{ inputs.n }}\"}
";

#[test]
fn what_is_wrong_is_shown_where_it_is_wrong() {
    let fake = Fake::start(End::Succeeded, None);
    let broken = WORKFLOW.replace("      with:", "      neds: [other]\n      with:");
    fake.write("broken.yaml", &broken);
    for command in [
        &["validate", "--offline", "broken.yaml"][..],
        &["run", "broken.yaml"],
        &["plan", "broken.yaml"],
        &["workflow", "push", "broken.yaml"],
    ] {
        let answer = fake.eyot(command);
        assert_eq!(answer.code, 4, "{command:?} {}", answer.err);
        for part in ["--> broken.yaml:12:7", "12 |       neds: [other]", "^^^^", "needs"] {
            assert!(answer.err.contains(part), "{command:?}: {part} is not in\n{}", answer.err);
        }
    }
    let json = fake.eyot(&["-o", "json", "validate", "--offline", "broken.yaml"]);
    assert_eq!(
        (json.code, json.json()["files"][0]["diagnostics"][0]["line"].as_u64()),
        (4, Some(12))
    );
    fake.write("good.yaml", WORKFLOW);
    let good = fake.eyot(&["validate", "--offline", "good.yaml"]);
    assert_eq!((good.code, good.err.as_str()), (0, "✓ good.yaml is valid by its text\n"));
    assert_eq!(fake.eyot(&["validate", "--offline", "missing.yaml"]).code, 8);
}
