//! The task as an agent calls it, in memory.

use eyot_task::testing::Host;
use eyot_task_stats::StatsTask;
use serde_json::{Value, json};

fn run(inputs: Value) -> Result<Value, eyot_task::Failure> {
    Host::new().run::<StatsTask>(inputs).map(Value::Object)
}

#[test]
fn numbers_are_summed_up() {
    let totals = run(json!({"values": [4, null, 1, 2.5, 8, 2.5], "percentiles": [0, 25, 50, 100]})).unwrap();
    assert_eq!((&totals["count"], &totals["missing"]), (&json!(5), &json!(1)));
    let summary = &totals["summary"];
    assert_eq!(summary["sum"], 18.0);
    assert!((summary["mean"].as_f64().unwrap() - 3.6).abs() < 1e-12);
    assert!((summary["std"].as_f64().unwrap() - 2.395_829_710_9).abs() < 1e-9);
    assert_eq!((&summary["min"], &summary["max"]), (&json!(1.0), &json!(8.0)));
    assert_eq!(summary["percentiles"], json!({"p0": 1.0, "p25": 2.5, "p50": 2.5, "p100": 8.0}));
}

#[test]
fn percentiles_lie_between_neighbours() {
    let totals = run(json!({"values": [10, 20], "percentiles": [25, 99.9]})).unwrap();
    let percentiles = &totals["summary"]["percentiles"];
    assert_eq!(percentiles["p25"], 12.5);
    assert!((percentiles["p99.9"].as_f64().unwrap() - 19.99).abs() < 1e-9);
}

#[test]
fn records_are_summed_up_by_field_and_by_group() {
    let records = json!([
        {"site": "b", "t": 10, "deep": {"x": 1}, "name": "n"},
        {"site": "a", "t": 20, "deep": {"x": 2}},
        null,
        {"site": "b", "t": 30},
        {"t": null},
    ]);
    let totals = run(json!({"values": records, "group_by": "site"})).unwrap();
    assert_eq!(totals["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["t"]);
    assert_eq!(
        (&totals["fields"]["t"]["mean"], &totals["fields"]["t"]["missing"]),
        (&json!(20.0), &json!(1))
    );
    let groups: Vec<(&Value, &Value)> = totals["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| (&g["key"], &g["count"]))
        .collect();
    assert_eq!(
        groups,
        [(&json!("b"), &json!(2)), (&json!("a"), &json!(1)), (&json!(null), &json!(1))]
    );
    assert_eq!(totals["groups"][0]["fields"]["t"]["max"], 30.0);
    let deep = run(json!({"values": records, "fields": ["deep.x"]})).unwrap();
    assert_eq!(deep["fields"]["deep.x"]["sum"], 3.0);
    assert_eq!(deep["fields"]["deep.x"]["missing"], 2);
}

#[test]
fn nothing_gives_nothing() {
    let totals = run(json!({"values": [null, null]})).unwrap();
    assert_eq!(
        totals,
        json!({"count": 0, "missing": 2, "summary": null, "fields": {}, "groups": []})
    );
}

#[test]
fn what_is_no_number_is_named() {
    for (inputs, message) in [
        (json!({"values": [1, "x"]}), "input `values[1]`: expected a number, found a string"),
        (
            json!({"values": [{"t": "x"}], "fields": ["t"]}),
            "input `values[0].t`: expected a number, found a string",
        ),
        (
            json!({"values": [{"t": 1}, 3]}),
            "input `values[1]`: expected a record, found a number",
        ),
        (
            json!({"values": [1], "group_by": "t"}),
            "inputs `fields` and `group_by` need records, found numbers",
        ),
        (
            json!({"values": [1], "percentiles": [101]}),
            "input `percentiles`: expected 0 to 100, found 101",
        ),
        (json!({"values": 3}), "input `values`: expected a sequence, found integer `3`"),
    ] {
        assert_eq!(run(inputs).unwrap_err().message(), message);
    }
}
