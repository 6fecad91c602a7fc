use super::*;
use crate::tests::{agent, expr, task, workflow};
use eyot_model::{AgentId, Placement};

fn class(task: Task, agents: &[(AgentProfile, bool, LinkState)]) -> Result<Class, Error> {
    let candidates: Vec<Candidate<'_>> = agents
        .iter()
        .map(|(profile, draining, link)| Candidate {
            profile,
            draining: *draining,
            link: *link,
        })
        .collect();
    let fleet = Fleet::new(&candidates, 0);
    let mut workflow = workflow(0);
    workflow.tasks.push(task);
    let inputs = Value::Map([("site".to_owned(), Value::from("east"))].into());
    let mut classes = Classes::new(&workflow, &fleet, &fleet.lanes, &inputs, &[Standing::Open])?;
    Ok(classes.classes.remove(0))
}

/// Why a task is refused by an agent that is there; None if it is not.
fn refusal(change: impl FnOnce(&mut Task, &mut AgentProfile)) -> Option<String> {
    let (mut task, mut agent) = (task("t"), agent(1, "camera"));
    change(&mut task, &mut agent);
    let class = class(task, &[(agent, false, LinkState::Connected)]).unwrap();
    assert_eq!(class.eligible.len() + class.refusals.len(), 1);
    class.refusals.first().map(|r| r.reason.clone())
}

fn by_where(source: &str, change: impl FnOnce(&mut AgentProfile)) -> Option<String> {
    refusal(|task, agent| {
        task.placement.require = Some(expr(source));
        change(agent);
    })
}

#[test]
fn an_agent_out_of_contact_or_draining_is_refused() {
    for (draining, link, reason) in [
        (false, LinkState::Connected, None),
        (true, LinkState::Connected, Some("is draining and takes no new work")),
        (false, LinkState::Suspect, Some("misses heart-beats")),
        (true, LinkState::Disconnected, Some("is not connected")),
    ] {
        let class = class(task("t"), &[(agent(1, "camera"), draining, link)]).unwrap();
        assert_eq!(class.refusals.first().map(|r| r.reason.as_str()), reason);
    }
}

#[test]
fn capacity_and_capabilities_in_words() {
    assert_eq!(refusal(|_, _| {}), None);
    assert_eq!(
        refusal(|t, _| t.resources.memory_bytes = 4 << 30).as_deref(),
        Some("needs 4 GiB of memory, has 1 GiB")
    );
    assert_eq!(
        refusal(|t, _| t.resources.cpu_millis = 4_000).as_deref(),
        Some("needs 4 cores, has 1 core")
    );
    assert_eq!(
        refusal(|_, a| a.capacity.cpu_millis = 250).as_deref(),
        Some("needs 1 core, has 250m of a core")
    );
    assert_eq!(
        refusal(|t, _| t.resources.gpu = Want::Required).as_deref(),
        Some("needs a GPU, has none")
    );
    assert_eq!(refusal(|t, _| t.resources.gpu = Want::Preferred), None);
    let inference = |t: &mut Task| t.grants.insert(Grant::Inference);
    assert_eq!(
        refusal(|t, _| {
            inference(t);
        })
        .as_deref(),
        Some("capability `inference` is missing")
    );
    let able = refusal(|t, a| {
        inference(t);
        a.capabilities.insert("inference".into());
    });
    assert_eq!(able, None);
}

#[test]
fn placement_where_in_words() {
    let label = |value: &'static str| move |a: &mut AgentProfile| drop(a.labels.insert("camera".into(), value.into()));
    let site = |value: &'static str| move |a: &mut AgentProfile| a.site = Some(value.into());
    let source = "agent.labels.camera == 'yes'";
    assert_eq!(by_where(source, label("yes")), None);
    assert_eq!(
        by_where(source, |_| {}).as_deref(),
        Some("label `camera` is missing, `placement.where` is `agent.labels.camera == 'yes'`")
    );
    assert_eq!(
        by_where(source, label("no")).as_deref(),
        Some("label `camera` is `no`, `placement.where` is `agent.labels.camera == 'yes'`")
    );
    assert_eq!(
        by_where("has(agent.labels.camera)", |_| {}).as_deref(),
        Some("label `camera` is missing, `placement.where` is `has(agent.labels.camera)`")
    );
    assert_eq!(by_where("agent.site == inputs.site", site("east")), None);
    assert_eq!(
        by_where("agent.site == inputs.site", site("west")).as_deref(),
        Some("its site is `west`, `placement.where` is `agent.site == inputs.site`")
    );
    assert_eq!(
        by_where("agent.site == inputs.site", |_| {}).as_deref(),
        Some("it has no site, `placement.where` is `agent.site == inputs.site`")
    );
    assert_eq!(by_where("agent.name == 'camera'", |_| {}), None);
    assert_eq!(
        by_where("agent.name == 'compute'", |_| {}).as_deref(),
        Some("it has another name, `placement.where` is `agent.name == 'compute'`")
    );
    assert_eq!(
        by_where("'mqtt' in agent.capabilities", |_| {}).as_deref(),
        Some("`placement.where` is `'mqtt' in agent.capabilities`, which is false for it")
    );
}

#[test]
fn what_is_wrong_with_an_expression_itself_fails_the_plan() {
    for (source, message) in [
        ("agnt.labels.camera == 'yes'", "nothing is called `agnt`"),
        ("agent.lables.camera == 'yes'", "`agent` has no field `lables`"),
        ("inputs.plant == agent.site", "`inputs` has no field `plant`"),
        ("agent.name", "a condition must be true or false, not a string"),
    ] {
        let mut task = task("t");
        task.placement.require = Some(expr(source));
        let mut agent = agent(1, "camera");
        agent.site = Some("east".into());
        let error = class(task, &[(agent, false, LinkState::Connected)]).unwrap_err();
        assert_eq!(error.to_string(), "cannot evaluate `placement.where` of task `t`");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with(message), "{cause}");
    }
}

#[test]
fn preferences_are_conditions_or_labels() {
    for (source, label, met) in [
        ("agent.labels.camera", None, 0),
        ("agent.labels.camera", Some("front"), BY_EXPRESSION),
        ("agent.labels.camera", Some("no"), 0),
        ("agent.labels.camera == 'front'", Some("front"), BY_EXPRESSION),
        ("agent.labels.camera == 'front'", Some("back"), 0),
    ] {
        let (mut task, mut agent) = (task("t"), agent(1, "camera"));
        task.placement = Placement {
            require: None,
            prefer: Some(expr(source)),
        };
        task.resources.gpu = Want::Preferred;
        agent.capacity.gpus = 1;
        agent.labels.extend(label.map(|l| ("camera".to_owned(), l.to_owned())));
        let class = class(task, &[(agent, false, LinkState::Connected)]).unwrap();
        assert_eq!(class.eligible[0].preference, met | BY_GPU, "{source} with {label:?}");
    }
}

#[test]
fn refusals_are_grouped_and_bounded() {
    let mut agents: Vec<_> = (1..=5).map(|n| (agent(n, "a"), true, LinkState::Connected)).collect();
    for n in 6..=20 {
        let mut small = agent(n, "b");
        small.capacity.memory_bytes = (1 << 20) * u64::try_from(n).unwrap();
        agents.push((small, false, LinkState::Connected));
    }
    let class = class(task("t"), &agents).unwrap();
    assert_eq!(class.refusals.len(), REASONS);
    assert_eq!(class.refusals[0].count, 5);
    assert_eq!(class.refusals[0].agents, [AgentId(1), AgentId(2), AgentId(3)]);
    let rest = class.refusals.last().unwrap();
    assert_eq!(rest.reason, "11 other reasons, such as: needs 256 MiB of memory, has 14 MiB");
    assert_eq!((rest.agents.len(), rest.count), (3, 11));
    assert_eq!(class.refusals.iter().map(|r| r.count).sum::<u32>(), 20);
}

#[test]
fn an_attempt_takes_lanes_by_its_greater_share() {
    let mut big = agent(1, "a");
    big.capacity.cpu_millis = 8_000;
    for (cpu, memory, lanes, expected) in [
        (1_000, 128 << 20, 8, 1),
        (500, 0, 8, 1),
        (2_500, 0, 8, 3),
        (1_000, 256 << 20, 8, 2),
        (1_000, 1 << 30, 8, 8),
        // The run may have two attempts at a time: four lanes of eight are one of two, five are both.
        (4_000, 0, 2, 1),
        (5_000, 0, 2, 2),
    ] {
        let needs = Resources {
            cpu_millis: cpu,
            memory_bytes: memory,
            gpu: Want::None,
        };
        assert_eq!(width(&needs, &big, 8, lanes), expected, "{cpu} {memory} {lanes}");
    }
}
