//! One workflow on two devices at the same time: what is killed, cut off or weathered in the middle of it.

use eyot_model::Value;

/// How much the results of the right device are above their items.
const RIGHT: i64 = 100;

/// `items` items of 100 ms on each of the devices `left` and `right`, two at a time; then a task on the right one that needs
/// them all. No task is retried but after a crash.
#[must_use]
pub fn on_both_sides(items: u32) -> String {
    let side = |name: &str, echo: &str| {
        format!(
            r#"    {name}:
      uses: scenarios/probe@1
      forEach: {{items: range({items}), as: n, maxParallel: 2}}
      with: {{work_ms: 100, echo: "${{{{ {echo} }}}}"}}
      retry: {{maxAttempts: 3, initialInterval: 100ms}}
      placement: {{where: "agent.labels.name == '{name}'"}}
"#
        )
    };
    let (left, right) = (side("left", "n"), side("right", &format!("n + {RIGHT}")));
    format!(
        r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {{name: sides, version: "1"}}
spec:
  outputs: {{answer: "${{{{ tasks.join.outputs.echo }}}}"}}
  tasks:
{left}{right}    join:
      uses: scenarios/probe@1
      with: {{echo: "${{{{ tasks.left.outputs.map(o, o.echo) + tasks.right.outputs.map(o, o.echo) }}}}"}}
      placement: {{where: "agent.labels.name == 'right'"}}
"#
    )
}

/// The only right output `answer` of [`on_both_sides`].
#[must_use]
pub fn answer_of_both_sides(items: u32) -> Value {
    let items = i64::from(items);
    Value::List((0..items).chain(RIGHT..RIGHT + items).map(Value::Int).collect())
}
