//! What a task needs of the agent that runs it, and in words what an agent does not have. Whoever places tasks goes by
//! it: the planner over a fleet, and an agent over itself for runs of its own.

use crate::words::{self, shorten};
use eyot_expr::{EvaluateError, EvaluateErrorKind, Program, Reference, Scope};
use eyot_model::{AgentProfile, Grant, Inputs, Task, Value, Want, Workflow};
use std::collections::BTreeMap;

/// Why an agent cannot run a task of this workflow, for each task; empty if it can run all of it. Without `inputs`,
/// conditions that read them are taken to hold. A condition that cannot be evaluated is not met.
#[must_use]
pub fn unmet_by(workflow: &Workflow, profile: &AgentProfile, inputs: Option<&Inputs>) -> Vec<String> {
    let agent = describe(profile);
    let given = Value::Map(inputs.cloned().unwrap_or_default());
    let mut scope = Scope::new();
    scope.bind_ref("agent", &agent).bind_ref("inputs", &given);
    let of = |task: &Task| {
        let why = lacks(task, profile).or_else(|| {
            let require = task.placement.require.as_ref()?;
            let program = match Program::parse(&require.source) {
                Ok(program) => program,
                Err(error) => return Some(error.to_string()),
            };
            if inputs.is_none() && program.references().iter().any(|r| r.root() == "inputs") {
                return None;
            }
            unmet(&program, profile, &scope).unwrap_or_else(|error| Some(error.to_string()))
        })?;
        Some(format!("task `{}`: {why}", task.name))
    };
    workflow.tasks.iter().filter_map(of).collect()
}

/// What an agent does not have of capabilities and capacity.
#[must_use]
pub fn lacks(task: &Task, profile: &AgentProfile) -> Option<String> {
    let (needs, has) = (&task.resources, &profile.capacity);
    if task.grants.contains(&Grant::Inference) && !profile.capabilities.contains("inference") {
        return Some("capability `inference` is missing".to_owned());
    }
    if needs.gpu == Want::Required && has.gpus == 0 {
        return Some("needs a GPU, has none".to_owned());
    }
    if needs.cpu_millis > has.cpu_millis {
        return Some(format!(
            "needs {}, has {}",
            words::cpu(needs.cpu_millis),
            words::cpu(has.cpu_millis)
        ));
    }
    if needs.memory_bytes > has.memory_bytes {
        let (needs, has) = (words::memory(needs.memory_bytes), words::memory(has.memory_bytes));
        return Some(format!("needs {needs} of memory, has {has}"));
    }
    None
}

/// `agent` in placement expressions. An agent without a site has no such field.
#[must_use]
pub fn describe(profile: &AgentProfile) -> Value {
    let labels = profile.labels.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
    let capabilities = profile.capabilities.iter().map(|c| Value::from(c.as_str())).collect();
    let mut map = BTreeMap::from([
        ("name".to_owned(), Value::from(profile.name.as_str())),
        ("labels".to_owned(), Value::Map(labels)),
        ("capabilities".to_owned(), Value::List(capabilities)),
        ("platform".to_owned(), Value::from(profile.platform.as_str())),
    ]);
    if let Some(site) = &profile.site {
        map.insert("site".to_owned(), Value::from(site.as_str()));
    }
    Value::Map(map)
}

/// What an agent does not have, if that is why the evaluation failed.
#[must_use]
pub fn absent(error: &EvaluateError) -> Option<String> {
    let EvaluateErrorKind::MissingField { path, field, .. } = &error.kind else {
        return None;
    };
    match (path.as_str(), field.as_str()) {
        ("agent.labels", label) => Some(format!("label `{}` is missing", shorten(label))),
        ("agent", "site") => Some("it has no site".to_owned()),
        _ => None,
    }
}

/// Why `placement.where` does not hold for an agent; None if it does.
///
/// # Errors
/// When it fails for another reason than something that the agent does not have.
pub fn unmet(program: &Program, profile: &AgentProfile, scope: &Scope<'_>) -> Result<Option<String>, EvaluateError> {
    let cause = match program.evaluate_bool(scope) {
        Ok(true) => return Ok(None),
        Ok(false) => {
            let found: Vec<String> = program.references().iter().filter_map(|r| state_of(r, profile)).take(3).collect();
            found.join(", ")
        }
        Err(error) => absent(&error).ok_or(error)?,
    };
    let source = shorten(program.source());
    Ok(Some(if cause.is_empty() {
        format!("`placement.where` is `{source}`, which is false for it")
    } else {
        format!("{cause}, `placement.where` is `{source}`")
    }))
}

/// What an agent has under a name of the condition that it does not meet.
fn state_of(reference: &Reference, profile: &AgentProfile) -> Option<String> {
    if reference.root() != "agent" {
        return None;
    }
    match (reference.field(0)?, reference.field(1)) {
        ("labels", Some(label)) => Some(match profile.labels.get(label) {
            Some(value) => format!("label `{}` is `{}`", shorten(label), shorten(value)),
            None => format!("label `{}` is missing", shorten(label)),
        }),
        ("site", _) => Some(match &profile.site {
            Some(site) => format!("its site is `{}`", shorten(site)),
            None => "it has no site".to_owned(),
        }),
        // All others have other names: one reason for all.
        ("name", _) => Some("it has another name".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{ComponentRef, Expr};

    fn profile() -> AgentProfile {
        AgentProfile {
            id: eyot_model::AgentId(1),
            name: "camera".into(),
            site: None,
            labels: BTreeMap::from([("role".into(), "camera".into())]),
            capabilities: ["inference".to_owned()].into(),
            capacity: eyot_model::Capacity {
                cpu_millis: 4_000,
                memory_bytes: 1 << 30,
                disk_bytes: 1 << 30,
                gpus: 0,
            },
            platform: "linux/x86_64".into(),
            version: "1".into(),
            uplink_bytes_per_sec: 0,
            downlink_bytes_per_sec: 0,
            round_trip: eyot_model::Millis(0),
            speed: 1.0,
            load: eyot_model::Load::default(),
            holds: std::collections::BTreeSet::default(),
        }
    }

    fn wants(change: impl FnOnce(&mut Task)) -> Workflow {
        let uses = ComponentRef {
            name: "x".into(),
            digest: None,
            size: 0,
        };
        let mut task = Task::new("t", uses);
        change(&mut task);
        Workflow::new("n", "w", "1", vec![task])
    }

    #[test]
    fn an_agent_says_what_it_lacks_for_a_workflow() {
        let place = |source: &str| wants(|task| task.placement.require = Some(Expr { source: source.into() }));
        let profile = profile();
        let inputs = Inputs::from([("role".to_owned(), Value::from("press"))]);
        assert!(unmet_by(&wants(|_| {}), &profile, None).is_empty());
        assert_eq!(
            unmet_by(&wants(|task| task.resources.gpu = Want::Required), &profile, None),
            ["task `t`: needs a GPU, has none"]
        );
        assert!(unmet_by(&place("agent.labels.role == 'camera'"), &profile, None).is_empty());
        let [why] = &unmet_by(&place("agent.labels.role == 'press'"), &profile, None)[..] else {
            panic!("it has another role");
        };
        assert!(why.contains("label `role` is `camera`"), "{why}");
        let by_input = place("agent.labels.role == inputs.role");
        assert!(unmet_by(&by_input, &profile, None).is_empty(), "nobody knows yet");
        assert_eq!(unmet_by(&by_input, &profile, Some(&inputs)).len(), 1);
    }
}
