//! Checks of a draft as a whole, and the workflow that comes of it.

mod build;
mod contract;
mod graph;
mod kinds;
mod names;
mod trigger;
mod values;

pub use contract::check_outputs;

use crate::component::{ComponentInfo, Components};
use crate::draft::{Expression, Origin, Pattern, TaskDraft, WorkflowDraft};
use crate::read::grant_named;
use crate::report::{Report, code};
use crate::suggest::did_you_mean;
use crate::text::Source;
use crate::{Parsed, Place, Positions};
use names::{Names, Site};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// What each task depends on, with the first place that says so.
pub(crate) type Edges = Vec<BTreeMap<usize, Place>>;

/// A component as it was resolved, once for all tasks that use it.
pub(crate) type Component = Option<Rc<ComponentInfo>>;

pub(crate) fn check(source: &Source<'_>, draft: WorkflowDraft<'_>, known: &dyn Components, report: &mut Report) -> Option<Parsed> {
    let components = resolve(&draft.tasks, known, report);
    let mut checker = Checker {
        source,
        names: Names::new(&draft, &components),
        components: &components,
        report,
    };
    let edges = checker.tasks(&draft);
    checker.outputs(&draft);
    checker.triggers(&draft);
    graph::cycles(&draft.tasks, &edges, checker.report);
    checker.losses(&draft);
    if checker.report.has_errors() {
        return None;
    }
    let positions = Positions {
        tasks: draft.tasks.iter().map(|t| t.place).collect(),
    };
    Some(Parsed {
        workflow: build::workflow(draft, &edges, &components),
        warnings: Vec::new(),
        positions,
    })
}

fn resolve(tasks: &[TaskDraft<'_>], known: &dyn Components, report: &mut Report) -> Vec<Component> {
    let mut seen: HashMap<&str, Component> = HashMap::new();
    let mut names: Option<Vec<String>> = None;
    let mut resolved = Vec::with_capacity(tasks.len());
    for task in tasks {
        let Some(uses) = &task.uses else {
            resolved.push(None);
            continue;
        };
        let name = uses.value.as_str();
        let component = match seen.get(name) {
            Some(component) => component.clone(),
            None => {
                let component = known.resolve(name).map(Rc::new);
                seen.insert(name, component.clone());
                component
            }
        };
        if component.is_none() {
            unknown_component(name, uses.place, known, &mut names, report);
        }
        resolved.push(component);
    }
    resolved
}

fn unknown_component(name: &str, place: Place, known: &dyn Components, names: &mut Option<Vec<String>>, report: &mut Report) {
    let is_path = name.starts_with("./") || name.starts_with("../") || name.starts_with('/');
    let versioned = name.split_once('@').is_some_and(|(n, v)| !n.is_empty() && !v.is_empty());
    if !is_path && !versioned {
        let message = format!("`{name}` is no name of a component");
        let names = names.get_or_insert_with(|| known.names());
        let with_version = names.iter().find(|n| n.split_once('@').is_some_and(|(base, _)| base == name));
        let help = with_version.map_or_else(
            || "a component is named `name@version`, `./path.wasm` or `name@b3:…`".to_owned(),
            |n| format!("it needs a version: `{n}`"),
        );
        report.error_with(place, code::UNKNOWN_COMPONENT, message, help);
        return;
    }
    if !known.checked() {
        return;
    }
    if is_path {
        let message = format!("component file `{name}` was not given with the workflow");
        report.error_with(
            place,
            code::UNKNOWN_COMPONENT,
            message,
            "the path counts from the workflow's own folder",
        );
        return;
    }
    let names = names.get_or_insert_with(|| known.names());
    let help = did_you_mean(name, names.iter().map(String::as_str)).unwrap_or_else(|| "`eyot task ls` lists what there is".to_owned());
    report.error_with(place, code::UNKNOWN_COMPONENT, format!("unknown component `{name}`"), help);
}

pub(crate) struct Checker<'c> {
    source: &'c Source<'c>,
    names: Names<'c>,
    components: &'c [Component],
    report: &'c mut Report,
}

impl Checker<'_> {
    fn tasks(&mut self, draft: &WorkflowDraft<'_>) -> Edges {
        let mut edges = Edges::with_capacity(draft.tasks.len());
        for (ix, task) in draft.tasks.iter().enumerate() {
            edges.push(self.task(ix, task));
        }
        edges
    }

    fn task(&mut self, ix: usize, task: &TaskDraft<'_>) -> BTreeMap<usize, Place> {
        let mut needs = BTreeMap::new();
        for need in &task.needs {
            self.need(ix, &need.value, need.place, &mut needs);
        }
        if let Some(when) = &task.when {
            self.references(when, Site::When(task, ix), &mut needs);
            self.condition(when, code::NEVER_RUNS, "this is never true: the task would never run");
        }
        if let Some(each) = &task.for_each
            && let Some(items) = &each.items
        {
            self.pattern(items, Site::Items(task, ix), &mut needs);
            self.items(items);
        }
        for pattern in task.with.values() {
            self.pattern(&pattern.value, Site::With(task, ix), &mut needs);
        }
        for condition in [&task.require, &task.prefer].into_iter().flatten() {
            self.references(condition, Site::Placement, &mut needs);
            if task.require.as_ref().is_some_and(|r| std::ptr::eq(r, condition)) {
                self.condition(condition, code::NEVER_RUNS, "this is never true: no agent could run the task");
            }
        }
        if let Some(when) = &task.retry_when {
            self.references(when, Site::Retry, &mut needs);
            self.always_fails(when);
        }
        self.contract(ix, task);
        needs
    }

    fn need(&mut self, ix: usize, name: &str, place: Place, needs: &mut BTreeMap<usize, Place>) {
        match self.names.task(name) {
            Some(other) if other == ix => {
                self.report.error(place, code::CYCLE, format!("`{name}` needs itself"));
            }
            Some(other) => {
                needs.entry(other).or_insert(place);
            }
            None => {
                let help = self.names.suggest_task(name);
                self.report
                    .error_maybe(place, code::UNKNOWN_REFERENCE, format!("there is no task `{name}`"), help);
            }
        }
    }

    fn outputs(&mut self, draft: &WorkflowDraft<'_>) {
        for pattern in draft.outputs.values() {
            self.pattern(pattern, Site::Outputs, &mut BTreeMap::new());
        }
    }

    fn pattern(&mut self, pattern: &Pattern<'_>, site: Site<'_, '_>, needs: &mut BTreeMap<usize, Place>) {
        for expression in &pattern.expressions {
            self.references(expression, site, needs);
            self.always_fails(expression);
        }
    }

    fn references(&mut self, expression: &Expression<'_>, site: Site<'_, '_>, needs: &mut BTreeMap<usize, Place>) {
        for (reference, offset) in expression.program.placed_references() {
            match self.names.look_up(reference, site) {
                Ok(Some(task)) => {
                    let place = self.place(expression, *offset);
                    needs.entry(task).or_insert(place);
                }
                Ok(None) => {}
                Err(mut problem) => {
                    if let Some(name) = self.names.hyphenated(expression.program.source(), *offset) {
                        problem.message = format!("`tasks.{name}` reads as a subtraction");
                        problem.help = Some(format!("write `tasks[\"{name}\"]`"));
                        let place = self.place(expression, *offset);
                        self.report.error_maybe(place, problem.code, problem.message, problem.help);
                        // The names after the hyphen are no mistakes of their own.
                        return;
                    }
                    let place = self.place(expression, *offset);
                    self.report.error_maybe(place, problem.code, problem.message, problem.help);
                }
            }
        }
    }

    fn place(&self, expression: &Expression<'_>, offset: usize) -> Place {
        match expression.origin {
            Origin::Within(scalar, base) => {
                let source = expression.program.source();
                // The beginning of the expression rather than the blank before it.
                let offset = offset.max(source.len() - source.trim_start().len());
                self.source.place_in(scalar, base + offset)
            }
            Origin::At(place) => place,
        }
    }

    /// `reassignAfter` alone could run a task twice.
    fn losses(&mut self, draft: &WorkflowDraft<'_>) {
        let policy = draft.on_disconnect;
        let (Some(place), Some(_), None) = (draft.reassign_place, policy.reassign_after, policy.pause_after) else {
            return;
        };
        let unsafe_task = draft.tasks.iter().zip(self.components).find(|(t, c)| !build::is_idempotent(t, c));
        if let Some((task, _)) = unsafe_task {
            let message = format!("`reassignAfter` alone could run `{}` twice, which is not idempotent", task.name);
            let help = "add a shorter `pauseAfter`, so that the agent stops before its work is given away";
            self.report.error_with(place, code::UNSAFE_REASSIGN, message, help);
        }
    }

    /// What the component cannot do without, and what it takes.
    fn contract(&mut self, ix: usize, task: &TaskDraft<'_>) {
        let (Some(uses), Some(Some(component))) = (&task.uses, self.components.get(ix)) else {
            return;
        };
        for need in &component.needs {
            match grant_named(need) {
                Some(grant) if task.grants.contains(&grant) => {}
                Some(_) => {
                    let message = format!("`{}` cannot do without the grant `{need}`", uses.value);
                    self.report.error_with(
                        uses.place,
                        code::MISSING_GRANT,
                        message,
                        format!("add `grants: [{need}]` to the task"),
                    );
                }
                None => {
                    let message = format!("`{}` needs `{need}`, which is not supported yet", uses.value);
                    self.report.error(uses.place, code::NOT_SUPPORTED_YET, message);
                }
            }
        }
        contract::check(task, &uses.value, component, &self.names, self.report);
    }
}
