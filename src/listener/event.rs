//! What a listener tells the application about each connection.

use core::fmt;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;

use crate::error::Error;
use crate::key::KeyId;

/// What happened to one connection. `Display` makes a log line of it.
///
/// Nothing in it is secret, and a stranger can choose all of it. The key id is escaped when it is
/// displayed.
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
    /// The peer's address, if it has one. Behind a proxy it is the proxy's.
    pub peer: Option<SocketAddr>,
    /// How the connection ended.
    pub outcome: Outcome,
    /// The time from the connection to this outcome.
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
    /// Too many handshakes were pending, and a new connection evicted this one.
    Evicted,
    /// The handshake was pending when the listener was dropped.
    ShutDown,
    /// A connection could not be accepted, because descriptors or threads ran out or because the
    /// peer had closed it. The listener pauses and continues.
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
            Self::Evicted => f.write_str(
                "evicted: too many handshakes were pending; raise max_pending if the clients are \
                 honest",
            ),
            Self::ShutDown => f.write_str("ended: the listener was dropped"),
            Self::Failed(error) => write!(f, "not accepted: {error}"),
        }
    }
}
