//! Workflows with mistakes: refused before anything runs, with the place and what was meant.

use crate::SMALL;
use anyhow::{Context, Result, ensure};
use eyot_client::RunFilter;
use eyot_scenarios::{Cloud, Stage};

/// Exit code for a workflow or inputs that are invalid.
const INVALID: i32 = 4;

const HEAD: &str = "apiVersion: eyot.dev/v1\nkind: Workflow\nmetadata: {name: mistaken, version: \"1\"}\nspec:\n";

struct Mistake {
    name: &'static str,
    /// Follows `spec:`, which is line 4.
    spec: &'static str,
    /// Where it is, and what else must be told.
    told: &'static [&'static str],
}

const MISTAKES: [Mistake; 5] = [
    Mistake {
        name: "typo",
        spec: "\x20 tasks:\n    first: {uses: scenarios/probe@1}\n    second:\n      need: [first]\n      uses: scenarios/probe@1\n",
        told: &["typo.yaml:8:7", "unknown field `need`", "did you mean `needs`?"],
    },
    Mistake {
        name: "cycle",
        spec: "\x20 tasks:\n    one: {uses: scenarios/probe@1, needs: [two]}\n    two: {uses: scenarios/probe@1, needs: [one]}\n",
        told: &["cycle.yaml:6:", "one", "two"],
    },
    Mistake {
        name: "unknown",
        spec: "\x20 tasks:\n    resize: {uses: scenarios/probe@1}\n    show:\n      uses: scenarios/probe@1\n      with: {echo: \"${{ tasks.resise.outputs.echo }}\"}\n",
        told: &["unknown.yaml:9:25", "resise", "did you mean `resize`?"],
    },
    Mistake {
        name: "type",
        spec: "\x20 tasks:\n    wait:\n      uses: scenarios/probe@1\n      timeout: soon\n",
        told: &["type.yaml:8:16", "soon"],
    },
    Mistake {
        name: "input",
        spec: "\x20 tasks:\n    wait:\n      uses: scenarios/probe@1\n      with: {work_ms: soon}\n",
        told: &["input.yaml:8:", "work_ms"],
    },
];

#[tokio::test]
async fn a_workflow_with_a_mistake_is_refused_with_its_place_and_a_suggestion() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    cloud.push_probe().await?;
    let mut wrong = Vec::new();
    for mistake in &MISTAKES {
        let file = stage.write(&format!("{}.yaml", mistake.name), &format!("{HEAD}{}", mistake.spec))?;
        for command in ["validate", "run"] {
            let done = cloud.eyot()?.arg(command).arg(&file).output().context("cannot run eyot")?;
            let told = String::from_utf8_lossy(&done.stderr);
            if done.status.code() != Some(INVALID) || !mistake.told.iter().all(|part| told.contains(part)) {
                wrong.push(format!(
                    "`eyot {command}` of {}: {}, expected {:?}:\n{told}",
                    mistake.name, done.status, mistake.told
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    // A value of the wrong type for an input, and an input that is not declared.
    let typed = SMALL.replace("spec:\n", "spec:\n  inputs: {count: {type: integer}}\n");
    let file = stage.write("typed.yaml", &typed)?;
    for (input, part) in [("count=many", "count"), ("cuont=1", "cuont")] {
        let done = cloud
            .eyot()?
            .arg("run")
            .arg(&file)
            .args(["-i", input])
            .output()
            .context("cannot run eyot")?;
        let told = String::from_utf8_lossy(&done.stderr);
        ensure!(
            done.status.code() == Some(INVALID) && told.contains(part),
            "-i {input}: {}\n{told}",
            done.status
        );
    }

    let valid = stage.write("valid.yaml", SMALL)?;
    let done = cloud.eyot()?.arg("validate").arg(&valid).output().context("cannot run eyot")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let runs = cloud.client().runs(&RunFilter::default()).await?.items;
    ensure!(runs.is_empty(), "something was started: {runs:?}");
    stage.close();
    Ok(())
}
