//! What a commit can ask of the store: guards that must hold, and changes.

use super::{
    AgentRecord, ComponentRecord, DeploymentRow, Entry, Error, FragmentRow, Invite, LogRow, NewRun, Statement, TokenRecord, WorkflowRecord,
    agents, components, credentials, deployments, documents, grants, logs, retention, runs, saved, workflows,
};
use eyot_model::{AgentId, AgentProfile, Digest, Epoch, FragmentId, Path, Plan, Position, RunId, RunOutcome, RunState, State, Timestamp};
use eyot_wire::{Deployed, SavedState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A condition on what is stored, checked in the transaction that makes the changes.
#[derive(Clone, Debug)]
pub enum Guard {
    /// The fragment is still assigned under this epoch.
    EpochHolds { run: RunId, fragment: FragmentId, epoch: Epoch },
    /// The run exists and has not ended.
    RunOpen(RunId),
    /// The last entry of the run is this one; 0 where it has none.
    LastEntry { run: RunId, seq: u64 },
    /// This version of the workflow is not stored yet, or is stored with this very digest.
    WorkflowUnchanged {
        namespace: String,
        name: String,
        version: String,
        digest: Digest,
    },
    /// This version of the component is not stored yet, or is stored with this very digest.
    ComponentUnchanged { name: String, version: String, digest: Digest },
    /// The invitation exists, was not used by another key, and has not run out.
    InviteOpen { hash: [u8; 32], agent: AgentId, now: Timestamp },
    /// No other agent has the name.
    AgentNameFree { name: String, agent: AgentId },
    /// The agent is not revoked (or not known at all).
    AgentWelcome(AgentId),
    /// The key is not used yet.
    KeyUnused([u8; 32]),
}

impl Guard {
    /// What does not hold when the guard fails, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::EpochHolds { .. } => "the epoch of the fragment",
            Self::RunOpen(_) => "the run being open",
            Self::LastEntry { .. } => "the order of the run's entries",
            Self::WorkflowUnchanged { .. } => "the workflow version having the same text",
            Self::ComponentUnchanged { .. } => "the component version having the same digest",
            Self::InviteOpen { .. } => "the invitation being open",
            Self::AgentNameFree { .. } => "the agent name being free",
            Self::AgentWelcome(_) => "the agent not being revoked",
            Self::KeyUnused(_) => "the idempotency key being unused",
        }
    }

    /// A question whose one answer is whether the guard holds.
    pub(super) fn question(&self) -> Statement {
        match self {
            Self::EpochHolds { run, fragment, epoch } => runs::epoch_holds(*run, *fragment, *epoch),
            Self::RunOpen(run) => runs::is_open(*run),
            Self::LastEntry { run, seq } => runs::last_entry_is(*run, *seq),
            Self::WorkflowUnchanged {
                namespace,
                name,
                version,
                digest,
            } => workflows::unchanged(namespace, name, version, digest),
            Self::ComponentUnchanged { name, version, digest } => components::unchanged(name, version, digest),
            Self::InviteOpen { hash, agent, now } => credentials::invite_open(hash, *agent, *now),
            Self::AgentNameFree { name, agent } => agents::name_free(name, *agent),
            Self::AgentWelcome(agent) => agents::welcome(*agent),
            Self::KeyUnused(key) => runs::key_unused(key),
        }
    }
}

/// One change to what is stored.
#[derive(Clone, Debug)]
pub enum Change {
    PutWorkflow(Box<WorkflowRecord>),
    PutComponent(Box<ComponentRecord>),
    /// A new run, state `pending`.
    NewRun(Box<NewRun>),
    SetRunState {
        run: RunId,
        state: RunState,
        waiting_for: Option<String>,
    },
    SetPlan {
        run: RunId,
        plan: Arc<Plan>,
    },
    EndRun {
        run: RunId,
        outcome: Box<RunOutcome>,
        counts: BTreeMap<State, u32>,
        at: Timestamp,
        expires_at: Timestamp,
    },
    /// Entries of a run, numbered from `first` on, and the blobs that they name.
    AppendEntries {
        run: RunId,
        first: u64,
        entries: Vec<Arc<Entry>>,
    },
    /// Blobs that the run keeps alive.
    PinBlobs {
        run: RunId,
        digests: Vec<Digest>,
    },
    PutFragment(Box<FragmentRow>),
    DropFragments(RunId),
    /// The latest that an instance saved for itself.
    PutSaved {
        run: RunId,
        state: Box<SavedState>,
    },
    DropSaved {
        run: RunId,
        path: Path,
    },
    DeleteRun(RunId),
    RememberKey {
        key: [u8; 32],
        run: RunId,
        request: Digest,
        at: Timestamp,
    },
    PutAgent(Box<AgentRecord>),
    SetProfile {
        agent: AgentId,
        profile: Box<AgentProfile>,
        seen: Timestamp,
    },
    SetCertificate {
        agent: AgentId,
        expires_at: Timestamp,
    },
    SetSeen {
        agent: AgentId,
        seen: Timestamp,
    },
    SetCommitted {
        agent: AgentId,
        through: Position,
    },
    SetDraining {
        agent: AgentId,
        on: bool,
    },
    /// What the agent has is to go on elsewhere, or not any more.
    SetMoving {
        agent: AgentId,
        on: bool,
    },
    /// None: the next one that it presents is taken, whatever it is.
    SetIncarnation {
        agent: AgentId,
        incarnation: Option<u64>,
    },
    PutDeployment(Box<DeploymentRow>),
    /// What an agent says of a deployment.
    DeploymentAnswered {
        agent: AgentId,
        deployed: Deployed,
    },
    /// The agent may not have any more what it had confirmed.
    DeploymentsUnconfirmed(AgentId),
    SetGrant {
        agent: AgentId,
        namespace: String,
        on: bool,
    },
    Revoke(AgentId),
    DeleteAgent(AgentId),
    PutInvite(Box<Invite>),
    UseInvite {
        hash: [u8; 32],
        agent: AgentId,
    },
    PutToken(Box<TokenRecord>),
    RevokeToken {
        id: String,
        at: Timestamp,
    },
    /// A small thing that is kept whole under a name.
    PutDocument {
        name: &'static str,
        value: Vec<u8>,
    },
    AddLogs {
        run: RunId,
        lines: Vec<LogRow>,
    },
    NoteUpload {
        digest: Digest,
        at: Timestamp,
    },
    /// Forgets what is only kept for a while and is older than `before`: keys, invitations, notes of uploads.
    Forget {
        before: Timestamp,
        now: Timestamp,
    },
    /// After a restore: every epoch grows, so that nothing that was assigned before commits; and whatever number of its
    /// start an agent presents next is taken, because it has gone on since.
    LeapEpochs {
        by: i64,
        /// By how much they leapt in earlier restores ([`super::Store::epochs_before`]).
        before: Epoch,
    },
    /// Workflow texts that came with runs of which none is left.
    DropUnusedTexts,
    /// Nothing: the writer ends after this batch.
    Close,
}

impl Change {
    /// Adds the statements that make the change.
    pub(super) fn write(&self, out: &mut Vec<Statement>) -> Result<(), Error> {
        match self {
            Self::PutWorkflow(record) => workflows::put(out, record)?,
            Self::PutComponent(record) => out.push(components::put(record)),
            Self::NewRun(run) => runs::insert(out, run)?,
            Self::SetRunState { run, state, waiting_for } => out.push(runs::set_state(*run, *state, waiting_for.as_deref())),
            Self::SetPlan { run, plan } => out.push(runs::set_plan(*run, plan)?),
            Self::EndRun {
                run,
                outcome,
                counts,
                at,
                expires_at,
            } => runs::end(out, *run, outcome, counts, *at, *expires_at)?,
            Self::AppendEntries { run, first, entries } => runs::append(out, *run, *first, entries)?,
            Self::PinBlobs { run, digests } => runs::pin(out, *run, digests.iter().copied()),
            Self::PutFragment(row) => out.push(runs::put_fragment(row)),
            Self::DropFragments(run) => out.push(runs::drop_fragments(*run)),
            Self::PutSaved { run, state } => out.push(saved::put(*run, state)?),
            Self::DropSaved { run, path } => out.push(saved::drop_one(*run, path)?),
            Self::DeleteRun(run) => out.push(runs::delete(*run)),
            Self::RememberKey { key, run, request, at } => out.push(runs::remember_key(key, *run, request, *at)),
            Self::PutAgent(record) => out.push(agents::put(record)),
            Self::SetProfile { agent, profile, seen } => out.push(agents::set_profile(*agent, profile, *seen)?),
            Self::SetCertificate { agent, expires_at } => out.push(agents::set_certificate(*agent, *expires_at)),
            Self::SetSeen { agent, seen } => out.push(agents::set_seen(*agent, *seen)),
            Self::SetCommitted { agent, through } => out.push(agents::set_committed(*agent, *through)),
            Self::SetIncarnation { agent, incarnation } => out.push(agents::set_incarnation(*agent, *incarnation)),
            Self::SetDraining { agent, on } => out.push(agents::set_draining(*agent, *on)),
            Self::SetMoving { agent, on } => out.push(agents::set_moving(*agent, *on)),
            Self::PutDeployment(row) => out.push(deployments::put(row)?),
            Self::DeploymentAnswered { agent, deployed } => deployments::answered(out, *agent, deployed),
            Self::DeploymentsUnconfirmed(agent) => out.push(deployments::unconfirmed(*agent)),
            Self::SetGrant { agent, namespace, on } => out.push(grants::set(*agent, namespace, *on)),
            Self::Revoke(agent) => out.push(agents::revoke(*agent)),
            Self::DeleteAgent(agent) => out.push(agents::delete(*agent)),
            Self::PutInvite(invite) => out.push(credentials::put_invite(invite)),
            Self::UseInvite { hash, agent } => out.push(credentials::use_invite(hash, *agent)),
            Self::PutToken(token) => out.push(credentials::put_token(token)),
            Self::RevokeToken { id, at } => out.push(credentials::revoke_token(id, *at)),
            Self::PutDocument { name, value } => out.push(documents::put(name, value)),
            Self::AddLogs { run, lines } => logs::add(out, *run, lines),
            Self::NoteUpload { digest, at } => out.push(retention::note_upload(digest, *at)),
            Self::Forget { before, now } => retention::forget(out, *before, *now),
            Self::LeapEpochs { by, before } => runs::leap_epochs(out, *by, *before)?,
            Self::DropUnusedTexts => out.push(retention::drop_unused_texts()),
            Self::Close => {}
        }
        Ok(())
    }
}
