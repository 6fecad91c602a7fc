//! Names in expressions: which are known where.

use super::Component;
use super::kinds::{self, Kinds};
use crate::draft::{TaskDraft, WorkflowDraft};
use crate::report::code;
use crate::suggest::{did_you_mean, one_of};
use eyot_expr::Reference;
use eyot_model::{InputDecl, TriggerSource};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

/// Where an expression stands: it decides which names it sees.
#[derive(Clone, Copy)]
pub(crate) enum Site<'d, 't> {
    When(&'d TaskDraft<'t>, usize),
    Items(&'d TaskDraft<'t>, usize),
    With(&'d TaskDraft<'t>, usize),
    Placement,
    Retry,
    Outputs,
    Trigger(&'d TriggerSource),
}

pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>, help: Option<String>) -> Self {
        Self {
            code: code::UNKNOWN_REFERENCE,
            message: message.into(),
            help,
        }
    }
}

/// Comparisons of names that suggestions may cost in all, so that a text full of mistakes stays cheap.
const MAX_COMPARISONS: usize = 400_000;

pub(crate) struct Names<'c> {
    inputs: BTreeMap<String, InputDecl>,
    tasks: HashMap<String, usize>,
    each: Vec<bool>,
    uses: Vec<String>,
    components: &'c [Component],
    compared: Cell<usize>,
}

impl<'c> Names<'c> {
    pub(crate) fn new(draft: &WorkflowDraft<'_>, components: &'c [Component]) -> Self {
        Self {
            inputs: draft.inputs.clone(),
            tasks: draft.tasks.iter().enumerate().map(|(ix, t)| (t.name.clone(), ix)).collect(),
            each: draft.tasks.iter().map(|t| t.for_each.is_some()).collect(),
            uses: draft
                .tasks
                .iter()
                .map(|t| t.uses.as_ref().map_or(String::new(), |u| u.value.clone()))
                .collect(),
            components,
            compared: Cell::new(0),
        }
    }

    pub(crate) fn task(&self, name: &str) -> Option<usize> {
        self.tasks.get(name).copied()
    }

    pub(crate) fn suggest_task(&self, wrong: &str) -> Option<String> {
        let compared = self.compared.get() + self.tasks.len();
        if compared > MAX_COMPARISONS {
            return None;
        }
        self.compared.set(compared);
        let mut names: Vec<&str> = self.tasks.keys().map(String::as_str).collect();
        names.sort_unstable();
        did_you_mean(wrong, names)
    }

    /// The task whose name with hyphens was written after `tasks.`, where CEL reads a subtraction.
    pub(crate) fn hyphenated<'s>(&self, source: &'s str, offset: usize) -> Option<&'s str> {
        let rest = source.get(offset..)?.strip_prefix("tasks.")?;
        let len = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(rest.len());
        let mut name = &rest[..len];
        while name.contains('-') {
            if self.tasks.contains_key(name) {
                return Some(name);
            }
            name = &name[..name.rfind('-')?];
        }
        None
    }

    /// The task that a reference depends on.
    ///
    /// # Errors
    /// What is wrong with the reference.
    pub(crate) fn look_up(&self, reference: &Reference, site: Site<'_, '_>) -> Result<Option<usize>, Problem> {
        let root = reference.root();
        let item = match site {
            Site::With(task, _) => task.for_each.as_ref().map(|e| e.name.as_str()),
            _ => None,
        };
        if item == Some(root) {
            return Ok(None);
        }
        match (root, site) {
            ("index", Site::With(..)) if item.is_some() => Ok(None),
            ("inputs", Site::When(..) | Site::Items(..) | Site::With(..) | Site::Placement | Site::Outputs) => {
                self.input(reference).map(|()| None)
            }
            ("tasks", Site::When(_, ix) | Site::Items(_, ix) | Site::With(_, ix)) => self.other_task(reference, Some(ix)).map(Some),
            ("tasks", Site::Outputs) => self.other_task(reference, None).map(Some),
            ("run", Site::When(..) | Site::Items(..) | Site::With(..) | Site::Outputs) => {
                one_field(reference, &["id", "namespace"]).map(|()| None)
            }
            ("agent", Site::Placement) => one_field(reference, &["name", "site", "labels", "capabilities"]).map(|()| None),
            ("error", Site::Retry) => one_field(reference, &["kind", "code", "message", "retryable"]).map(|()| None),
            ("attempt", Site::Retry) => Ok(None),
            ("event", Site::Trigger(source)) => one_field(reference, event_fields(source)).map(|()| None).map_err(|mut problem| {
                if let (TriggerSource::Mqtt { .. }, Some(field)) = (source, reference.field(0)) {
                    problem.help = Some(format!("did you mean `event.payload.{field}`?"));
                }
                problem
            }),
            _ => Err(self.unknown_root(root, site)),
        }
    }

    fn unknown_root(&self, root: &str, site: Site<'_, '_>) -> Problem {
        if root == "secrets" {
            return Problem {
                code: code::NOT_SUPPORTED_YET,
                message: "secrets are not supported yet".to_owned(),
                help: Some("a workflow that asks for secrets is refused until they are kept safely".to_owned()),
            };
        }
        let (place, mut known): (&str, Vec<&str>) = match site {
            Site::When(..) => ("`when`", vec!["inputs", "tasks", "run"]),
            Site::Items(..) => ("`items`", vec!["inputs", "tasks", "run"]),
            Site::With(..) => ("`with`", vec!["inputs", "tasks", "run"]),
            Site::Placement => ("`placement`", vec!["agent", "inputs"]),
            Site::Retry => ("`retry.when`", vec!["error", "attempt"]),
            Site::Outputs => ("`outputs`", vec!["inputs", "tasks", "run"]),
            Site::Trigger(_) => ("a trigger", vec!["event"]),
        };
        let item = match site {
            Site::When(task, _) | Site::Items(task, _) | Site::With(task, _) => task.for_each.as_ref().map(|e| e.name.as_str()),
            Site::Placement | Site::Retry | Site::Outputs | Site::Trigger(_) => None,
        };
        if let (Site::When(..) | Site::Items(..), Some(item)) = (site, item)
            && (root == item || root == "index")
        {
            let message = format!("`{root}` is not known in {place}: it is decided once, before there are items");
            let help = format!("leave items out in the list itself: `items: list.filter({item}, …)`");
            return Problem::new(message, Some(help));
        }
        if let (Site::With(..), Some(item)) = (site, item) {
            known.extend([item, "index"]);
        }
        let message = format!("nothing is called `{root}` in {place}");
        let elsewhere = match root {
            "item" | "index" => Some("items are known in a task with `forEach`".to_owned()),
            "agent" => Some("agents are known in `placement`".to_owned()),
            "event" => Some("events are known in `triggers`; a run gets what it needs as `inputs` of the trigger".to_owned()),
            "error" | "attempt" => Some("errors are known in `retry.when`".to_owned()),
            _ => None,
        };
        let help = elsewhere
            .or_else(|| did_you_mean(root, known.iter().copied()))
            .or_else(|| self.meant_a_field(root, &known))
            .unwrap_or_else(|| format!("known here: {}", one_of(&known)));
        Problem::new(message, Some(help))
    }

    /// An input or task whose name was written without its root.
    fn meant_a_field(&self, root: &str, known: &[&str]) -> Option<String> {
        if known.contains(&"inputs") && self.inputs.contains_key(root) {
            return Some(format!("did you mean `inputs.{root}`?"));
        }
        if known.contains(&"tasks") && self.tasks.contains_key(root) {
            return Some(format!("did you mean `tasks.{root}.outputs`?"));
        }
        None
    }

    fn input(&self, reference: &Reference) -> Result<(), Problem> {
        let Some(name) = reference.field(0) else {
            // The whole map, for `size(inputs)` or an index by a computed name.
            return Ok(());
        };
        if self.inputs.contains_key(name) {
            return Ok(());
        }
        let names: Vec<&str> = self.inputs.keys().map(String::as_str).collect();
        let help = did_you_mean(name, names.iter().copied()).or_else(|| match &names[..] {
            [] => Some("the workflow declares no inputs".to_owned()),
            names => Some(format!("its inputs are {}", list(names))),
        });
        Err(Problem::new(format!("there is no input `{name}`"), help))
    }

    fn other_task(&self, reference: &Reference, own: Option<usize>) -> Result<usize, Problem> {
        let Some(name) = reference.field(0) else {
            let help = "such as `tasks.resize.outputs.image`".to_owned();
            return Err(Problem::new("`tasks` needs the name of one task", Some(help)));
        };
        let Some(ix) = self.task(name) else {
            return Err(Problem::new(format!("there is no task `{name}`"), self.suggest_task(name)));
        };
        if own == Some(ix) {
            let message = format!("`{name}` refers to itself");
            return Err(Problem {
                code: code::CYCLE,
                message,
                help: Some("a task sees the tasks before it only".to_owned()),
            });
        }
        let path = Reference {
            path: vec!["tasks".to_owned(), name.to_owned()],
        };
        match reference.field(1) {
            Some("state") => Ok(ix),
            Some("outputs") => self.output(reference, &path, ix),
            Some("error") => match reference.field(2) {
                None | Some("message" | "code") => Ok(ix),
                Some(field) => {
                    let help = did_you_mean(field, ["message", "code"]).unwrap_or_else(|| "there is `message`, `code`".to_owned());
                    Err(Problem::new(format!("`{path}.error` has no field `{field}`"), Some(help)))
                }
            },
            Some("errors") if self.each.get(ix) == Some(&true) => Ok(ix),
            Some("errors") => {
                let help = format!("its own is `{path}.error`");
                Err(Problem::new(format!("`{name}` has no items, so it has no `errors`"), Some(help)))
            }
            Some(other) => {
                let help = match did_you_mean(other, ["outputs", "state", "error", "errors"]) {
                    Some(help) => help,
                    None => format!("an output is `{path}.outputs.{other}`"),
                };
                Err(Problem::new(
                    format!("a task has `outputs`, `state` and `error`, not `{other}`"),
                    Some(help),
                ))
            }
            None => {
                let help = format!("`{path}.outputs` or `{path}.state`");
                Err(Problem::new(format!("`{path}` needs `outputs` or `state`"), Some(help)))
            }
        }
    }

    fn output(&self, reference: &Reference, path: &Reference, ix: usize) -> Result<usize, Problem> {
        let Some(field) = reference.field(2) else {
            return Ok(ix);
        };
        if self.each.get(ix) == Some(&true) {
            let message = format!("`{path}.outputs` is a list, one element for each item of the `forEach`");
            let help = format!("the `{field}` of all items: `{path}.outputs.map(o, o.{field})`");
            return Err(Problem {
                code: code::WRONG_TYPE,
                message,
                help: Some(help),
            });
        }
        let Some(Some(component)) = self.components.get(ix) else {
            return Ok(ix);
        };
        let fields: Vec<&str> = reference.path.iter().skip(3).map(String::as_str).collect();
        kinds::walk(&component.outputs, &fields).map(|_| ix).map_err(|missing| {
            let uses = self.uses.get(ix).map_or("", String::as_str);
            let message = if missing.depth == 0 {
                format!("`{uses}` has no output `{}`", missing.field)
            } else {
                let parent = fields.get(missing.depth - 1).copied().unwrap_or_default();
                format!("output `{parent}` of `{uses}` has no field `{}`", missing.field)
            };
            let known: Vec<&str> = missing.known.iter().map(String::as_str).collect();
            let help = did_you_mean(&missing.field, known.iter().copied()).unwrap_or_else(|| match &known[..] {
                [] => "it has none".to_owned(),
                known => format!("there is {}", list(known)),
            });
            Problem {
                code: code::UNKNOWN_OUTPUT,
                message,
                help: Some(help),
            }
        })
    }

    /// The types that a reference may have.
    pub(crate) fn kinds(&self, reference: &Reference) -> Kinds {
        match (reference.root(), reference.field(0)) {
            ("inputs", None) => Kinds::MAP,
            ("inputs", Some(name)) if reference.path.len() == 2 => {
                self.inputs.get(name).map_or(Kinds::ANY, |decl| Kinds::of_type(decl.value_type))
            }
            ("run", Some(_)) => Kinds::STRING,
            ("tasks", Some(name)) => self.task(name).map_or(Kinds::ANY, |ix| self.task_kinds(reference, ix)),
            _ => Kinds::ANY,
        }
    }

    fn task_kinds(&self, reference: &Reference, ix: usize) -> Kinds {
        if reference.field(1) == Some("state") {
            return Kinds::STRING;
        }
        if reference.field(1) == Some("errors") {
            return Kinds::LIST;
        }
        if reference.field(1) == Some("error") {
            return if reference.path.len() == 3 { Kinds::MAP } else { Kinds::STRING };
        }
        if self.each.get(ix) == Some(&true) {
            return if reference.path.len() == 3 { Kinds::LIST } else { Kinds::ANY };
        }
        let fields: Vec<&str> = reference.path.iter().skip(3).map(String::as_str).collect();
        match self.components.get(ix) {
            Some(Some(component)) if !fields.is_empty() => kinds::walk(&component.outputs, &fields).unwrap_or(Kinds::ANY),
            _ if fields.is_empty() => Kinds::MAP,
            _ => Kinds::ANY,
        }
    }
}

/// What is told of a happening.
fn event_fields(source: &TriggerSource) -> &'static [&'static str] {
    match source {
        TriggerSource::Schedule { .. } => &["source", "time", "millis"],
        TriggerSource::Mqtt { .. } => &["source", "topic", "payload"],
        TriggerSource::File { .. } => &["source", "name", "path", "size", "modified", "file"],
    }
}

fn one_field(reference: &Reference, known: &[&str]) -> Result<(), Problem> {
    match reference.field(0) {
        Some(field) if known.contains(&field) => Ok(()),
        Some(field) => {
            let help = did_you_mean(field, known.iter().copied()).unwrap_or_else(|| format!("there is {}", list(known)));
            Err(Problem::new(format!("`{}` has no field `{field}`", reference.root()), Some(help)))
        }
        None => Ok(()),
    }
}

/// At most a dozen names.
fn list(names: &[&str]) -> String {
    const MOST: usize = 12;
    let shown: Vec<String> = names.iter().take(MOST).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > MOST { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
