//! What the names in a workflow's expressions mean at a moment of a run.

use crate::run::Run;
use eyot_expr::{Reference, Scope};
use eyot_model::{State, TaskIx, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Run {
    /// Binds what `references` name: `inputs`, `tasks.<name>`, `run`, and the item where there is one. Only what is named
    /// is looked at, so that the cost of an expression does not grow with the size of the run.
    pub(crate) fn scope<'a>(&'a self, references: impl Iterator<Item = &'a Reference>, item: Option<(&str, u32, Value)>) -> Scope<'a> {
        let mut scope = Scope::new();
        let mut tasks: BTreeMap<String, Value> = BTreeMap::new();
        for reference in references {
            let mut path = reference.path.iter().map(String::as_str);
            match (path.next(), path.next()) {
                (Some("inputs"), _) => {
                    scope.bind_ref("inputs", &self.inputs);
                }
                (Some("tasks"), Some(name)) => {
                    if !tasks.contains_key(name)
                        && let Some(task) = self.find_task(name)
                    {
                        tasks.insert(name.to_owned(), self.task_value(task));
                    }
                }
                (Some("run"), _) => {
                    scope.bind("run", self.run_value());
                }
                _ => {}
            }
        }
        if !tasks.is_empty() {
            scope.bind("tasks", Value::Map(tasks));
        }
        if let Some((name, index, value)) = item {
            scope.bind(name, value);
            scope.bind("index", Value::Int(i64::from(index)));
        }
        scope
    }

    /// `{state, outputs}`; `outputs` is missing where the task did not succeed, so that reading it is an error and never
    /// silently null.
    fn task_value(&self, task: TaskIx) -> Value {
        let own = &self.tasks[task.index()].own;
        let mut map = BTreeMap::from([("state".to_owned(), Value::from(own.state.as_str()))]);
        if let (State::Succeeded, Some(outputs)) = (own.state, &own.outputs) {
            map.insert("outputs".to_owned(), Value::clone(outputs));
        }
        if let Some(failure) = &own.failure {
            map.insert(
                "error".to_owned(),
                Value::Map(BTreeMap::from([
                    ("message".to_owned(), Value::from(failure.message.as_str())),
                    ("code".to_owned(), Value::from(failure.kind.code())),
                ])),
            );
        }
        if let Some(items) = &self.tasks[task.index()].items
            && own.state.is_terminal()
        {
            let errors = items.instances.iter().map(|i| {
                i.failure
                    .as_ref()
                    .filter(|_| i.state.is_failure())
                    .map_or(Value::Null, |f| Value::from(f.message.as_str()))
            });
            map.insert("errors".to_owned(), Value::List(errors.collect()));
        }
        Value::Map(map)
    }

    fn run_value(&self) -> Value {
        Value::Map(BTreeMap::from([
            ("id".to_owned(), Value::String(self.id.to_string())),
            ("namespace".to_owned(), Value::String(self.graph.workflow.namespace.clone())),
        ]))
    }

    fn find_task(&self, name: &str) -> Option<TaskIx> {
        self.graph.by_name.get(name).copied()
    }

    /// The value of item `index` of an expanded task that is owned here.
    pub(crate) fn item_value(&self, task: TaskIx, index: u32) -> Option<Value> {
        let values: &Arc<Vec<Value>> = self.tasks[task.index()].items.as_ref()?.values.as_ref()?;
        values.get(index as usize).cloned()
    }
}
