//! What a driver was doing, and how it interprets the results of a stream.

use core::fmt;
use std::io;

use super::Error;
use crate::handshake::{Message, StreamError};
#[cfg(feature = "multiprocessing")]
use crate::wire::multiprocessing;

/// The step of a driver during which the stream failed.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Sending this message.
    Sending(Message),
    /// Awaiting this message.
    Awaiting(Message),
    /// Upgrading the connection of a [`Listener`](crate::Listener), to TLS for instance.
    Upgrading,
    /// Awaiting the key from a look-up of the application.
    LookingUp,
}

impl Phase {
    /// Returns how many bytes came, or `None` if the read must be repeated.
    pub(crate) fn received(self, read: io::Result<usize>) -> Result<Option<usize>, Error> {
        match self.retry(read)? {
            Some(0) => Err(Error::Closed(self)),
            read => Ok(read),
        }
    }

    /// Returns what is still to be sent of `bytes`.
    pub(crate) fn sent(self, bytes: &[u8], written: io::Result<usize>) -> Result<&[u8], Error> {
        match self.retry(written)? {
            None => Ok(bytes),
            Some(0) => Err(self.failed(io::ErrorKind::WriteZero.into())),
            Some(len) => {
                let room = bytes.len();
                Ok((bytes.get(len..)).ok_or(StreamError::Overrun { room, len })?)
            }
        }
    }

    /// Returns whether the flush is done, and must not be repeated.
    pub(crate) fn flushed(self, flushed: io::Result<()>) -> Result<bool, Error> {
        Ok(self.retry(flushed)?.is_some())
    }

    /// Tells a stream's errors apart by what the caller can do about them.
    pub(crate) fn failed(self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::TimedOut(self),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Error::Closed(self),
            _ => Error::Io {
                phase: self,
                source,
            },
        }
    }

    fn retry<T>(self, result: io::Result<T>) -> Result<Option<T>, Error> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The usual cause of a connection that ends here.
    pub(super) fn when_closed(self) -> &'static str {
        match self {
            Self::Awaiting(Message::CHALLENGE) => {
                "; cut before the server's verdict; it may be overloaded, retry later; if it always \
                 ends here, the program that listens there is no countersign server, or does TLS first"
            }
            Self::Awaiting(Message::RESPONSE) => {
                "; port scans and health checks end here, and clients of other programs"
            }
            Self::Sending(Message::RESPONSE) | Self::Awaiting(Message::VERDICT) => {
                "; cut before the server's verdict; it may be overloaded, retry later"
            }
            #[cfg(feature = "multiprocessing")]
            Self::Awaiting(multiprocessing::CHALLENGE) => "; a peer without an authkey sends none",
            #[cfg(feature = "multiprocessing")]
            Self::Awaiting(multiprocessing::DIGEST) => {
                "; port scans and health checks end here, and peers without an authkey"
            }
            _ => "",
        }
    }

    /// The usual cause of a peer that is silent here.
    pub(super) fn when_silent(self) -> &'static str {
        match self {
            Self::Awaiting(Message::CHALLENGE) => {
                "; a peer that is silent here may be another client, or a server of another \
                 protocol that waits for the client to begin"
            }
            Self::Upgrading => "; a client that does not upgrade is silent here",
            #[cfg(feature = "multiprocessing")]
            Self::Awaiting(multiprocessing::CHALLENGE) => "; a peer without an authkey sends none",
            _ => "",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sending(message) => write!(f, "sending {message}"),
            Self::Awaiting(message) => write!(f, "awaiting {message}"),
            Self::Upgrading => f.write_str("upgrading the connection"),
            Self::LookingUp => f.write_str("looking up the client's key"),
        }
    }
}
