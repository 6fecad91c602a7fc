//! The workflow against what its components say of themselves, and its report.

use anyhow::{Context, Result, anyhow, bail};
use eyot_model::Digest;
use eyot_read_text_tests::{Files, Reader, example_folder};
use eyot_spec::{ComponentInfo, Components};
use eyot_task::testing::Host;
use eyot_task::{Description, Task};
use eyot_task_find_text::FindTextTask;
use eyot_task_image::ImageTask;
use eyot_task_read_line::ReadLineTask;
use eyot_task_text::TextTask;
use serde_json::{Value, json};

/// A registry with the components of the example.
struct Registry(Vec<Description>);

impl Registry {
    fn new() -> Self {
        Self(vec![
            ImageTask::describe(),
            TextTask::describe(),
            FindTextTask::describe(),
            ReadLineTask::describe(),
        ])
    }
}

impl Components for Registry {
    fn resolve(&self, name: &str) -> Option<ComponentInfo> {
        let found = self.0.iter().find(|known| name == format!("{}@1", known.name))?;
        Some(ComponentInfo {
            digest: Digest::of(found.name.as_bytes()),
            size: 1,
            inputs: found.inputs.clone(),
            outputs: found.outputs.clone(),
            idempotent: found.idempotent,
            needs: found.needs.clone(),
        })
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|known| format!("{}@1", known.name)).collect()
    }
}

fn workflow() -> Result<eyot_model::Workflow> {
    let text = std::fs::read_to_string(example_folder().join("workflow.yaml")).context("workflow.yaml")?;
    match eyot_spec::parse(&text, &Registry::new()) {
        Ok(parsed) if parsed.warnings.is_empty() => Ok(parsed.workflow),
        Ok(parsed) => bail!("{:#?}", parsed.warnings),
        Err(problems) => bail!("{problems:#?}"),
    }
}

#[test]
fn the_workflow_fits_its_components() -> Result<()> {
    let workflow = workflow()?;
    assert_eq!(workflow.tasks.len(), 4);
    Ok(())
}

/// What the workflow's own template makes of values.
fn report(values: &Value) -> Result<String> {
    let workflow = workflow()?;
    let task = workflow.tasks.iter().find(|task| task.name == "report").context("no report")?;
    let Some(eyot_model::Template::Literal(eyot_model::Value::String(template))) = task.with.get("template") else {
        bail!("the template is no literal text");
    };
    let outputs = Host::new()
        .run::<TextTask>(json!({"template": template, "values": values}))
        .map_err(|failure| anyhow!("{failure}"))?;
    outputs["text"].as_str().map(str::to_owned).context("the report is no text")
}

#[test]
fn the_report_names_every_picture_and_every_line() -> Result<()> {
    let picture = |format: &str| json!({"source": {"format": format, "width": 40, "height": 30}});
    let line = |photo: u32, text: &str, score: f64| json!({"photo": photo, "text": text, "score": score});
    let values = json!({
        "pictures": [null, picture("jpeg"), picture("png"), picture("png")],
        "errors": ["the png picture is cut off", null, null, null],
        "lines": [line(2, "first", 0.961), line(2, "unsure", 0.2), line(2, "second", 0.5), line(3, "only", 1.0)],
    });
    let expected = "\
Picture 1 could not be read: the png picture is cut off
Picture 2 (jpeg, 40 x 30): no lines of text
Picture 3 (png, 40 x 30): 2 lines of text
  0.96  first
  0.50  second
Picture 4 (png, 40 x 30): 1 line of text
  1.00  only
";
    assert_eq!(report(&values)?, expected);
    Ok(())
}

/// The whole example but for the agents. Scores are not compared: their last digit may differ from machine to machine.
#[test]
fn the_report_is_the_expected_one() -> Result<()> {
    let files = Files::fetched()?;
    let reader = Reader::new(&files)?;
    let (mut pictures, mut errors, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for path in &files.pictures {
        match reader.picture("", path, json!({"resize": {"longest": 960}})) {
            Ok(picture) => {
                for line in reader.read(&picture)? {
                    lines.push(json!({"photo": pictures.len(), "text": line.text, "score": line.score}));
                }
                pictures.push(json!({"source": picture.source}));
                errors.push(Value::Null);
            }
            Err(error) => {
                pictures.push(Value::Null);
                errors.push(error.to_string().split(": ").skip(2).collect::<Vec<_>>().join(": ").into());
            }
        }
    }
    let text = report(&json!({"pictures": pictures, "errors": errors, "lines": lines}))?;
    let expected = std::fs::read_to_string(example_folder().join("expected/report.txt"))?;
    let without_scores = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.strip_prefix("  ").and_then(|line| line.get(4..)).unwrap_or(line).to_owned())
            .collect()
    };
    assert_eq!(without_scores(&text), without_scores(&expected), "{text}");
    Ok(())
}
