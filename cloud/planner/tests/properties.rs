//! What holds for every plan.

#![allow(clippy::unwrap_used)]

mod common;

use common::layered::{Random, fleet, history, layered};
use common::simulate::{Policy, Truth};
use common::{Case, candidates};
use eyot_model::{Capacity, Expr, ForEach, ItemFailure, Load, Millis, Plan, Template, Value};
use eyot_planner::{Error, Request};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn case(tasks: usize, width: usize, agents: usize, seed: u64) -> Case {
    let mut case = Case::new(layered(tasks, width, seed), fleet(agents, seed + 1));
    case.history = history(seed + 2);
    let mut random = Random(seed);
    for task in &mut case.workflow.tasks {
        match random.below(12) {
            0 => task.when = Some(Expr { source: "false".into() }),
            1 => {
                let items = Template::Literal(Value::List(vec![Value::Null; random.below(20)]));
                task.for_each = Some(ForEach {
                    items,
                    name: "item".into(),
                    max_parallel: None,
                    item_failure: ItemFailure::Fail,
                });
            }
            2 => task.resources.cpu_millis = 1_000 * (1 + u32::try_from(random.below(3)).unwrap()),
            3 => {
                task.placement.prefer = Some(Expr {
                    source: "agent.labels.zone == 'b'".into(),
                })
            }
            _ => {}
        }
    }
    case
}

fn check(case: &Case, plan: &Plan) -> Result<(), TestCaseError> {
    let tasks = &case.workflow.tasks;
    let mut chosen = BTreeMap::new();
    for choice in &plan.choices {
        prop_assert!(chosen.insert(choice.task, choice).is_none(), "placed twice");
    }
    for pruned in &plan.pruned {
        prop_assert!(!chosen.contains_key(&pruned.task), "placed and pruned");
    }
    prop_assert_eq!(chosen.len() + plan.pruned.len(), tasks.len());

    let mut owned = BTreeMap::new();
    for fragment in &plan.fragments {
        for task in &fragment.tasks {
            prop_assert!(owned.insert(*task, fragment).is_none(), "in two fragments");
        }
        let starts: Vec<Millis> = fragment.tasks.iter().map(|t| chosen[t].start).collect();
        prop_assert!(starts.is_sorted());
        prop_assert!(fragment.transfers.iter().all(|t| owned.contains_key(&t.to)));
    }
    for choice in plan.choices.iter() {
        let task = case.workflow.task(choice.task);
        let agent = case.fleet.iter().find(|a| a.id == choice.agent).unwrap();
        prop_assert_eq!(owned[&choice.task].agent, choice.agent);
        prop_assert!(task.resources.cpu_millis <= agent.capacity.cpu_millis);
        if task.placement.require.is_some() {
            prop_assert_ne!(agent.labels["zone"].as_str(), "a");
        }
        prop_assert!(choice.alternatives.len() <= 3 && choice.alternatives.is_sorted_by_key(|a| a.finish));
        prop_assert!(choice.alternatives.iter().all(|a| a.agent != choice.agent));
        for before in task.needs.iter().filter_map(|n| chosen.get(n)) {
            prop_assert!(before.finish <= choice.start, "{:?} before {:?}", before.task, choice.task);
            let moved = owned[&choice.task]
                .transfers
                .iter()
                .find(|t| t.from == before.task && t.to == choice.task);
            prop_assert_eq!(moved.is_some(), before.agent != choice.agent);
            if let Some(moved) = moved {
                // Times are rounded one by one.
                prop_assert!(before.finish.0 + moved.time.0 <= choice.start.0 + 2);
            }
        }
    }
    for agent in &case.fleet {
        let own: Vec<_> = plan.choices.iter().filter(|c| c.agent == agent.id).collect();
        for at in own.iter().map(|c| c.start) {
            let cores: u32 = own
                .iter()
                .filter(|c| c.start <= at && at < c.finish)
                .map(|c| case.workflow.task(c.task).resources.cpu_millis)
                .sum();
            prop_assert!(cores <= agent.capacity.cpu_millis, "{cores} of {} at {at}", agent.name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_are_whole_and_feasible(tasks in 1usize..120, width in 1usize..30, agents in 6usize..12, seed in 0u64..1_000_000) {
        let mut case = case(tasks, width, agents, seed);
        // Something for everybody.
        case.fleet[0].labels.insert("zone".into(), "b".into());
        case.fleet[0].capacity.cpu_millis = 8_000;
        let plan = case.plan().unwrap();
        check(&case, &plan)?;
        prop_assert_eq!(case.plan().unwrap(), plan);
    }

    /// Whatever an agent says of itself: a plan or an error, and figures that are some.
    #[test]
    fn wild_profiles_do_no_harm(
        speed in any::<f64>(), cpu in any::<u32>(), memory in any::<u64>(), rate in any::<u64>(), round_trip in any::<u64>(),
        queued in any::<u32>(), size in any::<u64>(), most in any::<Option<u32>>(), seed in 0u64..1_000,
    ) {
        let mut case = case(20, 5, 3, seed);
        let wild = &mut case.fleet[0];
        (wild.speed, wild.uplink_bytes_per_sec, wild.round_trip) = (speed, rate, Millis(round_trip));
        wild.capacity = Capacity { cpu_millis: cpu, memory_bytes: memory, disk_bytes: 0, gpus: 0 };
        wild.load = Load { queued, running: queued, cpu_millis_used: cpu, ..Load::default() };
        case.fleet[1] = case.fleet[0].clone();
        case.workflow.max_parallel = most;
        for task in &mut case.workflow.tasks {
            task.uses.size = size;
        }
        match case.plan() {
            Ok(plan) => {
                prop_assert_eq!(plan.choices.len() + plan.pruned.len(), 20);
                prop_assert!(plan.makespan.0 < u64::MAX);
            }
            Err(error) => prop_assert!(matches!(error, Error::Unplaceable(_)), "{error}"),
        }
    }
}

/// Only where agents are alike may the seed and the order of the fleet matter; the latter never does.
#[test]
fn the_order_of_the_fleet_does_not_matter() {
    let case = case(80, 10, 8, 5);
    let mut turned = case.clone();
    turned.fleet.reverse();
    assert_eq!(case.plan().unwrap(), turned.plan().unwrap());
}

#[test]
fn the_seed_decides_between_agents_that_are_alike() {
    let mut case = Case::new(layered(1, 1, 1), (1..=8).map(|n| common::layered::agent(n, "same")).collect());
    case.workflow.tasks[0].placement.require = None;
    let mut found: Vec<_> = (0..64)
        .map(|seed| {
            case.seed = seed;
            case.plan().unwrap().choices[0].agent
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    assert!(found.len() > 4, "{found:?}");
}

/// Against round-robin, under a model in which tasks just start as they become ready.
#[test]
fn plans_end_earlier_than_round_robin() {
    let (mut better, mut ratios) = (0, Vec::new());
    const SEEDS: u64 = 60;
    for seed in 0..SEEDS {
        let mut case = Case::new(layered(150, 5 + usize::try_from(seed).unwrap() % 20, seed), fleet(8, seed + 1));
        case.history = history(seed + 2);
        case.fleet[0].labels.insert("zone".into(), "b".into());
        let by_component = |f: fn(&eyot_planner::History, eyot_model::Digest) -> Option<f64>| {
            case.workflow
                .tasks
                .iter()
                .map(|t| f(&case.history, t.uses.digest.unwrap()).unwrap())
                .collect::<Vec<f64>>()
        };
        let truth = Truth {
            workflow: &case.workflow,
            fleet: &case.fleet,
            reference_ms: by_component(eyot_planner::History::reference_ms),
            output_bytes: by_component(eyot_planner::History::output_bytes),
        };
        let may =
            |task: usize, agent: usize| case.workflow.tasks[task].placement.require.is_none() || case.fleet[agent].labels["zone"] != "a";
        let plan = case.plan().unwrap();
        let placed: Vec<usize> = plan
            .choices
            .iter()
            .map(|c| case.fleet.iter().position(|a| a.id == c.agent).unwrap())
            .collect();
        let ratio = truth.makespan(&Policy::Placed(&placed), may) / truth.makespan(&Policy::RoundRobin, may);
        better += u64::from(ratio <= 1.0);
        ratios.push(ratio);
    }
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    println!(
        "better in {better} of {SEEDS}, mean ratio {:.2}, worst {worst:.2}",
        ratios.iter().sum::<f64>() / ratios.len() as f64
    );
    assert!(better * 10 >= SEEDS * 9, "{better} of {SEEDS}");
    assert!(worst < 1.25, "{worst}");
}

#[test]
fn ten_thousand_tasks_are_planned_whole() {
    let mut case = Case::new(layered(10_000, 500, 3), fleet(100, 1));
    case.history = history(2);
    let fleet = candidates(&case.fleet);
    let request = Request {
        workflow: &case.workflow,
        inputs: &case.inputs,
        fleet: &fleet,
        history: &case.history,
        settled: &case.settled,
        outputs_at: &case.outputs_at,
        seed: 1,
    };
    let plan = eyot_planner::plan(&request).unwrap();
    assert_eq!(plan.choices.len(), 10_000);
    assert!(plan.fragments.len() <= 100);
}

/// One task after the other, all at once, and everything into one: no shape is deep or wide enough to matter.
#[test]
fn extreme_shapes_are_planned() {
    const TASKS: usize = 3_000;
    let mut chain = layered(TASKS, 1, 1);
    for (n, task) in chain.tasks.iter_mut().enumerate().skip(1) {
        task.needs.insert(eyot_model::TaskIx(u32::try_from(n - 1).unwrap()));
    }
    let flat = layered(TASKS, TASKS, 1);
    let mut funnel = flat.clone();
    for n in 0..TASKS - 1 {
        common::layered::read(&mut funnel.tasks[TASKS - 1], n, &format!("t{n}"));
    }
    for workflow in [chain, flat, funnel] {
        let mut case = Case::new(workflow, fleet(20, 1));
        case.history = history(2);
        let plan = case.plan().unwrap();
        check(&case, &plan).unwrap();
    }
}
