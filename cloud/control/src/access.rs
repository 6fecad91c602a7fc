//! Which blobs an agent may read and write: those of the unfinished runs that it works on. Answered from memory; what
//! is known here is committed.

use eyot_link::{BlobPolicy, Peer};
use eyot_model::{AgentId, BlobRef, Digest, Event, Inputs, Outcome, RunId, Template, Value, Workflow};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Access {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    blobs: HashMap<RunId, HashSet<Digest>>,
    runs: HashMap<AgentId, BTreeSet<RunId>>,
}

impl Access {
    /// A run, and the blobs that it begins with.
    pub(crate) fn begin(&self, run: RunId, workflow: &Workflow, inputs: &Inputs) {
        let mut blobs: HashSet<Digest> = named_blobs(workflow).into_iter().collect();
        collect(inputs, &mut blobs);
        self.inner.write().blobs.insert(run, blobs);
    }

    /// The agent works on the run from now on.
    pub(crate) fn assign(&self, run: RunId, agent: AgentId) {
        let mut inner = self.inner.write();
        if inner.blobs.contains_key(&run) {
            inner.runs.entry(agent).or_default().insert(run);
        }
    }

    /// Blobs that a result names.
    pub(crate) fn result(&self, run: RunId, blobs: Vec<Digest>) {
        if let Some(known) = self.inner.write().blobs.get_mut(&run) {
            known.extend(blobs);
        }
    }

    pub(crate) fn end(&self, run: RunId) {
        let mut inner = self.inner.write();
        inner.blobs.remove(&run);
        inner.runs.retain(|_, runs| {
            runs.remove(&run);
            !runs.is_empty()
        });
    }

    fn may_read(&self, agent: AgentId, digest: &Digest) -> bool {
        let inner = self.inner.read();
        let runs = inner.runs.get(&agent).into_iter().flatten();
        runs.filter_map(|run| inner.blobs.get(run)).any(|blobs| blobs.contains(digest))
    }

    fn has_work(&self, agent: AgentId) -> bool {
        self.inner.read().runs.contains_key(&agent)
    }
}

/// The blobs that an event names, if it is a result.
pub(crate) fn results(event: &Event) -> Vec<Digest> {
    let mut found = HashSet::new();
    if let Event::Ended {
        outcome: Outcome::Succeeded(outputs),
        ..
    } = event
    {
        collect(outputs, &mut found);
    }
    found.into_iter().collect()
}

fn collect(values: &BTreeMap<String, Value>, found: &mut HashSet<Digest>) {
    values
        .values()
        .for_each(|value| value.for_each_blob(&mut |blob| _ = found.insert(blob.digest)));
}

/// Components of a workflow, and the blobs that its literals name.
pub(crate) fn named_blobs(workflow: &Workflow) -> BTreeSet<Digest> {
    let mut found: BTreeSet<Digest> = workflow.tasks.iter().filter_map(|task| task.uses.digest).collect();
    let mut visit = |blob: &BlobRef| _ = found.insert(blob.digest);
    workflow
        .inputs
        .values()
        .filter_map(|input| input.default.as_ref())
        .for_each(|value| value.for_each_blob(&mut visit));
    let templates = workflow
        .tasks
        .iter()
        .flat_map(|task| task.with.values().chain(task.for_each.iter().map(|each| &each.items)));
    templates
        .chain(workflow.outputs.values())
        .for_each(|template| literals(template, &mut visit));
    found
}

fn literals(template: &Template, visit: &mut dyn FnMut(&BlobRef)) {
    match template {
        Template::Literal(value) => value.for_each_blob(visit),
        Template::List(list) => list.iter().for_each(|template| literals(template, visit)),
        Template::Map(map) => map.values().for_each(|template| literals(template, visit)),
        Template::Expr(_) | Template::Text(_) => {}
    }
}

/// The policy of the agents' blob streams.
pub(crate) struct Policy {
    pub(crate) access: Access,
    /// Bytes of one blob.
    pub(crate) max_upload: u64,
}

impl BlobPolicy for Policy {
    fn may_read(&self, peer: Peer, digest: &Digest) -> bool {
        matches!(peer, Peer::Agent(agent) if self.access.may_read(agent, digest))
    }

    fn may_write(&self, peer: Peer, _digest: &Digest, size: u64) -> Result<(), String> {
        match peer {
            Peer::Agent(agent) if self.access.has_work(agent) => {}
            _ => return Err("it owns no part of an unfinished run".to_owned()),
        }
        if size > self.max_upload {
            return Err(format!("{size} bytes are over the limit of {} bytes", self.max_upload));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_reads_what_its_unfinished_runs_name_and_nothing_else() {
        let access = Access::default();
        let blob = |n: u8| BlobRef {
            digest: Digest::of(&[n]),
            size: 1,
            form: eyot_model::BlobForm::Raw,
        };
        let workflow = Workflow {
            namespace: "default".into(),
            name: "w".into(),
            version: "1".into(),
            inputs: BTreeMap::new(),
            tasks: vec![],
            outputs: BTreeMap::from([("o".into(), Template::List(vec![Template::Literal(Value::Blob(blob(1)))]))]),
            on_disconnect: eyot_model::OnDisconnect::default(),
            on_failure: eyot_model::OnFailure::default(),
            max_parallel: None,
            deadline: None,
            retention: eyot_model::Retention::default(),
        };
        let inputs = BTreeMap::from([("i".into(), Value::Blob(blob(2)))]);
        let (run, one, two) = (RunId(1), AgentId(1), AgentId(2));
        access.begin(run, &workflow, &inputs);
        assert!(!access.may_read(one, &blob(2).digest));
        access.assign(run, one);
        access.result(run, vec![blob(3).digest]);
        for (n, readable) in [(1, true), (2, true), (3, true), (4, false)] {
            assert_eq!(access.may_read(one, &blob(n).digest), readable, "{n}");
            assert!(!access.may_read(two, &blob(n).digest), "{n}");
        }
        let policy = Policy {
            access: access.clone(),
            max_upload: 10,
        };
        assert!(policy.may_write(Peer::Agent(one), &blob(9).digest, 10).is_ok());
        assert!(policy.may_write(Peer::Agent(one), &blob(9).digest, 11).is_err());
        assert!(policy.may_write(Peer::Agent(two), &blob(9).digest, 1).is_err());
        access.end(run);
        assert!(!access.may_read(one, &blob(1).digest));
        assert!(policy.may_write(Peer::Agent(one), &blob(9).digest, 1).is_err());
    }
}
