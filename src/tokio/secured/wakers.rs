//! The two tasks of one stream.

use core::task::Waker;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

/// The tasks that read and write a stream.
///
/// A stream of tokio remembers one task for each direction, and both of these tasks send: the reader
/// sends what the writer has left. So the stream below is given a waker that wakes both.
#[derive(Default)]
pub(super) struct Wakers {
    pub(super) reader: Slot,
    pub(super) writer: Slot,
}

/// A task that waits, if one does.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Waker>>);

impl Slot {
    pub(super) fn set(&self, waker: &Waker) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        // A waker is foreign code, so it is not called under the lock.
        let waker = (self.0.lock().unwrap_or_else(PoisonError::into_inner)).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}
