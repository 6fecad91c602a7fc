//! The workflow of a draft without mistakes.

use super::{Component, Edges};
use crate::draft::{Expression, ForEachDraft, TaskDraft, TriggerDraft, WorkflowDraft};
use eyot_model::{ComponentRef, Expr, ForEach, Placement, Task, TaskIx, Template, Trigger, Workflow};

/// Whether running the task twice is harmless: as its author says, else as its component says.
pub(crate) fn is_idempotent(task: &TaskDraft<'_>, component: &Component) -> bool {
    task.idempotent.unwrap_or_else(|| component.as_ref().is_none_or(|c| c.idempotent))
}

pub(crate) fn workflow(draft: WorkflowDraft<'_>, edges: &Edges, components: &[Component]) -> Workflow {
    let tasks = draft
        .tasks
        .into_iter()
        .zip(edges)
        .zip(components)
        .map(|((t, needs), component)| {
            let needs = needs.keys().filter_map(|ix| u32::try_from(*ix).ok()).map(TaskIx);
            task(t, needs.collect(), component)
        })
        .collect();
    Workflow {
        namespace: draft.namespace,
        name: draft.name,
        version: draft.version,
        inputs: draft.inputs,
        tasks,
        outputs: draft.outputs.into_iter().map(|(name, p)| (name, p.template)).collect(),
        on_disconnect: draft.on_disconnect,
        on_failure: draft.on_failure,
        max_parallel: draft.max_parallel,
        deadline: draft.deadline,
        retention: draft.retention,
        triggers: draft.triggers.into_iter().map(trigger).collect(),
    }
}

fn trigger(draft: TriggerDraft<'_>) -> Trigger {
    Trigger {
        name: draft.name,
        source: draft.source,
        filter: draft.filter.as_ref().map(expr),
        inputs: draft.inputs.into_iter().map(|(name, p)| (name, p.value.template)).collect(),
    }
}

fn task(draft: TaskDraft<'_>, needs: std::collections::BTreeSet<TaskIx>, component: &Component) -> Task {
    let idempotent = is_idempotent(&draft, component);
    let mut retry = draft.retry;
    retry.when = draft.retry_when.as_ref().map(expr);
    Task {
        name: draft.name,
        uses: ComponentRef {
            name: draft.uses.map(|u| u.value).unwrap_or_default(),
            digest: component.as_ref().map(|c| c.digest),
            size: component.as_ref().map_or(0, |c| c.size),
        },
        needs,
        when: draft.when.as_ref().map(expr),
        with: draft.with.into_iter().map(|(name, p)| (name, p.value.template)).collect(),
        for_each: draft.for_each.map(for_each),
        retry,
        timeout: draft.timeout,
        cpu_limit: draft.cpu_limit,
        queue_timeout: draft.queue_timeout,
        trigger_rule: draft.trigger_rule,
        resources: draft.resources,
        placement: Placement {
            require: draft.require.as_ref().map(expr),
            prefer: draft.prefer.as_ref().map(expr),
        },
        grants: draft.grants,
        idempotent,
    }
}

fn for_each(draft: ForEachDraft<'_>) -> ForEach {
    ForEach {
        // A missing list was reported, so that no workflow comes of it.
        items: draft.items.map_or_else(|| Template::List(Vec::new()), |p| p.template),
        name: draft.name,
        max_parallel: draft.max_parallel,
        item_failure: draft.item_failure,
    }
}

fn expr(expression: &Expression<'_>) -> Expr {
    Expr {
        source: expression.program.source().trim().to_owned(),
    }
}
