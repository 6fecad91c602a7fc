//! Asking a running attempt to stop.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

/// Cancels the attempts that it was given to. Clones are the same token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    /// Threads whose guest is blocked in a host call, to be woken.
    blocked: Mutex<Vec<Thread>>,
}

impl CancelToken {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the attempts within a few milliseconds, except while one computes in a model or reads a blob. Cancelling
    /// twice, or after the end, does nothing.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        for thread in self.0.blocked.lock().iter() {
            thread.unpark();
        }
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Has this thread unparked on cancellation until the guard is dropped. Check [`Self::is_cancelled`] afterwards:
    /// the cancellation may have come before.
    pub(crate) fn wake_on_cancel(&self) -> WakeGuard<'_> {
        self.0.blocked.lock().push(std::thread::current());
        WakeGuard(self)
    }
}

pub(crate) struct WakeGuard<'a>(&'a CancelToken);

impl Drop for WakeGuard<'_> {
    fn drop(&mut self) {
        let me = std::thread::current().id();
        let mut blocked = self.0.0.blocked.lock();
        if let Some(at) = blocked.iter().position(|thread| thread.id() == me) {
            blocked.swap_remove(at);
        }
    }
}
