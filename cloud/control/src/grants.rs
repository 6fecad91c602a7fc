//! Which namespaces an agent may coordinate runs of: the one that has its name, and those that an operator granted.

use crate::fleet::Fleet;
use crate::store::{Error, Store};
use eyot_model::AgentId;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The namespace of whoever says none.
const COMMON: &str = "default";

/// Whether a name may be given to an agent, as far as namespaces go: by its name it may write to the one of that name, so
/// that must not be one in which others have something.
pub(crate) async fn may_be_named(store: &Store, name: &str, agent: Option<AgentId>) -> Result<bool, Error> {
    Ok(name != COMMON && !store.is_namespace_of_others(name, agent).await?)
}

/// Cheap to clone; clones share it. What is known here is committed.
#[derive(Clone, Default)]
pub(crate) struct Grants {
    inner: Arc<RwLock<BTreeMap<AgentId, BTreeSet<String>>>>,
}

impl Grants {
    pub(crate) async fn load(store: &Store) -> Result<Self, Error> {
        let grants = Self::default();
        for (agent, namespace) in store.grants().await? {
            grants.set(agent, &namespace, true);
        }
        Ok(grants)
    }

    pub(crate) fn set(&self, agent: AgentId, namespace: &str, on: bool) {
        let mut inner = self.inner.write();
        let granted = inner.entry(agent).or_default();
        if on {
            granted.insert(namespace.to_owned());
        } else {
            granted.remove(namespace);
        }
    }

    pub(crate) fn of(&self, agent: AgentId) -> Vec<String> {
        self.inner.read().get(&agent).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn allows(&self, fleet: &Fleet, agent: AgentId, namespace: &str) -> bool {
        fleet.name(agent) == namespace || self.inner.read().get(&agent).is_some_and(|granted| granted.contains(namespace))
    }
}
