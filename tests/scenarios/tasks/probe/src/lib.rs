//! The task that the scenarios run, written as any author would: it works as long as it is asked to, and then does well
//! or does harm.

use eyot_task::prelude::*;
use eyot_task::serde_json::Value;
use std::hint::black_box;
use std::time::Duration;

/// What to do after the work.
#[eyot_task::data]
#[derive(Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Give back `echo`.
    #[default]
    Echo,
    /// Fail for good, with `echo` as the message.
    Fail,
    /// Go on without end.
    Loop,
    /// Take memory without end.
    Alloc,
    /// Do the work in steps of 10 ms, save how far it is, and count every step that was ever done.
    Steps,
}

/// How far `Act::Steps` is.
#[eyot_task::data]
#[derive(Default)]
struct Steps {
    done: u64,
    /// Bytes of no meaning, to make the state as large as was asked for.
    padding: String,
}

#[eyot_task::data]
pub struct Done {
    /// What came in.
    pub echo: Value,
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    /// Steps that the attempt took up from an earlier one.
    #[serde(default)]
    pub from: u64,
    /// Steps that are done in all.
    #[serde(default)]
    pub steps: u64,
}

/// Works for a while, and then acts.
#[eyot_task::task(name = "scenarios/probe", version = "1.0.0")]
pub fn probe(
    #[default] act: Act,
    /// How long to take first, in milliseconds.
    #[default]
    work_ms: u64,
    #[default] echo: Value,
    /// How often `steps` saves its state, in milliseconds.
    #[default = 5000]
    save_ms: u64,
    /// Least length of the saved state, in bytes.
    #[default]
    state_bytes: u64,
    /// Fail, and may be tried again, while this is not yet the number of the attempt.
    #[default]
    fail_before: u32,
) -> Result<Done, Failure> {
    info!("works for {work_ms} ms");
    if act == Act::Steps {
        return steps(work_ms, save_ms, state_bytes, echo);
    }
    // Asleep, so that many of them keep their time on few cores.
    std::thread::sleep(Duration::from_millis(work_ms));
    let attempt = Context::current().attempt;
    if attempt < fail_before {
        return Err(Failure::retryable(format!("attempt {attempt} of {fail_before}")));
    }
    match act {
        Act::Echo | Act::Steps => Ok(Done {
            echo,
            attempt,
            from: 0,
            steps: 0,
        }),
        Act::Fail => Err(Failure::permanent(echo.to_string())),
        Act::Loop => loop {
            black_box(0);
        },
        Act::Alloc => {
            let mut held = Vec::new();
            loop {
                held.push(vec![1_u8; 1 << 20]);
                black_box(&held);
            }
        }
    }
}

/// Whole steps only: what the attempt before had saved is not done again.
fn steps(work_ms: u64, save_ms: u64, state_bytes: u64, echo: Value) -> Result<Done, Failure> {
    const STEP: Duration = Duration::from_millis(10);
    let mut checkpoint = checkpoint::every(Duration::from_millis(save_ms));
    let mut state: Steps = checkpoint::load()?.unwrap_or_default();
    let from = state.done;
    info!("from step {from}");
    let all = work_ms / 10;
    while state.done < all {
        std::thread::sleep(STEP);
        state.done += 1;
        progress::report(state.done, all, "steps");
        checkpoint.maybe_save_with(|| {
            let padding = "x".repeat(usize::try_from(state_bytes).unwrap_or(0));
            Ok(Steps { done: state.done, padding })
        })?;
    }
    Ok(Done {
        echo,
        attempt: Context::current().attempt,
        from,
        steps: state.done,
    })
}
