//! Triggers: what each has fired for already, and the runs that come of it.
//!
//! A firing has one mark and one run. The mark goes into the journal with the run, so a crash leaves both or neither; a
//! mark that is known starts nothing. Whoever listens (to a clock, a broker, a folder) tells the node, waits until
//! [`Node::position`] is synced, and only then tells the broker that the message arrived.

use crate::node::Node;
use crate::own_runs::SubmitError;
use crate::record::Record;
use eyot_expr::{CompiledTemplate, Program, Scope};
use eyot_model::{AgentId, Digest, Inputs, Mark, Origin, RunId, Timestamp, Trigger, Value, Workflow};
use eyot_wire::Submission;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Messages that are remembered of a trigger: far more than a broker has under way to one client.
pub(crate) const MESSAGES: usize = 1_024;

/// A trigger on this agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TriggerKey {
    pub namespace: String,
    pub workflow: String,
    pub trigger: String,
}

/// Which of a trigger's marks a later one takes the place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkPlace {
    Instant,
    /// One of as many messages as are remembered.
    Message(u64),
    File(String),
}

impl MarkPlace {
    #[must_use]
    pub fn of(mark: &Mark) -> Self {
        match mark {
            Mark::Instant(_) => Self::Instant,
            Mark::Message { n, .. } => Self::message(*n),
            Mark::File { name, .. } => Self::File(name.clone()),
        }
    }

    fn message(n: u64) -> Self {
        Self::Message(n % MESSAGES as u64)
    }
}

/// What happened, as the listener saw it.
#[derive(Clone, Debug)]
pub enum Happening {
    Instant(Timestamp),
    Message {
        packet: u16,
        content: Digest,
        /// The broker says that it sent it before.
        again: bool,
    },
    File {
        name: String,
        size: u64,
        modified: Timestamp,
        content: Digest,
    },
}

/// What came of a happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    Run(RunId),
    /// Its filter was false.
    Filtered,
    /// It was fired for before.
    Known,
}

/// Why a trigger does not fire.
#[derive(Debug, thiserror::Error)]
pub enum FireError {
    #[error("no workflow with that trigger is deployed here")]
    NoTrigger,
    /// For this very event; others may be fine.
    #[error("{part} of trigger `{trigger}` cannot be evaluated: {reason}")]
    Event {
        trigger: String,
        part: &'static str,
        reason: String,
    },
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// What a trigger has fired for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fires {
    /// The latest instant of its schedule.
    pub last: Option<Timestamp>,
    /// By number.
    messages: BTreeMap<u64, (u16, Digest)>,
    count: u64,
    /// By name: size, last change, digest.
    files: BTreeMap<String, (u64, Timestamp, Digest)>,
}

impl Fires {
    /// Whether a file was fired for as it is now. Without its digest, which costs reading it.
    #[must_use]
    pub fn has_file(&self, name: &str, size: u64, modified: Timestamp) -> bool {
        self.files.get(name).is_some_and(|(s, m, _)| (*s, *m) == (size, modified))
    }

    /// Names of the files that were fired for.
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The mark of a happening; None if it was fired for.
    fn mark(&self, happening: &Happening) -> Option<Mark> {
        match happening {
            Happening::Instant(at) => self.last.is_none_or(|last| last < *at).then_some(Mark::Instant(*at)),
            Happening::Message { packet, content, again } => {
                let known = *again && self.messages.values().any(|seen| *seen == (*packet, *content));
                (!known).then_some(Mark::Message {
                    packet: *packet,
                    content: *content,
                    n: self.count + 1,
                })
            }
            Happening::File {
                name,
                size,
                modified,
                content,
            } => {
                let now = (*size, *modified, *content);
                (self.files.get(name) != Some(&now)).then(|| Mark::File {
                    name: name.clone(),
                    size: *size,
                    modified: *modified,
                    content: *content,
                })
            }
        }
    }

    /// Takes a mark in. Marks may come again, and in any order.
    pub(crate) fn take(&mut self, mark: &Mark) {
        match mark {
            // Not the latest of them: after a clock that was wrong the listener begins anew.
            Mark::Instant(at) => self.last = Some(*at),
            Mark::Message { packet, content, n } => {
                self.count = self.count.max(*n);
                self.messages.insert(*n, (*packet, *content));
                if self.messages.len() > MESSAGES {
                    self.messages.pop_first();
                }
            }
            Mark::File {
                name,
                size,
                modified,
                content,
            } => drop(self.files.insert(name.clone(), (*size, *modified, *content))),
        }
    }

    pub(crate) fn forget(&mut self, place: &MarkPlace) {
        match place {
            MarkPlace::Instant => self.last = None,
            MarkPlace::Message(_) => self.messages.retain(|n, _| MarkPlace::message(*n) != *place),
            MarkPlace::File(name) => drop(self.files.remove(name)),
        }
    }

    /// Where it has marks.
    pub(crate) fn places(&self) -> impl Iterator<Item = MarkPlace> {
        let instant = self.last.map(|_| MarkPlace::Instant);
        let messages = self.messages.keys().map(|n| MarkPlace::message(*n));
        instant
            .into_iter()
            .chain(messages)
            .chain(self.files.keys().cloned().map(MarkPlace::File))
    }
}

/// The id of the run that a mark starts. A function of what happened and of who owns the trigger, so that the same
/// firing never makes two runs. A message has no instant of its own: `now` sorts it.
#[must_use]
pub fn run_of(owner: AgentId, key: &TriggerKey, mark: &Mark, now: Timestamp) -> RunId {
    let owner = owner.0.to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![&owner, key.namespace.as_bytes(), key.workflow.as_bytes(), key.trigger.as_bytes()];
    match mark {
        Mark::Instant(at) => RunId::of_firing(*at, &parts),
        Mark::Message { packet, content, n } => {
            let (packet, n) = (packet.to_be_bytes(), n.to_be_bytes());
            parts.extend([&packet[..], &content.0, &n]);
            RunId::of_firing(now, &parts)
        }
        Mark::File {
            name, modified, content, ..
        } => {
            parts.extend([name.as_bytes(), &content.0]);
            RunId::of_firing(*modified, &parts)
        }
    }
}

/// The inputs that an event gives a run; None where the filter is false.
///
/// # Errors
/// When the filter or an input cannot be evaluated for this event, or the workflow does not take what comes of it.
pub fn inputs_of(workflow: &Workflow, trigger: &Trigger, event: &Value) -> Result<Option<Inputs>, FireError> {
    let fails = |part: &'static str, reason: String| FireError::Event {
        trigger: trigger.name.clone(),
        part,
        reason,
    };
    let mut scope = Scope::new();
    scope.bind_ref("event", event);
    if let Some(filter) = &trigger.filter {
        let filter = Program::parse(&filter.source).map_err(|e| fails("the filter", e.to_string()))?;
        if !filter.evaluate_bool(&scope).map_err(|e| fails("the filter", e.to_string()))? {
            return Ok(None);
        }
    }
    let mut inputs = Inputs::new();
    for (name, template) in &trigger.inputs {
        let template = CompiledTemplate::compile(template).map_err(|e| fails("an input", format!("`{name}`: {e}")))?;
        let value = template.render(&scope).map_err(|e| fails("an input", format!("`{name}`: {e}")))?;
        inputs.insert(name.clone(), value);
    }
    eyot_spec::check_inputs(workflow, inputs).map(Some).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        fails("the inputs", all.join("; "))
    })
}

impl Node {
    /// A trigger's happening. The run, the mark and everything else are durable once [`Node::position`] is synced.
    ///
    /// # Errors
    /// When there is no such trigger, its expressions fail for this event or its run has no place here (it is marked as fired for all the same, so
    /// that it is not tried for ever), or no run is taken now (it is not marked then: try again later).
    pub fn fire(
        &mut self,
        owner: AgentId,
        key: &TriggerKey,
        happening: &Happening,
        event: &Value,
        now: Timestamp,
    ) -> Result<Fired, FireError> {
        let Some(workflow) = self
            .registry
            .workflow(&key.namespace, &key.workflow)
            .map(|d| Arc::clone(&d.workflow))
        else {
            return Err(FireError::NoTrigger);
        };
        let trigger = workflow
            .triggers
            .iter()
            .find(|t| t.name == key.trigger)
            .ok_or(FireError::NoTrigger)?;
        let Some(mark) = self.fires.entry(key.clone()).or_default().mark(happening) else {
            return Ok(Fired::Known);
        };
        let inputs = inputs_of(&workflow, trigger, event);
        let fired = match inputs {
            Ok(Some(inputs)) => {
                let run = run_of(owner, key, &mark, now);
                let submission = Submission {
                    run,
                    workflow: Arc::clone(&workflow),
                    inputs: Arc::new(inputs),
                    created_at: now,
                    origin: Origin::Trigger {
                        name: trigger.name.clone(),
                        mark: mark.clone(),
                    },
                };
                match self.submit(submission, now) {
                    Ok(()) => Ok(Fired::Run(run)),
                    // For this event, whenever it is tried.
                    Err(error @ (SubmitError::TooLarge(_) | SubmitError::Unplaceable(_))) => Err(error.into()),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(None) => Ok(Fired::Filtered),
            Err(error) => Err(error),
        };
        self.mark(key.clone(), mark);
        fired
    }

    /// Marks something as fired for without a run: the instants that passed before a schedule was deployed.
    pub fn mark(&mut self, key: TriggerKey, mark: Mark) {
        self.fires.entry(key.clone()).or_default().take(&mark);
        self.append(Record::Fired { key, mark });
    }

    /// Files that were fired for and are gone: one of that name is a new one.
    pub fn files_gone(&mut self, key: &TriggerKey, names: &[String]) {
        for name in names {
            if let Some(fires) = self.fires.get_mut(key) {
                let place = MarkPlace::File(name.clone());
                fires.forget(&place);
                self.append(Record::Unmarked { key: key.clone(), place });
            }
        }
    }

    /// What a trigger has fired for.
    #[must_use]
    pub fn fires(&self, key: &TriggerKey) -> Option<&Fires> {
        self.fires.get(key)
    }

    /// A run that a trigger started carries its mark.
    pub(crate) fn take_mark_of(&mut self, submission: &Submission) {
        if let Origin::Trigger { name, mark } = &submission.origin {
            let key = TriggerKey {
                namespace: submission.workflow.namespace.clone(),
                workflow: submission.workflow.name.clone(),
                trigger: name.clone(),
            };
            self.fires.entry(key).or_default().take(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TriggerKey {
        TriggerKey {
            namespace: "n".into(),
            workflow: "w".into(),
            trigger: "t".into(),
        }
    }

    fn message(packet: u16, text: &str, again: bool) -> Happening {
        Happening::Message {
            packet,
            content: Digest::of(text.as_bytes()),
            again,
        }
    }

    #[test]
    fn a_redelivered_message_is_known_and_an_equal_new_one_is_not() {
        let mut fires = Fires::default();
        let first = fires.mark(&message(1, "x", false)).unwrap();
        fires.take(&first);
        assert_eq!(fires.mark(&message(1, "x", true)), None);
        for new in [
            message(2, "x", false),
            message(1, "x", false),
            message(1, "y", true),
            message(3, "x", true),
        ] {
            let mark = fires.mark(&new).unwrap();
            assert_ne!(
                run_of(AgentId(1), &key(), &mark, Timestamp(5)),
                run_of(AgentId(1), &key(), &first, Timestamp(5)),
                "{new:?}"
            );
        }
    }

    #[test]
    fn old_messages_are_forgotten_in_order() {
        let mut fires = Fires::default();
        for n in 0..2_000_u16 {
            let mark = fires.mark(&message(n, "x", false)).unwrap();
            fires.take(&mark);
        }
        assert_eq!(fires.mark(&message(1_999, "x", true)), None);
        assert!(fires.mark(&message(0, "x", true)).is_some());
    }

    #[test]
    fn an_instant_is_fired_for_once_and_never_goes_back() {
        let mut fires = Fires::default();
        let at = |t| Happening::Instant(Timestamp(t));
        fires.take(&fires.mark(&at(10)).unwrap());
        assert_eq!(fires.mark(&at(10)), None);
        assert_eq!(fires.mark(&at(9)), None);
        assert!(fires.mark(&at(11)).is_some());
    }

    #[test]
    fn a_changed_file_is_a_new_one() {
        let mut fires = Fires::default();
        let file = |size, modified, text: &str| Happening::File {
            name: "a.jpg".into(),
            size,
            modified: Timestamp(modified),
            content: Digest::of(text.as_bytes()),
        };
        let first = fires.mark(&file(1, 1, "a")).unwrap();
        fires.take(&first);
        assert_eq!(fires.mark(&file(1, 1, "a")), None);
        assert!(fires.has_file("a.jpg", 1, Timestamp(1)));
        assert!(fires.mark(&file(1, 2, "b")).is_some());
        fires.forget(&MarkPlace::File("a.jpg".into()));
        assert!(fires.mark(&file(1, 1, "a")).is_some());
    }

    #[test]
    fn the_id_of_a_run_depends_on_owner_workflow_trigger_and_mark() {
        let mark = Mark::Instant(Timestamp(60_000_000));
        let id = run_of(AgentId(1), &key(), &mark, Timestamp(1));
        assert_eq!(
            id,
            run_of(AgentId(1), &key(), &mark, Timestamp(99)),
            "the time of looking has no part in it"
        );
        let other = TriggerKey {
            trigger: "u".into(),
            ..key()
        };
        for different in [
            run_of(AgentId(2), &key(), &mark, Timestamp(1)),
            run_of(AgentId(1), &other, &mark, Timestamp(1)),
            run_of(AgentId(1), &key(), &Mark::Instant(Timestamp(61_000_000)), Timestamp(1)),
        ] {
            assert_ne!(id, different);
        }
    }
}
