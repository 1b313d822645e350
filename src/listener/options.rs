//! How a listener listens.

use core::time::Duration;
use std::boxed::Box;

use super::Event;

/// Options of a [`Listener`](crate::Listener).
///
/// ```
/// use countersign::{ListenerOptions, Outcome};
/// use std::time::Duration;
///
/// let options = ListenerOptions::new()
///     .deadline(Duration::from_secs(5))
///     .max_pending(1024)
///     .on_event(|event| match &event.outcome {
///         Outcome::Accepted { key_id, .. } => println!("{key_id} after {:?}", event.duration),
///         _ => println!("{event}"),
///     });
/// ```
pub struct ListenerOptions {
    pub(crate) deadline: Duration,
    pub(crate) max_pending: usize,
    pub(crate) max_ready: usize,
    pub(super) hook: Option<Hook>,
    /// Whether the hook is called with [`Outcome::Accepted`](crate::Outcome::Accepted) too.
    pub(super) hears_accepted: bool,
}

pub(super) type Hook = Box<dyn Fn(&Event) + Send + Sync>;

impl ListenerOptions {
    /// Starts with the defaults: 10 seconds for each handshake, at most 192 pending handshakes and
    /// 128 waiting streams, no hook.
    #[must_use]
    pub fn new() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            max_pending: 192,
            max_ready: 128,
            hook: None,
            hears_accepted: false,
        }
    }

    /// Sets the deadline of each handshake, from the connection to the verdict.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Sets how many handshakes run at once, at least 1. One connection more evicts one of them.
    ///
    /// The newest two thirds are evicted in the order of their arrival, so under a flood a login is
    /// safe if its round trip is shorter than ⅔ · `max_pending` / arrival rate. The others are shared
    /// between the sources: IPv4 addresses, IPv6 networks of 64 bits. So a flood from fewer sources
    /// than `max_pending` / 3 does not displace clients that come from elsewhere. All connections that
    /// come through one proxy, or over a Unix socket, have one source.
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
    /// It is called before the stream is returned: on the thread of the handshake or, over tokio, on
    /// a thread for blocking calls. It may block: a slow hook delays this one login, and a hook that
    /// panics loses it. Only [`Outcome::Failed`](crate::Outcome::Failed) is reported by the thread
    /// that accepts, which then pauses anyway, and
    /// [`Outcome::FewDescriptors`](crate::Outcome::FewDescriptors) by the constructor.
    ///
    /// Over tokio, calls about connections that did not authenticate share at most 64 threads, and
    /// wait for one of them. So strangers cannot take all of the runtime's threads for blocking calls,
    /// which are 512 by default, and delay the hook of a login.
    ///
    /// Under a flood, a hook that blocks gathers threads or, over tokio, waiting calls without a limit,
    /// because a handshake that has ended no longer counts as pending. On threads it then delays logins
    /// too, once no more threads can be had. If the look-up of a key or the upgrade panics, its
    /// connection is lost without an event.
    #[must_use]
    pub fn on_event(self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            hook: Some(Box::new(hook)),
            hears_accepted: true,
            ..self
        }
    }

    /// Sets the hook, which is called as that of [`on_event`](Self::on_event) is, but not with
    /// [`Outcome::Accepted`](crate::Outcome::Accepted).
    ///
    /// The session that the listener returns names the client too. Over tokio, a login then waits for no
    /// thread for blocking calls, which can take as long as the handshake itself.
    #[must_use]
    pub fn on_failure(self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            hears_accepted: false,
            ..self.on_event(hook)
        }
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
