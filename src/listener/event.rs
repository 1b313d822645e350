//! What a listener tells the application about each connection.

use core::fmt::{self, Write};
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::vec::Vec;

use super::Process;
use crate::error::Error;
use crate::handshake::Matched;
use crate::key::KeyId;

/// The report of one connection. `Display` makes a log line of it.
///
/// Nothing in it is secret, and a stranger can choose all of it. The key id is escaped when it is
/// displayed, and so are control characters of other errors, such as those of an upgrade.
///
/// ```
/// # use countersign::{Error, Event, Outcome};
/// fn log(event: &Event) {
///     match &event.outcome {
///         Outcome::Accepted { .. } => println!("{event}"),
///         // Port scans, health checks and clients in another mode connect and close.
///         Outcome::Refused(Error::Closed(_)) => {}
///         _ => eprintln!("{event}"),
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub struct Event {
    /// The peer's address, if it has one. Behind a proxy it is the proxy's.
    pub peer: Option<SocketAddr>,
    /// The peer's process, if the connection came over a Unix socket and the system reports it.
    pub process: Option<Process>,
    /// What became of the connection.
    pub outcome: Outcome,
    /// The time from the connection to this outcome.
    pub duration: Duration,
    /// What the server of this listener is.
    pub server: Arc<Identity>,
}

/// What a server is, for comparison with what its clients asked for.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The verb: `authenticate`, `protect` or `encrypt`.
    pub verb: &'static str,
    /// The name of its service.
    pub service: Vec<u8>,
    /// Whether this connection has a channel binding.
    pub bound: bool,
}

/// What became of a connection to a listener.
#[non_exhaustive]
#[derive(Debug)]
pub enum Outcome {
    /// A client was authenticated.
    Accepted {
        /// Its key id.
        key_id: KeyId,
        /// Which secret of the key id it used.
        matched: Matched,
    },
    /// The upgrade or the handshake failed.
    Refused(Error),
    /// Too many handshakes were pending, or something that they need ran out, and this one was evicted
    /// for a new connection.
    Evicted,
    /// The handshake was pending, or about to begin, when the listener was dropped.
    ShutDown,
    /// A connection could not be accepted or started, and no pending handshake could be evicted for
    /// it. The listener pauses and continues.
    ///
    /// A connection that its peer ended before it was accepted is no event.
    Failed(io::Error),
    /// When the listener starts: so few descriptors may be open that `max_pending` handshakes can
    /// never be pending.
    FewDescriptors {
        /// The option of the listener.
        max_pending: usize,
        /// How many descriptors the process may have open.
        limit: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = self.peer {
            write!(f, "{peer} ")?;
        }
        if let Some(process) = self.process {
            write!(f, "{process} ")?;
        }
        self.outcome.fmt(f)?;
        match self.outcome {
            Outcome::Refused(_) => write!(f, "; this server: {}", self.server),
            _ => Ok(()),
        }
    }
}

/// Escapes control characters: an upgrade may quote its peer in its error.
struct OneLine<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| {
            if char.is_control() {
                write!(self.0, "{}", char.escape_default())
            } else {
                self.0.write_char(char)
            }
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.service.escape_ascii();
        let binding = if self.bound { "a" } else { "no" };
        write!(
            f,
            "{}, service \"{service}\", {binding} channel binding",
            self.verb
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { key_id, matched } => {
                write!(f, "accepted, key id \"{key_id}\"")?;
                match matched {
                    Matched::First => Ok(()),
                    Matched::Accepted => f.write_str(" by its accept: secret"),
                }
            }
            Self::Refused(error) => write!(OneLine(f), "refused: {error}"),
            Self::Evicted => f.write_str(
                "evicted: too many handshakes were pending; raise max_pending, and the limits of \
                 descriptors and threads with it, if the clients are honest",
            ),
            Self::ShutDown => f.write_str("ended: the listener was dropped"),
            Self::Failed(error) => write!(OneLine(f), "not accepted: {error}"),
            Self::FewDescriptors { max_pending, limit } => write!(
                f,
                "at most {limit} descriptors may be open, which is too few for max_pending \
                 {max_pending}; raise the limit (ulimit -n) or lower max_pending"
            ),
        }
    }
}
