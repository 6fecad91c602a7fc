//! What ends a guest that does not end by itself.

use crate::support::{Shell, attempt, host, prepared, probe};
use eyot_model::{BlobForm, FailureKind, Grant, Outcome};
use eyot_wasm_host::Limits;
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;

#[test]
fn an_endless_loop_ends_at_its_limit_and_not_before() {
    let limit = Duration::from_millis(100);
    for (kind, attempt) in [
        (FailureKind::CpuLimit, probe("loop").limit(|l| l.cpu = Some(limit))),
        (FailureKind::Timeout, probe("loop").limit(|l| l.wall = Some(limit))),
    ] {
        let end = attempt.run();
        let Outcome::Failed(failure) = &end.outcome else {
            panic!("{end:?}")
        };
        println!("a loop with a limit of {limit:?} ended after {} us", end.usage.wall_micros);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(end.usage.wall_micros >= 100_000, "{end:?}");
    }
}

#[test]
fn a_guest_that_sleeps_ends_at_its_time_out() {
    let sleeper = probe("sleep")
        .with("seconds", 3_600)
        .limit(|l| l.wall = Some(Duration::from_millis(50)));
    assert_eq!(sleeper.failure().kind, FailureKind::Timeout);
}

#[test]
fn sleeping_takes_no_cpu_time() {
    let sleeper = probe("sleep")
        .with("seconds", 1)
        .limit(|l| l.cpu = Some(Duration::from_millis(200)));
    sleeper.outputs();
}

#[test]
fn memory_beyond_the_limit_is_refused_to_the_byte() {
    let end = probe("allocate").limit(|l| l.memory_bytes = 32 * MIB).run();
    let Outcome::Failed(failure) = &end.outcome else {
        panic!("{end:?}")
    };
    assert_eq!(failure.kind, FailureKind::MemoryLimit, "{failure}");
    assert!(
        end.usage.peak_memory_bytes <= 32 * MIB && end.usage.peak_memory_bytes > 28 * MIB,
        "{end:?}"
    );
}

#[test]
fn a_component_that_starts_beyond_its_memory_limit_says_so() {
    let failure = attempt("noop").limit(|l| l.memory_bytes = 64 << 10).failure();
    assert_eq!(failure.kind, FailureKind::MemoryLimit, "{failure}");
}

#[test]
fn outputs_beyond_the_limit_are_refused() {
    for what in ["text", "bytes", "fill"] {
        let within = probe(what).with("bytes", 900_000).limit(|l| l.output_bytes = MIB);
        within.outputs();
        let beyond = probe(what).with("bytes", 1_100_000).limit(|l| l.output_bytes = MIB);
        assert_eq!(beyond.failure().kind, FailureKind::OutputLimit, "{what}");
    }
}

#[test]
fn outputs_that_would_take_more_memory_here_than_the_task_has_are_refused_before_they_are_read() {
    // Some 30 MB of values, of less than 1 MB of text.
    let zeros = |count: i64| probe("zeros").with("count", count).limit(|l| l.memory_bytes = 16 * MIB);
    zeros(100_000).outputs();
    let failure = zeros(400_000).failure();
    assert_eq!(failure.kind, FailureKind::OutputLimit, "{failure}");
    assert!(failure.message.contains("give it as bytes or a blob"), "{failure}");
    let failure = probe("text").with("bytes", 17 << 20).failure();
    assert_eq!(failure.kind, FailureKind::OutputLimit, "{failure}");
}

#[test]
fn inputs_that_would_take_more_memory_here_than_the_task_has_are_refused_before_they_are_read() {
    let shell = Shell::new();
    let zeros = format!("[{}0]", "0,".repeat(400_000));
    let blob = shell.blob(zeros.as_bytes(), BlobForm::Json);
    let mut attempt = probe("read").with("zeros", blob).limit(|l| l.memory_bytes = 16 * MIB);
    attempt.shell = Arc::new(shell);
    let failure = attempt.failure();
    assert_eq!(failure.kind, FailureKind::MemoryLimit, "{failure}");
}

#[test]
fn a_blob_counts_what_it_takes_on_the_disk() {
    let blobs = |count: i64| probe("blobs").with("count", count).limit(|l| l.output_bytes = MIB);
    blobs(256).outputs();
    assert_eq!(blobs(257).failure().kind, FailureKind::OutputLimit);
}

#[test]
fn outputs_are_bounded_in_number() {
    let failure = probe("names").with("count", 2_000).failure();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert!(failure.message.contains("2000 outputs"), "{failure}");
}

#[test]
fn files_beyond_the_limit_end_the_attempt() {
    let hoarder = probe("hoard").grant(Grant::Scratch).limit(|l| l.output_bytes = MIB);
    assert_eq!(hoarder.failure().kind, FailureKind::OutputLimit);
}

#[test]
fn files_that_were_removed_and_are_open_count() {
    let hoarder = probe("unlink").grant(Grant::Scratch).limit(|l| l.output_bytes = 16 * MIB);
    assert_eq!(hoarder.failure().kind, FailureKind::OutputLimit);
}

#[test]
fn a_deep_tree_ends_the_attempt_and_nothing_of_it_is_left() {
    let digger = probe("deepen").with("levels", 2_000).grant(Grant::Scratch);
    let failure = digger.failure();
    assert_eq!(failure.kind, FailureKind::OutputLimit, "{failure}");
    assert!(failure.message.contains("64 deep"), "{failure}");
}

/// What the shell does wrong stays with the attempt that met it.
#[test]
fn a_panic_of_the_agents_own_is_a_failure_of_that_attempt() {
    let mut attempt = probe("talk");
    let mut shell = Shell::new();
    shell.on_log = Box::new(|_| panic!("the shell is at fault"));
    attempt.shell = Arc::new(shell);
    let failure = attempt.failure();
    assert_eq!(failure.kind, FailureKind::Agent, "{failure}");
    probe("talk").outputs();
}

#[test]
fn handles_are_bounded() {
    let failure = probe("handles").failure();
    assert_eq!(failure.kind, FailureKind::Trap, "{failure}");
}

#[test]
fn a_stack_that_grows_without_end_is_a_trap() {
    let failure = probe("recurse").failure();
    assert_eq!(failure.kind, FailureKind::Trap, "{failure}");
}

#[test]
fn cancelling_ends_a_guest_that_computes_and_one_that_sleeps() {
    for what in ["loop", "sleep"] {
        let mut attempt = probe(what).with("announce", 1).with("seconds", 3_600);
        let cancel = attempt.cancel.clone();
        let mut shell = Shell::new();
        // From another thread, as the agent does it, once the guest runs.
        shell.on_log = Box::new(move |_| {
            let cancel = cancel.clone();
            std::thread::spawn(move || cancel.cancel());
        });
        attempt.shell = Arc::new(shell);
        assert_eq!(attempt.run().outcome, Outcome::Cancelled, "{what}");
    }
}

#[test]
fn a_guest_that_is_cancelled_before_it_starts_never_runs() {
    let attempt = probe("loop").with("announce", 1);
    attempt.cancel.cancel();
    assert_eq!(attempt.run().outcome, Outcome::Cancelled);
    assert!(attempt.shell.lines.lock().unwrap().is_empty());
}

#[test]
fn a_description_has_limits_of_its_own() {
    // The guest `probe` loops in `describe`.
    let failure = host().describe(&prepared("probe")).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::CpuLimit | FailureKind::Timeout), "{failure}");
}

/// The host goes on after all that guests do to it, on the same threads and in the same slots.
#[test]
fn bad_guests_at_once_hurt_nobody_else() {
    std::thread::scope(|scope| {
        for round in 0..8 {
            scope.spawn(move || {
                for what in ["loop", "allocate", "panic", "recurse", "sleep", "echo"] {
                    let attempt = probe(what).with("seconds", 3_600).with("n", round).limit(|l| {
                        *l = Limits {
                            memory_bytes: 16 * MIB,
                            wall: Some(Duration::from_millis(200)),
                            ..*l
                        };
                    });
                    let end = attempt.run();
                    match (what, &end.outcome) {
                        ("echo", Outcome::Succeeded(outputs)) => assert_eq!(outputs.len(), 2),
                        // A guest in want of a core may meet its time-out first.
                        (_, Outcome::Failed(_)) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    probe("echo").outputs();
}
