//! What a listener, its acceptor and its handshakes share.

use core::time::Duration;
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::blocking::DeadlineHandle;
use crate::blocking::source::Connection;
use crate::blocking::timed::Timed;
use crate::handshake::{Mode, Prologue};
use crate::listener::admission::Admission;
use crate::listener::{ListenerOptions, PAUSE, Reporter};

/// How long a `shutdown` waits for the acceptor.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    /// A stream is ready, or the end has come.
    pub(super) arrived: Condvar,
    /// For the acceptor: there is room for another connection, a handshake has left, or no more
    /// connections are wanted.
    room: Condvar,
    pub(super) deadline: Duration,
    pub(super) reporter: Reporter,
}

pub(super) struct State<T> {
    pub(super) admission: Admission<Pending, T>,
    /// Whether the acceptor waits for `room`. To notify it is a system call, even if nobody waits.
    acceptor_waits: bool,
    pub(super) stopping: bool,
    pub(super) failure: Option<io::Error>,
}

impl<T> Shared<T> {
    pub(super) fn new<M: Mode>(options: ListenerOptions, prologue: &Prologue) -> Self {
        Self {
            state: Mutex::new(State {
                admission: Admission::new(options.max_pending, options.max_ready),
                acceptor_waits: false,
                stopping: false,
                failure: None,
            }),
            arrived: Condvar::new(),
            room: Condvar::new(),
            deadline: options.deadline,
            reporter: Reporter::start::<M>(options, prologue),
        }
    }

    /// No thread can panic while it holds the lock, so it is never poisoned.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the acceptor wait for a change of the state.
    pub(super) fn wait_for_room<'g>(
        &self,
        mut state: MutexGuard<'g, State<T>>,
    ) -> MutexGuard<'g, State<T>> {
        state.acceptor_waits = true;
        state = wait(&self.room, state);
        state.acceptor_waits = false;
        state
    }

    /// Lets the acceptor wait for a change of the state, or until a pause is over.
    pub(super) fn pause(&self, mut state: MutexGuard<'_, State<T>>) {
        state.acceptor_waits = true;
        wait_for(&self.room, state, PAUSE).acceptor_waits = false;
    }

    /// Tells the acceptor that the state has changed.
    pub(super) fn wake_acceptor(&self, state: MutexGuard<'_, State<T>>) {
        let waits = state.acceptor_waits;
        drop(state);
        if waits {
            self.room.notify_one();
        }
    }
}

/// The socket of a pending handshake, which the handshake owns: its stream may be anything above it.
pub(super) struct Pending {
    socket: Weak<dyn End>,
    deadline: DeadlineHandle,
}

impl Pending {
    pub(super) fn new<S: Connection>(socket: &Arc<S>, deadline: DeadlineHandle) -> Self {
        let socket = Arc::downgrade(socket);
        Self { socket, deadline }
    }

    /// Ends the handshake.
    pub(super) fn end(&self) {
        self.deadline.cancel();
        if let Some(socket) = self.socket.upgrade() {
            socket.end();
        }
    }
}

trait End: Send + Sync {
    /// Shuts down both directions, which ends whatever waits for either.
    fn end(&self);
}

impl<S: Connection> End for S {
    fn end(&self) {
        // A socket that is not connected any more has ended already.
        let _ = self.shut_down(Shutdown::Both);
    }
}

pub(super) fn wait<'g, T>(condvar: &Condvar, guard: MutexGuard<'g, T>) -> MutexGuard<'g, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn wait_for<'g, T>(
    condvar: &Condvar,
    guard: MutexGuard<'g, T>,
    timeout: Duration,
) -> MutexGuard<'g, T> {
    let waited = condvar.wait_timeout(guard, timeout);
    waited.unwrap_or_else(PoisonError::into_inner).0
}
