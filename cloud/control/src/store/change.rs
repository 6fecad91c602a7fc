//! What a commit can ask of the store: guards that must hold, and changes.

use super::{
    AgentRecord, ComponentRecord, DeploymentRow, Entry, Error, FragmentRow, Invite, LogRow, NewRun, TokenRecord, WorkflowRecord, agents,
    components, credentials, deployments, documents, grants, logs, retention, runs, saved, workflows,
};
use eyot_model::{AgentId, AgentProfile, Digest, Epoch, FragmentId, Path, Plan, Position, RunId, RunOutcome, RunState, State, Timestamp};
use eyot_wire::{Deployed, SavedState};
use sqlx::SqliteConnection;
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

    pub(super) async fn holds(&self, c: &mut SqliteConnection) -> Result<bool, Error> {
        match self {
            Self::EpochHolds { run, fragment, epoch } => runs::epoch_holds(c, *run, *fragment, *epoch).await,
            Self::RunOpen(run) => runs::is_open(c, *run).await,
            Self::LastEntry { run, seq } => runs::last_entry_is(c, *run, *seq).await,
            Self::WorkflowUnchanged {
                namespace,
                name,
                version,
                digest,
            } => workflows::unchanged(c, namespace, name, version, digest).await,
            Self::ComponentUnchanged { name, version, digest } => components::unchanged(c, name, version, digest).await,
            Self::InviteOpen { hash, agent, now } => credentials::invite_open(c, hash, *agent, *now).await,
            Self::AgentNameFree { name, agent } => agents::name_free(c, name, *agent).await,
            Self::AgentWelcome(agent) => agents::welcome(c, *agent).await,
            Self::KeyUnused(key) => runs::key_unused(c, key).await,
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
        entries: Vec<Entry>,
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
    },
    /// Workflow texts that came with runs of which none is left.
    DropUnusedTexts,
    /// Nothing: the writer ends after this batch.
    Close,
}

impl Change {
    pub(super) async fn apply(&self, c: &mut SqliteConnection) -> Result<(), Error> {
        match self {
            Self::PutWorkflow(record) => workflows::put(c, record).await,
            Self::PutComponent(record) => components::put(c, record).await,
            Self::NewRun(run) => runs::insert(c, run).await,
            Self::SetRunState { run, state, waiting_for } => runs::set_state(c, *run, *state, waiting_for.as_deref()).await,
            Self::SetPlan { run, plan } => runs::set_plan(c, *run, plan).await,
            Self::EndRun {
                run,
                outcome,
                counts,
                at,
                expires_at,
            } => runs::end(c, *run, outcome, counts, *at, *expires_at).await,
            Self::AppendEntries { run, first, entries } => runs::append(c, *run, *first, entries).await,
            Self::PinBlobs { run, digests } => runs::pin(c, *run, digests).await,
            Self::PutFragment(row) => runs::put_fragment(c, row).await,
            Self::DropFragments(run) => runs::drop_fragments(c, *run).await,
            Self::PutSaved { run, state } => saved::put(c, *run, state).await,
            Self::DropSaved { run, path } => saved::drop_one(c, *run, path).await,
            Self::DeleteRun(run) => runs::delete(c, *run).await,
            Self::RememberKey { key, run, request, at } => runs::remember_key(c, key, *run, request, *at).await,
            Self::PutAgent(record) => agents::put(c, record).await,
            Self::SetProfile { agent, profile, seen } => agents::set_profile(c, *agent, profile, *seen).await,
            Self::SetCertificate { agent, expires_at } => agents::set_certificate(c, *agent, *expires_at).await,
            Self::SetSeen { agent, seen } => agents::set_seen(c, *agent, *seen).await,
            Self::SetCommitted { agent, through } => agents::set_committed(c, *agent, *through).await,
            Self::SetIncarnation { agent, incarnation } => agents::set_incarnation(c, *agent, *incarnation).await,
            Self::SetDraining { agent, on } => agents::set_draining(c, *agent, *on).await,
            Self::PutDeployment(row) => deployments::put(c, row).await,
            Self::DeploymentAnswered { agent, deployed } => {
                let Deployed {
                    namespace,
                    name,
                    revision,
                    refused,
                } = deployed;
                deployments::answered(c, *agent, namespace, name, *revision, refused.as_deref()).await
            }
            Self::SetGrant { agent, namespace, on } => grants::set(c, *agent, namespace, *on).await,
            Self::Revoke(agent) => agents::revoke(c, *agent).await,
            Self::DeleteAgent(agent) => agents::delete(c, *agent).await,
            Self::PutInvite(invite) => credentials::put_invite(c, invite).await,
            Self::UseInvite { hash, agent } => credentials::use_invite(c, hash, *agent).await,
            Self::PutToken(token) => credentials::put_token(c, token).await,
            Self::RevokeToken { id, at } => credentials::revoke_token(c, id, *at).await,
            Self::PutDocument { name, value } => documents::put(c, name, value).await,
            Self::AddLogs { run, lines } => logs::add(c, *run, lines).await,
            Self::NoteUpload { digest, at } => retention::note_upload(c, digest, *at).await,
            Self::Forget { before, now } => retention::forget(c, *before, *now).await,
            Self::LeapEpochs { by } => runs::leap_epochs(c, *by).await,
            Self::DropUnusedTexts => retention::drop_unused_texts(c).await,
            Self::Close => Ok(()),
        }
    }
}
