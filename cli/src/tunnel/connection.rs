//! The log lines of one connection.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign::{KeyId, Matched};
use tracing::field::display;
use tracing::{debug, info, warn};

use super::relay::Carried;

/// Whose connection it is, and since when.
pub(super) struct Connection {
    key_id: KeyId,
    peer: Option<SocketAddr>,
    /// The address of a client's end of the tunnel, which is the peer in the server's log.
    local: Option<SocketAddr>,
    began: Instant,
}

impl Connection {
    pub(super) fn new(key_id: KeyId, peer: Option<SocketAddr>) -> Self {
        let began = Instant::now();
        Self {
            key_id,
            peer,
            local: None,
            began,
        }
    }

    /// A client logs in for a connection.
    pub(super) fn log_begun(&self) {
        let peer = self.peer.map(display);
        debug!(key_id = %self.key_id, peer, "logging in");
    }

    /// Names this client's end of the tunnel in the lines that follow.
    pub(super) fn set_local(&mut self, local: Option<SocketAddr>) {
        self.local = local;
    }

    /// The server has accepted this client.
    pub(super) fn log_accepted(&self) {
        let peer = self.peer.map(display);
        let local = self.local.map(display);
        info!(key_id = %self.key_id, peer, local, "accepted");
    }

    /// This server has accepted a client. The line says which of its secrets matched: one that is
    /// being rotated can be dropped when nobody uses it.
    pub(super) fn log_accepted_by_server(&self, matched: Matched) {
        let secret = match matched {
            Matched::First => "first",
            Matched::Accepted => "accept:",
        };
        let peer = self.peer.map(display);
        info!(key_id = %self.key_id, peer, secret, "accepted");
    }

    pub(super) fn log_cut(&self, why: &dyn Display) {
        let peer = self.peer.map(display);
        let local = self.local.map(display);
        warn!(key_id = %self.key_id, peer, local, "cut: {why}");
    }

    pub(super) fn log_ended(&self, carried: &Carried) {
        let Carried {
            from_plain,
            to_plain,
            silent,
            cut,
        } = carried;
        let peer = self.peer.map(display);
        let local = self.local.map(display);
        let seconds = rounded(self.began.elapsed());
        let silent = rounded(*silent);
        let key_id = display(&self.key_id);
        match cut {
            None => info!(key_id, peer, local, from_plain, to_plain, seconds, "ended"),
            Some(cut) => warn!(
                key_id,
                peer, local, from_plain, to_plain, seconds, silent, "cut: {cut}"
            ),
        }
    }
}

/// Returns the seconds to three decimal places, so that none is printed with an exponent.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
