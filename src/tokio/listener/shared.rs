//! What a listener, its acceptor and its handshakes share.

use core::time::Duration;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;
use ::tokio::task::AbortHandle;

use super::hooks::Hooks;
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
    pub(super) hooks: Hooks,
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
            hooks: Hooks::new(runtime, Reporter::start::<M>(options, prologue)),
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
            self.hooks.report_apart(pending.arrival, outcome);
        }
    }
}
