//! One handshake of a listener, in a task of its own.

use core::future::Future;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::shared::Shared;
use crate::error::{Error, Phase};
use crate::handshake::{Binding, Mode};
use crate::listener::admission::Ticket;
use crate::listener::{Arrival, Attempt, Outcome};
use crate::tokio::timeout::Timeout;
use crate::tokio::{Lookup, Server};

/// Upgrades a connection, authenticates its peer, and makes what the listener returns.
///
/// The upgrade is called here, in the task of the connection: one that panics before it returns its
/// future must not end the accepting task.
pub(super) async fn attempt<K, M, S, G, F, U, T>(
    endpoint: Arc<(Server<K>, G)>,
    mode: M,
    stream: S,
    timeout: Timeout,
    finish: fn(U, M::Established) -> T,
) -> Attempt<T, U>
where
    K: Lookup,
    M: Mode,
    G: Fn(S) -> F,
    F: Future<Output = io::Result<(U, Option<Binding>)>>,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (server, upgrade) = &*endpoint;
    let (mut stream, binding) = match timeout.limit(upgrade(stream)).await {
        Ok(upgraded) => upgraded,
        Err(error) => return Attempt::not_upgraded(Phase::Upgrading.failed(error)),
    };
    let bound = binding.map(|binding| Box::new(server.bound(Some(&binding))));
    let server = bound.as_deref().unwrap_or(server);
    let established = server.run(&mut stream, mode, timeout).await;
    let (result, denied) = match established {
        Ok(established) => {
            let accepted = Outcome::accepted(M::session(&established));
            (Ok((accepted, finish(stream, established))), None)
        }
        Err(error) => {
            let denied = error.denies().then_some(stream);
            (Err(error), denied)
        }
    };
    Attempt {
        bound: bound.is_some(),
        result,
        denied,
    }
}

/// A handshake that was admitted. Dropping it records that it has left.
pub(super) struct Handshake<T> {
    pub(super) ticket: Ticket,
    pub(super) arrival: Arrival,
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Handshake<T> {
    pub(super) fn timeout(&self) -> Timeout {
        let elapsed = self.arrival.began.elapsed();
        Timeout::after(self.shared.deadline.saturating_sub(elapsed))
    }

    /// Makes the future of the attempt here: one that came as an argument would take its space twice
    /// while the handshake is pending.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would have room for its arguments twice"
    )]
    pub(super) fn run<F, U>(self, attempt: impl FnOnce(Timeout) -> F) -> impl Future<Output = ()>
    where
        F: Future<Output = Attempt<T, U>>,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        async move {
            let over = attempt(self.timeout()).await;
            self.conclude(over).await;
        }
    }

    // What is kept across a wait in a function of its own takes the space of the attempt, which is
    // over by then.

    async fn conclude<U>(
        self,
        Attempt {
            bound,
            result,
            denied,
        }: Attempt<T, U>,
    ) where
        U: AsyncRead + AsyncWrite + Unpin,
    {
        match (result, denied) {
            (Ok((accepted, stream)), _) => self.deliver(bound, accepted, stream).await,
            (Err(error), Some(stream)) => self.deny(bound, error, stream).await,
            (Err(error), None) => self.refuse(bound, error).await,
        }
    }

    async fn deliver(self, bound: bool, accepted: Outcome, stream: T) {
        if self.settles() && self.shared.report(self.arrival, bound, accepted).await {
            // Dropped after the lock: closing may take its time.
            let _unwanted = self.shared.lock().admission.deliver(stream);
        }
    }

    async fn deny<U>(self, bound: bool, error: Error, mut stream: U)
    where
        U: AsyncRead + AsyncWrite + Unpin,
    {
        match self.shared.lock().admission.pending_mut(self.ticket) {
            // Before it lingers, so that an eviction meanwhile is not reported instead.
            Some(pending) => pending.reported = true,
            None => return,
        }
        let refused = Outcome::Refused(error);
        if self.shared.report(self.arrival, bound, refused).await {
            self.timeout().linger(&mut stream).await;
        }
    }

    async fn refuse(self, bound: bool, error: Error) {
        if self.settles() {
            let refused = Outcome::Refused(error);
            self.shared.report(self.arrival, bound, refused).await;
        }
    }

    /// Returns `false` if it was evicted. That has been reported then.
    fn settles(&self) -> bool {
        self.shared.lock().admission.settle(self.ticket)
    }
}

impl<T> Drop for Handshake<T> {
    fn drop(&mut self) {
        self.shared.lock().admission.leave(self.ticket);
        self.shared.arrived.notify_waiters();
        self.shared.room.notify_waiters();
    }
}
