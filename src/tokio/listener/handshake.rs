//! One handshake of a listener, in a task of its own.

use core::future::Future;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::shared::Shared;
use crate::error::Phase;
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

    pub(super) async fn run<U>(self, attempt: impl Future<Output = Attempt<T, U>>)
    where
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let Attempt {
            bound,
            result,
            denied,
        } = attempt.await;
        let shared = &self.shared;
        let result = match (result, denied) {
            (Err(error), Some(mut stream)) => {
                match shared.lock().admission.pending_mut(self.ticket) {
                    // Before it lingers, so that an eviction meanwhile is not reported instead.
                    Some(pending) => pending.reported = true,
                    None => return,
                }
                let refused = Outcome::Refused(error);
                if shared.report(self.arrival, bound, refused).await {
                    self.timeout().linger(&mut stream).await;
                }
                return;
            }
            (result, _) => result,
        };
        // If it is not pending, it was evicted, and that has been reported.
        if !shared.lock().admission.settle(self.ticket) {
            return;
        }
        match result {
            Ok((accepted, stream)) => {
                if shared.report(self.arrival, bound, accepted).await {
                    shared.lock().admission.deliver(stream);
                }
            }
            Err(error) => {
                let refused = Outcome::Refused(error);
                shared.report(self.arrival, bound, refused).await;
            }
        }
    }
}

impl<T> Drop for Handshake<T> {
    fn drop(&mut self) {
        self.shared.lock().admission.leave(self.ticket);
        self.shared.arrived.notify_waiters();
        self.shared.room.notify_waiters();
    }
}
