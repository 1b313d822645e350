//! How a listener listens.

use core::time::Duration;
use std::boxed::Box;

use super::{Event, Outcome};
use std::net::SocketAddr;

/// How a [`Listener`](crate::Listener) listens.
///
/// ```
/// use countersign::{ListenerOptions, Outcome};
/// use std::time::Duration;
///
/// let options = ListenerOptions::new()
///     .deadline(Duration::from_secs(5))
///     .max_pending(1024)
///     .on_event(|event| match &event.outcome {
///         Outcome::Accepted(key_id) => println!("{key_id} after {:?}", event.duration),
///         _ => println!("{event}"),
///     });
/// ```
pub struct ListenerOptions {
    pub(crate) deadline: Duration,
    pub(crate) max_pending: usize,
    pub(crate) max_ready: usize,
    hook: Box<dyn Fn(&Event) + Send + Sync>,
}

impl ListenerOptions {
    /// Starts with the defaults: 10 seconds for each handshake, at most 128 pending handshakes and
    /// 128 waiting streams, no hook.
    #[must_use]
    pub fn new() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            max_pending: 128,
            max_ready: 128,
            hook: Box::new(|_| {}),
        }
    }

    /// Sets the deadline of each handshake, from the connection to the verdict.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Sets how many handshakes run at once, at least 1. A new connection evicts the oldest one.
    #[must_use]
    pub fn max_pending(self, max_pending: usize) -> Self {
        Self {
            max_pending: max_pending.max(1),
            ..self
        }
    }

    /// Sets how many authenticated streams may wait to be taken, at least 1. While that many wait,
    /// no further connection is accepted.
    ///
    /// Handshakes that are pending then still finish, so up to `max_pending` more may wait.
    #[must_use]
    pub fn max_ready(self, max_ready: usize) -> Self {
        Self {
            max_ready: max_ready.max(1),
            ..self
        }
    }

    /// Sets the hook, which is called once with the outcome of each connection, and with each
    /// failure to accept one.
    ///
    /// It runs where the handshake ran, before the stream is returned. Over tokio, an eviction is
    /// reported by the task that accepts, and the end of the listener by its drop. A slow hook delays
    /// this one login. Under a flood, a hook that blocks gathers threads or tasks without a limit, because a
    /// handshake that has ended no longer counts as pending. A hook that panics loses the login. If
    /// the look-up of a key panics, its connection is lost without an event.
    #[must_use]
    pub fn on_event(self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            hook: Box::new(hook),
            ..self
        }
    }

    pub(crate) fn report(&self, peer: Option<SocketAddr>, duration: Duration, outcome: Outcome) {
        (self.hook)(&Event {
            peer,
            outcome,
            duration,
        });
    }
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self::new()
    }
}

opaque_debug!(ListenerOptions {
    deadline,
    max_pending,
    max_ready
});
