//! Attempts that wait for a worker.

use eyot_node::Start;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

#[derive(Default)]
pub(super) struct ReadyQueue {
    inner: Mutex<Inner>,
    filled: Condvar,
}

#[derive(Default)]
struct Inner {
    starts: VecDeque<Start>,
    closed: bool,
}

impl ReadyQueue {
    pub(super) fn push_all(&self, starts: impl ExactSizeIterator<Item = Start>) {
        if starts.len() == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        for start in starts {
            inner.starts.push_back(start);
            self.filled.notify_one();
        }
    }

    /// The next attempt; None once the queue is closed.
    pub(super) fn pop(&self) -> Option<Start> {
        let mut inner = self.inner.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(start) = inner.starts.pop_front() {
                return Some(start);
            }
            self.filled.wait(&mut inner);
        }
    }

    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.filled.notify_all();
    }
}
