//! The log lines of one connection.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Instant;

use countersign::{KeyId, Matched};
use tracing::field::display;
use tracing::{info, warn};

use super::relay::Carried;

/// Whose connection it is, and since when.
pub(super) struct Connection {
    key_id: KeyId,
    peer: Option<SocketAddr>,
    began: Instant,
}

impl Connection {
    pub(super) fn new(key_id: KeyId, peer: Option<SocketAddr>) -> Self {
        let began = Instant::now();
        Self {
            key_id,
            peer,
            began,
        }
    }

    /// A server says which of a client's secrets matched: one that is being rotated can be dropped
    /// when nobody uses it.
    pub(super) fn log_accepted(&self, matched: Option<Matched>) {
        let secret = matched.map(|matched| match matched {
            Matched::First => "first",
            Matched::Accepted => "accept:",
        });
        let peer = self.peer.map(display);
        info!(key_id = %self.key_id, peer, secret, "accepted");
    }

    pub(super) fn log_cut(&self, why: &dyn Display) {
        let peer = self.peer.map(display);
        warn!(key_id = %self.key_id, peer, "cut: {why}");
    }

    pub(super) fn log_ended(&self, carried: &Carried) {
        let Carried {
            from_plain,
            to_plain,
            cut,
        } = carried;
        let peer = self.peer.map(display);
        let seconds = self.began.elapsed().as_secs_f64();
        let key_id = display(&self.key_id);
        match cut {
            None => info!(key_id, peer, from_plain, to_plain, seconds, "ended"),
            Some(cut) => warn!(key_id, peer, from_plain, to_plain, seconds, "cut: {cut}"),
        }
    }
}
