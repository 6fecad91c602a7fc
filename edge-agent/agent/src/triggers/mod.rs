//! Listening for what starts runs on this device: instants, messages, files. What has been fired for and which run it
//! gives is decided in `eyot-node`; here are the clock, the broker and the folder.

mod file;
mod mqtt;
mod schedule;
mod settings;
mod standing;

pub use settings::{Broker, Settings, SettingsError};
pub(crate) use standing::Standings;

use crate::runtime::Runtime;
use eyot_model::{AgentId, Trigger, TriggerSource, Value};
use eyot_node::{FireError, Fired, Happening, SubmitError, TriggerKey};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// One trigger, as whoever listens for it needs it.
#[derive(Clone)]
struct Listener {
    runtime: Arc<Runtime>,
    owner: AgentId,
    key: TriggerKey,
    /// As they were when the workflows changed last, or a trigger that misses something looked last.
    settings: Arc<RwLock<Settings>>,
}

/// Why something that happened did not become a run yet.
enum Missed {
    /// Trying again may help.
    Later(String),
    /// The trigger is gone.
    Gone,
}

impl Listener {
    /// What keeps the trigger from firing; None when nothing does any more. It is logged where it is new.
    fn stands(&self, wrong: Option<String>) {
        if self.runtime.triggers.set(&self.key, wrong.clone()) {
            let TriggerKey { workflow, trigger, .. } = &self.key;
            match wrong {
                Some(wrong) => tracing::error!(workflow, trigger, "the trigger cannot fire: {wrong}"),
                None => tracing::info!(workflow, trigger, "the trigger is listened for"),
            }
        }
    }

    /// Whether the device's settings let the source be listened to. If they do not they are read anew, so that whoever
    /// mends them need not push the workflow again.
    async fn allowed(&self, source: &TriggerSource) -> bool {
        let (settings, source, data) = (Arc::clone(&self.settings), source.clone(), self.runtime.data.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let before = settings.read().clone();
            before.unmet(&source).and_then(|_| match Settings::load(&data) {
                Ok(read) => {
                    *settings.write() = read.clone();
                    read.unmet(&source)
                }
                Err(error) => Some(crate::chain(&error)),
            })
        });
        let wrong = looked.await.unwrap_or_else(|error| Some(error.to_string()));
        let allowed = wrong.is_none();
        if !allowed {
            self.stands(wrong);
        }
        allowed
    }

    /// Starts the run of what happened; comes back once that is durable. An event that the trigger's expressions cannot
    /// take is reported and done with.
    async fn fire(&self, happening: Happening, event: Value) -> Result<(), Missed> {
        let mut outcome = None;
        let mut position = None;
        self.runtime.turn(|node, now| {
            outcome = Some(node.fire(self.owner, &self.key, &happening, &event, now));
            position = Some(node.position());
        });
        let (Some(outcome), Some(position)) = (outcome, position) else {
            return Err(Missed::Gone);
        };
        let TriggerKey { workflow, trigger, .. } = &self.key;
        match outcome {
            Ok(Fired::Run(run)) => tracing::info!(%run, workflow, trigger, "trigger fired"),
            Ok(Fired::Filtered) => tracing::debug!(workflow, trigger, "an event was left out by the filter"),
            Ok(Fired::Known) => tracing::debug!(workflow, trigger, "an event was fired for before"),
            Err(error @ FireError::Event { .. }) => {
                tracing::error!(%error, workflow, "an event starts no run")
            }
            Err(FireError::NoTrigger) => return Err(Missed::Gone),
            Err(FireError::Submit(error @ (SubmitError::TooLarge(_) | SubmitError::Unplaceable(_)))) => {
                tracing::error!(%error, workflow, trigger, "an event starts no run")
            }
            Err(FireError::Submit(error)) => return Err(Missed::Later(error.to_string())),
        }
        self.runtime
            .durable(position)
            .await
            .map_err(|error| Missed::Later(error.to_string()))
    }
}

/// Listens for the triggers of every workflow that the agent owns, for as long as it lives.
pub async fn listen(runtime: Arc<Runtime>, owner: AgentId, data: PathBuf) {
    let mut changes = runtime.watch_workflows();
    let mut running: BTreeMap<TriggerKey, (Trigger, JoinHandle<()>)> = BTreeMap::new();
    let settings = Arc::new(RwLock::new(Settings::default()));
    loop {
        changes.mark_unchanged();
        // Read anew with each change, so that a broker that was added counts for what is pushed next.
        match Settings::load(&data) {
            Ok(read) => *settings.write() = read,
            Err(error) => tracing::error!(%error, "the device's settings of triggers stay as they were"),
        }
        let wanted = owned(&runtime);
        running.retain(|key, (trigger, task)| {
            let stays = wanted.get(key) == Some(trigger) && !task.is_finished();
            if !stays {
                task.abort();
                runtime.triggers.end(key);
            }
            stays
        });
        for (key, trigger) in wanted {
            if running.contains_key(&key) {
                continue;
            }
            let listener = Listener {
                runtime: Arc::clone(&runtime),
                owner,
                key: key.clone(),
                settings: Arc::clone(&settings),
            };
            let source = trigger.source.clone();
            runtime.triggers.begin(key.clone(), source.kind());
            let task = tokio::spawn(async move {
                match source {
                    TriggerSource::Schedule {
                        ref cron,
                        ref time_zone,
                        catch_up,
                    } => schedule::listen(listener, cron, time_zone, catch_up).await,
                    TriggerSource::Mqtt { ref broker, ref topic } => mqtt::listen(listener, &source, broker, topic).await,
                    TriggerSource::File { ref pattern, settle } => file::listen(listener, &source, pattern, settle).await,
                }
            });
            running.insert(key, (trigger, task));
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn owned(runtime: &Runtime) -> BTreeMap<TriggerKey, Trigger> {
    runtime.look(|node| {
        let of = |own: &eyot_node::OwnWorkflow| {
            let workflow = Arc::clone(&own.workflow);
            let keyed = workflow.triggers.iter().map(|trigger| {
                let key = TriggerKey {
                    namespace: workflow.namespace.clone(),
                    workflow: workflow.name.clone(),
                    trigger: trigger.name.clone(),
                };
                (key, trigger.clone())
            });
            keyed.collect::<Vec<_>>()
        };
        node.workflows().flat_map(of).collect()
    })
}

fn map(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
