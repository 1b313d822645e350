//! Where a listener reports the outcome of each connection.

use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use super::event::{Event, Identity, Outcome};
use super::options::{Hook, ListenerOptions};
use super::process::Process;
use crate::error::Error;
use crate::handshake::{Mode, Prologue, Session};

/// A connection that was accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) peer: Option<SocketAddr>,
    process: Option<Process>,
    pub(crate) began: Instant,
}

impl Arrival {
    pub(crate) fn now(peer: Option<SocketAddr>, process: Option<Process>) -> Self {
        let began = Instant::now();
        Self {
            peer,
            process,
            began,
        }
    }

    /// For a report that is about no connection.
    pub(crate) fn of_nobody() -> Self {
        Self::now(None, None)
    }
}

/// How an upgrade and its handshake ended.
pub(crate) struct Attempt<T, U> {
    /// Whether the upgrade made a channel binding.
    pub(crate) bound: bool,
    /// To be reported, unless it was evicted meanwhile.
    pub(crate) outcome: Outcome,
    pub(crate) next: Next<T, U>,
}

/// What becomes of a stream.
pub(crate) enum Next<T, U> {
    /// The listener returns it.
    Deliver(T),
    /// Its client was denied: it stays open until the verdict has arrived.
    Linger(U),
    /// It is closed already.
    Closed,
}

impl<T, U> Attempt<T, U> {
    pub(crate) fn not_upgraded(error: Error) -> Self {
        Self {
            bound: false,
            outcome: Outcome::Refused(error),
            next: Next::Closed,
        }
    }
}

impl Outcome {
    pub(crate) fn accepted(session: &Session) -> Self {
        Self::Accepted {
            key_id: *session.key_id(),
            matched: session.matched(),
        }
    }
}

pub(crate) struct Reporter {
    hook: Option<Hook>,
    hears_accepted: bool,
    server: Arc<Identity>,
}

impl Reporter {
    /// Reports at once if the limit of descriptors is too low for the options.
    pub(crate) fn start<M: Mode>(options: ListenerOptions, prologue: &Prologue) -> Self {
        let few = few_descriptors(options.max_pending);
        let reporter = Self {
            hook: options.hook,
            hears_accepted: options.hears_accepted,
            server: Arc::new(Identity {
                verb: M::VERB,
                service: prologue.service_name().into(),
                bound: prologue.is_bound(),
            }),
        };
        if let Some(few) = few {
            reporter.report_apart(Arrival::of_nobody(), few);
        }
        reporter
    }

    /// Returns the hook, if it is called with this outcome.
    pub(crate) fn hook(&self, outcome: &Outcome) -> Option<&Hook> {
        let hook = self.hook.as_ref()?;
        (self.hears_accepted || !matches!(outcome, Outcome::Accepted { .. })).then_some(hook)
    }

    /// Calls the hook. The upgrade of this connection may have `bound` it.
    pub(crate) fn report(&self, arrival: Arrival, bound: bool, outcome: Outcome) {
        let Some(hook) = self.hook(&outcome) else {
            return;
        };
        let mut server = Arc::clone(&self.server);
        if bound {
            Arc::make_mut(&mut server).bound = true;
        }
        hook(&Event {
            peer: arrival.peer,
            process: arrival.process,
            outcome,
            duration: arrival.began.elapsed(),
            server,
        });
    }

    /// Calls the hook where no handshake runs, so that a hook that panics there ends no other
    /// connection.
    pub(crate) fn report_apart(&self, arrival: Arrival, outcome: Outcome) {
        let report = || self.report(arrival, false, outcome);
        // The panic has been printed, and there is nobody to pass it on to.
        let _ = panic::catch_unwind(AssertUnwindSafe(report));
    }
}

/// Returns a report if a handshake for each place cannot have a descriptor beside the one of the
/// listening socket.
#[cfg(unix)]
fn few_descriptors(max_pending: usize) -> Option<Outcome> {
    use rustix::process::{Resource, getrlimit};

    let limit = getrlimit(Resource::Nofile).current?;
    let fits = u64::try_from(max_pending).is_ok_and(|pending| pending < limit);
    (!fits).then_some(Outcome::FewDescriptors { max_pending, limit })
}

#[cfg(not(unix))]
fn few_descriptors(_: usize) -> Option<Outcome> {
    None
}
