//! The threads that run attempts.
//!
//! Most attempts are run by the workers, which wait for them at the queue. To wake one takes longer than a short task does. So
//! an attempt that becomes ready while no other runs is run by the thread that saw to that, one of the async runtime, as soon
//! as what it was doing waits for something; another thread of that runtime takes its place meanwhile. As any worker, it goes
//! on with what follows.

use super::Runtime;
use super::queue::Job;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::RuntimeFlavor;

impl Runtime {
    /// Has attempts started.
    pub(super) fn begin(self: &Arc<Self>, mut jobs: Vec<Job>) {
        if jobs.len() == 1
            && self.visiting_allowed()
            && let Some(job) = jobs.pop()
        {
            return self.visit(job);
        }
        self.ready.push_all(jobs.into_iter());
    }

    /// Whether this is a thread of the async runtime that gives its place away, and no attempt runs but the one that is to begin.
    fn visiting_allowed(&self) -> bool {
        tokio::task::try_id().is_some() && self.tokio.runtime_flavor() == RuntimeFlavor::MultiThread && !self.ready.is_busy()
    }

    /// Runs an attempt on a thread of the async runtime: this one, once its present task waits.
    fn visit(self: &Arc<Self>, job: Job) {
        let this = Arc::clone(self);
        self.ready.enter();
        self.tokio.spawn(async move {
            tokio::task::block_in_place(|| this.carry_on(job));
            this.ready.leave();
        });
    }

    /// A worker's life.
    pub(super) fn work(self: &Arc<Self>) {
        while let Some(job) = self.ready.pop() {
            self.carry_on(job);
            self.ready.leave();
        }
    }

    /// Runs an attempt, and whatever it is the next to begin.
    fn carry_on(self: &Arc<Self>, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            let id = job.start.id;
            let end = self.execute(job);
            let (mut jobs, mut sync) = self.act(|core, now| core.attempt_ended(&id, end, now));
            if let (Some(through), true) = (sync, jobs.is_empty()) {
                // There is nothing else to do, and nobody has to be woken for it.
                let synced = self.journal.sync_here(through);
                (jobs, sync) = self.act(|core, _| core.node.journal_synced(synced));
            }
            if let Some(through) = sync {
                self.journal.request_sync(through);
            }
            let mut jobs = jobs.into_iter();
            next = if self.stopping.load(Ordering::Relaxed) { None } else { jobs.next() };
            self.ready.push_all(jobs);
        }
    }
}
