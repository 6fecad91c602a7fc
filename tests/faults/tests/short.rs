//! The short form of the groups that take seconds. The others (`triggers` wants a broker, `full-disk` and `checkpoint` minutes) run with
//! `cargo xtask faults`.

use std::process::Command;

const GROUPS: [&str; 6] = ["kill-agent", "kill-cloud", "cut", "reboot", "relay", "power"];

/// One group after the other: each starts several programs, and measures.
#[test]
fn what_is_promised_holds_under_every_kind_of_fault() {
    let mut faults = Command::new(env!("CARGO_BIN_EXE_eyot-faults"));
    let status = faults
        .arg("--short")
        .args(GROUPS)
        .status()
        .expect("the program of this package can be run");
    assert!(status.success(), "the lines above name what did not hold, and the seed");
}
