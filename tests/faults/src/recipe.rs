//! Workflows of the load, drawn from a seed, and what must come of each.

use eyot_model::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A workflow and its only right outcome.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub kind: Kind,
    pub text: String,
    /// The output `answer` of the run.
    pub answer: Value,
    /// What each task needs to have ended before it starts.
    pub needs: BTreeMap<String, Vec<String>>,
    /// Tasks that must not run again once it is not known how an attempt of them ended.
    pub once: Vec<String>,
    /// What such a task gives, where an operator says that it did its work.
    pub by_hand: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tasks one after the other on one device.
    Chain,
    /// Items of a `forEach`, and what gathers them.
    Each,
    /// A chain that goes to and fro between the devices.
    Split,
    /// Tasks that fail before they succeed.
    Retries,
    /// A chain with a task that is not idempotent.
    Once,
}

/// Items of work of some seconds on each device.
pub const SIDES_LONG: u32 = 30;

/// Attempts that a task may take: kills count as attempts.
const ATTEMPTS: u32 = 50;

impl Recipe {
    /// Draws one.
    #[must_use]
    pub fn draw(random: &mut fastrand::Rng) -> Self {
        let kind = match random.u8(..10) {
            0..3 => Kind::Chain,
            3..5 => Kind::Each,
            5..8 => Kind::Split,
            8 => Kind::Retries,
            _ => Kind::Once,
        };
        Self::of(kind, random)
    }

    #[must_use]
    pub fn of(kind: Kind, random: &mut fastrand::Rng) -> Self {
        let side = random.usize(..2);
        let start = random.i64(0..1_000_000);
        match kind {
            Kind::Chain => chain(kind, random.i64(3..10), random, start, |_| side),
            Kind::Split => chain(kind, random.i64(3..7), random, start, |n| (side + n) % 2),
            Kind::Once => chain(kind, 3, random, start, |_| side),
            Kind::Retries => chain(kind, 2, random, start, |_| side),
            Kind::Each => each(random, start, side),
        }
    }
}

fn head(name: &str, output: &str) -> String {
    format!(
        "apiVersion: eyot.dev/v1\nkind: Workflow\nmetadata: {{name: {name}, version: \"1\"}}\nspec:\n  outputs: {{answer: \"${{{{ {output} }}}}\"}}\n  tasks:\n"
    )
}

/// One task. `rest` begins with a comma where there is more to its inputs.
fn task(text: &mut String, name: &str, side: usize, with: &str, more: &str) {
    let side = crate::world::SIDES[side];
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "    {name}:\n      uses: scenarios/probe@1\n      with: {{{with}}}\n      retry: {{maxAttempts: {ATTEMPTS}, initialInterval: 20ms, maxInterval: 100ms}}\n      placement: {{where: \"agent.labels.name == '{side}'\"}}\n{more}"
    );
}

/// Each task adds one to what the one before gave.
fn chain(kind: Kind, length: i64, random: &mut fastrand::Rng, start: i64, side: impl Fn(usize) -> usize) -> Recipe {
    let name = match kind {
        Kind::Split => "split",
        Kind::Retries => "retries",
        Kind::Once => "once",
        Kind::Chain | Kind::Each => "chain",
    };
    let mut text = head(name, &format!("tasks.t{}.outputs.echo", length - 1));
    let (mut needs, mut once) = (BTreeMap::new(), Vec::new());
    for n in 0..length {
        let echo = match n {
            0 => start.to_string(),
            _ => format!("\"${{{{ tasks.t{}.outputs.echo + 1 }}}}\"", n - 1),
        };
        let mut with = format!("echo: {echo}, work_ms: {}", random.u32(..60));
        if kind == Kind::Retries {
            let _ = write!(with, ", fail_before: {}", random.u32(2..4));
        }
        let is_once = kind == Kind::Once && n == 1;
        let more = if is_once { "      idempotent: false\n" } else { "" };
        let this = format!("t{n}");
        task(&mut text, &this, side(usize::try_from(n).unwrap_or_default()), &with, more);
        if n > 0 {
            needs.insert(this.clone(), vec![format!("t{}", n - 1)]);
        }
        if is_once {
            once.push(this);
        }
    }
    Recipe {
        kind,
        text,
        answer: Value::Int(start + length - 1),
        needs,
        by_hand: (!once.is_empty()).then_some(Value::Int(start + 1)),
        once,
    }
}

/// Items on one device, gathered on the other.
fn each(random: &mut fastrand::Rng, start: i64, side: usize) -> Recipe {
    let count = random.i64(4..16);
    let mut text = head("each", "tasks.gather.outputs.echo");
    let more = format!(
        "      forEach: {{items: range({count}), as: n, maxParallel: {}}}\n",
        random.u32(1..5)
    );
    let with = format!("echo: \"${{{{ n + {start} }}}}\", work_ms: {}", random.u32(..60));
    task(&mut text, "item", side, &with, &more);
    task(
        &mut text,
        "gather",
        1 - side,
        "echo: \"${{ tasks.item.outputs.map(o, o.echo) }}\"",
        "",
    );
    Recipe {
        kind: Kind::Each,
        text,
        answer: Value::List((start..start + count).map(Value::Int).collect()),
        needs: BTreeMap::from([("gather".to_owned(), vec!["item".to_owned()])]),
        once: Vec::new(),
        by_hand: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_workflow() {
        for kind in [Kind::Chain, Kind::Each, Kind::Split, Kind::Retries, Kind::Once] {
            let draw = || Recipe::of(kind, &mut fastrand::Rng::with_seed(7)).text;
            assert_eq!(draw(), draw());
        }
    }
}
