//! What happens in the world, one thing at a time.

use crate::weather::Trouble;
use eyot_model::{AgentId, AttemptId, BlobRef, Digest, Outcome, RunId, Timestamp};
use eyot_wire::{ToAgent, ToCloud};

#[derive(Debug)]
pub enum Happening {
    /// A message arrives; with `late` although its link is gone.
    ToCloud {
        machine: usize,
        link: u64,
        late: bool,
        life: u64,
        message: Box<ToCloud>,
    },
    ToAgent {
        machine: usize,
        link: u64,
        message: Box<ToAgent>,
    },
    Connect {
        machine: usize,
    },
    /// The cloud, or the machine, sees that a link is gone.
    CloudMisses {
        agent: AgentId,
        link: u64,
    },
    MachineMisses {
        machine: usize,
        link: u64,
    },
    /// Something of one life of a machine's process.
    Process {
        machine: usize,
        life: u64,
        what: Inside,
    },
    Start {
        machine: usize,
    },
    Thaw {
        machine: usize,
        life: u64,
    },
    Room {
        machine: usize,
    },
    CommitEnds {
        life: u64,
    },
    StartCloud,
    /// A client submits a run, until it has heard that it is accepted.
    Submit {
        run: RunId,
    },
    /// An operator cancels a run, until he has heard that it is noted.
    Cancel {
        run: RunId,
    },
    /// An operator has everything of a machine go on elsewhere, or not any more.
    Drain {
        machine: usize,
        on: bool,
    },
    /// An instant of a machine's schedule comes.
    Instant {
        machine: usize,
    },
    /// A machine's listener tells of the instants that have come.
    FireDue {
        machine: usize,
    },
    /// An operator looks after what waits for one.
    Operator,
    Trouble(Trouble),
    /// Time-outs may be due.
    Tick,
}

/// What happens inside a process.
#[derive(Debug)]
pub enum Inside {
    /// An attempt may have what it needs now.
    Equip(AttemptId),
    /// The outside effect of an attempt.
    Effect(AttemptId),
    AttemptEnds(AttemptId),
    /// Its blobs are durable, so its end may be written down.
    BlobsSynced(AttemptId, Box<Outcome>),
    /// The attempt saves its state.
    Saves(AttemptId),
    /// The blob of a state is durable, so that it may be written down.
    StateSynced(AttemptId, BlobRef),
    /// The blob of a state is brought up over a link; then the cloud is told of it.
    StateUploaded(Option<u64>, Box<ToCloud>),
    /// The attempt takes its process down, or the power of its machine.
    Kills(AttemptId, bool),
    /// Time for a heart-beat.
    Beat,
    BeatAnswered {
        link: u64,
        sent_at: Timestamp,
    },
    SyncEnds,
    UploadEnds(Digest),
    /// Try again what the disk did not take.
    Retry,
}

/// One line for a trace.
#[must_use]
pub fn describe(happening: &Happening) -> String {
    match happening {
        Happening::ToCloud {
            machine,
            link,
            late,
            message,
            ..
        } => format!(
            "agent {machine} link {link}{} -> cloud: {message:?}",
            if *late { " (late)" } else { "" }
        ),
        Happening::ToAgent { machine, link, message } => match &**message {
            ToAgent::Assign(a) => format!(
                "cloud -> agent {machine} link {link}: assign {} {:?} {:?} {:?} facts {:?}",
                a.run, a.fragment, a.epoch, a.tasks, a.facts
            ),
            other => format!("cloud -> agent {machine} link {link}: {other:?}"),
        },
        Happening::Process { machine, life, what } => format!("agent {machine} life {life}: {what:?}"),
        other => format!("{other:?}"),
    }
}
