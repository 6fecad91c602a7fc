//! Which blobs the owner of tasks may read: those that its assignment names, not every blob of the run.

use eyot_engine::Graph;
use eyot_model::{BlobRef, Digest, Inputs, TaskIx, Template};
use std::collections::BTreeSet;

/// What the owner of some tasks of a run may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readable {
    /// Components, literals, and the run's inputs that the tasks name.
    pub blobs: BTreeSet<Digest>,
    /// Tasks whose outputs they are given, and they themselves: a new owner goes on from what an earlier one had.
    pub outputs_of: BTreeSet<TaskIx>,
    /// Tasks whose saved states they are given: they themselves.
    pub states_of: BTreeSet<TaskIx>,
}

impl Readable {
    /// For the owner of `tasks`, in a run with these inputs.
    #[must_use]
    pub fn of(graph: &Graph, inputs: &Inputs, tasks: &[TaskIx]) -> Self {
        let mut readable = Self::default();
        for ix in tasks.iter().filter(|ix| graph.contains(**ix)) {
            let task = graph.workflow.task(*ix);
            readable.states_of.insert(*ix);
            readable.outputs_of.insert(*ix);
            readable.outputs_of.extend(&task.needs);
            readable.blobs.extend(task.uses.digest);
            let mut visit = |blob: &BlobRef| _ = readable.blobs.insert(blob.digest);
            let templates = task.with.values().chain(task.for_each.iter().map(|each| &each.items));
            templates.for_each(|template| literals(template, &mut visit));
            let named = graph.inputs_of(*ix);
            inputs
                .iter()
                .filter(|(name, _)| named.as_ref().is_none_or(|named| named.contains(name.as_str())))
                .for_each(|(_, value)| value.for_each_blob(&mut visit));
        }
        readable
    }
}

/// The blobs that a template names itself.
pub fn literals(template: &Template, visit: &mut dyn FnMut(&BlobRef)) {
    match template {
        Template::Literal(value) => value.for_each_blob(visit),
        Template::List(list) => list.iter().for_each(|template| literals(template, visit)),
        Template::Map(map) => map.values().for_each(|template| literals(template, visit)),
        Template::Expr(_) | Template::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{BlobForm, ComponentRef, Expr, Task, Value, Workflow};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn blob(n: u8) -> Value {
        Value::Blob(BlobRef {
            digest: digest(n),
            size: 1,
            form: BlobForm::Raw,
        })
    }

    fn expr(source: &str) -> Template {
        Template::Expr(Expr { source: source.into() })
    }

    /// read (input `picture`, a literal) -> cut -> join (input `frame`); other (all inputs at once)
    fn graph() -> Graph {
        let task = |name: &str, component: u8, with: Vec<(&str, Template)>, needs: &[u32]| Task {
            needs: needs.iter().map(|n| TaskIx(*n)).collect(),
            with: with.into_iter().map(|(name, template)| (name.to_owned(), template)).collect(),
            ..Task::new(
                name,
                ComponentRef {
                    name: "test/task@1".into(),
                    digest: Some(digest(component)),
                    size: 1,
                },
            )
        };
        let literal = Template::List(vec![Template::Literal(blob(20))]);
        let tasks = vec![
            task("read", 10, vec![("picture", expr("inputs.picture")), ("table", literal)], &[]),
            task("cut", 11, vec![("of", expr("tasks.read.outputs.boxes"))], &[0]),
            task(
                "join",
                12,
                vec![("parts", expr("tasks.cut.outputs")), ("frame", expr("inputs.frame"))],
                &[1],
            ),
            task("other", 13, vec![("all", expr("inputs"))], &[]),
        ];
        let workflow = Workflow::new("default", "w", "1", tasks);
        Graph::compile(Arc::new(workflow)).unwrap()
    }

    #[test]
    fn an_owner_reads_what_its_tasks_name_and_nothing_else_of_the_run() {
        let graph = graph();
        let inputs: Inputs = BTreeMap::from([("picture".to_owned(), blob(1)), ("frame".to_owned(), blob(2))]);
        let of = |tasks: &[u32]| {
            let tasks: Vec<TaskIx> = tasks.iter().map(|n| TaskIx(*n)).collect();
            let readable = Readable::of(&graph, &inputs, &tasks);
            let outputs: Vec<u32> = readable.outputs_of.iter().map(|t| t.0).collect();
            (readable.blobs, outputs)
        };
        let set = |digests: &[u8]| -> BTreeSet<Digest> { digests.iter().map(|n| digest(*n)).collect() };
        assert_eq!(of(&[0]), (set(&[10, 20, 1]), vec![0]));
        assert_eq!(of(&[1]), (set(&[11]), vec![0, 1]));
        assert_eq!(of(&[2]), (set(&[12, 2]), vec![1, 2]));
        assert_eq!(of(&[3]), (set(&[13, 1, 2]), vec![3]));
        assert_eq!(of(&[0, 2]), (set(&[10, 12, 20, 1, 2]), vec![0, 1, 2]));
        assert_eq!(of(&[99]), (set(&[]), vec![]), "a task of another workflow names nothing");
    }
}
