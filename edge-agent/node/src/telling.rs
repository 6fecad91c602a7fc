//! Telling the cloud of runs that this agent coordinates itself, once each.
//!
//! The history of such a run is told by number: the cloud says how far it has it, and telling something again changes
//! nothing. So it does not matter how often the link breaks, or whether an acknowledgement is lost.

use crate::command::Command;
use crate::node::{Link, Node};
use crate::own_runs::{OwnRuns, submission_size};
use crate::record::Record;
use eyot_model::{BlobRef, Digest, Event, RunId, Timestamp};
use eyot_wire::{OwnRun as Told, Submission, ToCloud};

/// Most events of one message.
const EVENTS: usize = 1_024;
/// About most bytes of one message.
const BYTES: usize = 2 << 20;

/// The blobs that have to be in the cloud before it hears of the event.
fn blobs_of(event: &Event) -> Vec<BlobRef> {
    let mut blobs = Vec::new();
    if let Event::RunEnded { outcome, .. } = event {
        outcome
            .outputs
            .values()
            .for_each(|value| value.for_each_blob(&mut |blob| blobs.push(*blob)));
    }
    blobs
}

impl Node {
    /// The link is new: what was sent over the old one and not acknowledged is sent again.
    pub(crate) fn own_link_up(&mut self) {
        self.own.uploading.clear();
        // As for results: what no committed event names may be gone there.
        self.own.uploaded.clear();
        for own in self.own.all.values_mut() {
            own.sent = own.told;
            // It may have been granted meanwhile.
            own.refused = None;
        }
        let open = self.own.all.iter().filter(|(_, own)| !own.is_told()).map(|(run, _)| *run);
        self.own.unsent = open.collect();
    }

    /// Tells the cloud what is durable and new.
    pub(crate) fn tell_own(&mut self) {
        if self.link != Link::Up || !self.own.policy.tells {
            return;
        }
        let synced = self.synced;
        let OwnRuns {
            all,
            unsent,
            uploading,
            uploaded,
            lost,
            ..
        } = &mut self.own;
        let outbox = &self.outbox;
        let commands = &mut self.commands;
        unsent.retain(|run| {
            let Some(own) = all.get_mut(run) else { return false };
            if own.refused.is_some() {
                return false;
            }
            let durable = own.durable(synced);
            while own.sent.unwrap_or(0) < durable as u64 {
                let from = usize::try_from(own.sent.unwrap_or(0)).unwrap_or(usize::MAX);
                let first_time = own.sent.is_none();
                let mut events = Vec::new();
                let mut bytes = if first_time { submission_size(&own.submission) } else { 0 };
                for (_, event) in &own.events[from..durable] {
                    bytes += crate::node::event_size(event) + 64;
                    if events.len() >= EVENTS || (bytes > BYTES && (first_time || !events.is_empty())) {
                        break;
                    }
                    let blobs = blobs_of(event);
                    // The end of a run is told although an output of it never comes: damaged, or more than the cloud takes.
                    let taken = outbox.admits(&blobs);
                    let comes = |b: &BlobRef| taken && !uploaded.contains(&b.digest) && !lost.contains(&b.digest);
                    let missing: Vec<BlobRef> = blobs.into_iter().filter(comes).collect();
                    if !missing.is_empty() {
                        // The cloud takes blobs for runs that it knows.
                        if own.told.is_some() {
                            let new = missing.into_iter().filter(|blob| uploading.insert(blob.digest));
                            commands.extend(new.map(Command::Upload));
                        }
                        break;
                    }
                    events.push(event.clone());
                }
                if events.is_empty() && !first_time {
                    break;
                }
                own.sent = Some((from + events.len()) as u64);
                commands.push_back(Command::Send(ToCloud::OwnRun(Box::new(Told {
                    run: *run,
                    submission: first_time.then(|| Box::new(Submission::clone(&own.submission))),
                    first: from as u64 + 1,
                    events,
                }))));
            }
            own.sent != Some(own.events.len() as u64)
        });
    }

    /// The cloud has a run of this agent's own up to an event.
    pub(crate) fn own_stored(&mut self, run: RunId, through: u64, now: Timestamp) {
        let Some(own) = self.own.all.get_mut(&run) else {
            return self.commands.push_back(Command::Send(ToCloud::OwnRunGone { run }));
        };
        let through = through.min(own.events.len() as u64);
        if own.told.is_some_and(|told| told > through) {
            // It had acknowledged more: its store is an older one.
            (own.told, own.sent) = (Some(through), Some(through));
            self.own.unsent.insert(run);
        } else if own.told.is_none_or(|told| told < through) {
            own.told = Some(through);
            own.sent = own.sent.max(Some(through));
            // While it goes on, everything of it is needed here.
            let whole = own.is_told() && !self.runs.contains_key(&run);
            if own.is_told() {
                for (_, event) in &own.events {
                    for blob in blobs_of(event) {
                        self.own.uploaded.remove(&blob.digest);
                        self.own.lost.remove(&blob.digest);
                    }
                }
            } else {
                self.own.unsent.insert(run);
            }
            self.append(Record::Told { run, through, whole });
        }
        for run in self.own.outdated(now) {
            self.release(run);
        }
        self.tell_own();
    }

    /// The cloud does not take a run of this agent's own, or cannot be told of it. It stays here, and is offered again over the next
    /// link.
    pub fn refuse_own(&mut self, run: RunId, why: String) {
        if let Some(own) = self.own.all.get_mut(&run) {
            own.refused = Some(why);
        }
    }

    /// The cloud does not have what it had acknowledged: its store is an older one. All of it is told again.
    pub(crate) fn own_missing(&mut self, run: RunId) {
        let Some(own) = self.own.all.get_mut(&run) else {
            return self.commands.push_back(Command::Send(ToCloud::OwnRunGone { run }));
        };
        (own.told, own.sent) = (None, None);
        self.own.unsent.insert(run);
        self.tell_own();
    }

    pub(crate) fn own_uploaded(&mut self, digest: Digest) {
        self.own.uploading.remove(&digest);
        self.own.uploaded.insert(digest);
        self.tell_own();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Config;
    use crate::recover::Recovered;
    use eyot_model::{Capacity, OnDisconnect, OnFailure, Origin, Position, Retention, RunState, Workflow};
    use eyot_wire::ToAgent;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp(1_000_000);
    const RUN: RunId = RunId(1);

    fn submission() -> Submission {
        Submission {
            run: RUN,
            workflow: Arc::new(Workflow {
                namespace: "n".into(),
                name: "w".into(),
                version: "1".into(),
                inputs: BTreeMap::new(),
                tasks: vec![],
                outputs: BTreeMap::new(),
                on_disconnect: OnDisconnect::default(),
                on_failure: OnFailure::default(),
                max_parallel: None,
                deadline: None,
                retention: Retention::default(),
                triggers: vec![],
            }),
            inputs: Arc::default(),
            created_at: NOW,
            origin: Origin::Device { key: None },
        }
    }

    fn config() -> Config {
        Config {
            capacity: Capacity::default(),
        }
    }

    /// What was written, in order, and what is told to the cloud of own runs.
    fn drain(node: &mut Node, written: &mut Vec<(Position, Record)>) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(command) = node.poll_command() {
            match command {
                Command::Append { position, record } => written.push((position, record)),
                Command::Send(ToCloud::OwnRun(own)) => told.push(*own),
                _ => {}
            }
        }
        told
    }

    fn link_up(node: &mut Node) {
        node.link_up(NOW);
        node.handle_message(ToAgent::Reconciled(vec![]), NOW);
    }

    #[test]
    fn a_run_is_told_once_it_is_durable_and_again_until_it_is_acknowledged() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.submit(submission(), NOW).unwrap();
        link_up(&mut node);
        assert!(drain(&mut node, &mut written).is_empty(), "nothing of it is durable");
        node.journal_synced(node.position());
        let told = drain(&mut node, &mut written);
        assert_eq!((told.len(), told[0].first, told[0].events.len()), (1, 1, 1));
        assert!(told[0].submission.is_some());
        node.journal_synced(node.position());
        assert!(drain(&mut node, &mut written).is_empty(), "it was sent over this link");
        node.link_down(NOW);
        link_up(&mut node);
        assert_eq!(drain(&mut node, &mut written), told, "the acknowledgement was lost with the link");
        node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
        node.link_down(NOW);
        link_up(&mut node);
        assert!(drain(&mut node, &mut written).is_empty());
        node.submit(submission(), NOW).unwrap();
        assert_eq!(node.own_runs().count(), 1, "the same run is a no-op");
    }

    fn second() -> Submission {
        Submission {
            run: RunId(2),
            ..submission()
        }
    }

    #[test]
    fn what_the_cloud_refused_is_no_more_dropped_than_what_it_was_not_told() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.set_own_policy(crate::OwnPolicy {
            keep: 0,
            keep_for: eyot_model::Millis(0),
            most_untold: 1,
            ..crate::OwnPolicy::default()
        });
        node.submit(submission(), NOW).unwrap();
        link_up(&mut node);
        node.refuse_own(RUN, "not granted".into());
        node.journal_synced(node.position());
        node.own_stored(RunId(9), 1, Timestamp(u64::MAX));
        drain(&mut node, &mut written);
        assert!(node.own_run(RUN).is_some());
        assert!(matches!(node.submit(second(), NOW), Err(crate::SubmitError::TooManyUntold(1))));
    }

    #[test]
    fn unfinished_runs_are_bounded_whether_there_is_a_link_or_not() {
        let mut node = Node::new(config(), 1);
        node.set_own_policy(crate::OwnPolicy {
            most_open: 1,
            tells: false,
            ..crate::OwnPolicy::default()
        });
        let mut open = submission();
        let uses = eyot_model::ComponentRef {
            name: "t".into(),
            digest: Some(Digest::of(b"t")),
            size: 1,
        };
        Arc::make_mut(&mut open.workflow).tasks = vec![eyot_model::Task::new("a".to_owned(), uses)];
        node.submit(open, NOW).unwrap();
        assert!(matches!(node.submit(second(), NOW), Err(crate::SubmitError::TooManyOpen(1))));
        node.cancel(RUN, "somebody", NOW);
        let running: Vec<_> = node.admission.running().copied().collect();
        for id in running {
            node.attempt_ended(&id, eyot_model::Outcome::Cancelled, eyot_model::Usage::default(), NOW);
        }
        node.submit(second(), NOW).unwrap();
    }

    #[test]
    fn everything_that_is_told_of_a_large_run_fits_into_messages() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        let whole = |bytes: usize| {
            let mut large = submission();
            let workflow = Arc::make_mut(&mut large.workflow);
            let source = "inputs.x".to_owned();
            workflow.outputs = BTreeMap::from([("x".to_owned(), eyot_model::Template::Expr(eyot_model::Expr { source }))]);
            large.inputs = Arc::new([("x".to_owned(), eyot_model::Value::String("x".repeat(bytes)))].into());
            large
        };
        assert!(
            node.submit(whole(13 << 20), NOW).is_err(),
            "no record could hold it with its outputs"
        );
        node.submit(whole((8 << 20) - 1_000), NOW).unwrap();
        node.journal_synced(node.position());
        link_up(&mut node);
        let told = drain(&mut node, &mut written);
        assert_eq!(told.iter().map(|told| told.events.len()).sum::<usize>(), 1);
        for message in told {
            eyot_wire::encode(&ToCloud::OwnRun(Box::new(message))).unwrap();
        }
        for (_, record) in written {
            let bytes = record.encode().unwrap().len();
            assert!(bytes < 24 << 20, "{bytes} bytes in a record");
        }
    }

    #[test]
    fn a_run_counts_as_here_from_the_record_with_which_it_began() {
        let mut node = Node::new(config(), 1);
        let before = node.position();
        node.submit(submission(), NOW).unwrap();
        let own = node.own_run(RUN).unwrap();
        assert!(!own.is_durable(before));
        assert!(own.is_durable(Position { n: before.n + 1, ..before }));
        assert!(!own.is_durable(Position { generation: 2, n: 9 }));
    }

    #[test]
    fn what_is_refused_stays_and_is_offered_over_the_next_link() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.submit(submission(), NOW).unwrap();
        node.journal_synced(node.position());
        link_up(&mut node);
        assert_eq!(drain(&mut node, &mut written).len(), 1);
        node.handle_message(
            ToAgent::OwnRunRefused {
                run: RUN,
                why: "not granted".into(),
            },
            NOW,
        );
        assert_eq!(node.own_run(RUN).unwrap().refused.as_deref(), Some("not granted"));
        node.link_down(NOW);
        link_up(&mut node);
        assert_eq!(drain(&mut node, &mut written).len(), 1);
        node.handle_message(ToAgent::OwnRunMissing { run: RUN }, NOW);
        assert_eq!(drain(&mut node, &mut written).len(), 1, "a cloud that lost it is told at once");
    }

    #[test]
    fn the_end_of_a_run_is_told_before_its_history_is_archived() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.submit(submission(), NOW).unwrap();
        drain(&mut node, &mut written);
        node.journal_synced(node.position());
        let said: Vec<Command> = std::iter::from_fn(|| node.poll_command()).collect();
        let [Command::RunFinished { run: RUN, .. }, Command::Archive { run: RUN }] = said.as_slice() else {
            panic!("{said:?}");
        };
        node.archive(RUN);
        written.clear();
        drain(&mut node, &mut written);
        let records: Vec<&Record> = written.iter().map(|(_, record)| record).collect();
        assert!(
            matches!(records.as_slice(), [Record::Archived { .. }, Record::Released { run: RUN }]),
            "{records:?}"
        );
        node.archive(RUN);
        drain(&mut node, &mut written);
        assert_eq!(written.len(), 2, "once");
    }

    #[test]
    fn ended_runs_come_back_from_the_journal_with_how_far_the_cloud_has_them() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.submit(submission(), NOW).unwrap();
        drain(&mut node, &mut written);
        // Before and after the history became one record, and after the cloud had it.
        for round in 0..3 {
            let records = written.clone();
            let last = records.last().unwrap().0;
            let (mut again, recovery) = Node::recover(
                config(),
                Recovered {
                    records,
                    last,
                    synced: last,
                },
                NOW,
            );
            assert!(recovery.lost.is_empty());
            let own = again.own_run(RUN).unwrap();
            assert_eq!(own.events.len(), 1, "round {round}");
            assert!(matches!(&own.events[0].1, Event::RunEnded { outcome, .. } if outcome.state == RunState::Succeeded));
            link_up(&mut again);
            let told = drain(&mut again, &mut Vec::new());
            assert_eq!(told.len(), usize::from(round < 2), "round {round}");
            if round == 0 {
                node.journal_synced(node.position());
            } else {
                link_up(&mut node);
                node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
            }
            drain(&mut node, &mut written);
        }
    }

    #[test]
    fn old_runs_go_only_when_the_cloud_has_them() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.set_own_policy(crate::OwnPolicy {
            keep: 0,
            most_untold: 1,
            ..crate::OwnPolicy::default()
        });
        node.submit(submission(), NOW).unwrap();
        node.journal_synced(node.position());
        assert_eq!(node.own_runs().count(), 1);
        let second = Submission {
            run: RunId(2),
            ..submission()
        };
        assert!(node.submit(second.clone(), NOW).is_err(), "no more than one may wait for the cloud");
        link_up(&mut node);
        node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
        assert_eq!(node.own_runs().count(), 0);
        node.submit(second, NOW).unwrap();
        drain(&mut node, &mut written);
        assert!(
            written
                .iter()
                .any(|(_, record)| matches!(record, Record::Forgotten { run } if *run == RUN))
        );
    }

    #[test]
    fn a_cloud_that_has_less_than_it_had_acknowledged_is_told_the_rest() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.submit(submission(), NOW).unwrap();
        node.journal_synced(node.position());
        link_up(&mut node);
        assert_eq!(drain(&mut node, &mut written).len(), 1);
        let stored = |through| ToAgent::OwnRunStored { run: RUN, through };
        node.handle_message(stored(1), NOW);
        assert!(drain(&mut node, &mut written).is_empty());
        node.link_down(NOW);
        link_up(&mut node);
        node.handle_message(stored(0), NOW);
        let told = drain(&mut node, &mut written);
        assert_eq!((told.len(), told[0].first, told[0].events.len()), (1, 1, 1));
        node.handle_message(stored(1), NOW);
        assert!(node.own_run(RUN).unwrap().is_told());
    }

    #[test]
    fn a_cloud_with_another_store_is_told_everything_that_is_kept_again() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        assert!(!node.set_cloud_store(1), "the first one takes no other's place");
        link_up(&mut node);
        node.submit(submission(), NOW).unwrap();
        node.journal_synced(node.position());
        let first = drain(&mut node, &mut written);
        node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
        node.link_down(NOW);
        assert!(!node.set_cloud_store(1));
        link_up(&mut node);
        assert!(drain(&mut node, &mut written).is_empty(), "it has all of it");
        node.link_down(NOW);

        assert!(node.set_cloud_store(2));
        assert!(!node.own_run(RUN).unwrap().is_told());
        // The link breaks and the agent starts anew before the run was told.
        drain(&mut node, &mut written);
        let recover = |written: &Vec<(Position, Record)>| {
            let last = written.last().unwrap().0;
            let records = written.clone();
            let synced = last;
            Node::recover(config(), Recovered { records, last, synced }, NOW).0
        };
        let mut node = recover(&written);
        assert!(!node.set_cloud_store(2), "it is known");
        link_up(&mut node);
        assert_eq!(drain(&mut node, &mut written), first, "the run, and all of it");
        node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
        drain(&mut node, &mut written);
        let mut node = recover(&written);
        node.set_cloud_store(2);
        link_up(&mut node);
        assert!(drain(&mut node, &mut written).is_empty());
    }

    #[test]
    fn what_another_store_lacks_is_not_let_go() {
        let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
        node.set_cloud_store(1);
        link_up(&mut node);
        node.submit(submission(), NOW).unwrap();
        node.journal_synced(node.position());
        node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
        node.set_own_policy(crate::OwnPolicy {
            keep: 0,
            ..crate::OwnPolicy::default()
        });
        node.link_down(NOW);
        node.set_cloud_store(2);
        assert!(node.own.outdated(Timestamp(u64::MAX)).is_empty());
        link_up(&mut node);
        drain(&mut node, &mut written);
        node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 1 }, NOW);
        assert!(node.own_run(RUN).is_none(), "told, and over");
    }

    #[test]
    fn a_run_that_is_not_here_is_said_to_be_gone() {
        let mut node = Node::new(config(), 1);
        link_up(&mut node);
        let run = RunId(9);
        for message in [ToAgent::OwnRunStored { run, through: 3 }, ToAgent::OwnRunMissing { run }] {
            while node.poll_command().is_some() {}
            node.handle_message(message, NOW);
            let said = std::iter::from_fn(|| node.poll_command());
            let gone = |command: &Command| matches!(command, Command::Send(ToCloud::OwnRunGone { run: RunId(9) }));
            assert_eq!(said.filter(gone).count(), 1);
        }
    }

    #[test]
    fn the_end_of_a_run_is_told_without_an_output_that_never_comes() {
        let blob = BlobRef {
            digest: Digest::of(b"x"),
            size: 9,
            form: eyot_model::BlobForm::Raw,
        };
        let mut submission = submission();
        let output = eyot_model::Template::Literal(eyot_model::Value::Blob(blob));
        Arc::make_mut(&mut submission.workflow).outputs.insert("file".into(), output);
        // It is damaged here, or more than the cloud takes.
        for damaged in [true, false] {
            let (mut node, mut written) = (Node::new(config(), 1), Vec::new());
            let limit = if damaged { 9 } else { 8 };
            node.set_upload_limits(eyot_wire::UploadLimits {
                blob: limit,
                together: limit,
                count: 1,
            });
            node.submit(submission.clone(), NOW).unwrap();
            node.journal_synced(node.position());
            link_up(&mut node);
            let mut told = drain(&mut node, &mut written);
            assert!(told[0].submission.is_some());
            if damaged {
                assert!(told[0].events.is_empty(), "its output goes before its end");
                node.handle_message(ToAgent::OwnRunStored { run: RUN, through: 0 }, NOW);
                assert!(drain(&mut node, &mut written).is_empty());
                node.blob_lost(blob.digest);
                told = drain(&mut node, &mut written);
            }
            assert!(matches!(told[0].events[..], [Event::RunEnded { .. }]), "damaged: {damaged}");
        }
    }
}
