//! What a connection remembers between its calls.

use std::io;
use std::vec::Vec;

use super::frame::{Incoming, broken, parts};
use crate::buffer::StreamError;

pub(crate) use super::frame::Received;

/// The messages in both directions.
///
/// After a timeout or a cancelled call, a message that has begun to arrive is kept, and the next call
/// receives the rest of it. A message of which only a part was sent cannot be continued, because the
/// next call sends another one. So that ends the connection, and so does a failure of the stream:
/// otherwise the rest of one message could be taken for another.
pub(crate) struct Messages {
    incoming: Incoming,
    /// A part of a message was sent.
    sending: bool,
    failed: bool,
}

impl Messages {
    pub(crate) const NONE: Self = Self {
        incoming: Incoming::NONE,
        sending: false,
        failed: false,
    };

    /// Awaits a message of at most `max` bytes.
    pub(crate) fn expect(&mut self, max: usize) -> io::Result<()> {
        self.alive()?;
        let expected = self.incoming.expect(max);
        self.note(expected)
    }

    /// Where to read more; never empty, and never past the end of the message.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.incoming.space()
    }

    /// Records the result of a read into [`space`](Self::space).
    pub(crate) fn received(&mut self, read: io::Result<usize>) -> io::Result<Received> {
        let received = match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Received::More),
            read => read.and_then(|n| self.incoming.advance(n)),
        };
        self.note(received)
    }

    /// Returns the parts of a message that is to be sent.
    pub(crate) fn send<'m>(&self, message: &'m [u8]) -> io::Result<(Vec<u8>, &'m [u8])> {
        self.alive()?;
        parts(message).map_err(broken)
    }

    /// Records the result of a write, and returns what is still to be sent of `part`.
    pub(crate) fn sent<'m>(
        &mut self,
        part: &'m [u8],
        written: io::Result<usize>,
    ) -> io::Result<&'m [u8]> {
        let room = part.len();
        let rest = match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => {
                self.sending = true;
                (part.get(len..)).ok_or_else(|| broken(StreamError::Overrun { room, len }))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(part),
            Err(error) => Err(error),
        };
        self.note(rest)
    }

    /// Records that all parts of a message were sent.
    pub(crate) fn all_sent(&mut self) {
        self.sending = false;
    }

    fn alive(&self) -> io::Result<()> {
        if self.sending || self.failed {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "this connection failed, or a send was cancelled or timed out in the middle of a \
                 message; drop it and connect again",
            ));
        }
        Ok(())
    }

    /// Remembers a failure that is no timeout.
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.failed |= !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            );
        }
        result
    }
}
