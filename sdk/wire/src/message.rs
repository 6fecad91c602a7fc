//! The messages of a working link.

use crate::own::{Deployed, Deployment, OwnRun};
use crate::{SavedState, UploadLimits};
use eyot_model::{
    AgentId, AgentProfile, Epoch, Event, FragmentId, Inputs, Load, Millis, Path, Position, Resolution, RunId, TaskIx, Timestamp, Workflow,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// From an agent to the control plane. Order within a link is kept, but for heart-beats, which have a stream of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToCloud {
    /// First on every link.
    Hello(Box<Hello>),
    Heartbeat(Heartbeat),
    /// Second on every link: what the agent has. Nothing else is sent until the answer to it is here.
    Inventory(Inventory),
    /// An assignment is on disk here.
    Accepted {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    /// An assignment is not taken.
    Refused {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
        why: Refusal,
    },
    /// Durable records from the agent's journal, in order.
    Report(Report),
    /// Lines that tasks wrote. Best effort: never acknowledged, dropped first.
    Logs(Vec<LogRecord>),
    /// The profile changed (a component was fetched, a label edited).
    Profile(Box<AgentProfile>),
    /// What a task saved for itself, durable here. The latest wins; never acknowledged, dropped before anything else waits.
    Saved {
        run: RunId,
        fragment: FragmentId,
        state: Box<SavedState>,
    },
    /// The answer to [`ToAgent::Yield`]: the fragment is at rest here, everything of it up to `through` was reported before,
    /// and what others need of it is in the cloud. The agent goes on with it only if it is told so.
    Yielded {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
        through: Position,
    },
    /// A run that this agent coordinates itself.
    OwnRun(Box<OwnRun>),
    /// A deployment, or the end of one, is durable here; or refused.
    Deployed(Deployed),
    /// The control plane named a run of this agent's own that this agent does not have: nothing more comes of it.
    OwnRunGone {
        run: RunId,
    },
}

/// From the control plane to an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    Welcome(Welcome),
    HeartbeatReply(HeartbeatReply),
    /// What to do with each fragment of the inventory. After it, work flows.
    Reconciled(Vec<FragmentStanding>),
    Assign(Box<Assignment>),
    /// Events of tasks that other agents own, which this agent's tasks wait for; in order, maybe again.
    Facts {
        run: RunId,
        events: Vec<Event>,
    },
    /// Everything up to this position is committed in the store: the agent may forget it.
    Committed {
        through: Position,
    },
    /// Results under this epoch never commit: stop the work and drop them.
    Superseded {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    /// Stop the run's work; end what runs as cancelled.
    Cancel {
        run: RunId,
    },
    /// The run is over and everything of it is committed: the agent may drop its state.
    Release {
        run: RunId,
    },
    /// Take no new fragments.
    Drain(bool),
    /// An operator said what became of an attempt whose end nobody knows.
    Resolve {
        run: RunId,
        path: Path,
        attempt: u32,
        resolution: Resolution,
        by: String,
    },
    /// The fragment is to move: stop it, bring up what others need of it, and say [`ToCloud::Yielded`].
    Yield {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    /// The move was called off: go on with the fragment.
    GoOn {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    /// The agent's own run is stored up to this event.
    OwnRunStored {
        run: RunId,
        through: u64,
    },
    /// The agent's own run is not taken here, and why. It stays with the agent.
    OwnRunRefused {
        run: RunId,
        why: String,
    },
    /// The agent's own run is not known here, or not as far as was told: tell all of it.
    OwnRunMissing {
        run: RunId,
    },
    /// Own this workflow from now on.
    Deploy(Box<Deployment>),
    /// Own it no more. Its runs go on.
    Undeploy {
        namespace: String,
        name: String,
        revision: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub profile: AgentProfile,
    /// Random, drawn and synced to the agent's disk at each start of its process.
    pub incarnation: u64,
    /// Numbers of earlier starts that the control plane may have taken last, by the agent's disk: the one that is known to
    /// be taken, and those of which that is not known; [`Hello::BEFORE_LIMIT`] at most.
    pub before: Vec<u64>,
    /// The device's time of day.
    pub clock: Timestamp,
}

impl Hello {
    pub const BEFORE_LIMIT: usize = 64;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// How the control plane knows this agent.
    pub agent: AgentId,
    pub heartbeat_every: Millis,
    /// The control plane's time of day.
    pub clock: Timestamp,
    pub uploads: UploadLimits,
    /// Random, of the control plane's store; another one once that was put back from a back-up. What was told to another store
    /// may not be in this one.
    pub store: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub n: u64,
    /// The agent's steady clock; comes back in the reply, so that a lease runs from the send.
    pub sent_at: Timestamp,
    /// The device's time of day, from which its skew is seen.
    pub clock: Timestamp,
    pub load: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    pub n: u64,
    pub sent_at: Timestamp,
}

/// What an agent holds, sent when a link comes up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub held: Vec<Held>,
    /// Last position that the agent wrote.
    pub last: Position,
    /// Last position that it knows to be committed.
    pub committed: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub run: RunId,
    pub fragment: FragmentId,
    pub epoch: Epoch,
    /// All its tasks have ended here.
    pub ended: bool,
}

/// The control plane's answer for one fragment of an inventory. A fragment that goes on under a new epoch is assigned
/// under it before the answer, and named with it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FragmentStanding {
    Keep {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    Superseded {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    Cancel {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    /// The run is over, or not known here.
    Release {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
}

/// A fragment for an agent to own. Self-contained: with it the agent can go on for ever without the cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub run: RunId,
    pub fragment: FragmentId,
    pub epoch: Epoch,
    pub workflow: Arc<Workflow>,
    pub inputs: Arc<Inputs>,
    /// The tasks that this agent owns.
    pub tasks: Vec<TaskIx>,
    /// Tasks of other owners whose events this agent will be sent.
    pub awaits: Vec<TaskIx>,
    /// What is known of the run so far: everything that the owned tasks build on.
    pub facts: Vec<Event>,
    pub created_at: Timestamp,
    /// What instances that have not ended saved under earlier assignments: the latest of each.
    pub saved: Vec<SavedState>,
}

/// Why an agent does not take an assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    Draining,
    DiskFull,
    /// The assignment makes no sense to this version of the agent.
    Invalid(String),
}

/// Records from the journal, in the order of their positions, none left out between two reports of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub items: Vec<ReportItem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportItem {
    pub position: Position,
    pub run: RunId,
    pub fragment: FragmentId,
    pub epoch: Epoch,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    pub run: RunId,
    pub path: Path,
    pub attempt: u32,
    pub at: Timestamp,
    /// 1 error … 5 trace
    pub level: u8,
    pub message: String,
}
