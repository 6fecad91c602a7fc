//! Attempts that wait for a worker.

use eyot_node::Start;
use eyot_wasm_host::CancelToken;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// An attempt to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) start: Start,
    pub(super) cancel: CancelToken,
}

#[derive(Default)]
pub(super) struct ReadyQueue {
    inner: Mutex<Inner>,
    filled: Condvar,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    /// Threads that run attempts now.
    busy: usize,
    closed: bool,
}

impl ReadyQueue {
    pub(super) fn push_all(&self, jobs: impl ExactSizeIterator<Item = Job>) {
        if jobs.len() == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        for job in jobs {
            inner.jobs.push_back(job);
            self.filled.notify_one();
        }
    }

    /// The next attempt, for a thread that is busy until it says [`ReadyQueue::leave`]; None once the queue is closed.
    pub(super) fn pop(&self) -> Option<Job> {
        let mut inner = self.inner.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(job) = inner.jobs.pop_front() {
                inner.busy += 1;
                return Some(job);
            }
            self.filled.wait(&mut inner);
        }
    }

    /// A thread runs an attempt that did not wait here.
    pub(super) fn enter(&self) {
        self.inner.lock().busy += 1;
    }

    pub(super) fn leave(&self) {
        self.inner.lock().busy -= 1;
    }

    /// Whether an attempt runs or waits.
    pub(super) fn is_busy(&self) -> bool {
        let inner = self.inner.lock();
        inner.busy > 0 || !inner.jobs.is_empty()
    }

    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.filled.notify_all();
    }
}
