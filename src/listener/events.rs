//! What a listener tells the application about connections that it does not hand over.

use core::fmt;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;

use crate::error::Error;
use crate::handshake::KeyId;

/// What became of one connection. `Display` makes a log line of it.
///
/// Nothing in it is secret, and all of it may be the choice of a stranger: the key id is escaped
/// when printed.
///
/// ```
/// # use countersign::{Error, Event, Outcome};
/// fn log(event: &Event) {
///     match &event.outcome {
///         Outcome::Accepted(_) => println!("{event}"),
///         // Port scans and health checks connect and close.
///         Outcome::Refused(Error::Closed(_)) => {}
///         _ => eprintln!("{event}"),
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub struct Event {
    /// The address at the other end, where it has one. Behind a proxy it is the proxy's.
    pub peer: Option<SocketAddr>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the connection to this outcome.
    pub duration: Duration,
}

/// How a connection to a listener ended.
#[non_exhaustive]
#[derive(Debug)]
pub enum Outcome {
    /// The client with this key id was authenticated.
    Accepted(KeyId),
    /// The handshake failed.
    Refused(Error),
    /// The handshake was the oldest of too many, and was given up for a new one.
    GivenUp,
    /// The handshake was pending when the listener was dropped.
    Stopped,
    /// A connection could not be accepted, for want of descriptors or threads, or because it was
    /// gone by then. The listener pauses and goes on.
    Failed(io::Error),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = self.peer {
            write!(f, "{peer} ")?;
        }
        self.outcome.fmt(f)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(key_id) => write!(f, "accepted, key id \"{key_id}\""),
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::GivenUp => f.write_str("given up: too many handshakes are pending"),
            Self::Stopped => f.write_str("given up: the listener was dropped"),
            Self::Failed(error) => write!(f, "not accepted: {error}"),
        }
    }
}
