//! Real graphs: traces of scientific workflows in WfFormat 1.5 (wfcommons.org). They are read from the folder that
//! `EYOT_WFINSTANCES` names, or from `../shared/data/wfinstances` beside the workspace, and skipped where there is none.

#![allow(clippy::unwrap_used)]

mod common;

use common::Case;
use common::layered::{fleet, read, task, workflow};
use common::simulate::{Policy, Truth};
use eyot_model::{AgentId, Digest};
use eyot_planner::Observation;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("EYOT_WFINSTANCES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/wfinstances");
    named.or(Some(beside)).filter(|folder| folder.is_dir())
}

struct Instance {
    case: Case,
    reference_ms: Vec<f64>,
    output_bytes: Vec<f64>,
}

/// Every task is a component of its own, which ran once: the planner knows the durations of the trace.
fn import(json: &Json, seed: u64) -> Option<Instance> {
    let specification = &json["workflow"]["specification"];
    let sizes: BTreeMap<&str, u64> = specification["files"]
        .as_array()?
        .iter()
        .filter_map(|f| Some((f["id"].as_str()?, f["sizeInBytes"].as_u64()?)))
        .collect();
    let runtimes: BTreeMap<&str, f64> = json["workflow"]["execution"]["tasks"]
        .as_array()?
        .iter()
        .filter_map(|t| Some((t["id"].as_str()?, t["runtimeInSeconds"].as_f64()?)))
        .collect();
    let listed = specification["tasks"].as_array()?;
    let index: BTreeMap<&str, usize> = listed
        .iter()
        .enumerate()
        .filter_map(|(n, t)| Some((t["id"].as_str()?, n)))
        .collect();
    let mut case = Case::new(workflow(Vec::new()), fleet(8, seed));
    let (mut reference_ms, mut output_bytes) = (Vec::new(), Vec::new());
    for (n, listed) in listed.iter().enumerate() {
        let id = listed["id"].as_str()?;
        let mut new = task(&format!("t{n}"));
        let digest = Digest::of(id.as_bytes());
        new.uses.digest = Some(digest);
        for parent in listed["parents"].as_array()? {
            let before = *index.get(parent.as_str()?)?;
            read(&mut new, before, &format!("t{before}"));
        }
        let bytes: u64 = listed["outputFiles"]
            .as_array()?
            .iter()
            .filter_map(|f| sizes.get(f.as_str()?))
            .sum();
        let ms = runtimes.get(id)?.max(0.001) * 1e3;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let wall_micros = (ms * 1e3) as u64;
        case.history.record(&Observation {
            component: digest,
            agent: AgentId(0),
            speed: 1.0,
            wall_micros,
            output_bytes: bytes,
        });
        reference_ms.push(ms);
        output_bytes.push(bytes as f64);
        case.workflow.tasks.push(new);
    }
    Some(Instance {
        case,
        reference_ms,
        output_bytes,
    })
}

#[test]
fn traces_end_earlier_than_by_round_robin() {
    let Some(folder) = folder() else {
        println!("skipped: no folder of WfFormat traces (set EYOT_WFINSTANCES)");
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    println!(
        "{:<46} {:>5} {:>9} {:>9} {:>12} {:>12}",
        "trace", "tasks", "predicted", "planned", "round-robin", "least-loaded"
    );
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let json: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let Instance {
            case,
            reference_ms,
            output_bytes,
        } = import(&json, 11).unwrap_or_else(|| panic!("{name} is not WfFormat 1.5"));
        let plan = case.plan().unwrap();
        assert_eq!(plan.choices.len(), case.workflow.tasks.len());
        let placed: Vec<usize> = plan
            .choices
            .iter()
            .map(|c| case.fleet.iter().position(|a| a.id == c.agent).unwrap())
            .collect();
        let truth = Truth {
            workflow: &case.workflow,
            fleet: &case.fleet,
            reference_ms,
            output_bytes,
        };
        let anywhere = |_: usize, _: usize| true;
        let planned = truth.makespan(&Policy::Placed(&placed), anywhere);
        let round_robin = truth.makespan(&Policy::RoundRobin, anywhere);
        let least_loaded = truth.makespan(&Policy::LeastLoaded, anywhere);
        println!(
            "{name:<46} {:>5} {:>8.1}s {:>8.1}s {:>6.1}s {:>4.2} {:>6.1}s {:>4.2}",
            plan.choices.len(),
            plan.makespan.0 as f64 / 1e3,
            planned / 1e3,
            round_robin / 1e3,
            planned / round_robin,
            least_loaded / 1e3,
            planned / least_loaded,
        );
        assert!(planned <= round_robin, "{name}: {planned} against {round_robin}");
    }
}
