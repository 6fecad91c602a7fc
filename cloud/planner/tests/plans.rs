//! Whole plans: where tasks go, and the exact words that say why.

#![allow(clippy::unwrap_used)]

mod common;

use common::layered::{agent, read, task, workflow};
use common::{Case, candidates};
use eyot_model::{
    AgentId, BlobForm, BlobRef, Choice, ComponentRef, Digest, Expr, ForEach, InputDecl, ItemFailure, Load, Millis, Placement, TaskIx,
    Template, Value, ValueType, Want,
};
use eyot_planner::{Error, Observation, Request};

fn component(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn expr(source: &str) -> Expr {
    Expr { source: source.into() }
}

impl Case {
    /// The task's component takes this long on the reference device and makes so many bytes.
    fn takes(&mut self, task: usize, ms: u64, output_bytes: u64) {
        let digest = component(&self.workflow.tasks[task].name);
        self.workflow.tasks[task].uses.digest = Some(digest);
        self.history.record(&Observation {
            component: digest,
            agent: AgentId(99),
            speed: 1.0,
            wall_micros: ms * 1_000,
            output_bytes,
        });
    }

    fn choices(&self) -> Vec<Choice> {
        self.plan().unwrap().choices
    }
}

/// `decode` on one agent and `detect` after it; agents `camera` and `compute`.
fn two() -> Case {
    let (decode, mut detect) = (task("decode"), task("detect"));
    read(&mut detect, 0, "decode");
    let mut case = Case::new(workflow(vec![decode, detect]), vec![agent(1, "camera"), agent(2, "compute")]);
    case.takes(0, 1_000, 4_200_000);
    case.takes(1, 1_400, 10);
    case
}

fn alternatives(choice: &Choice) -> Vec<&str> {
    choice.alternatives.iter().map(|a| a.reason.as_str()).collect()
}

#[test]
fn work_stays_where_its_data_is() {
    let mut case = two();
    case.fleet[0].labels.insert("camera".into(), "front".into());
    case.workflow.tasks[0].placement.require = Some(expr("agent.labels.camera == 'front'"));
    let plan = case.plan().unwrap();
    let (decode, detect) = (&plan.choices[0], &plan.choices[1]);
    assert_eq!(decode.reason, "only agent that meets its needs");
    assert_eq!(decode.refusals.len(), 1);
    assert_eq!(
        decode.refusals[0].reason,
        "label `camera` is missing, `placement.where` is `agent.labels.camera == 'front'`"
    );
    assert_eq!(
        (decode.refusals[0].agents.as_slice(), decode.refusals[0].count),
        (&[AgentId(2)][..], 1)
    );
    assert_eq!(
        detect.reason,
        "finishes first here (2.4s); data of `decode` is already on this agent"
    );
    assert_eq!(alternatives(detect), ["would finish at 6.6s: 4.2s transfer of 4.2 MB from camera"]);
    assert_eq!(plan.fragments.len(), 1);
    assert_eq!(plan.fragments[0].tasks, [TaskIx(0), TaskIx(1)]);
    assert_eq!((plan.fragments[0].start, plan.fragments[0].finish), (Millis(0), Millis(2_400)));
    assert!(plan.fragments[0].transfers.is_empty());
    assert_eq!(plan.makespan, Millis(2_400));
}

#[test]
fn a_faster_agent_is_worth_a_transfer() {
    let mut case = two();
    case.workflow.tasks[0].placement.require = Some(expr("agent.name == 'camera'"));
    case.fleet[1].speed = 10.0;
    case.takes(1, 60_000, 10);
    let plan = case.plan().unwrap();
    assert_eq!(plan.choices[1].agent, AgentId(2));
    // The mean of 1.4 s and 60 s is 30.7 s, of which a tenth is left.
    assert_eq!(plan.choices[1].reason, "finishes first here (8.3s)");
    assert_eq!(
        alternatives(&plan.choices[1]),
        ["would finish at 31.7s: takes 30.7s there and 3.1s here"]
    );
    assert_eq!(plan.fragments.len(), 2);
    assert_eq!(plan.fragments[1].agent, AgentId(2));
    let moved = &plan.fragments[1].transfers;
    assert_eq!(moved.len(), 1);
    assert_eq!(
        (moved[0].from, moved[0].to, moved[0].bytes, moved[0].time),
        (TaskIx(0), TaskIx(1), 4_200_000, Millis(4_220))
    );
}

#[test]
fn order_alone_moves_no_data() {
    let mut case = two();
    case.workflow.tasks[1].with.clear();
    case.workflow.tasks[0].placement.require = Some(expr("agent.name == 'camera'"));
    case.workflow.tasks[1].placement.require = Some(expr("agent.name == 'compute'"));
    let plan = case.plan().unwrap();
    assert_eq!(
        (plan.fragments[1].transfers[0].bytes, plan.fragments[1].transfers[0].time),
        (0, Millis(20))
    );
    assert_eq!(plan.choices[1].start, Millis(1_020));
}

#[test]
fn preferences_win_up_to_a_quarter() {
    for (speed, agent, reason) in [
        (1.0, 1, "preferred by `agent.labels.camera`, and no agent finishes earlier (1.0s)"),
        (1.04, 1, "preferred by `agent.labels.camera`, +4% finish time"),
        (1.5, 2, "finishes first here (667ms)"),
    ] {
        let mut case = two();
        case.workflow.tasks.truncate(1);
        case.fleet[0].labels.insert("camera".into(), "front".into());
        case.fleet[1].speed = speed;
        case.workflow.tasks[0].placement.prefer = Some(expr("agent.labels.camera"));
        let choice = &case.choices()[0];
        assert_eq!(choice.agent, AgentId(agent), "{speed}");
        assert_eq!(choice.reason, reason, "{speed}");
        let other = if speed > 1.2 {
            "would finish at 1.0s: takes 1.0s there and 667ms here"
        } else if speed > 1.0 {
            "would finish at 962ms, but is not preferred"
        } else {
            "would finish at the same time"
        };
        assert_eq!(alternatives(choice), [other], "{speed}");
    }
}

#[test]
fn a_gpu_is_preferred_where_it_is_wanted() {
    let mut case = two();
    case.workflow.tasks.truncate(1);
    case.workflow.tasks[0].resources.gpu = Want::Preferred;
    case.fleet[0].capacity.gpus = 1;
    case.fleet[1].speed = 1.1;
    assert_eq!(case.choices()[0].reason, "preferred for its GPU, +10% finish time");
    case.workflow.tasks[0].placement = Placement {
        require: None,
        prefer: Some(expr("agent.name == 'camera'")),
    };
    assert_eq!(
        case.choices()[0].reason,
        "preferred by `agent.name == 'camera'` and for its GPU, +10% finish time"
    );
}

#[test]
fn load_and_missing_components_count() {
    let mut case = two();
    case.workflow.tasks.truncate(1);
    case.fleet[0].load = Load {
        queued: 2,
        cpu_millis_used: 1_000,
        ..Load::default()
    };
    let choice = &case.choices()[0];
    assert_eq!(choice.agent, AgentId(2));
    // Attempts take 1.2 s over all components: half of one that runs, and two that wait.
    assert_eq!(alternatives(choice), ["would finish at 4.0s: busy until 3.0s"]);

    let mut case = two();
    case.workflow.tasks.truncate(1);
    case.workflow.tasks[0].uses = ComponentRef {
        size: 1_000_000,
        ..case.workflow.tasks[0].uses.clone()
    };
    case.fleet[0].holds.insert(component("decode"));
    let choice = &case.choices()[0];
    assert_eq!((choice.agent, choice.start), (AgentId(1), Millis(0)));
    // 1 s to fetch it, 1.6 s to compile it.
    assert_eq!(
        alternatives(choice),
        ["would finish at 3.6s: its component and inputs arrive at 2.6s"]
    );
}

#[test]
fn blobs_of_the_inputs_come_from_the_cloud_unless_held() {
    let mut case = two();
    case.workflow.tasks.truncate(1);
    let blob = BlobRef {
        digest: Digest::of(b"batch"),
        size: 3_000_000,
        form: BlobForm::Raw,
    };
    case.inputs.insert("batch".into(), Value::List(vec![Value::Blob(blob)]));
    case.workflow.tasks[0]
        .with
        .insert("image".into(), Template::Expr(expr("inputs.batch[0]")));
    assert_eq!(case.choices()[0].start, Millis(3_010));
    case.fleet[1].holds.insert(blob.digest);
    assert_eq!((case.choices()[0].agent, case.choices()[0].start), (AgentId(2), Millis(0)));
}

#[test]
fn items_are_counted_where_they_are_known() {
    let list = |n: usize| Template::Literal(Value::List(vec![Value::Null; n]));
    for (items, max_parallel, duration, finish) in [
        (list(6), None, 6_000, 2_000),
        (list(6), Some(2), 6_000, 3_000),
        (Template::Expr(expr("inputs.tiles")), None, 5_000, 2_000),
        (Template::Expr(expr("range(3)")), None, 3_000, 1_000),
        // Not known: eight.
        (Template::Expr(expr("tasks.x.outputs.tiles")), None, 8_000, 2_000),
        (list(0), None, 0, 0),
    ] {
        let mut case = two();
        case.workflow.tasks.truncate(1);
        case.fleet.truncate(1);
        case.fleet[0].capacity.cpu_millis = 4_000;
        case.inputs.insert("tiles".into(), Value::List(vec![Value::Int(1); 5]));
        case.workflow.tasks[0].for_each = Some(ForEach {
            items,
            name: "tile".into(),
            max_parallel,
            item_failure: ItemFailure::Fail,
        });
        let choice = &case.choices()[0];
        assert_eq!((choice.duration, choice.finish), (Millis(duration), Millis(finish)));
    }
}

#[test]
fn history_says_how_many_items_and_how_fast_an_agent_is() {
    let mut case = two();
    case.workflow.tasks.truncate(1);
    for count in [10, 14] {
        case.history.record_items(component("decode"), count);
    }
    let items = Template::Expr(expr("tasks.x.outputs.tiles"));
    case.workflow.tasks[0].for_each = Some(ForEach {
        items,
        name: "tile".into(),
        max_parallel: None,
        item_failure: ItemFailure::Fail,
    });
    assert_eq!(case.choices()[0].duration, Millis(12_000));
    // Measured there, whatever the agent says of its speed.
    let seen = Observation {
        component: component("decode"),
        agent: AgentId(2),
        speed: 1.0,
        wall_micros: 100_000,
        output_bytes: 1,
    };
    case.history.record(&seen);
    assert_eq!((case.choices()[0].agent, case.choices()[0].duration), (AgentId(2), Millis(1_200)));
}

#[test]
fn max_parallel_holds_on_each_agent() {
    let mut case = Case::new(workflow((0..4).map(|n| task(&format!("t{n}"))).collect()), vec![agent(1, "a")]);
    case.fleet[0].capacity.cpu_millis = 4_000;
    assert_eq!(case.plan().unwrap().makespan, Millis(1_000));
    case.workflow.max_parallel = Some(2);
    assert_eq!(case.plan().unwrap().makespan, Millis(2_000));
}

#[test]
fn what_the_inputs_decide_is_pruned_with_its_followers() {
    let mut case = two();
    let mode = InputDecl {
        value_type: ValueType::String,
        default: Some(Value::from("quick")),
        description: None,
    };
    case.workflow.inputs.insert("mode".into(), mode);
    case.workflow.tasks[0].when = Some(expr("inputs.mode == 'full'"));
    let plan = case.plan().unwrap();
    assert!(plan.choices.is_empty() && plan.fragments.is_empty());
    let reasons: Vec<&str> = plan.pruned.iter().map(|p| p.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "`when` is `inputs.mode == 'full'`, which is false for these inputs",
            "all tasks before it are skipped: `decode`"
        ]
    );
    case.inputs.insert("mode".into(), Value::from("full"));
    assert_eq!(case.choices().len(), 2);
}

#[test]
fn planning_anew_keeps_what_is_settled() {
    let mut case = two();
    case.settled.insert(TaskIx(0));
    let choices = case.choices();
    assert_eq!(choices.len(), 1);
    assert_eq!((choices[0].task, choices[0].start), (TaskIx(1), Millis(4_210)));
    // Beyond the workflow, and on an agent that is gone: as if in the cloud.
    case.settled.insert(TaskIx(77));
    case.outputs_at.insert(TaskIx(0), AgentId(42));
    assert_eq!(case.choices()[0].start, Millis(4_210));
    case.outputs_at.insert(TaskIx(0), AgentId(2));
    let plan = case.plan().unwrap();
    assert_eq!((plan.choices[0].agent, plan.choices[0].start), (AgentId(2), Millis(0)));
    assert_eq!(
        plan.choices[0].reason,
        "finishes first here (1.4s); data of `decode` is already on this agent"
    );
    case.settled.insert(TaskIx(1));
    case.fleet.clear();
    assert_eq!(case.plan().unwrap(), eyot_model::Plan::default());
}

#[test]
fn failures_say_what_is_wrong() {
    let mut case = two();
    case.fleet.clear();
    assert_eq!(case.plan(), Err(Error::NoAgents));

    let mut case = two();
    case.workflow.tasks[1].resources.memory_bytes = 1 << 40;
    let error = case.plan().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no agent can run task `detect`: needs 1 TiB of memory, has 16 GiB (2 agents)"
    );

    let mut case = two();
    case.workflow.tasks[0].needs.insert(TaskIx(1));
    assert_eq!(case.plan().unwrap_err().to_string(), "the tasks before `decode` form a cycle");
    case.workflow.tasks[0].needs = [TaskIx(9)].into();
    assert_eq!(
        case.plan().unwrap_err().to_string(),
        "task `decode` needs task number 9, and there are only 2"
    );

    let mut case = two();
    case.workflow.tasks[0].when = Some(expr("inputs.("));
    assert_eq!(case.plan().unwrap_err().to_string(), "cannot evaluate `when` of task `decode`");
}

#[test]
fn links_and_draining_come_with_the_candidate() {
    let case = two();
    let mut fleet = candidates(&case.fleet);
    fleet[0].draining = true;
    let request = Request {
        workflow: &case.workflow,
        inputs: &case.inputs,
        fleet: &fleet,
        history: &case.history,
        settled: &case.settled,
        outputs_at: &case.outputs_at,
        seed: 0,
    };
    let plan = eyot_planner::plan(&request).unwrap();
    assert_eq!(plan.fragments.len(), 1);
    assert_eq!(plan.choices[0].refusals[0].reason, "is draining and takes no new work");
}
