//! A workflow made ready to run: expressions parsed, edges known in both directions.

use eyot_expr::{CompiledTemplate, Program};
use eyot_model::{TaskIx, Workflow};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Immutable; shared by every run of the workflow version.
pub struct Graph {
    pub workflow: Arc<Workflow>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<(String, CompiledTemplate)>,
    pub(crate) by_name: BTreeMap<String, TaskIx>,
}

pub(crate) struct Node {
    pub(crate) when: Option<Program>,
    pub(crate) with: Vec<(String, CompiledTemplate)>,
    pub(crate) items: Option<CompiledTemplate>,
    pub(crate) retry_when: Option<Program>,
    pub(crate) dependents: Vec<TaskIx>,
}

/// Why a workflow cannot run. The control plane refuses such a workflow when it is submitted, so an agent that meets
/// one was sent something that it does not understand.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("field `{field}` of task `{task}` is not an expression")]
    Expression {
        task: String,
        field: String,
        source: eyot_expr::ParseError,
    },
    #[error("task `{task}` needs a task that does not exist")]
    UnknownNeed { task: String },
    #[error("tasks wait for each other in a circle through `{task}`")]
    Cycle { task: String },
}

impl Graph {
    /// # Errors
    /// When an expression does not parse, or the edges are not those of an acyclic graph.
    pub fn compile(workflow: Arc<Workflow>) -> Result<Self, GraphError> {
        let mut nodes = Vec::with_capacity(workflow.tasks.len());
        for task in &workflow.tasks {
            let wrong = |field: &str, source| GraphError::Expression {
                task: task.name.clone(),
                field: field.to_owned(),
                source,
            };
            let program = |field: &str, expr: Option<&eyot_model::Expr>| {
                expr.map(|e| Program::parse(&e.source).map_err(|e| wrong(field, e))).transpose()
            };
            nodes.push(Node {
                when: program("when", task.when.as_ref())?,
                with: task
                    .with
                    .iter()
                    .map(|(name, template)| {
                        Ok((
                            name.clone(),
                            CompiledTemplate::compile(template).map_err(|e| wrong(&format!("with.{name}"), e))?,
                        ))
                    })
                    .collect::<Result<_, GraphError>>()?,
                items: task
                    .for_each
                    .as_ref()
                    .map(|each| CompiledTemplate::compile(&each.items).map_err(|e| wrong("forEach.items", e)))
                    .transpose()?,
                retry_when: program("retry.when", task.retry.when.as_ref())?,
                dependents: Vec::new(),
            });
        }
        let count = nodes.len();
        for (ix, task) in (0u32..).zip(&workflow.tasks) {
            for need in &task.needs {
                if need.index() >= count {
                    return Err(GraphError::UnknownNeed { task: task.name.clone() });
                }
                nodes[need.index()].dependents.push(TaskIx(ix));
            }
        }
        let outputs = workflow
            .outputs
            .iter()
            .map(|(name, template)| {
                let compiled = CompiledTemplate::compile(template).map_err(|source| GraphError::Expression {
                    task: "(workflow)".into(),
                    field: format!("outputs.{name}"),
                    source,
                })?;
                Ok((name.clone(), compiled))
            })
            .collect::<Result<_, GraphError>>()?;
        let by_name = (0u32..)
            .zip(&workflow.tasks)
            .map(|(ix, task)| (task.name.clone(), TaskIx(ix)))
            .collect();
        let graph = Self {
            workflow,
            nodes,
            outputs,
            by_name,
        };
        graph.check_acyclic()?;
        Ok(graph)
    }

    pub(crate) fn node(&self, task: TaskIx) -> &Node {
        &self.nodes[task.index()]
    }

    /// Whether `task` is one of this graph's.
    #[must_use]
    pub fn contains(&self, task: TaskIx) -> bool {
        task.index() < self.nodes.len()
    }

    /// Tasks that wait for `task`.
    #[must_use]
    pub fn dependents(&self, task: TaskIx) -> &[TaskIx] {
        &self.node(task).dependents
    }

    /// The run's inputs that the expressions of a task name. None where they take all of them at once.
    #[must_use]
    pub fn inputs_of(&self, task: TaskIx) -> Option<BTreeSet<&str>> {
        let node = self.node(task);
        let templates = node.with.iter().map(|(_, template)| template).chain(&node.items);
        let programs = node.when.iter().chain(&node.retry_when);
        let references = templates.flat_map(|t| t.references()).chain(programs.flat_map(|p| p.references()));
        references
            .filter(|reference| reference.root() == "inputs")
            .map(|reference| reference.path.get(1).map(String::as_str))
            .collect()
    }

    /// Tasks that the run's outputs are made of.
    #[must_use]
    pub fn output_tasks(&self) -> BTreeSet<TaskIx> {
        let references = self.outputs.iter().flat_map(|(_, template)| template.references());
        references
            .filter(|r| r.path.first().is_some_and(|root| root == "tasks"))
            .filter_map(|r| self.by_name.get(r.path.get(1)?).copied())
            .collect()
    }

    /// Tasks whose results the expressions of `task` name.
    #[must_use]
    pub fn reads(&self, task: TaskIx) -> BTreeSet<TaskIx> {
        let node = self.node(task);
        let templates = node.with.iter().map(|(_, template)| template).chain(&node.items);
        let references = templates
            .flat_map(CompiledTemplate::references)
            .chain(node.when.iter().flat_map(Program::references));
        references
            .filter(|r| r.path.first().is_some_and(|root| root == "tasks"))
            .filter_map(|r| self.by_name.get(r.path.get(1)?).copied())
            .collect()
    }

    fn check_acyclic(&self) -> Result<(), GraphError> {
        let mut unmet: Vec<usize> = self.workflow.tasks.iter().map(|t| t.needs.len()).collect();
        let mut free: Vec<usize> = (0..unmet.len()).filter(|&i| unmet[i] == 0).collect();
        let mut seen = 0;
        while let Some(i) = free.pop() {
            seen += 1;
            for d in &self.nodes[i].dependents {
                unmet[d.index()] -= 1;
                if unmet[d.index()] == 0 {
                    free.push(d.index());
                }
            }
        }
        match unmet.iter().position(|&n| n > 0).filter(|_| seen < unmet.len()) {
            Some(i) => Err(GraphError::Cycle {
                task: self.workflow.tasks[i].name.clone(),
            }),
            None => Ok(()),
        }
    }
}
