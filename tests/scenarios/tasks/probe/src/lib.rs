//! The task that the scenarios run, written as any author would: it works as long as it is asked to, and then does well
//! or does harm.

use eyot_task::prelude::*;
use eyot_task::serde_json::Value;
use std::hint::black_box;
use std::time::Duration;

/// What to do after the work.
#[eyot_task::data]
#[derive(Default)]
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
}

#[eyot_task::data]
pub struct Done {
    /// What came in.
    pub echo: Value,
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
}

/// Works for a while, and then acts.
#[eyot_task::task(name = "scenarios/probe", version = "1.0.0")]
pub fn probe(
    #[default] act: Act,
    /// How long to take first, in milliseconds.
    #[default]
    work_ms: u64,
    #[default] echo: Value,
) -> Result<Done, Failure> {
    // Asleep, so that many of them keep their time on few cores.
    std::thread::sleep(Duration::from_millis(work_ms));
    match act {
        Act::Echo => Ok(Done {
            echo,
            attempt: Context::current().attempt,
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
