//! Cycles among tasks.

use super::Edges;
use crate::Place;
use crate::draft::TaskDraft;
use crate::report::{Report, code};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    /// On the path that is being walked.
    Open,
    Done,
}

/// Reports one cycle for each way back onto the path of a walk in depth, which finds every knot of tasks at least once.
pub(crate) fn cycles(tasks: &[TaskDraft<'_>], edges: &Edges, report: &mut Report) {
    let mut marks = vec![Mark::New; tasks.len()];
    for start in 0..tasks.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // The path, each task with its needs that were not looked at yet. A stack of our own: chains are long.
        let mut path = vec![(start, edges[start].iter())];
        marks[start] = Mark::Open;
        while let Some((task, needs)) = path.last_mut() {
            let Some((&need, &place)) = needs.next() else {
                marks[*task] = Mark::Done;
                path.pop();
                continue;
            };
            match marks[need] {
                Mark::New => {
                    marks[need] = Mark::Open;
                    path.push((need, edges[need].iter()));
                }
                Mark::Open => {
                    let from = path.iter().position(|(t, _)| *t == need).unwrap_or(0);
                    let cycle: Vec<usize> = path[from..].iter().map(|(t, _)| *t).collect();
                    describe(tasks, edges, &cycle, place, report);
                }
                Mark::Done => {}
            }
        }
    }
}

/// Begins at the task that comes first in the text.
fn describe(tasks: &[TaskDraft<'_>], edges: &Edges, cycle: &[usize], closing: Place, report: &mut Report) {
    const MOST: usize = 12;
    let first = cycle.iter().enumerate().min_by_key(|(_, t)| **t).map_or(0, |(at, _)| at);
    let mut around: Vec<usize> = cycle[first..].iter().chain(&cycle[..first]).copied().collect();
    let place = match around[..] {
        [one, next, ..] => edges[one].get(&next).copied().unwrap_or(closing),
        _ => closing,
    };
    around.extend(around.first().copied());
    let mut names: Vec<&str> = around.iter().map(|t| tasks[*t].name.as_str()).collect();
    if names.len() > MOST {
        names.splice(MOST - 2..names.len() - 2, ["…"]);
    }
    let message = format!("these tasks wait for each other: {}", names.join(" -> "));
    report.error_with(place, code::CYCLE, message, "each needs the next; take one of these needs away");
}
