-- Identifiers of runs and agents are 16 bytes, big endian, so that runs sort by time. Digests are 32 bytes.
-- Times are microseconds since 1970. Columns of type BLOB that hold a structure begin with a version byte.

CREATE TABLE workflows (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   TEXT NOT NULL,
    digest    BLOB NOT NULL,              -- of the text and the files it names
    text      TEXT NOT NULL,
    spec      BLOB NOT NULL,              -- Workflow
    tasks     INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    direct    INTEGER NOT NULL DEFAULT 0, -- 1: came as a text with a run, and goes with the last run that names it
    PRIMARY KEY (namespace, name, version)
) STRICT;
CREATE INDEX workflows_by_age ON workflows (namespace, name, direct, stored_at);

CREATE TABLE workflow_blobs (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   TEXT NOT NULL,
    digest    BLOB NOT NULL,
    PRIMARY KEY (namespace, name, version, digest),
    FOREIGN KEY (namespace, name, version) REFERENCES workflows (namespace, name, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE components (
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    digest      BLOB NOT NULL,
    size        INTEGER NOT NULL,
    description TEXT NOT NULL,            -- JSON
    pushed_at   INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE runs (
    id          BLOB PRIMARY KEY,
    namespace   TEXT NOT NULL,
    workflow    TEXT NOT NULL,
    version     TEXT NOT NULL,
    state       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    expires_at  INTEGER,                  -- once ended: when retention removes it
    inputs      BLOB NOT NULL,            -- Inputs
    plan        BLOB,                     -- Plan
    outcome     BLOB,                     -- RunOutcome
    counts      TEXT NOT NULL DEFAULT '{}', -- JSON: task instances by state, once ended
    waiting_for TEXT,
    coordinator BLOB,                     -- the agent that coordinates it; NULL: the control plane
    FOREIGN KEY (namespace, workflow, version) REFERENCES workflows (namespace, name, version)
) STRICT, WITHOUT ROWID;
-- Each index that a commit touches is a page more to write and sync.
CREATE INDEX runs_open ON runs (id) WHERE ended_at IS NULL;
CREATE INDEX runs_ended ON runs (state, expires_at) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_of_workflow ON runs (namespace, workflow, version);

CREATE TABLE run_entries (
    run   BLOB NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq   INTEGER NOT NULL,
    entry BLOB NOT NULL,                  -- Entry
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_blobs (
    run    BLOB NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    digest BLOB NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_blobs_by_digest ON run_blobs (digest);

CREATE TABLE fragments (
    run      BLOB NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    fragment INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    agent    BLOB,                        -- NULL while it is fenced: nobody has it under this epoch
    record   BLOB NOT NULL,               -- the coordinator's view of the fragment
    PRIMARY KEY (run, fragment)
) STRICT, WITHOUT ROWID;

-- What task instances that have not ended saved for themselves: the latest of each.
CREATE TABLE saved_states (
    run   BLOB NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    path  BLOB NOT NULL,                  -- Path
    blob  BLOB,                           -- digest, where the state is a blob
    state BLOB NOT NULL,                  -- SavedState
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
    id                   BLOB PRIMARY KEY,
    name                 TEXT NOT NULL UNIQUE,
    joined_at            INTEGER NOT NULL,
    certificate_expires  INTEGER NOT NULL,
    revoked              INTEGER NOT NULL DEFAULT 0,
    draining             INTEGER NOT NULL DEFAULT 0,
    moving               INTEGER NOT NULL DEFAULT 0, -- 1: what it has is to go on elsewhere
    last_seen            INTEGER,
    profile              BLOB,            -- AgentProfile, once it has said hello
    committed_generation BLOB NOT NULL DEFAULT x'0000000000000000',
    committed_n          INTEGER NOT NULL DEFAULT 0,
    incarnation          BLOB             -- number of its start that was taken last; NULL: any is
) STRICT;

-- Namespaces whose runs an agent may coordinate, beside the one that has its name.
CREATE TABLE grants (
    agent     BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL,
    PRIMARY KEY (agent, namespace)
) STRICT, WITHOUT ROWID;

-- Workflows that agents are to own.
CREATE TABLE deployments (
    agent     BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   TEXT NOT NULL,
    revision  INTEGER NOT NULL,
    ending    INTEGER NOT NULL DEFAULT 0, -- 1: it is to own it no more
    confirmed INTEGER NOT NULL DEFAULT 0, -- 1: the agent has it on disk
    refused   TEXT,
    record    BLOB NOT NULL,              -- Deployment
    PRIMARY KEY (agent, namespace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE invites (
    hash       BLOB PRIMARY KEY,
    name       TEXT,
    made_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_by    BLOB
) STRICT;

CREATE TABLE api_tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    made_at    INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

-- Small things that are kept whole: what was learnt of durations.
CREATE TABLE documents (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE logs (
    run     BLOB NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    n       INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    task    INTEGER NOT NULL,
    item    INTEGER,
    attempt INTEGER NOT NULL,
    level   INTEGER NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (run, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    key     BLOB PRIMARY KEY,
    run     BLOB NOT NULL,
    request BLOB NOT NULL,                -- digest of the request, so that a key is not used for two things
    made_at INTEGER NOT NULL
) STRICT;

CREATE TABLE uploads (
    digest BLOB PRIMARY KEY,
    at     INTEGER NOT NULL
) STRICT;
