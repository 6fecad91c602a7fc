//! Results that the cloud has not acknowledged. They are never dropped.

use eyot_model::{AttemptId, BlobRef, Digest, Epoch, Event, Failure, FailureKind, FragmentId, Outcome, Position, RunId, TaskIx, Value};
use eyot_wire::{Report, ReportItem, UploadLimits};
use std::collections::{BTreeSet, VecDeque};

/// Most items and about most bytes of one report.
const ITEMS: usize = 2_048;
const BYTES: usize = 4 << 20;

#[derive(Default)]
pub(crate) struct Outbox {
    items: VecDeque<Waiting>,
    /// How many of `items`, from the front, were sent over the present link.
    sent: usize,
    /// How much the cloud takes for one result, as it said last.
    limits: Option<UploadLimits>,
    /// Blobs to ask for, next time.
    wanted: Vec<BlobRef>,
    /// Blobs that are on their way to the cloud.
    uploading: BTreeSet<Digest>,
    /// Blobs that are known to be there: brought, or found there, over the present link.
    uploaded: BTreeSet<Digest>,
}

struct Waiting {
    item: ReportItem,
    size: usize,
    /// What has to be in the cloud before this may be told.
    blobs: Vec<BlobRef>,
}

impl Waiting {
    /// What the cloud does not take can never be told, and nothing after it. So it is a failure that says so.
    fn keep_within(&mut self, limits: &UploadLimits) {
        if !limits.admit(&self.blobs) {
            let message = format!("its outputs are over what the control plane takes from an agent: {limits}");
            self.fail(FailureKind::OutputLimit, message);
        }
    }

    /// False if it is no end of an attempt.
    fn fail(&mut self, kind: FailureKind, message: String) -> bool {
        let Event::Ended { outcome, .. } = &mut self.item.event else {
            return false;
        };
        *outcome = Outcome::Failed(Failure::new(kind, message));
        self.blobs.clear();
        true
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, item: ReportItem, size: usize, blobs: Vec<BlobRef>) {
        let mut waiting = Waiting { item, size, blobs };
        if let Some(limits) = &self.limits {
            waiting.keep_within(limits);
        }
        self.wanted.extend(&waiting.blobs);
        self.items.push_back(waiting);
    }

    /// What the cloud takes over the next link. See [`Outbox::restart`].
    pub(crate) fn set_limits(&mut self, limits: UploadLimits) {
        self.limits = Some(limits);
    }

    /// Whether the cloud takes all of these for one result.
    pub(crate) fn admits<'a>(&self, blobs: impl IntoIterator<Item = &'a BlobRef>) -> bool {
        self.limits.is_none_or(|limits| limits.admit(blobs))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What the results that wait name, and has to stay here until the cloud has it.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.items.iter().flat_map(|waiting| &waiting.blobs).map(|blob| blob.digest)
    }

    /// How many results wait, about how many bytes they are, and the blobs that go with them and are not in the cloud yet.
    pub(crate) fn waiting(&self) -> (usize, usize, BTreeSet<BlobRef>) {
        let bytes = self.items.iter().map(|waiting| waiting.size).sum();
        let blobs = self.items.iter().flat_map(|waiting| &waiting.blobs);
        let missing = blobs.filter(|blob| !self.uploaded.contains(&blob.digest)).copied().collect();
        (self.items.len(), bytes, missing)
    }

    /// The event that waits longest.
    pub(crate) fn oldest(&self) -> Option<&Event> {
        self.items.front().map(|waiting| &waiting.item.event)
    }

    /// Where the start of the attempt was written down.
    pub(crate) fn start_of(&self, id: &AttemptId) -> Option<Position> {
        let begins = |item: &ReportItem| {
            item.run == id.run
                && matches!(&item.event, Event::Started { path, attempt, epoch, .. }
                    if (*path, *attempt, *epoch) == (id.path, id.attempt, id.epoch))
        };
        let start = self.items.iter().rev().find(|waiting| begins(&waiting.item));
        start.map(|waiting| waiting.item.position)
    }

    /// Whether something is here that was not sent over the present link.
    pub(crate) fn unsent(&self) -> bool {
        self.sent < self.items.len()
    }

    /// Asks for blobs that no report waits for. Gives those that are not known to be in the cloud.
    pub(crate) fn want(&mut self, blobs: impl IntoIterator<Item = BlobRef>) -> BTreeSet<Digest> {
        let missing = blobs.into_iter().filter(|b| !self.uploaded.contains(&b.digest) && self.admits([b]));
        let missing: Vec<BlobRef> = missing.collect();
        self.wanted.extend(&missing);
        missing.into_iter().map(|blob| blob.digest).collect()
    }

    /// Whether everything that `which` holds for was sent over the present link, or is committed.
    pub(crate) fn all_sent(&self, which: impl Fn(&ReportItem) -> bool) -> bool {
        !self.items.iter().skip(self.sent).any(|w| which(&w.item))
    }

    /// Blobs that have to be uploaded for what is waiting and are not yet on their way.
    pub(crate) fn uploads(&mut self) -> Vec<BlobRef> {
        let wanted = std::mem::take(&mut self.wanted);
        wanted
            .into_iter()
            .filter(|blob| !self.uploaded.contains(&blob.digest) && self.uploading.insert(blob.digest))
            .collect()
    }

    pub(crate) fn uploaded(&mut self, digest: Digest) {
        self.uploading.remove(&digest);
        self.uploaded.insert(digest);
    }

    /// A blob that only this device had is damaged or gone. The results that name it, which nobody was told of, are failures
    /// now; true if there are any.
    pub(crate) fn lost(&mut self, digest: Digest) -> bool {
        let mut any = false;
        for waiting in self.items.iter_mut().skip(self.sent) {
            if waiting.blobs.iter().any(|blob| blob.digest == digest) {
                // The same words after a restart: one result has one digest.
                let message = format!("output {digest} was damaged on the agent's disk before it was in the cloud");
                any |= waiting.fail(FailureKind::BlobUnavailable, message);
            }
        }
        self.uploading.remove(&digest);
        any
    }

    /// The next report, of what is synced and complete.
    pub(crate) fn next_report(&mut self, synced: Position) -> Option<Report> {
        let mut items = Vec::new();
        let mut bytes = 0;
        for waiting in self.items.iter().skip(self.sent) {
            let complete = waiting.blobs.iter().all(|b| self.uploaded.contains(&b.digest));
            if !reached(waiting.item.position, synced) || !complete || items.len() >= ITEMS || (bytes > 0 && bytes + waiting.size > BYTES) {
                break;
            }
            bytes += waiting.size;
            items.push(waiting.item.clone());
        }
        self.sent += items.len();
        (!items.is_empty()).then_some(Report { items })
    }

    /// The cloud holds everything up to `through`.
    pub(crate) fn committed(&mut self, through: Position) {
        while self.items.front().is_some_and(|w| reached(w.item.position, through)) {
            self.items.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        if self.items.is_empty() {
            self.uploaded.clear();
        }
    }

    /// Results of this fragment under the epoch `from` are told under `to`.
    pub(crate) fn renew(&mut self, run: RunId, fragment: FragmentId, from: Epoch, to: Epoch) {
        let own = |w: &&mut Waiting| w.item.run == run && w.item.fragment == fragment && w.item.epoch == from;
        self.items.iter_mut().filter(own).for_each(|w| w.item.epoch = to);
    }

    /// Takes out everything of a run, in order: the result, its size, and the blobs that go with it.
    pub(crate) fn take_run(&mut self, run: RunId) -> Vec<(ReportItem, usize, Vec<BlobRef>)> {
        let stays = self.items.iter().take(self.sent).filter(|w| w.item.run != run).count();
        let (taken, left): (VecDeque<Waiting>, _) = std::mem::take(&mut self.items).into_iter().partition(|w| w.item.run == run);
        (self.items, self.sent) = (left, stays);
        taken.into_iter().map(|w| (w.item, w.size, w.blobs)).collect()
    }

    /// Others need these blobs of the tasks after all. What of their results was not sent yet waits for them.
    pub(crate) fn bring(&mut self, run: RunId, tasks: &[TaskIx], blobs: Vec<BlobRef>) {
        let own = |w: &&mut Waiting| w.item.run == run && w.item.event.task().is_some_and(|task| tasks.contains(&task));
        for waiting in self.items.iter_mut().skip(self.sent).filter(own) {
            waiting.blobs = result_blobs(&waiting.item.event);
            if let Some(limits) = &self.limits {
                waiting.keep_within(limits);
            }
            // Not only what is needed now: a result of an earlier epoch holds up what comes after it all the same.
            let missing = waiting.blobs.iter().filter(|blob| !self.uploaded.contains(&blob.digest));
            self.wanted.extend(missing.copied());
        }
        self.want(blobs);
    }

    /// Results under this epoch commit no more: nothing has to be brought to the cloud for them.
    pub(crate) fn void(&mut self, run: RunId, fragment: FragmentId, epoch: Epoch) {
        let own = |w: &&mut Waiting| w.item.run == run && w.item.fragment == fragment && w.item.epoch == epoch;
        self.items.iter_mut().filter(own).for_each(|w| w.blobs.clear());
    }

    /// Throws away what will never commit.
    pub(crate) fn drop_where(&mut self, void: impl Fn(&ReportItem) -> bool) {
        let sent = self.items.iter().take(self.sent).filter(|w| !void(&w.item)).count();
        self.items.retain(|w| !void(&w.item));
        self.sent = sent;
    }

    /// The link is new: nothing was sent over it. Every blob is offered again, because a control plane takes none on trust,
    /// one that was started anew does not know who brought what, and what was brought over an earlier link may be gone
    /// meanwhile: the cloud keeps for a while only what no committed result names. Bytes that it has do not move again.
    pub(crate) fn restart(&mut self) {
        self.sent = 0;
        self.uploading.clear();
        self.uploaded.clear();
        if let Some(limits) = &self.limits {
            self.items.iter_mut().for_each(|waiting| waiting.keep_within(limits));
        }
        self.wanted = self.items.iter().flat_map(|w| w.blobs.iter().copied()).collect();
    }
}

/// The blobs that a result names.
pub(crate) fn result_blobs(event: &Event) -> Vec<BlobRef> {
    let mut blobs = Vec::new();
    if let Event::Ended {
        outcome: Outcome::Succeeded(outputs),
        ..
    } = event
    {
        outputs
            .values()
            .for_each(|value: &Value| value.for_each_blob(&mut |blob| blobs.push(*blob)));
    }
    blobs
}

/// Positions of different generations are never compared.
pub(crate) fn reached(position: Position, through: Position) -> bool {
    position.generation == through.generation && position.n <= through.n
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{BlobForm, Path, TaskIx, Timestamp};

    fn item(n: u64) -> ReportItem {
        ReportItem {
            position: Position { generation: 1, n },
            run: RunId(1),
            fragment: FragmentId(0),
            epoch: Epoch(1),
            event: Event::Cancelled {
                path: Path::task(TaskIx(0)),
                at: Timestamp(0),
            },
        }
    }

    fn succeeded(n: u64) -> ReportItem {
        ReportItem {
            event: Event::Ended {
                path: Path::task(TaskIx(0)),
                attempt: 1,
                epoch: Epoch(1),
                at: Timestamp(0),
                outcome: Outcome::Succeeded(eyot_model::Outputs::new()),
                usage: eyot_model::Usage::default(),
                retry_at: None,
            },
            ..item(n)
        }
    }

    #[test]
    fn a_result_that_the_cloud_never_takes_is_told_as_a_failure_and_holds_nothing_up() {
        let blob = |n: u64, size| BlobRef {
            digest: Digest::of(&n.to_le_bytes()),
            size,
            form: BlobForm::Raw,
        };
        let limits = UploadLimits {
            blob: 10,
            together: 25,
            count: 3,
        };
        for (blobs, fits) in [
            (vec![blob(1, 10), blob(1, 10), blob(2, 10)], true),
            (vec![blob(1, 11)], false),
            (vec![blob(1, 9), blob(2, 9), blob(3, 9)], false),
            ((0..4).map(|n| blob(n, 1)).collect(), false),
        ] {
            // It was there before the link, or comes while it is up.
            for known in [false, true] {
                let mut outbox = Outbox::default();
                if known {
                    outbox.set_limits(limits);
                }
                outbox.push(succeeded(1), 1, blobs.clone());
                outbox.push(item(2), 1, vec![]);
                outbox.set_limits(limits);
                outbox.restart();
                assert_eq!(outbox.uploads().is_empty(), !fits, "{blobs:?}");
                let told = outbox.next_report(at(2)).map_or(0, |report| report.items.len());
                assert_eq!(told, if fits { 0 } else { 2 }, "{blobs:?}");
            }
        }
    }

    #[test]
    fn a_result_that_others_need_after_all_has_all_its_blobs_offered() {
        let blob = BlobRef {
            digest: Digest([5; 32]),
            size: 1,
            form: BlobForm::Raw,
        };
        let mut result = succeeded(1);
        if let Event::Ended { outcome, .. } = &mut result.event {
            *outcome = Outcome::Succeeded(eyot_model::Outputs::from([("b".to_owned(), Value::Blob(blob))]));
        }
        let (run, task) = (result.run, TaskIx(0));
        let mut outbox = Outbox::default();
        // Of an epoch that was over, so nothing was to be brought for it; what is needed now is another attempt's.
        outbox.push(result, 1, vec![]);
        outbox.bring(run, &[task], vec![]);
        assert_eq!(outbox.uploads(), [blob]);
        assert!(outbox.next_report(at(2)).is_none());
        outbox.uploaded(blob.digest);
        assert!(outbox.next_report(at(2)).is_some());
    }

    #[test]
    fn over_a_new_link_blobs_are_offered_again() {
        let blob = BlobRef {
            digest: Digest([4; 32]),
            size: 1,
            form: BlobForm::Raw,
        };
        let mut outbox = Outbox::default();
        outbox.push(item(1), 1, vec![blob]);
        assert_eq!(outbox.uploads(), [blob]);
        outbox.uploaded(blob.digest);
        let synced = Position { generation: 1, n: 1 };
        assert!(outbox.next_report(synced).is_some());
        outbox.restart();
        assert!(
            outbox.next_report(synced).is_none(),
            "not before the control plane has it by this agent's hand"
        );
        assert_eq!(outbox.uploads(), [blob]);
        outbox.uploaded(blob.digest);
        assert!(outbox.next_report(synced).is_some());
    }

    #[test]
    fn a_result_whose_blob_is_lost_is_told_as_a_failure_that_names_it() {
        let digest = Digest([3; 32]);
        let mut outbox = Outbox::default();
        let ended = succeeded(1);
        let blob = BlobRef {
            digest,
            size: 9,
            form: BlobForm::Raw,
        };
        outbox.push(ended, 1, vec![blob]);
        outbox.push(item(2), 1, vec![]);
        assert_eq!(outbox.uploads(), [blob]);
        assert!(outbox.next_report(at(9)).is_none(), "it waits for its blob");
        assert_eq!(outbox.waiting(), (2, 2, BTreeSet::from([blob])));
        assert!(outbox.lost(digest));
        let report = outbox.next_report(at(9)).unwrap();
        assert_eq!(report.items.len(), 2);
        match &report.items[0].event {
            Event::Ended {
                outcome: Outcome::Failed(failure),
                ..
            } => assert!(failure.message.contains(&digest.to_string())),
            other => panic!("{other:?}"),
        }
        assert!(!outbox.lost(digest), "it is told");
    }

    fn at(n: u64) -> Position {
        Position { generation: 1, n }
    }

    fn sent(report: Option<Report>) -> Vec<u64> {
        report.map(|r| r.items.iter().map(|i| i.position.n).collect()).unwrap_or_default()
    }

    #[test]
    fn nothing_leaves_before_it_is_synced_and_its_blobs_are_in_the_cloud() {
        let mut outbox = Outbox::default();
        let blob = BlobRef {
            digest: Digest::of(b"x"),
            size: 1,
            form: BlobForm::Raw,
        };
        outbox.push(item(1), 1, vec![]);
        outbox.push(item(2), 1, vec![blob]);
        outbox.push(item(3), 1, vec![]);
        assert!(sent(outbox.next_report(at(0))).is_empty());
        assert_eq!(outbox.uploads(), [blob]);
        assert_eq!(outbox.uploads(), [], "asked for once");
        assert_eq!(sent(outbox.next_report(at(3))), [1]);
        outbox.uploaded(blob.digest);
        assert_eq!(sent(outbox.next_report(at(2))), [2]);
        assert_eq!(sent(outbox.next_report(at(3))), [3]);
        assert!(!outbox.unsent());
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_over_a_new_link() {
        let mut outbox = Outbox::default();
        for n in 1..=3 {
            outbox.push(item(n), 1, vec![]);
        }
        assert_eq!(sent(outbox.next_report(at(9))), [1, 2, 3]);
        outbox.committed(at(1));
        outbox.restart();
        assert_eq!(sent(outbox.next_report(at(9))), [2, 3]);
        outbox.drop_where(|i| i.position.n == 2);
        outbox.committed(at(3));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_blob_that_was_brought_over_an_earlier_link_is_offered_again_before_its_result_is_told() {
        let mut outbox = Outbox::default();
        let blob = |bytes: &[u8]| BlobRef {
            digest: Digest::of(bytes),
            size: 1,
            form: BlobForm::Raw,
        };
        let (slow, quick) = (blob(b"slow"), blob(b"quick"));
        outbox.push(item(1), 1, vec![slow]);
        outbox.push(item(2), 1, vec![quick]);
        assert_eq!(outbox.uploads(), [slow, quick]);
        outbox.uploaded(quick.digest);
        outbox.restart();
        assert_eq!(outbox.uploads(), [slow, quick]);
        outbox.uploaded(slow.digest);
        assert_eq!(sent(outbox.next_report(at(2))), [1], "the cloud may have lost the other one");
        outbox.uploaded(quick.digest);
        assert_eq!(sent(outbox.next_report(at(2))), [2]);
    }
}
