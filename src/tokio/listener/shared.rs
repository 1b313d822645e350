//! What a listener, its acceptor and its handshakes share.

use core::pin::pin;
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;
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
    pub(super) deadline: Duration,
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

    /// Waits until another stream may become ready.
    pub(super) async fn has_room(&self) {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
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

    /// Calls the hook, and returns whether it returned.
    ///
    /// The hook may block, so it has a thread for that. Only the handshake that it is about awaits it.
    pub(super) async fn report(&self, arrival: Arrival, bound: bool, outcome: Outcome) -> bool {
        if !self.reporter.has_hook() {
            return true;
        }
        let reporter = Arc::clone(&self.reporter);
        let report = move || reporter.report(arrival, bound, outcome);
        self.runtime.spawn_blocking(report).await.is_ok()
    }

    /// Calls the hook, which nothing awaits.
    pub(super) fn report_apart(&self, arrival: Arrival, outcome: Outcome) {
        if self.reporter.has_hook() {
            let reporter = Arc::clone(&self.reporter);
            self.runtime
                .spawn_blocking(move || reporter.report_apart(arrival, outcome));
        }
    }
}
