use super::*;
use crate::tests::{expr, workflow};
use eyot_model::{BlobForm, ForEach, ItemFailure};

const OPEN: [Standing; 3] = [Standing::Open; 3];

fn blob(name: &str) -> BlobRef {
    BlobRef {
        digest: Digest::of(name.as_bytes()),
        size: 7,
        form: BlobForm::Raw,
    }
}

/// Three tasks, the last of which needs the others and reads what `with` says.
fn reads(with: Template, standing: &[Standing]) -> Reads {
    let mut workflow = workflow(3);
    workflow.tasks[2].needs = [TaskIx(0), TaskIx(1)].into();
    workflow.tasks[2].with.insert("in".into(), with);
    let inputs = Value::Map(BTreeMap::from([
        ("a".to_owned(), Value::Blob(blob("a"))),
        ("b".to_owned(), Value::List(vec![Value::Blob(blob("b")), Value::Blob(blob("a"))])),
    ]));
    let mut scope = Scope::new();
    scope.bind_ref("inputs", &inputs);
    Reads::new(&workflow, &inputs, &scope, &History::new(), standing).unwrap()
}

#[test]
fn data_passes_along_the_edges_whose_outputs_are_read() {
    for (source, first, second) in [
        ("tasks.t0.outputs.value", true, false),
        ("tasks.t0.outputs", true, false),
        ("tasks.t1", false, true),
        ("tasks['t0'].outputs.x + tasks.t1.outputs.y", true, true),
        ("tasks.t0.state", false, false),
        ("tasks[inputs.a].outputs", true, true),
        ("tasks.t9.outputs", false, false),
        ("'tasks'", false, false),
        ("inputs.a", false, false),
    ] {
        let bytes = |reads: &Reads| reads.edges.get(2).iter().map(|e| e.bytes > 0.0).collect::<Vec<_>>();
        assert_eq!(bytes(&reads(Template::Expr(expr(source)), &OPEN)), [first, second], "{source}");
        let hidden = Template::List(vec![Template::Map(
            [("x".into(), Template::Text(vec![TextPart::Expr(expr(source))]))].into(),
        )]);
        assert_eq!(bytes(&reads(hidden, &OPEN)), [first, second], "{source}");
    }
}

#[test]
fn blobs_are_those_of_literals_and_of_the_inputs_that_are_named() {
    let found = |template| {
        let reads = reads(template, &OPEN);
        let mut blobs: Vec<Digest> = reads.blobs_of.get(2).iter().map(|&b| reads.blobs[b as usize].digest).collect();
        blobs.sort_unstable();
        blobs
    };
    let sorted = |names: &[&str]| {
        let mut digests: Vec<Digest> = names.iter().map(|n| blob(n).digest).collect();
        digests.sort_unstable();
        digests
    };
    assert_eq!(found(Template::Expr(expr("inputs.a"))), sorted(&["a"]));
    assert_eq!(found(Template::Expr(expr("inputs.b[0]"))), sorted(&["a", "b"]));
    assert_eq!(found(Template::Expr(expr("inputs"))), sorted(&["a", "b"]));
    assert_eq!(found(Template::Expr(expr("inputs.none"))), []);
    assert_eq!(found(Template::Literal(Value::List(vec![Value::Blob(blob("c"))]))), sorted(&["c"]));
}

#[test]
fn pruned_tasks_send_nothing_and_settled_ones_read_nothing() {
    let template = || Template::Expr(expr("tasks.t0.outputs"));
    let reads_ = reads(template(), &[Standing::Pruned, Standing::Open, Standing::Open]);
    assert_eq!(reads_.edges.get(2), [Edge { task: 1, bytes: 0.0 }]);
    let reads_ = reads(template(), &[Standing::Open, Standing::Open, Standing::Settled(0)]);
    assert_eq!(reads_.edges.get(2), []);
}

#[test]
fn many_tasks_before_are_found_by_name() {
    let mut workflow = workflow(41);
    for n in 0..40 {
        workflow.tasks[40].needs.insert(TaskIx(n));
        if n % 2 == 0 {
            workflow.tasks[40]
                .with
                .insert(format!("in{n}"), Template::Expr(expr(&format!("tasks.t{n}.outputs"))));
        }
    }
    let inputs = Value::Map(BTreeMap::new());
    let reads = Reads::new(&workflow, &inputs, &Scope::new(), &History::new(), &[Standing::Open; 41]).unwrap();
    assert!(reads.edges.get(40).iter().all(|e| (e.bytes > 0.0) == (e.task % 2 == 0)));
}

#[test]
fn outputs_of_items_add_up() {
    let mut workflow = workflow(2);
    let items = Template::Literal(Value::List(vec![Value::Null; 5]));
    workflow.tasks[0].for_each = Some(ForEach {
        items,
        name: "item".into(),
        max_parallel: None,
        item_failure: ItemFailure::Fail,
    });
    workflow.tasks[1].needs.insert(TaskIx(0));
    workflow.tasks[1].with.insert("in".into(), Template::Expr(expr("tasks.t0.outputs")));
    let inputs = Value::Map(BTreeMap::new());
    let reads = Reads::new(&workflow, &inputs, &Scope::new(), &History::new(), &[Standing::Open; 2]).unwrap();
    assert_eq!(reads.edges.get(1)[0].bytes, 5.0 * DEFAULT_OUTPUT_BYTES);
}
