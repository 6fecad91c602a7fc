//! Many agents come back to one control plane at once: the program of `tests/storm`.

use crate::{Figure, Setting};
use anyhow::{Context, Result, ensure};
use eyot_scenarios::program;
use tokio::process::Command;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let Ok(storm) = program("eyot-storm") else {
        setting.say("skipped: `eyot-storm` is not built; `cargo xtask faults` builds it");
        return Ok(Vec::new());
    };
    let agents = setting.times(200, 2_000);
    let mut storm = Command::new(storm);
    storm.args(["--json", "--agents", &agents.to_string()]);
    storm.args(setting.short.then_some(["--runs", "20", "--outage", "2"]).into_iter().flatten());
    let done = storm.kill_on_drop(true).output().await.context("cannot run eyot-storm")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "eyot-storm ended with {}: {said}", done.status);
    let text = String::from_utf8_lossy(&done.stdout);
    let report: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default()).context("eyot-storm printed no JSON")?;
    let number = |path: &str| {
        report
            .pointer(path)
            .and_then(serde_json::Value::as_f64)
            .context("a figure is missing")
    };
    ensure!(report["ok"] == true, "not every agent was reconciled: {report}");
    let reconciled = number("/reconciled")?;
    setting.say(&format!("{reconciled} of {agents} agents were reconciled"));
    Ok(vec![
        setting.count("agents", agents),
        setting.figure("reconciled", reconciled, "", agents),
        setting.figure("reconciled-p50", number("/again/p50_ms")?, "ms", agents),
        setting.figure("reconciled-p99", number("/again/p99_ms")?, "ms", agents),
        setting.figure("memory", number("/cost/peak_mib")?, "MiB", 1),
    ])
}
