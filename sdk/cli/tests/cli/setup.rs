//! Login, tasks, completions.

use crate::fake::{Answer, End, Fake, bare, run};
use std::os::unix::fs::PermissionsExt;

fn without_server(fake: &Fake, args: &[&str]) -> Answer {
    let mut command = fake.command(args);
    command.env_remove("EYOT_SERVER");
    run(command)
}

#[test]
fn a_login_is_checked_then_kept_for_its_server_alone() {
    let fake = Fake::start(End::Succeeded, Some("open-sesame"));
    fake.write("token", "open-sesame\n");
    fake.write("wrong", "guess\n");
    let config = fake.home.path().join(".config/eyot/config.json");

    let denied = without_server(&fake, &["login", &fake.address, "--token-file", "wrong"]);
    assert_eq!(denied.code, 6, "{}", denied.err);
    assert!(!config.exists());
    assert_eq!(without_server(&fake, &["login", &fake.address, "--token-file", "token"]).code, 0);
    assert_eq!(std::fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(without_server(&fake, &["agents", "ls"]).code, 0);

    // Another server does not get to see the token.
    let other = Fake::start(End::Succeeded, Some("open-sesame"));
    assert_eq!(without_server(&fake, &["agents", "ls", "--server", &other.address]).code, 6);
    // The environment goes before what is stored.
    let mut wrong = fake.command(&["agents", "ls"]);
    wrong.env_remove("EYOT_SERVER").env("EYOT_TOKEN", "guess");
    assert_eq!(run(wrong).code, 6);
    assert_eq!(without_server(&fake, &["login", "--forget"]).code, 0);
    assert!(!config.exists());
}

#[test]
fn a_token_does_not_travel_in_clear_text() {
    let mut command = bare(&["agents", "ls", "--server", "http://eyot.example:7340"]);
    command.env("EYOT_TOKEN", "secret");
    let answer = run(command);
    assert_eq!(answer.code, 2);
    assert!(
        answer.err.contains("in clear text") && !answer.err.contains("secret"),
        "{}",
        answer.err
    );
}

#[test]
fn a_component_is_registered_by_its_own_description() {
    let fake = Fake::start(End::Succeeded, None);
    let wasm = fake.write("resize.wasm", "\0asm");
    let agent = fake.write("eyot-agent", "#!/bin/sh\n[ \"$1\" = describe ] || exit 9\ncat <<'E'\n{\"name\":\"my/resize\",\"version\":\"0.3.0\",\"inputs\":{},\"outputs\":{},\"idempotent\":true,\"deterministic\":true,\"needs\":[]}\nE\n");
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let push = |args: &[&str]| {
        let mut command = fake.command(args);
        command.env("EYOT_AGENT_BIN", &agent);
        run(command)
    };
    let wasm = wasm.to_str().unwrap();
    let answer = push(&["task", "push", wasm]);
    assert_eq!((answer.code, answer.out.as_str()), (0, "my/resize@0.3.0\n"), "{}", answer.err);
    assert_eq!(
        fake.seen.lock().unwrap().component.as_ref().unwrap()["description"]["idempotent"],
        true
    );
    assert_eq!(
        push(&["task", "push", wasm, "--name", "other/resize", "--as-version", "1.0.0"]).out,
        "other/resize@1.0.0\n"
    );

    let mut missing = fake.command(&["task", "push", wasm]);
    missing.env("EYOT_AGENT_BIN", "/nonexistent/eyot-agent");
    let answer = run(missing);
    assert_eq!(answer.code, 8);
    assert!(answer.err.contains("EYOT_AGENT_BIN"), "{}", answer.err);
}

#[test]
fn completions_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let answer = run(bare(&["completions", shell]));
        assert!(answer.code == 0 && answer.out.contains("validate"), "{shell}");
    }
}

#[test]
fn a_folder_that_is_no_task_is_told_apart() {
    let fake = Fake::start(End::Succeeded, None);
    let answer = fake.eyot(&["task", "build", "."]);
    assert_eq!(answer.code, 8);
    assert!(answer.err.contains("it has no Cargo.toml"), "{}", answer.err);
    assert_eq!(fake.eyot(&["task", "new", "Bad Name"]).code, 2);
    let made = fake.eyot(&["task", "new", "count-words"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let manifest = std::fs::read_to_string(fake.home.path().join("count-words/Cargo.toml")).unwrap();
    assert!(manifest.contains("{ git = \"https://"), "where the SDK comes from: {manifest}");
}
