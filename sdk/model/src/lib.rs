//! The words of Eyot as plain data: identifiers, values, the workflow, events, the plan, and what the API shows.
//!
//! Everything here is serde data without behaviour beyond what its own meaning needs (a state knows its legal
//! transitions, a digest knows its text form). It knows no clock, no disk and no network. Types that travel are
//! encoded with postcard (see `eyot-wire`), which is not self-describing: fields and enum variants are only ever
//! appended, never reordered.

pub mod api;
mod blob;
mod depth;
mod disk;
mod event;
mod failure;
mod fleet;
mod ids;
mod plan;
mod state;
mod time;
mod trigger;
mod value;
mod workflow;

pub use blob::{BlobForm, BlobRef, Digest, ParseDigestError};
pub use depth::one_message;
pub use disk::DiskState;
pub use event::{Event, Outcome, Resolution, RunOutcome, SkipReason, Usage};
pub use failure::{Failure, FailureKind, Recovery};
pub use fleet::{AgentProfile, Capacity, LinkState, Load};
pub use ids::{AgentId, AttemptId, Epoch, FragmentId, ParseIdError, Path, Position, RunId, TaskIx};
pub use plan::{Alternative, Choice, Fragment, Plan, Pruned, Refusal, Transfer};
pub use state::{RunState, State};
pub use time::{Millis, Timestamp};
pub use trigger::{Mark, Origin, RequestKey, Trigger, TriggerSource};
pub use value::{Inputs, Outputs, Value, ValueError};
pub use workflow::{
    ComponentRef, Expr, ForEach, Grant, InputDecl, ItemFailure, Jitter, OnDisconnect, OnFailure, Placement, Resources, Retention,
    RetryPolicy, Task, Template, TextPart, TriggerRule, ValueType, Want, Workflow,
};
