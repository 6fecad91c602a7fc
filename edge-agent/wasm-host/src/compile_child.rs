//! Compiling, seen from the child process: hostile input meets the compiler here and nowhere else.
//!
//! The child is the agent's own program with a hidden argument. It takes limits upon itself before it looks at the
//! component, has no environment and no standard input, and ends when its parent ends. What it writes is trusted only
//! by the agent that started it.

use crate::engine;
use crate::error::is_full;
use eyot_model::Digest;
use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The hidden argument.
pub(crate) const ARGUMENT: &str = "compile-component-in-child";
/// Exit code that says: the component is at fault, not this agent.
pub(crate) const EXIT_COMPONENT: i32 = 2;
const EXIT_FAILED: i32 = 1;
/// Exit code that says: there is no room for the code on the disk.
pub(crate) const EXIT_FULL: i32 = 3;
/// Most bytes of an error's text.
const MAX_ERROR_BYTES: usize = 2_048;

/// Why the child did not compile.
enum Failed {
    /// The component is not one, or not one that this engine runs.
    Component(String),
    /// The disk has no room for the code.
    Full(String),
    /// Anything else.
    Agent(String),
}

/// Compiles and ends the process, if this process was started to do so; otherwise returns at once. Call it first thing
/// in `main` of every program that uses [`crate::Compiler::this_program`], before any thread starts.
pub fn main_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == ARGUMENT) {
        let code = match run(&arguments.collect::<Vec<_>>()) {
            Ok(()) => 0,
            Err(failed) => {
                let (code, message) = match failed {
                    Failed::Component(message) => (EXIT_COMPONENT, message),
                    Failed::Full(message) => (EXIT_FULL, message),
                    Failed::Agent(message) => (EXIT_FAILED, message),
                };
                // The parent reads this; where it cannot be written, the exit code has to do.
                drop(writeln!(
                    std::io::stderr(),
                    "{}",
                    crate::capability::log::clip(&message, MAX_ERROR_BYTES)
                ));
                code
            }
        };
        std::process::exit(code);
    }
}

/// [`main_if_asked`] for a program that does nothing else.
#[must_use]
pub fn main() -> ExitCode {
    main_if_asked();
    ExitCode::FAILURE
}

fn run(arguments: &[OsString]) -> Result<(), Failed> {
    let [wasm, out, digest, limits @ ..] = arguments else {
        return Err(Failed::Agent("wrong number of arguments".to_owned()));
    };
    take_limits(limits)?;
    let (wasm, out) = (PathBuf::from(wasm), PathBuf::from(out));
    let bytes = std::fs::read(&wasm).map_err(|e| Failed::Agent(format!("component at {} cannot be read: {e}", wasm.display())))?;
    if digest.to_str() != Some(&Digest::of(&bytes).to_hex()) {
        return Err(Failed::Component("its bytes are not those of its digest".to_owned()));
    }
    let engine = engine::compiling().map_err(|e| Failed::Agent(e.to_string()))?;
    let code = engine
        .precompile_component(&bytes)
        .map_err(|e| Failed::Component(format!("{e:#}")))?;
    std::fs::write(&out, code).map_err(|e| {
        let message = format!("compiled code cannot be written to {}: {e}", out.display());
        if is_full(&e) {
            Failed::Full(message)
        } else {
            Failed::Agent(message)
        }
    })
}

fn take_limits(limits: &[OsString]) -> Result<(), Failed> {
    let failed = |what: &str| Failed::Agent(format!("limits cannot be taken: {what}"));
    let numbers: Vec<u64> = limits.iter().filter_map(|text| text.to_str()?.parse().ok()).collect();
    let [cpu, memory, output] = numbers[..] else {
        return Err(failed("three numbers are needed"));
    };
    for (resource, limit) in [
        (Resource::Cpu, cpu),
        // Not the address space: the engine reserves far more than it uses.
        (Resource::Data, memory),
        (Resource::Fsize, output),
        (Resource::Core, 0),
    ] {
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, limit).map_err(|e| failed(&e.to_string()))?;
    }
    // Neither is a matter of safety: the parent kills the child when it gives up.
    let _ = nice(10);
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    Ok(())
}
