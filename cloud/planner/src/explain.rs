//! Why a task is where it is, and why not elsewhere, in words.

use crate::fleet::{AgentIx, Fleet};
use crate::graph::Node;
use crate::millis;
use crate::needs::{BY_EXPRESSION, BY_GPU};
use crate::schedule::{Cost, Edge, Placed, Prospect, Standing};
use eyot_model::{Alternative, Choice, Refusal, TaskIx, Workflow};
use eyot_spec::words::{self, shorten};

/// Differences below this, in milliseconds, are none.
const NOTHING: f64 = 0.5;

/// All that the explanation of a plan looks at.
pub(crate) struct Explain<'a, C> {
    pub(crate) workflow: &'a Workflow,
    pub(crate) fleet: &'a Fleet<'a>,
    pub(crate) cost: &'a C,
    pub(crate) placed: &'a [Option<Placed>],
    pub(crate) standing: &'a [Standing],
}

impl<C: Cost> Explain<'_, C> {
    /// `edges` and `refusals` are those of the task.
    pub(crate) fn choice(&self, node: Node, placed: &Placed, edges: &[Edge], refusals: &[Refusal]) -> Choice {
        let chosen = &placed.chosen;
        let items = f64::from(self.cost.work(node).items);
        Choice {
            task: TaskIx(node),
            agent: self.fleet.id(chosen.agent),
            start: millis(chosen.start),
            finish: millis(chosen.finish),
            duration: millis(chosen.duration * items),
            reason: self.reason(node, placed, edges),
            alternatives: self.alternatives(placed, edges),
            refusals: refusals.to_vec(),
        }
    }

    fn reason(&self, node: Node, placed: &Placed, edges: &[Edge]) -> String {
        let chosen = &placed.chosen;
        let eligible = self.cost.eligible(node);
        if eligible.len() == 1 {
            return "only agent that meets its needs".to_owned();
        }
        let at = words::time(chosen.finish);
        let later = chosen.finish - placed.first_finish;
        if let Some(preferred) = self.preference(node, chosen.preference)
            && eligible.iter().any(|e| e.preference != chosen.preference)
        {
            return if later > NOTHING {
                let percent = (later / placed.first_finish.max(f64::MIN_POSITIVE) * 100.0).max(1.0);
                format!("{preferred}, +{percent:.0}% finish time")
            } else {
                format!("{preferred}, and no agent finishes earlier ({at})")
            };
        }
        let tied = placed.others().first().is_some_and(|o| o.finish - chosen.finish < NOTHING);
        let first = if tied {
            format!("no agent finishes earlier ({at})")
        } else {
            format!("finishes first here ({at})")
        };
        match self.largest_here(chosen.agent, edges) {
            Some(name) => format!("{first}; data of `{name}` is already on this agent"),
            None => first,
        }
    }

    fn preference(&self, node: Node, met: u8) -> Option<String> {
        let prefer = self.workflow.tasks[node as usize].placement.prefer.as_ref();
        let by = prefer
            .filter(|_| met & BY_EXPRESSION != 0)
            .map(|e| format!("preferred by `{}`", shorten(&e.source)));
        match (by, met & BY_GPU != 0) {
            (Some(by), true) => Some(format!("{by} and for its GPU")),
            (None, true) => Some("preferred for its GPU".to_owned()),
            (by, false) => by,
        }
    }

    /// The task before that brings most data and ran on the same agent.
    fn largest_here(&self, agent: AgentIx, edges: &[Edge]) -> Option<&str> {
        let here = edges
            .iter()
            .filter(|e| e.bytes > 0.0 && self.place(e.task).is_some_and(|(at, _)| at == agent));
        let largest = here.max_by(|a, b| a.bytes.total_cmp(&b.bytes).then(b.task.cmp(&a.task)))?;
        Some(&self.workflow.tasks[largest.task as usize].name)
    }

    /// Where the outputs of a task lie, and from when on.
    fn place(&self, task: Node) -> Option<(AgentIx, f64)> {
        match (&self.placed[task as usize], self.standing[task as usize]) {
            (Some(placed), _) => Some((placed.chosen.agent, placed.chosen.finish)),
            (None, Standing::Settled(place)) => Some((place, 0.0)),
            (None, _) => None,
        }
    }

    fn alternatives(&self, placed: &Placed, edges: &[Edge]) -> Vec<Alternative> {
        let others = placed.others();
        if others.is_empty() {
            return Vec::new();
        }
        let own = self.last_transfer(&placed.chosen, edges);
        others
            .iter()
            .map(|other| Alternative {
                agent: self.fleet.id(other.agent),
                finish: millis(other.finish),
                reason: self.why_not(&placed.chosen, own.as_ref(), other, edges),
            })
            .collect()
    }

    fn why_not(&self, chosen: &Prospect, own: Option<&LastTransfer>, other: &Prospect, edges: &[Edge]) -> String {
        let at = words::time(other.finish);
        if other.finish < chosen.finish - NOTHING {
            return format!("would finish at {at}, but is not preferred");
        }
        if other.finish <= chosen.finish + NOTHING {
            return "would finish at the same time".to_owned();
        }
        let transfer = self.last_transfer(other, edges);
        let moved = |t: Option<&LastTransfer>| t.map_or(0.0, |t| t.time);
        let late = |p: &Prospect| (p.arrival - p.data).max(0.0);
        let waits = |p: &Prospect| p.start - p.data.max(p.arrival);
        let runs = |p: &Prospect| p.finish - p.start;
        let causes = [
            (moved(transfer.as_ref()) - moved(own), Cause::Transfer),
            (late(other) - late(chosen), Cause::Arrival),
            (waits(other) - waits(chosen), Cause::Busy),
            (runs(other) - runs(chosen), Cause::Slower),
        ];
        let greatest = causes.iter().filter(|c| c.0 > NOTHING).max_by(|a, b| a.0.total_cmp(&b.0));
        let cause = match (greatest.map(|c| &c.1), transfer) {
            (Some(Cause::Transfer), Some(transfer)) => transfer.words(self.fleet),
            (Some(Cause::Arrival), _) => format!("its component and inputs arrive at {}", words::time(other.arrival)),
            (Some(Cause::Busy), _) => format!("busy until {}", words::time(other.start)),
            (Some(Cause::Slower), _) => format!("takes {} there and {} here", words::time(runs(other)), words::time(runs(chosen))),
            (Some(Cause::Transfer) | None, _) => return format!("would finish at {at}"),
        };
        format!("would finish at {at}: {cause}")
    }

    /// The transfer that a task on that agent would wait for last; None where nothing comes from elsewhere.
    fn last_transfer(&self, on: &Prospect, edges: &[Edge]) -> Option<LastTransfer> {
        let mut last: Option<(f64, LastTransfer)> = None;
        for edge in edges {
            let Some((from, finish)) = self.place(edge.task) else { continue };
            let time = self.cost.transfer(from, on.agent, edge.bytes);
            if last.as_ref().is_none_or(|(there, _)| finish + time > *there) {
                last = Some((
                    finish + time,
                    LastTransfer {
                        from,
                        time,
                        bytes: edge.bytes,
                    },
                ));
            }
        }
        last.map(|(_, transfer)| transfer).filter(|t| t.from != on.agent)
    }
}

enum Cause {
    Transfer,
    Arrival,
    Busy,
    Slower,
}

struct LastTransfer {
    from: AgentIx,
    time: f64,
    bytes: f64,
}

impl LastTransfer {
    fn words(&self, fleet: &Fleet<'_>) -> String {
        let from = if self.from == fleet.cloud() {
            "the cloud".to_owned()
        } else {
            shorten(&fleet.profile(self.from).name)
        };
        let time = words::time(self.time);
        if self.bytes > 0.0 {
            format!("{time} transfer of {} from {from}", words::data(self.bytes))
        } else {
            format!("{time} of round trips to {from}")
        }
    }
}
