//! Why there is no plan.

use eyot_model::{Refusal, TaskIx};

/// A task that no agent can run, with all the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaceable {
    pub task: TaskIx,
    pub name: String,
    /// Most frequent reason first.
    pub refusals: Vec<Refusal>,
}

/// Why a run cannot be planned. Only [`Error::NoAgents`], [`Error::Unplaceable`] and [`Error::Apart`] can pass by
/// waiting: for agents.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no agent to run it on: none has joined")]
    NoAgents,
    #[error("{}", unplaceable(.0))]
    Unplaceable(Vec<Unplaceable>),
    /// Each task has an agent, and no agent can take all of them.
    #[error("{}", apart(.tasks, *.excluded))]
    Apart {
        tasks: Vec<String>,
        /// Agents that were not asked.
        excluded: usize,
    },
    /// An expression that cannot be read or that names what is not there.
    #[error("cannot evaluate `{field}` of task `{task}`")]
    Expression {
        task: String,
        field: &'static str,
        // Boxed: it is much larger than the rest.
        source: Box<ExpressionError>,
    },
    /// Stored workflows have no cycle; this one was not checked.
    #[error("the tasks before `{task}` form a cycle")]
    Cycle { task: String },
    /// Stored workflows name only tasks that exist; this one was not checked.
    #[error("task `{task}` needs task number {needs}, and there are only {count}")]
    UnknownTask { task: String, needs: u32, count: u32 },
    #[error("a workflow of {0} tasks and dependencies is too large to plan")]
    TooManyTasks(usize),
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExpressionError {
    #[error(transparent)]
    Parse(#[from] eyot_expr::ParseError),
    #[error(transparent)]
    Evaluate(#[from] eyot_expr::EvaluateError),
}

fn unplaceable(tasks: &[Unplaceable]) -> String {
    const SHOWN: usize = 3;
    let mut text = tasks.iter().take(SHOWN).map(one).collect::<Vec<_>>().join("; ");
    if tasks.len() > SHOWN {
        text.push_str(&format!("; and {} more tasks", tasks.len() - SHOWN));
    }
    text
}

fn apart(tasks: &[String], excluded: usize) -> String {
    const SHOWN: usize = 3;
    let names: Vec<String> = tasks.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let mut text = format!("no single agent can take all that is left of it: {}", names.join(", "));
    if tasks.len() > SHOWN {
        text.push_str(&format!(" and {} more tasks", tasks.len() - SHOWN));
    }
    match excluded {
        0 => {}
        1 => text.push_str(" (1 agent is not asked)"),
        n => text.push_str(&format!(" ({n} agents are not asked)")),
    }
    text
}

fn one(task: &Unplaceable) -> String {
    let reasons: Vec<String> = task
        .refusals
        .iter()
        .map(|r| match r.count {
            1 => format!("{} (1 agent)", r.reason),
            n => format!("{} ({n} agents)", r.reason),
        })
        .collect();
    format!("no agent can run task `{}`: {}", task.name, reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_placed_is_named_with_its_reasons() {
        let task = |n: u32| Unplaceable {
            task: TaskIx(n),
            name: format!("t{n}"),
            refusals: vec![
                Refusal {
                    reason: "needs a GPU, has none".into(),
                    agents: vec![],
                    count: 2,
                },
                Refusal {
                    reason: "is draining".into(),
                    agents: vec![],
                    count: 1,
                },
            ],
        };
        assert_eq!(
            Error::Unplaceable(vec![task(1)]).to_string(),
            "no agent can run task `t1`: needs a GPU, has none (2 agents), is draining (1 agent)"
        );
        assert!(
            Error::Unplaceable((0..9).map(task).collect())
                .to_string()
                .ends_with("; and 6 more tasks")
        );
    }
}
