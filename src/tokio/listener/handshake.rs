//! One handshake of a listener, in a task of its own.

use core::future::Future;
use std::boxed::Box;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::shared::Shared;
use crate::error::Phase;
use crate::handshake::{Binding, Mode};
use crate::listener::admission::Ticket;
use crate::listener::{Arrival, Attempt, Next, Outcome};
use crate::tokio::timeout::{Timeout, linger};
use crate::tokio::{Lookup, Server};

/// What all connections of a listener go through.
pub(super) struct Steps<K, M: Mode, G, U, T> {
    pub(super) upgrade: G,
    pub(super) server: Server<K>,
    pub(super) mode: M,
    pub(super) finish: fn(U, M::Established) -> T,
}

impl<K: Lookup, M: Mode, G, U, T> Steps<K, M, G, U, T>
where
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Upgrades a connection, authenticates its peer, and makes what the listener returns.
    ///
    /// The upgrade is called here, in the task of the connection: one that panics before it returns
    /// its future must not end the accepting task.
    pub(super) fn attempt<S, F>(
        self: Arc<Self>,
        stream: S,
        timeout: Timeout,
    ) -> impl Future<Output = Attempt<T, U>>
    where
        G: Fn(S) -> F,
        F: Future<Output = io::Result<(U, Option<Binding>)>>,
    {
        async move {
            let (mut stream, binding) = match timeout.limit((self.upgrade)(stream)).await {
                Ok(upgraded) => upgraded,
                Err(error) => return Attempt::not_upgraded(Phase::Upgrading.failed(error)),
            };
            let bound = binding.map(|binding| Box::new(self.server.bound(Some(&binding))));
            let server = bound.as_deref().unwrap_or(&self.server);
            let established = server.run(&mut stream, self.mode, timeout).await;
            let (outcome, next) = match established {
                Ok(established) => {
                    let accepted = Outcome::accepted(M::session(&established));
                    (accepted, Next::Deliver((self.finish)(stream, established)))
                }
                Err(error) if error.denies() => (Outcome::Refused(error), Next::Linger(stream)),
                Err(error) => (Outcome::Refused(error), Next::Closed),
            };
            Attempt {
                bound: bound.is_some(),
                outcome,
                next,
            }
        }
    }
}

/// A handshake that was admitted. Dropping it records that it has left.
pub(super) struct Handshake<T> {
    pub(super) ticket: Ticket,
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Handshake<T> {
    /// Makes the future of the attempt here: one that came as an argument would take its space twice
    /// while the handshake is pending.
    pub(super) fn run<F, U>(
        self,
        began: Instant,
        attempt: impl FnOnce(Timeout) -> F,
    ) -> impl Future<Output = ()>
    where
        F: Future<Output = Attempt<T, U>>,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        async move {
            let over = Timeout::after(self.shared.left(began), attempt).await;
            self.conclude(over).await;
        }
    }

    // What is kept across a wait in a function of its own takes the space of the attempt, which is
    // over by then.

    async fn conclude<U>(&self, attempt: Attempt<T, U>)
    where
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let Attempt {
            bound,
            outcome,
            next,
        } = attempt;
        let Some(arrival) = self.settle(&next) else {
            return;
        };
        if !self.shared.hooks.report(arrival, bound, outcome).await {
            return;
        }
        match next {
            Next::Deliver(stream) => {
                // Dropped after the lock: closing may take its time.
                let _unwanted = self.shared.lock().admission.deliver(stream);
            }
            Next::Linger(mut stream) => linger(&mut stream, self.shared.left(arrival.began)).await,
            Next::Closed => {}
        }
    }

    /// Returns `None` if it was evicted. That has been reported then.
    fn settle<U>(&self, next: &Next<T, U>) -> Option<Arrival> {
        let admission = &mut self.shared.lock().admission;
        if let Next::Linger(_) = next {
            // It can still be evicted, and that is not reported.
            let pending = admission.pending_mut(self.ticket)?;
            pending.reported = true;
            return Some(pending.arrival);
        }
        Some(admission.settle(self.ticket)?.arrival)
    }
}

impl<T> Drop for Handshake<T> {
    fn drop(&mut self) {
        self.shared.lock().admission.leave(self.ticket);
        self.shared.arrived.notify_waiters();
        self.shared.room.notify_waiters();
    }
}
