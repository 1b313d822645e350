//! One handshake of a listener, on a thread of its own.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::shared::Shared;
use crate::blocking::source::{Connection, Pending};
use crate::blocking::{Deadline, DeadlineHandle, Server};
use crate::error::{Error, Phase};
use crate::handshake::{Binding, Message, Mode};
use crate::keys::KeyLookup;
use crate::listener::admission::Ticket;
use crate::listener::{Arrival, Attempt, Next, Outcome};

/// Upgrades a connection, authenticates its peer, and makes what the listener returns.
///
/// `finish` returns `None` if the connection was evicted meanwhile.
pub(super) fn attempt<S, K, M, U, T>(
    server: &Server<K>,
    mode: M,
    stream: Deadline<Pending<S>>,
    upgrade: impl Fn(Deadline<Pending<S>>) -> io::Result<(U, Option<Binding>)>,
    finish: impl Fn(U, M::Established) -> Option<T>,
) -> Attempt<T, U>
where
    K: KeyLookup,
    M: Mode,
    U: Read + Write,
{
    let (mut stream, binding) = match upgrade(stream) {
        Ok(upgraded) => upgraded,
        Err(error) => return Attempt::not_upgraded(Phase::Upgrading.failed(error)),
    };
    let established = match &binding {
        Some(_) => server.bound(binding.as_ref()).run(&mut stream, mode),
        None => server.run(&mut stream, mode),
    };
    let (outcome, next) = match established {
        Ok(established) => {
            let accepted = Outcome::accepted(M::session(&established));
            if let Some(stream) = finish(stream, established) {
                (accepted, Next::Deliver(stream))
            } else {
                let evicted = Error::Closed(Phase::Sending(Message::VERDICT));
                (Outcome::Refused(evicted), Next::Closed)
            }
        }
        Err(error) if error.denies() => (Outcome::Refused(error), Next::Linger(stream)),
        Err(error) => (Outcome::Refused(error), Next::Closed),
    };
    Attempt {
        bound: binding.is_some(),
        outcome,
        next,
    }
}

/// A handshake that was admitted. Dropping it records that it has left.
pub(super) struct Handshake<T> {
    pub(super) ticket: Ticket,
    pub(super) arrival: Arrival,
    pub(super) deadline: DeadlineHandle,
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Handshake<T> {
    pub(super) fn run<S: Connection, U>(
        self,
        socket: Arc<S>,
        attempt: &impl Fn(Deadline<Pending<S>>) -> Attempt<T, U>,
    ) {
        let end = self.arrival.began.checked_add(self.shared.deadline);
        let lingering = Arc::downgrade(&socket);
        let deadline = &self.deadline;
        let stream = Deadline::until(Pending::new(socket), end).with_handle(deadline.clone());
        let Attempt {
            bound,
            outcome,
            next,
        } = attempt(stream);
        let report = |outcome: Outcome| (self.shared.reporter).report(self.arrival, bound, outcome);
        if let Next::Linger(_stream) = next {
            // Before it lingers, so that an eviction meanwhile is not reported instead.
            report(outcome);
            if let Some(socket) = lingering.upgrade() {
                let mut stream = Deadline::until(socket, end).with_handle(deadline.clone());
                stream.linger();
            }
            return;
        }
        let (settled, dropped) = {
            let mut state = self.shared.lock();
            (
                state.admission.settle(self.ticket).is_some(),
                state.admission.is_abandoned(),
            )
        };
        if !settled {
            // Close the socket before the hook, which may take its time.
            drop(next);
            return report(if dropped {
                Outcome::ShutDown
            } else {
                Outcome::Evicted
            });
        }
        report(outcome);
        if let Next::Deliver(stream) = next {
            deadline.lift();
            // Dropped after the lock: closing may take its time.
            let _unwanted = self.shared.lock().admission.deliver(stream);
        }
    }
}

impl<T> Drop for Handshake<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.admission.leave(self.ticket);
        self.shared.wake_acceptor(state);
        self.shared.arrived.notify_all();
    }
}
