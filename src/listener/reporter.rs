//! Where a listener reports the outcome of each connection.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use super::event::{Event, Identity, Outcome};
use super::options::{Hook, ListenerOptions};
use crate::handshake::{Mode, Prologue, Session};

pub(crate) struct Reporter {
    hook: Hook,
    server: Arc<Identity>,
}

impl Reporter {
    pub(crate) fn new<M: Mode>(options: ListenerOptions, prologue: &Prologue) -> Self {
        Self {
            hook: options.hook,
            server: Arc::new(Identity {
                verb: M::VERB,
                service: prologue.service_name().into(),
                bound: prologue.is_bound(),
            }),
        }
    }

    pub(crate) fn report(&self, peer: Option<SocketAddr>, duration: Duration, outcome: Outcome) {
        (self.hook)(&Event {
            peer,
            outcome,
            duration,
            server: Arc::clone(&self.server),
        });
    }

    pub(crate) fn accepted(&self, peer: Option<SocketAddr>, duration: Duration, session: &Session) {
        let outcome = Outcome::Accepted {
            key_id: *session.key_id(),
            matched: session.matched(),
        };
        self.report(peer, duration, outcome);
    }
}
