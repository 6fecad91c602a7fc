use super::*;
use eyot_model::{
    AgentId, Digest, Epoch, Event, FragmentId, Millis, Outcome, Position, RunId, RunOutcome, RunState, Usage, Value, Workflow,
};
use std::collections::BTreeMap;

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

fn workflow(name: &str, version: &str) -> WorkflowRecord {
    let workflow = Workflow {
        on_disconnect: eyot_model::OnDisconnect::default(),
        on_failure: eyot_model::OnFailure::default(),
        retention: eyot_model::Retention::default(),
        ..Workflow::new("default", name, version, vec![])
    };
    let text = format!("{name} {version}");
    WorkflowRecord {
        workflow: workflow.into(),
        digest: Digest::of(text.as_bytes()),
        text,
        stored_at: AT,
        direct: false,
    }
}

fn new_run(id: u128) -> Change {
    Change::NewRun(Box::new(NewRun {
        id: RunId(id),
        namespace: "default".into(),
        workflow: "w".into(),
        version: "1".into(),
        created_at: AT,
        inputs: Arc::default(),
        coordinator: None,
    }))
}

fn cancel_requested(by: &str) -> Entry {
    Entry::Event {
        event: Event::CancelRequested { by: by.into(), at: AT },
        agent: None,
        withheld: Vec::new(),
    }
}

fn fragment(epoch: u64) -> Change {
    Change::PutFragment(Box::new(FragmentRow {
        run: RunId(1),
        fragment: FragmentId(0),
        epoch: Epoch(epoch),
        agent: Some(AgentId(9)),
        record: vec![],
    }))
}

async fn store_with_run(dir: &tempfile::TempDir) -> Store {
    let store = Store::open(&dir.path().join("eyot.db")).await.unwrap();
    store
        .commit(vec![], vec![Change::PutWorkflow(Box::new(workflow("w", "1"))), new_run(1)])
        .await
        .unwrap();
    store
}

#[tokio::test]
async fn a_result_commits_only_under_the_current_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_run(&dir).await;
    store.commit(vec![], vec![fragment(2)]).await.unwrap();
    let result = |epoch| {
        let guard = Guard::EpochHolds {
            run: RunId(1),
            fragment: FragmentId(0),
            epoch: Epoch(epoch),
        };
        (
            vec![guard],
            vec![Change::AppendEntries {
                run: RunId(1),
                first: 1,
                entries: vec![Arc::new(cancel_requested("x"))],
            }],
        )
    };
    for old in [1, 3] {
        let (guards, changes) = result(old);
        assert!(matches!(store.commit(guards, changes).await, Err(Error::Guard(_))), "{old}");
        assert!(store.entries(RunId(1), 0, 10).await.unwrap().is_empty());
    }
    let (guards, changes) = result(2);
    store.commit(guards, changes).await.unwrap();
    assert_eq!(store.entries(RunId(1), 0, 10).await.unwrap().len(), 1);
    // An epoch never goes back.
    store.commit(vec![], vec![fragment(1)]).await.unwrap();
    assert_eq!(store.fragments(RunId(1)).await.unwrap()[0].epoch, Epoch(2));
}

#[tokio::test]
async fn requests_that_wait_together_each_get_their_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_run(&dir).await;
    let mut answers = Vec::new();
    for n in 0..200_u64 {
        // Every tenth request breaks a constraint (an entry that exists), every other tenth fails its guard.
        let (guards, first) = match n % 10 {
            3 => (vec![], 1),
            7 => (vec![Guard::RunOpen(RunId(404))], n + 1),
            _ => (vec![], n + 1),
        };
        let changes = vec![Change::AppendEntries {
            run: RunId(1),
            first,
            entries: vec![Arc::new(cancel_requested("x"))],
        }];
        answers.push(store.submit(guards, changes).await.unwrap());
    }
    for (n, answer) in answers.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        match n % 10 {
            3 => assert!(matches!(answer, Err(Error::Write(_))), "{n}: {answer:?}"),
            7 => assert!(matches!(answer, Err(Error::Guard(_))), "{n}: {answer:?}"),
            _ => assert!(answer.is_ok(), "{n}: {answer:?}"),
        }
    }
    assert_eq!(store.entries(RunId(1), 0, 1_000).await.unwrap().len(), 160);
}

#[tokio::test]
async fn a_request_changes_everything_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_run(&dir).await;
    // The second change names a workflow that is not there.
    let mut bad = workflow("w", "1");
    bad.stored_at = AT;
    let changes = vec![
        Change::AppendEntries {
            run: RunId(1),
            first: 1,
            entries: vec![Arc::new(cancel_requested("x"))],
        },
        Change::NewRun(Box::new(NewRun {
            id: RunId(2),
            namespace: "default".into(),
            workflow: "absent".into(),
            version: "1".into(),
            created_at: AT,
            inputs: Arc::default(),
            coordinator: None,
        })),
    ];
    assert!(matches!(store.commit(vec![], changes).await, Err(Error::Write(_))));
    assert!(store.entries(RunId(1), 0, 10).await.unwrap().is_empty());
    assert!(store.run(RunId(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_a_closed_store_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_run(&dir).await;
    let blob = eyot_model::BlobRef {
        digest: Digest::of(b"x"),
        size: 1,
        form: eyot_model::BlobForm::Raw,
    };
    let entry = Entry::Event {
        event: Event::Ended {
            path: eyot_model::Path::task(eyot_model::TaskIx(0)),
            attempt: 1,
            epoch: Epoch(1),
            at: AT,
            outcome: Outcome::Succeeded(BTreeMap::from([("o".into(), Value::Blob(blob))])),
            usage: Usage::default(),
            retry_at: None,
        },
        agent: Some(AgentId(9)),
        withheld: Vec::new(),
    };
    store
        .commit(
            vec![],
            vec![Change::AppendEntries {
                run: RunId(1),
                first: 1,
                entries: vec![Arc::new(entry.clone())],
            }],
        )
        .await
        .unwrap();
    store.close().await;
    assert!(matches!(store.commit(vec![], vec![new_run(5)]).await, Err(Error::Closed)));

    let store = Store::open(&dir.path().join("eyot.db")).await.unwrap();
    assert_eq!(store.entries(RunId(1), 0, 10).await.unwrap(), vec![(1, entry)]);
    assert_eq!(store.open_runs().await.unwrap().len(), 1);
    assert!(store.named_blobs(AT).await.unwrap().contains(&blob.digest));
    let outcome = RunOutcome {
        state: RunState::Succeeded,
        outputs: BTreeMap::new(),
        failure: None,
    };
    let end = Change::EndRun {
        run: RunId(1),
        outcome: Box::new(outcome),
        counts: BTreeMap::new(),
        at: AT,
        expires_at: AT.after(Millis(5)),
    };
    store.commit(vec![Guard::RunOpen(RunId(1))], vec![end.clone()]).await.unwrap();
    assert!(matches!(
        store.commit(vec![Guard::RunOpen(RunId(1))], vec![end]).await,
        Err(Error::Guard(_))
    ));
    assert!(store.open_runs().await.unwrap().is_empty());
    assert!(store.expired_runs(AT, 10).await.unwrap().is_empty());
    assert_eq!(store.expired_runs(AT.after(Millis(5)), 10).await.unwrap(), vec![RunId(1)]);
    store.commit(vec![], vec![Change::DeleteRun(RunId(1))]).await.unwrap();
    assert!(store.named_blobs(AT).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_invitation_is_for_one_key_and_one_hour() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("eyot.db")).await.unwrap();
    let invite = Invite {
        hash: [1; 32],
        name: Some("camera".into()),
        made_at: AT,
        expires_at: AT.after(Millis(10)),
        used_by: None,
    };
    store.commit(vec![], vec![Change::PutInvite(Box::new(invite))]).await.unwrap();
    let open = |hash, agent, now| {
        vec![Guard::InviteOpen {
            hash,
            agent: AgentId(agent),
            now,
        }]
    };
    let used = |agent| {
        vec![Change::UseInvite {
            hash: [1; 32],
            agent: AgentId(agent),
        }]
    };
    assert!(store.commit(open([2; 32], 1, AT), used(1)).await.is_err(), "unknown");
    assert!(
        store.commit(open([1; 32], 1, AT.after(Millis(10))), used(1)).await.is_err(),
        "too late"
    );
    store.commit(open([1; 32], 1, AT), used(1)).await.unwrap();
    store.commit(open([1; 32], 1, AT), used(1)).await.unwrap();
    assert!(store.commit(open([1; 32], 2, AT), used(2)).await.is_err(), "used by another");
    let stored = store.invite(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((stored.name.as_deref(), stored.used_by), (Some("camera"), Some(AgentId(1))));
}

#[tokio::test]
async fn an_agent_keeps_what_was_decided_about_it_when_it_joins_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("eyot.db")).await.unwrap();
    let agent = AgentRecord {
        id: AgentId(7),
        name: "camera".into(),
        joined_at: AT,
        certificate_expires_at: AT,
        revoked: false,
        draining: false,
        last_seen: None,
        profile: None,
        committed: Position::default(),
        incarnation: None,
    };
    let through = Position {
        generation: u64::MAX,
        n: 12,
    };
    let changes = vec![
        Change::PutAgent(Box::new(agent.clone())),
        Change::SetCommitted { agent: agent.id, through },
        Change::SetDraining { agent: agent.id, on: true },
        Change::SetIncarnation {
            agent: agent.id,
            incarnation: Some(u64::MAX),
        },
        Change::Revoke(agent.id),
        Change::PutAgent(Box::new(agent.clone())),
    ];
    store.commit(vec![Guard::AgentWelcome(agent.id)], changes).await.unwrap();
    let stored = &store.agents().await.unwrap()[0];
    assert!(stored.revoked && stored.draining);
    assert_eq!((stored.committed, stored.incarnation), (through, Some(u64::MAX)));
    assert!(store.commit(vec![Guard::AgentWelcome(agent.id)], vec![]).await.is_err());
    let taken = Guard::AgentNameFree {
        name: "camera".into(),
        agent: AgentId(8),
    };
    assert!(store.commit(vec![taken], vec![]).await.is_err());
}

#[tokio::test]
async fn a_version_is_stored_once_and_logs_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_run(&dir).await;
    let unchanged = |digest| Guard::WorkflowUnchanged {
        namespace: "default".into(),
        name: "w".into(),
        version: "1".into(),
        digest,
    };
    store.commit(vec![unchanged(workflow("w", "1").digest)], vec![]).await.unwrap();
    assert!(store.commit(vec![unchanged(Digest::of(b"other"))], vec![]).await.is_err());

    let line = LogRow {
        at: AT,
        task: eyot_model::TaskIx(0),
        item: None,
        attempt: 1,
        level: 3,
        message: "m".into(),
    };
    let lines = vec![line; usize::try_from(LINES_PER_RUN).unwrap() + 7];
    store.commit(vec![], vec![Change::AddLogs { run: RunId(1), lines }]).await.unwrap();
    let kept = store.logs(RunId(1), 0, 100_000).await.unwrap();
    assert_eq!((kept.len() as u64, kept[0].0), (LINES_PER_RUN, 8));
    store
        .commit(
            vec![],
            vec![Change::AddLogs {
                run: RunId(404),
                lines: vec![kept[0].1.clone()],
            }],
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_document_is_replaced_and_a_copy_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_run(&dir).await;
    for value in [b"one".to_vec(), b"two".to_vec()] {
        store
            .commit(vec![], vec![Change::PutDocument { name: "history", value }])
            .await
            .unwrap();
    }
    assert_eq!(store.document("history").await.unwrap(), Some(b"two".to_vec()));
    assert_eq!(store.document("other").await.unwrap(), None);
    let copy = dir.path().join("copy.db");
    store.copy_to(&copy).await.unwrap();
    let copy = Store::open(&copy).await.unwrap();
    assert!(copy.run(RunId(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn each_restore_lets_epochs_leap_those_that_were_never_given_out_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_run(&dir).await;
    store.commit(vec![], vec![fragment(2)]).await.unwrap();
    assert_eq!(store.epochs_before().await.unwrap(), Epoch(0));
    for restored in 1..=2 {
        let before = store.epochs_before().await.unwrap();
        store.commit(vec![], vec![Change::LeapEpochs { by: 10, before }]).await.unwrap();
        assert_eq!(store.epochs_before().await.unwrap(), Epoch(10 * restored));
        assert_eq!(store.fragments(RunId(1)).await.unwrap()[0].epoch, Epoch(2 + 10 * restored));
    }
}
