//! The components that this agent knows by name, and the workflows that it owns.

use crate::command::Command;
use crate::firing::TriggerKey;
use crate::node::{Link, Node};
use crate::record::Record;
use eyot_model::{Digest, Position, Timestamp, Workflow};
use eyot_spec::Registered;
use eyot_wire::{Deployed, Deployment, ToCloud};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A component that was pushed to this agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnComponent {
    pub name: String,
    pub version: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// JSON: what the component says of itself.
    pub description: String,
    pub pushed_at: Timestamp,
}

impl From<&OwnComponent> for Registered {
    fn from(component: &OwnComponent) -> Self {
        Self {
            name: component.name.clone(),
            version: component.version.clone(),
            digest: component.digest,
            size: component.size,
            description: component.description.clone(),
        }
    }
}

/// A workflow that this agent owns: its triggers fire here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnWorkflow {
    pub workflow: Arc<Workflow>,
    pub text: String,
    /// Of the text and of the files that it names.
    pub digest: Digest,
    pub stored_at: Timestamp,
    /// Of its deployment, where it came from the cloud.
    pub revision: Option<u64>,
}

#[derive(Default)]
pub(crate) struct OwnRegistry {
    components: BTreeMap<(String, String), OwnComponent>,
    workflows: BTreeMap<(String, String), OwnWorkflow>,
    /// Grows with each change of the workflows.
    version: u64,
    /// Where each was written down in this life of the agent; what is older is durable.
    components_at: BTreeMap<(String, String), Position>,
    workflows_at: BTreeMap<(String, String), Position>,
}

impl OwnRegistry {
    pub(crate) fn put_component(&mut self, component: OwnComponent) {
        self.components
            .insert((component.name.clone(), component.version.clone()), component);
    }

    pub(crate) fn put_workflow(&mut self, own: OwnWorkflow) {
        self.version += 1;
        self.workflows
            .insert((own.workflow.namespace.clone(), own.workflow.name.clone()), own);
    }

    pub(crate) fn remove_workflow(&mut self, namespace: &str, name: &str) -> bool {
        self.version += 1;
        self.workflows.remove(&(namespace.to_owned(), name.to_owned())).is_some()
    }

    pub(crate) fn workflow(&self, namespace: &str, name: &str) -> Option<&OwnWorkflow> {
        self.workflows.get(&(namespace.to_owned(), name.to_owned()))
    }
}

impl Node {
    /// Gives a component its name and version. Its bytes are durable already.
    pub fn put_component(&mut self, component: OwnComponent) {
        self.registry.put_component(component.clone());
        let name = (component.name.clone(), component.version.clone());
        let at = self.append(Record::Component(component));
        self.registry.components_at.insert(name, at);
    }

    /// Whether it would be here after a power cut, `synced` being the journal's durable position.
    #[must_use]
    pub fn has_component_for_good(&self, component: &OwnComponent, synced: Position) -> bool {
        let name = (component.name.clone(), component.version.clone());
        let at = self.registry.components_at.get(&name);
        at.is_none_or(|at| crate::outbox::reached(*at, synced))
    }

    pub fn components(&self) -> impl Iterator<Item = &OwnComponent> {
        self.registry.components.values()
    }

    /// Owns a workflow from now on, in place of the one of its name. What its triggers have fired for stays known.
    pub fn put_workflow(&mut self, own: OwnWorkflow) {
        self.registry.put_workflow(own.clone());
        let name = (own.workflow.namespace.clone(), own.workflow.name.clone());
        let at = self.append(Record::Owned(Box::new(own)));
        self.registry.workflows_at.insert(name, at);
    }

    /// Whether it would be here as it is after a power cut, `synced` being the journal's durable position.
    #[must_use]
    pub fn owns_for_good(&self, own: &OwnWorkflow, synced: Position) -> bool {
        let name = (own.workflow.namespace.clone(), own.workflow.name.clone());
        let at = self.registry.workflows_at.get(&name);
        at.is_none_or(|at| crate::outbox::reached(*at, synced))
    }

    /// Owns a workflow no more. Its runs go on. False if there is none.
    pub fn remove_workflow(&mut self, namespace: &str, name: &str) -> bool {
        let known = self.registry.remove_workflow(namespace, name);
        self.append(Record::Disowned {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
        // Each mark lives in the journal by itself, and ends there by itself.
        let of_it: Vec<_> = self.fires.extract_if(.., |key, _| is_of(key, namespace, name)).collect();
        for (key, fires) in of_it {
            for place in fires.places() {
                self.append(Record::Unmarked { key: key.clone(), place });
            }
        }
        known
    }

    pub fn workflows(&self) -> impl Iterator<Item = &OwnWorkflow> {
        self.registry.workflows.values()
    }

    #[must_use]
    pub fn workflow(&self, namespace: &str, name: &str) -> Option<&OwnWorkflow> {
        self.registry.workflow(namespace, name)
    }

    /// Changes whenever a workflow comes or goes.
    #[must_use]
    pub fn workflows_version(&self) -> u64 {
        self.registry.version
    }

    /// A deployment whose components are durable here. An older one than what is owned changes nothing.
    pub fn deploy(&mut self, deployment: Deployment, now: Timestamp) {
        let workflow = deployment.workflow;
        let (namespace, name) = (workflow.namespace.clone(), workflow.name.clone());
        let known = self.workflow(&namespace, &name).and_then(|own| own.revision);
        if known.is_none_or(|known| known < deployment.revision) {
            self.put_workflow(OwnWorkflow {
                digest: Digest::of(deployment.text.as_bytes()),
                workflow,
                text: deployment.text,
                stored_at: now,
                revision: Some(deployment.revision),
            });
        }
        self.answer_deployment(Deployed {
            namespace,
            name,
            revision: deployment.revision,
            refused: None,
        });
    }

    /// The end of a deployment. A workflow that was pushed on the device itself stays.
    pub(crate) fn undeploy(&mut self, namespace: String, name: String, revision: u64) {
        let deployed = self.workflow(&namespace, &name).and_then(|own| own.revision);
        if deployed.is_some_and(|known| known <= revision) {
            self.remove_workflow(&namespace, &name);
        }
        self.answer_deployment(Deployed {
            namespace,
            name,
            revision,
            refused: None,
        });
    }

    /// Tells the cloud what became of a deployment, once the journal is synced up to here. Lost with the link: the cloud
    /// asks again.
    pub fn answer_deployment(&mut self, deployed: Deployed) {
        let message = ToCloud::Deployed(deployed);
        if crate::outbox::reached(self.last, self.synced) {
            if self.link == Link::Up {
                self.commands.push_back(Command::Send(message));
            }
        } else {
            self.unconfirmed.push_back((self.last, message));
            self.commands.push_back(Command::Sync { urgent: true });
        }
    }

    /// Blobs that this agent's registry and its own runs name: they are not to be thrown away.
    #[must_use]
    pub fn own_blobs(&self) -> BTreeSet<Digest> {
        let mut blobs: BTreeSet<Digest> = self.registry.components.values().map(|c| c.digest).collect();
        let workflows = self.registry.workflows.values().map(|own| &own.workflow);
        let runs = self.own.all.values();
        let of_runs = runs.clone().map(|own| &own.submission.workflow);
        blobs.extend(workflows.chain(of_runs).flat_map(|w| w.tasks.iter().filter_map(|t| t.uses.digest)));
        for own in runs {
            let mut add = |value: &eyot_model::Value| value.for_each_blob(&mut |blob| _ = blobs.insert(blob.digest));
            own.submission.inputs.values().for_each(&mut add);
            for (_, event) in &own.events {
                match event {
                    eyot_model::Event::Ended {
                        outcome: eyot_model::Outcome::Succeeded(outputs),
                        ..
                    } => outputs.values().for_each(&mut add),
                    eyot_model::Event::RunEnded { outcome, .. } => outcome.outputs.values().for_each(&mut add),
                    _ => {}
                }
            }
        }
        blobs
    }
}

pub(crate) fn is_of(key: &TriggerKey, namespace: &str, name: &str) -> bool {
    key.namespace == namespace && key.workflow == name
}
