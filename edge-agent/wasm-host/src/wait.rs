//! Waiting in a host call on behalf of a guest, without outliving the guest's limits.

use crate::limits::{Meter, Stop};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

thread_local! {
    /// When the futures that were polled last want to be polled again; they have no other timer.
    static NEXT: Cell<Option<Instant>> = const { Cell::new(None) };
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `future` to its end on this thread, or gives up when the attempt has to stop.
pub(crate) fn block_on<F: Future>(meter: &mut Meter, future: F) -> Result<F::Output, Stop> {
    let mut future = pin!(future);
    NEXT.set(None);
    // Most are ready at once: no waker of a thread is needed for those.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Ok(output);
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let cancel = meter.cancel().clone();
    let _wake = cancel.wake_on_cancel();
    loop {
        NEXT.set(None);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        meter.check()?;
        match [NEXT.get(), meter.deadline()].into_iter().flatten().min() {
            Some(until) => std::thread::park_timeout(until.saturating_duration_since(Instant::now())),
            None => std::thread::park(),
        }
    }
}

/// Ready from `at` on; never, if there is no such instant. Works inside [`block_on`] alone.
pub(crate) async fn until(at: Option<Instant>) {
    std::future::poll_fn(|_| match at {
        Some(at) if Instant::now() >= at => Poll::Ready(()),
        Some(at) => {
            NEXT.set(Some(NEXT.get().map_or(at, |next| next.min(at))));
            Poll::Pending
        }
        None => Poll::Pending,
    })
    .await;
}
