//! What tasks read: the bytes along each edge of the graph, the blobs that lie in the cloud, and how many items there are.

use crate::error::Error;
use crate::graph::Lists;
use crate::history::History;
use crate::parsed;
use crate::schedule::{Edge, Standing, Work};
use eyot_expr::{Program, Scope};
use eyot_model::{BlobRef, Digest, Expr, Task, TaskIx, Template, TextPart, Value, Workflow};
use std::collections::{BTreeMap, BTreeSet};

/// Items of a `forEach` about which nothing is known.
const DEFAULT_ITEMS: u32 = 8;
const MAX_ITEMS: u32 = 1_000_000;
/// Size of the outputs of an attempt about which nothing is known: a small value.
const DEFAULT_OUTPUT_BYTES: f64 = 64.0 * 1024.0;

/// Index in [`Reads::blobs`].
pub(crate) type BlobIx = u32;

#[derive(Debug)]
pub(crate) struct Reads {
    /// Along the edges from tasks that are not pruned.
    pub(crate) edges: Lists<Edge>,
    /// Blobs that each task reads from its literals and the run's inputs.
    pub(crate) blobs_of: Lists<BlobIx>,
    pub(crate) blobs: Vec<BlobRef>,
    pub(crate) work: Vec<Work>,
}

impl Reads {
    /// `scope` binds `inputs`, which are `inputs` too.
    ///
    /// # Errors
    /// When an expression cannot be parsed.
    pub(crate) fn new(
        workflow: &Workflow,
        inputs: &Value,
        scope: &Scope<'_>,
        history: &History,
        standing: &[Standing],
    ) -> Result<Self, Error> {
        let mut work = Vec::with_capacity(workflow.tasks.len());
        for task in &workflow.tasks {
            work.push(work_of(task, scope, history)?);
        }
        let outputs: Vec<f64> = workflow
            .tasks
            .iter()
            .zip(&work)
            .map(|(task, work)| output_bytes(task, *work, history))
            .collect();
        let edges = workflow.tasks.iter().map(|t| t.needs.len()).sum();
        let mut this = Self {
            edges: Lists::with_capacity(workflow.tasks.len(), edges),
            blobs_of: Lists::with_capacity(workflow.tasks.len(), 0),
            blobs: Vec::new(),
            work,
        };
        let mut seen: BTreeMap<Digest, BlobIx> = BTreeMap::new();
        for (n, task) in workflow.tasks.iter().enumerate() {
            if standing[n] == Standing::Open {
                let mut visit = Visit {
                    workflow,
                    task,
                    inputs,
                    read: Needed::default(),
                    blobs: BTreeMap::new(),
                    names: None,
                };
                visit.task()?;
                for &need in &task.needs {
                    if standing[need.index()] != Standing::Pruned {
                        let bytes = if visit.read.has(need) { outputs[need.index()] } else { 0.0 };
                        this.edges.push_item(Edge { task: need.0, bytes });
                    }
                }
                for (digest, blob) in visit.blobs {
                    let ix = *seen.entry(digest).or_insert_with(|| {
                        this.blobs.push(blob);
                        BlobIx::try_from(this.blobs.len() - 1).unwrap_or(BlobIx::MAX)
                    });
                    this.blobs_of.push_item(ix);
                }
            }
            this.edges.end_list();
            this.blobs_of.end_list();
        }
        Ok(this)
    }
}

fn output_bytes(task: &Task, work: Work, history: &History) -> f64 {
    let one = task
        .uses
        .digest
        .and_then(|d| history.output_bytes(d))
        .unwrap_or(DEFAULT_OUTPUT_BYTES);
    one * f64::from(work.items)
}

fn work_of(task: &Task, scope: &Scope<'_>, history: &History) -> Result<Work, Error> {
    let Some(for_each) = &task.for_each else {
        return Ok(Work { items: 1, most_at_once: 1 });
    };
    let exact = match &for_each.items {
        Template::Literal(Value::List(list)) => Some(list.len()),
        Template::List(list) => Some(list.len()),
        Template::Expr(expr) => {
            let program = parsed(expr, task, "forEach.items")?;
            length(&program, scope)
        }
        Template::Literal(_) | Template::Text(_) | Template::Map(_) => None,
    };
    let items = match exact {
        Some(count) => u32::try_from(count).unwrap_or(MAX_ITEMS),
        None => {
            let mean = task.uses.digest.and_then(|d| history.items(d));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped before
            mean.map_or(DEFAULT_ITEMS, |m| m.round().clamp(1.0, f64::from(MAX_ITEMS)) as u32)
        }
    };
    Ok(Work {
        items: items.min(MAX_ITEMS),
        most_at_once: for_each.max_parallel.unwrap_or(u32::MAX).max(1),
    })
}

/// Of a list that the inputs alone make. An expression that fails is left to the run.
fn length(program: &Program, scope: &Scope<'_>) -> Option<usize> {
    if program.references().iter().any(|r| r.root() != "inputs") {
        return None;
    }
    match program.evaluate_cow(scope).ok().as_deref() {
        Some(Value::List(list)) => Some(list.len()),
        _ => None,
    }
}

/// The tasks before whose outputs are read.
#[derive(Default)]
struct Needed {
    tasks: BTreeSet<TaskIx>,
    /// Which ones cannot be told from the expressions.
    all: bool,
}

impl Needed {
    fn has(&self, task: TaskIx) -> bool {
        self.all || self.tasks.contains(&task)
    }
}

struct Visit<'a> {
    workflow: &'a Workflow,
    task: &'a Task,
    inputs: &'a Value,
    read: Needed,
    blobs: BTreeMap<Digest, BlobRef>,
    /// Of the tasks that it needs, once there are many to look through.
    names: Option<BTreeMap<&'a str, TaskIx>>,
}

impl<'a> Visit<'a> {
    fn task(&mut self) -> Result<(), Error> {
        if let Some(when) = &self.task.when {
            self.expr(when, "when")?;
        }
        if let Some(for_each) = &self.task.for_each {
            self.template(&for_each.items, "forEach.items")?;
        }
        for template in self.task.with.values() {
            self.template(template, "with")?;
        }
        Ok(())
    }

    fn template(&mut self, template: &'a Template, field: &'static str) -> Result<(), Error> {
        match template {
            Template::Literal(value) => self.blobs_in(value),
            Template::Expr(expr) => self.expr(expr, field)?,
            Template::Text(parts) => {
                for part in parts {
                    if let TextPart::Expr(expr) = part {
                        self.expr(expr, field)?;
                    }
                }
            }
            Template::List(list) => list.iter().try_for_each(|t| self.template(t, field))?,
            Template::Map(map) => map.values().try_for_each(|t| self.template(t, field))?,
        }
        Ok(())
    }

    fn expr(&mut self, expr: &Expr, field: &'static str) -> Result<(), Error> {
        // Items and constants move nothing, and most expressions do nothing but name a value: in a large workflow it is
        // worth seeing that without parsing them once more.
        if !expr.source.contains("tasks") && !expr.source.contains("inputs") {
            return Ok(());
        }
        if let Some(mut path) = plain_path(&expr.source) {
            self.reference(path.next().unwrap_or_default(), path.next(), path.next());
            return Ok(());
        }
        let program = parsed(expr, self.task, field)?;
        for reference in program.references() {
            self.reference(reference.root(), reference.field(0), reference.field(1));
        }
        Ok(())
    }

    fn reference(&mut self, root: &str, first: Option<&str>, second: Option<&str>) {
        match (root, first, second) {
            ("inputs", Some(name), _) => {
                if let Value::Map(inputs) = self.inputs
                    && let Some(value) = inputs.get(name)
                {
                    self.blobs_in(value);
                }
            }
            ("inputs", None, _) => self.blobs_in(self.inputs),
            ("tasks", Some(name), Some("outputs") | None) => {
                if let Some(need) = self.need(name) {
                    self.read.tasks.insert(need);
                }
            }
            ("tasks", None, _) => self.read.all = true,
            _ => {}
        }
    }

    fn need(&mut self, name: &str) -> Option<TaskIx> {
        let (workflow, needs) = (self.workflow, &self.task.needs);
        if needs.len() <= 16 {
            return needs.iter().copied().find(|n| workflow.task(*n).name == name);
        }
        let names = self
            .names
            .get_or_insert_with(|| needs.iter().map(|n| (workflow.task(*n).name.as_str(), *n)).collect());
        names.get(name).copied()
    }

    fn blobs_in(&mut self, value: &Value) {
        value.for_each_blob(&mut |blob| {
            self.blobs.insert(blob.digest, *blob);
        });
    }
}

/// The names of `a.b.c`; None for anything that is more than names and dots.
fn plain_path(source: &str) -> Option<impl Iterator<Item = &str>> {
    let plain = |part: &str| {
        let mut bytes = part.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    source.split('.').all(plain).then(|| source.split('.'))
}

#[cfg(test)]
#[path = "reads_tests.rs"]
mod tests;
