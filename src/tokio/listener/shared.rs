//! What a listener, its acceptor and its handshakes share.

use core::time::Duration;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ::tokio::runtime::Handle;
use ::tokio::sync::{Notify, oneshot};
use ::tokio::task::AbortHandle;

use crate::handshake::{Mode, Prologue};
use crate::listener::admission::Admission;
use crate::listener::{Arrival, ListenerOptions, Outcome, Reporter};

pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    /// A stream is ready, or the end has come.
    pub(super) arrived: Notify,
    /// For the acceptor: there is room for another connection, or a handshake has left.
    pub(super) room: Notify,
    deadline: Duration,
    runtime: Handle,
    reporter: Arc<Reporter>,
}

pub(super) struct State<T> {
    pub(super) admission: Admission<Pending, T>,
    pub(super) failure: Option<io::Error>,
}

pub(super) struct Pending {
    /// None until the task was started.
    pub(super) task: Option<AbortHandle>,
    pub(super) arrival: Arrival,
    /// It was denied, and lingers until the client closes.
    pub(super) reported: bool,
}

impl<T> Shared<T> {
    pub(super) fn new<M: Mode>(
        runtime: Handle,
        options: ListenerOptions,
        prologue: &Prologue,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                admission: Admission::new(options.max_pending, options.max_ready),
                failure: None,
            }),
            arrived: Notify::new(),
            room: Notify::new(),
            deadline: options.deadline,
            runtime,
            reporter: Arc::new(Reporter::start::<M>(options, prologue)),
        }
    }

    /// No task can panic while it holds the lock, so it is never poisoned.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time that a handshake has left.
    pub(super) fn left(&self, began: Instant) -> Duration {
        self.deadline.saturating_sub(began.elapsed())
    }

    /// Waits until another stream may become ready.
    pub(super) async fn has_room(&self) {
        loop {
            let room = self.room.notified();
            if self.lock().admission.has_room() {
                return;
            }
            room.await;
        }
    }

    /// Ends a handshake that is no longer pending.
    pub(super) fn end(&self, pending: &Pending, outcome: Outcome) {
        if let Some(task) = &pending.task {
            task.abort();
        }
        if !pending.reported {
            self.report_apart(pending.arrival, outcome);
        }
    }

    /// Calls the hook, and returns whether it returned. Only the handshake that it is about awaits it.
    pub(super) async fn report(&self, arrival: Arrival, bound: bool, outcome: Outcome) -> bool {
        if self.reporter.hook(&outcome).is_none() {
            return true;
        }
        let reporter = Arc::clone(&self.reporter);
        let (returns, returned) = oneshot::channel();
        self.call(move || {
            reporter.report(arrival, bound, outcome);
            // This fails if the handshake was evicted meanwhile.
            let _ = returns.send(());
        });
        returned.await.is_ok()
    }

    /// Calls the hook, which nothing awaits.
    pub(super) fn report_apart(&self, arrival: Arrival, outcome: Outcome) {
        if self.reporter.hook(&outcome).is_some() {
            let reporter = Arc::clone(&self.reporter);
            self.call(move || reporter.report_apart(arrival, outcome));
        }
    }

    /// Calls the hook on a thread for blocking calls, because it may block.
    fn call(&self, hook: impl FnOnce() + Send + 'static) {
        // Shared, because a closure that could not be started is lost with all that it has.
        let hook = Arc::new(Mutex::new(Some(hook)));
        let theirs = Arc::clone(&hook);
        let spawn = || self.runtime.spawn_blocking(move || call_once(&theirs));
        // The runtime panics if it has no such thread and cannot start one.
        if panic::catch_unwind(AssertUnwindSafe(spawn)).is_err() {
            let _ = panic::catch_unwind(AssertUnwindSafe(|| call_once(&hook)));
        }
    }
}

fn call_once<F: FnOnce()>(hook: &Mutex<Option<F>>) {
    let taken = hook.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(hook) = taken {
        hook();
    }
}
