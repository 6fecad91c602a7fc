//! Tasks that never run, as the inputs alone decide: their condition is false whatever else happens, or their trigger
//! rule cannot be met because of such tasks before them.

use crate::error::Error;
use crate::graph::{Graph, Node};
use crate::parsed;
use eyot_expr::{Scope, fold_known};
use eyot_model::{Pruned, TaskIx, TriggerRule, Workflow};
use eyot_spec::words::shorten;
use std::collections::BTreeSet;

/// The pruned tasks in order of declaration. `settled` tasks are left alone: they were decided.
///
/// # Errors
/// When a condition cannot be parsed.
pub(crate) fn prune(workflow: &Workflow, graph: &Graph, scope: &Scope<'_>, settled: &BTreeSet<TaskIx>) -> Result<Vec<Pruned>, Error> {
    let mut skipped = vec![false; workflow.tasks.len()];
    let mut pruned = Vec::new();
    for &node in &graph.order {
        if !settled.is_empty() && settled.contains(&TaskIx(node)) {
            continue;
        }
        let reason = match by_rule(workflow, graph, node, &skipped) {
            Some(reason) => Some(reason),
            None => by_condition(workflow, node, scope)?,
        };
        if let Some(reason) = reason {
            skipped[node as usize] = true;
            pruned.push(Pruned {
                task: TaskIx(node),
                reason,
            });
        }
    }
    pruned.sort_by_key(|p| p.task);
    Ok(pruned)
}

fn by_condition(workflow: &Workflow, node: Node, scope: &Scope<'_>) -> Result<Option<String>, Error> {
    let task = &workflow.tasks[node as usize];
    let Some(when) = &task.when else { return Ok(None) };
    let program = parsed(when, task, "when")?;
    // A condition that fails is decided by the run, which fails the task: never silently false.
    Ok((fold_known(&program, scope).as_bool() == Some(false))
        .then(|| format!("`when` is `{}`, which is false for these inputs", shorten(&when.source))))
}

/// Whether the rule leads to a skip with these tasks before it skipped, whatever becomes of the others.
fn by_rule(workflow: &Workflow, graph: &Graph, node: Node, skipped: &[bool]) -> Option<String> {
    let before = graph.before.get(node);
    let gone = before.iter().filter(|&&n| skipped[n as usize]).count();
    if gone == 0 {
        return None;
    }
    let names = || {
        let mut gone = before.iter().filter(|&&n| skipped[n as usize]);
        let shown: Vec<String> = gone
            .by_ref()
            .take(3)
            .map(|&n| format!("`{}`", workflow.tasks[n as usize].name))
            .collect();
        match gone.count() {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    };
    let all = gone == before.len();
    let any = |rule| Some(format!("its trigger rule is `{rule}`, and skipped is: {}", names()));
    let every = |rule| all.then(|| format!("its trigger rule is `{rule}`, and all tasks before it are skipped: {}", names()));
    match workflow.tasks[node as usize].trigger_rule {
        TriggerRule::NoneFailedMinOneSuccess => all.then(|| format!("all tasks before it are skipped: {}", names())),
        TriggerRule::AllSuccess => any("all_success"),
        TriggerRule::AllFailed => any("all_failed"),
        TriggerRule::NoneSkipped => any("none_skipped"),
        TriggerRule::OneSuccess => every("one_success"),
        TriggerRule::OneFailed => every("one_failed"),
        TriggerRule::OneDone => every("one_done"),
        TriggerRule::AllDone | TriggerRule::AllSkipped | TriggerRule::NoneFailed | TriggerRule::Always => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{expr, workflow};
    use eyot_model::Value;

    fn pruned(workflow: &Workflow, settled: &[u32]) -> Vec<(u32, String)> {
        let graph = Graph::new(workflow).unwrap();
        let mut scope = Scope::new();
        scope.bind("inputs", Value::Map([("mode".to_owned(), Value::from("quick"))].into()));
        let settled = settled.iter().map(|n| TaskIx(*n)).collect();
        let found = prune(workflow, &graph, &scope, &settled).unwrap();
        found.into_iter().map(|p| (p.task.0, p.reason)).collect()
    }

    #[test]
    fn conditions_that_inputs_decide() {
        for (when, reason) in [
            ("inputs.mode == 'quick'", None),
            (
                "inputs.mode == 'full'",
                Some("`when` is `inputs.mode == 'full'`, which is false for these inputs"),
            ),
            ("tasks.t0.outputs.n > 3", None),
            (
                "tasks.t0.outputs.n > 3 && false",
                Some("`when` is `tasks.t0.outputs.n > 3 && false`, which is false for these inputs"),
            ),
            ("tasks.t0.outputs.n > 3 || inputs.mode == 'full'", None),
            // It fails at run time, which is no skip.
            ("inputs.absent == 1", None),
        ] {
            let mut w = workflow(2);
            w.tasks[1].needs.insert(TaskIx(0));
            w.tasks[1].when = Some(expr(when));
            assert_eq!(pruned(&w, &[]).first().map(|(_, r)| r.as_str()), reason, "{when}");
        }
    }

    #[test]
    fn each_rule_after_one_and_after_two_skipped_tasks() {
        use TriggerRule as R;
        let any = |rule: &str| {
            (
                Some(format!("its trigger rule is `{rule}`, and skipped is: `t0`")),
                Some(format!("its trigger rule is `{rule}`, and skipped is: `t0`, `t1`")),
            )
        };
        let all = |rule: &str| {
            (
                None,
                Some(format!(
                    "its trigger rule is `{rule}`, and all tasks before it are skipped: `t0`, `t1`"
                )),
            )
        };
        for (rule, (one, two)) in [
            (
                R::NoneFailedMinOneSuccess,
                (None, Some("all tasks before it are skipped: `t0`, `t1`".to_owned())),
            ),
            (R::AllSuccess, any("all_success")),
            (R::AllFailed, any("all_failed")),
            (R::NoneSkipped, any("none_skipped")),
            (R::OneSuccess, all("one_success")),
            (R::OneFailed, all("one_failed")),
            (R::OneDone, all("one_done")),
            (R::AllDone, (None, None)),
            (R::AllSkipped, (None, None)),
            (R::NoneFailed, (None, None)),
            (R::Always, (None, None)),
        ] {
            for (skipped, expected) in [(1, &one), (2, &two)] {
                let mut w = workflow(3);
                for task in &mut w.tasks[..skipped] {
                    task.when = Some(expr("false"));
                }
                w.tasks[2].needs = [TaskIx(0), TaskIx(1)].into();
                w.tasks[2].trigger_rule = rule;
                let found = pruned(&w, &[]);
                let last = found.iter().find(|(n, _)| *n == 2).map(|(_, r)| r.clone());
                assert_eq!(&last, expected, "{rule:?} after {skipped}");
            }
        }
    }

    #[test]
    fn a_skip_goes_down_the_graph_and_settled_tasks_are_left_alone() {
        let mut w = workflow(7);
        w.tasks[0].when = Some(expr("false"));
        for n in 1..7u32 {
            w.tasks[n as usize].needs = (0..n).map(TaskIx).collect();
        }
        let found = pruned(&w, &[]);
        assert_eq!(found.len(), 7);
        assert_eq!(found[6].1, "all tasks before it are skipped: `t0`, `t1`, `t2` and 3 more");
        assert_eq!(pruned(&w, &[0]), []);
        assert_eq!(
            pruned(&w, &[1]),
            [(0, "`when` is `false`, which is false for these inputs".to_owned())]
        );
    }
}
