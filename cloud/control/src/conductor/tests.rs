//! The loop and its store: what a restart takes up, and what happens while a plan is made.

use super::*;
use crate::disk::Disk;
use crate::store::{AgentRecord, FragmentRow, NewRun, WorkflowRecord};
use eyot_model::{ComponentRef, Digest, Inputs, Position, Task, Timestamp, Workflow};

const RUN: RunId = RunId(1);
const AT: Timestamp = Timestamp(1);

const AGENT: AgentId = AgentId(9);

fn task(name: &str) -> Task {
    let uses = ComponentRef {
        name: "x".into(),
        digest: Some(Digest::of(b"x")),
        size: 1,
    };
    Task::new(name, uses)
}

/// A run of one task that is placed with an agent which has never joined, or no more.
async fn store_with_a_run(dir: &std::path::Path) -> Store {
    let store = Store::open(&dir.join("eyot.db")).await.unwrap();
    let text = WorkflowRecord {
        workflow: Arc::new(Workflow::new("default", "w", "1", vec![task("t")])),
        digest: Digest::of(b"w"),
        text: String::new(),
        stored_at: AT,
        direct: false,
    };
    let run = NewRun {
        id: RUN,
        namespace: "default".into(),
        workflow: "w".into(),
        version: "1".into(),
        created_at: AT,
        inputs: Arc::default(),
        coordinator: None,
    };
    let owned = FragmentRow {
        run: RUN,
        fragment: FragmentId(0),
        epoch: Epoch(1),
        agent: Some(AGENT),
        record: owners::encode_tasks(&[TaskIx(0)]),
    };
    let plan = Change::SetPlan {
        run: RUN,
        plan: Arc::new(Plan::default()),
    };
    let changes = vec![
        Change::PutWorkflow(Box::new(text)),
        Change::NewRun(Box::new(run)),
        plan,
        Change::PutFragment(Box::new(owned)),
    ];
    store.commit(vec![], changes).await.unwrap();
    store
}

fn options(store: &Store, dir: &std::path::Path) -> Options {
    Options {
        store: store.clone(),
        fleet: Fleet::default(),
        board: Board::default(),
        access: Access::default(),
        planning: Arc::new(Planning::new(None)),
        blobs: eyot_blob::Store::open(&dir.join("blobs")).unwrap(),
        keep_succeeded: Millis(1),
        keep_failed: Millis(1),
        disk: Disk::new(dir),
        fatal: CancellationToken::new(),
    }
}

#[tokio::test]
async fn what_a_removed_agent_had_is_taken_from_it_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_run(dir.path()).await;
    let options = options(&store, dir.path());
    let fatal = options.fatal.clone();
    let (handle, task) = Conductor::start(options).await.unwrap();
    handle.give(Input::Stop).await.unwrap();
    task.await.unwrap();
    let row = store.fragments(RUN).await.unwrap().remove(0);
    assert_eq!((row.agent, row.epoch), (None, Epoch(2)));
    let record = store.run(RUN).await.unwrap().unwrap();
    assert!(record.waiting_for.is_some(), "it says that it waits for another agent");
    assert!(!fatal.is_cancelled(), "it was told to stop");
}

fn record() -> AgentRecord {
    AgentRecord {
        id: AGENT,
        name: "cam".into(),
        joined_at: AT,
        certificate_expires_at: AT,
        revoked: false,
        draining: true,
        last_seen: None,
        profile: None,
        committed: Position::default(),
        incarnation: None,
    }
}

#[tokio::test]
async fn a_drain_goes_on_after_a_restart_until_it_is_called_off() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_a_run(dir.path()).await;
    store.commit(vec![], vec![Change::PutAgent(Box::new(record()))]).await.unwrap();
    // Before anything was asked for, then on, then off; each time with a new process after it.
    for (asked, moves) in [(None, false), (Some(true), true), (Some(false), false)] {
        for restarted in [false, true] {
            let mut options = options(&store, dir.path());
            options.fleet = Fleet::load(&store).await.unwrap();
            let (mut conductor, _handle, _carrier) = Conductor::new(options);
            conductor.restore().await.unwrap();
            if let Some(on) = asked.filter(|_| !restarted) {
                let (answer, answered) = oneshot::channel();
                let mut step = Step::default();
                conductor.handle(Input::Move { agent: AGENT, on, answer }, &mut step);
                conductor.hand_on(step);
                answered.await.unwrap();
            }
            conductor.hand_on(Step::default());
            let told = conductor.coordinator.moves_of(AGENT);
            assert_eq!(told[0].stays.is_some(), moves, "asked {asked:?}, restarted {restarted}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_change_of_the_fleet_while_a_plan_is_made_is_looked_at_if_the_plan_fails() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("eyot.db")).await.unwrap();
    let (mut conductor, _handle, _carrier) = Conductor::new(options(&store, dir.path()));
    let tasks = (0..=INLINE_PLAN).map(|n| task(&format!("t{n}"))).collect();
    let submission = Submission {
        run: RUN,
        workflow: Arc::new(Workflow::new("default", "w", "1", tasks)),
        inputs: Arc::new(Inputs::new()),
        created_at: AT,
    };
    let (answer, _answered) = oneshot::channel();
    let submit = Submit {
        submission,
        changes: vec![],
        key: None,
        answer,
    };
    conductor.handle(Input::Submit(Box::new(submit)), &mut Step::default());
    conductor.coordinator.fleet_changed();
    conductor.translate(&mut Step::default());
    for again in [true, false] {
        let planned = conductor.inputs.recv().await.unwrap();
        assert!(matches!(planned, Input::Planned { outcome: Err(_), .. }), "the fleet is empty");
        conductor.handle(planned, &mut Step::default());
        assert_eq!(conductor.planning.contains_key(&RUN), again, "it changed once");
    }
}
