//! What a run gives at its end.

use super::blank;
use crate::{Graph, Run};
use eyot_model::{Epoch, Expr, FailureKind, Inputs, RunId, RunState, Template, Timestamp, Value, Workflow};
use std::sync::Arc;

fn ended(outputs: &[&str], size: usize) -> Run {
    let mut workflow = Workflow::new("n", "w", "1", Vec::new());
    let whole = |name: &&str| {
        let source = "inputs.x".to_owned();
        ((*name).to_owned(), Template::Expr(Expr { source }))
    };
    workflow.outputs = outputs.iter().map(whole).collect();
    let graph = Arc::new(Graph::compile(Arc::new(workflow)).expect("the graph is right"));
    let inputs = Inputs::from([("x".to_owned(), Value::String("x".repeat(size)))]);
    let mut run = Run::new(RunId(1), Arc::clone(&graph), &inputs, Timestamp(0));
    run.coordinate();
    run.own([], Epoch(1));
    run.resume(Timestamp(1));
    assert_eq!(blank(&graph).outcome(), None);
    run
}

#[test]
fn a_run_whose_outputs_no_message_could_hold_fails_by_name() {
    let fits = ended(&["a"], 7 << 20);
    assert_eq!(fits.outcome().map(|o| (o.state, o.outputs.len())), Some((RunState::Succeeded, 1)));
    let outcome = ended(&["a", "b", "c", "d"], 7 << 20).outcome().cloned().expect("it has ended");
    assert_eq!((outcome.state, outcome.outputs.len()), (RunState::Failed, 0));
    let failure = outcome.failure.expect("it says why");
    assert_eq!(failure.kind, FailureKind::OutputLimit);
    assert!(failure.message.contains("outputs.b"), "{}", failure.message);
}
