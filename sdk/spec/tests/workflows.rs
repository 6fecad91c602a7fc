//! What correct texts become.
#![allow(clippy::unwrap_used)]

mod support;

use eyot_model::{Expr, Grant, ItemFailure, Jitter, Millis, OnFailure, TaskIx, Template, TextPart, TriggerRule, Value, Want};
use eyot_spec::{Unchecked, check_inputs, json_schema, parse};
use support::{document, parsed, show};

const WHOLE: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: defect-detection, namespace: plant-a, version: 1.10}
spec:
  inputs:
    site:  {type: string, description: Where}
    batch: {type: blob}
    threshold: {type: number, default: 1}
    on: {type: string, default: yes}
  maxParallel: 10
  deadline: 6h
  onDisconnect: {pauseAfter: 1m, reassignAfter: 5m, acceptLate: true}
  onFailure: ignore
  retention: {succeeded: 7d, failed: 30d}
  outputs:
    report: "${{ tasks.report.outputs.text }}"
    where: "${{ inputs.site }}: ${{ tasks['find-text'].state }}"
    fixed: [1, {a: "x"}]
  tasks:
    resize:
      uses: eyot/image@1
      with: {image: "${{ inputs.batch }}", width: 224, filter: linear}
      placement: {where: "agent.labels.site == inputs.site", prefer: agent.labels.camera}
      resources: {cpu: 500m, memory: 256Mi, gpu: preferred}
      timeout: 5m
      queueTimeout: 1h
      cpuLimit: 1.5s
      retry: {maxAttempts: 4, initialInterval: 1s, factor: 3, maxInterval: 2m, jitter: none, when: error.retryable}
    find-text:
      when: size(tasks.resize.outputs.image) > quantity('1MB')
      forEach: {items: tasks.resize.outputs.tiles, as: tile, maxParallel: 16, itemFailure: continue}
      uses: eyot/infer@1
      grants: [inference, scratch]
      with:
        image: ${{ tile }}
        label: "$${{ not a hole }}, ${{ index }} of ${{ {'a': {'b': 1}}.a.b }}"
        nested: [1, "${{ tile }}", {k: ["${{ inputs.threshold }}"]}]
    report:
      needs: [resize]
      triggerRule: all_done
      idempotent: true
      uses: eyot/text@1
      with: {all: "${{ tasks[\"find-text\"].outputs.filter(o, o != null).map(o, o.text) }}"}
"#;

fn expr(source: &str) -> Expr {
    Expr { source: source.to_owned() }
}

#[test]
fn a_whole_workflow_is_read() {
    let parsed = parsed(WHOLE);
    let warned: Vec<_> = parsed.warnings.iter().map(|w| (w.line, w.code.as_str())).collect();
    assert_eq!(warned, []);
    let w = &parsed.workflow;
    assert_eq!(
        (w.namespace.as_str(), w.name.as_str(), w.version.as_str()),
        ("plant-a", "defect-detection", "1.10")
    );
    assert_eq!(w.deadline, Some(Millis(21_600_000)));
    assert_eq!(w.max_parallel, Some(10));
    assert_eq!(w.on_failure, OnFailure::Ignore);
    assert_eq!(w.on_disconnect.pause_after, Some(Millis(60_000)));
    assert!(w.on_disconnect.accept_late);
    assert_eq!(w.retention.failed, Some(Millis(2_592_000_000)));
    assert_eq!(w.inputs["on"].default, Some(Value::from("yes")));
    assert_eq!(w.inputs["threshold"].default, Some(Value::Int(1)));
    assert_eq!(w.inputs["site"].description.as_deref(), Some("Where"));
    assert_eq!(w.outputs["report"], Template::Expr(expr("tasks.report.outputs.text")));
    assert_eq!(
        w.outputs["where"],
        Template::Text(vec![
            TextPart::Expr(expr("inputs.site")),
            TextPart::Text(": ".to_owned()),
            TextPart::Expr(expr("tasks['find-text'].state")),
        ])
    );
    assert!(matches!(&w.outputs["fixed"], Template::Literal(Value::List(l)) if l.len() == 2));

    let names: Vec<_> = w.tasks.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["resize", "find-text", "report"]);
    assert_eq!(
        parsed.positions.tasks.iter().map(|p| (p.line, p.column)).collect::<Vec<_>>(),
        [(21, 5), (30, 5), (39, 5)]
    );

    let resize = &w.tasks[0];
    assert!(resize.uses.digest.is_some() && resize.uses.size == 1_000);
    assert_eq!(
        (resize.resources.cpu_millis, resize.resources.memory_bytes, resize.resources.gpu),
        (500, 256 << 20, Want::Preferred)
    );
    assert_eq!((resize.timeout, resize.cpu_limit), (Some(Millis(300_000)), Some(Millis(1_500))));
    assert_eq!(resize.retry.max_attempts, 4);
    assert_eq!(
        (resize.retry.jitter, resize.retry.when.clone()),
        (Jitter::None, Some(expr("error.retryable")))
    );
    assert_eq!(resize.placement.require, Some(expr("agent.labels.site == inputs.site")));
    assert!(resize.idempotent);
    assert_eq!(resize.with["width"], Template::Literal(Value::Int(224)));

    let find = &w.tasks[1];
    assert_eq!(find.needs, [TaskIx(0)].into(), "references are dependencies");
    let each = find.for_each.as_ref().unwrap();
    assert_eq!(
        (each.name.as_str(), each.max_parallel, each.item_failure),
        ("tile", Some(16), ItemFailure::Continue)
    );
    assert_eq!(each.items, Template::Expr(expr("tasks.resize.outputs.tiles")));
    assert_eq!(find.grants, [Grant::Inference, Grant::Scratch].into());
    assert_eq!(find.with["image"], Template::Expr(expr("tile")));
    assert!(
        matches!(&find.with["label"], Template::Text(parts) if parts[0] == TextPart::Text("${{ not a hole }}, ".to_owned()) && parts.len() == 4)
    );
    assert_eq!(find.retry.max_attempts, 3);

    assert_eq!(w.tasks[2].needs, [TaskIx(0), TaskIx(1)].into());
    assert_eq!(w.tasks[2].trigger_rule, TriggerRule::AllDone);
}

#[test]
fn json_is_read_as_yaml_is() {
    let json = r#"{"apiVersion": "eyot.dev/v1", "kind": "Workflow", "metadata": {"name": "j"},
	"spec": {"tasks": {"a": {"uses": "eyot/pay@2", "with": {"x": [1, 2.5, true, null, "\u00e9\n"]}}}}}"#;
    let workflow = parsed(json).workflow;
    let Template::Literal(Value::List(items)) = &workflow.tasks[0].with["x"] else {
        panic!()
    };
    assert_eq!(items[4], Value::from("é\n"));
    assert!(!workflow.tasks[0].idempotent, "as its component says");
}

#[test]
fn anchors_and_aliases_are_read() {
    let text = document("tasks:\n  a: &base {uses: eyot/pay@2, timeout: 5m}\n  b: *base");
    let workflow = parsed(&text).workflow;
    assert_eq!(workflow.tasks[1].timeout, workflow.tasks[0].timeout);
}

#[test]
fn without_a_registry_components_stay_open() {
    let text = document("tasks:\n  a: {uses: some/thing@3}\n  b: {uses: ./b.wasm, with: {x: \"${{ tasks.a.outputs.whatever.x }}\"}}");
    let workflow = parse(&text, &Unchecked).unwrap().workflow;
    assert_eq!(workflow.tasks[1].uses.digest, None);
    assert_eq!(workflow.tasks[1].needs, [TaskIx(0)].into());
    let bad = parse(&document("tasks:\n  a: {uses: thing}"), &Unchecked).unwrap_err();
    assert_eq!(
        show(&bad[0]),
        "6:15 unknown-component `thing` is no name of a component | a component is named `name@version`, `./path.wasm` or `name@b3:…`"
    );
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let parsed = parsed(&document("tasks:\n  a: {uses: eyot/pay@2, when: true}"));
    assert_eq!(parsed.workflow.tasks[0].when, Some(expr("true")));
    let shown: Vec<_> = parsed.warnings.iter().map(show).collect();
    assert_eq!(shown, ["6:33 warning always-runs this is always true | leave the condition out"]);
}

#[test]
fn inputs_are_held_against_their_declarations() {
    let workflow = parsed(WHOLE).workflow;
    let blob: Value = serde_json::from_str(&format!(r#"{{"$blob": "{}", "size": 3}}"#, eyot_model::Digest::of(b"abc"))).unwrap();
    let given = [("site".to_owned(), Value::from("north")), ("batch".to_owned(), blob.clone())];
    let inputs = check_inputs(&workflow, given.clone().into()).unwrap();
    assert_eq!(inputs["threshold"], Value::Int(1));
    assert_eq!(inputs.len(), 4);

    let mut wrong: eyot_model::Inputs = given.into();
    wrong.remove("site");
    wrong.insert("sites".to_owned(), Value::from("north"));
    wrong.insert("batch".to_owned(), Value::from("photo.png"));
    wrong.insert("threshold".to_owned(), Value::from("0.8"));
    let problems: Vec<_> = check_inputs(&workflow, wrong)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        problems,
        [
            "input `batch` must be of type blob, found string (a file is given as `-i name=@path`)",
            "input `site` (string) is missing (Where)",
            "there is no input `sites` (did you mean `site`?)",
            "input `threshold` must be of type number, found string (give it as a number, without quotes)",
        ]
    );
}

#[test]
fn the_schema_knows_the_fields() {
    let schema = json_schema();
    let task = &schema["$defs"]["task"];
    assert_eq!(task["required"], serde_json::json!(["uses"]));
    assert_eq!(task["properties"]["forEach"]["$ref"], "#/$defs/forEach");
    assert_eq!(task["additionalProperties"], false);
    assert!(task["properties"].get("switch").is_none());
    assert!(schema["$defs"]["spec"]["properties"]["tasks"]["additionalProperties"]["$ref"] == "#/$defs/task");
}
