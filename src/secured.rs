//! Streams of records, over whatever reads and writes: what both drivers do, once.

mod buffer;
mod buffers;

use core::fmt;
use std::io::{self, Read, Write};

use crate::record::{self, Protection};

use self::buffers::Ready;
pub(crate) use self::buffers::{Incoming, Outgoing, buffers};

impl<P: Protection> Incoming<P> {
    pub(crate) fn read(&mut self, stream: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let read = self.read_payload(stream, out);
        self.settle();
        read
    }

    /// Reads until the peer has closed its direction and then the stream, and discards what comes. After
    /// the peer's close has verified, nothing that happens to the stream matters.
    #[cfg(feature = "net")]
    pub(crate) fn read_out(&mut self, stream: &mut impl Read) -> io::Result<()> {
        let mut discarded = zeroize::Zeroizing::new([0; 4096]);
        while self.read(stream, &mut *discarded)? != 0 {}
        loop {
            match stream.read(&mut *discarded) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Ok(()),
                _ => {}
            }
        }
    }

    fn read_payload(&mut self, stream: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.ready()? {
                Ready::Payload => return Ok(self.take(out)?),
                Ready::End => return Ok(0),
                Ready::Nothing => self.fill(stream)?,
            }
        }
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        match stream.read(self.space()?) {
            Ok(n) => Ok(self.advance(n)?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(source) if is_cut(&source) => {
                let failure = self.fail(record::Error::Truncated);
                Err(io::Error::new(kind(failure), Cut { failure, source }))
            }
            Err(error) => Err(error),
        }
    }
}

impl<P: Protection> Outgoing<P> {
    /// Sends records of as much of the parts as fits, after what is still to be sent. Once they are
    /// sealed, their sequence numbers are used, so they count as written. If the stream then has no
    /// room, the rest stays here: the next call sends it, or returns the error.
    pub(crate) fn write<'d>(
        &mut self,
        stream: &mut impl Write,
        parts: impl Iterator<Item = &'d [u8]> + Clone,
    ) -> io::Result<usize> {
        if parts.clone().all(<[u8]>::is_empty) {
            return Ok(0);
        }
        self.send(stream)?;
        let n = self.seal(parts)?;
        match self.send(stream) {
            Err(error) if is_timeout(&error) => Ok(n),
            sent => sent.map(|()| n),
        }
    }

    pub(crate) fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        self.send(stream)?;
        loop {
            match stream.flush() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                flushed => return flushed,
            }
        }
    }

    /// Sends the record that ends the direction, after what is still to be sent.
    pub(crate) fn close(&mut self, stream: &mut impl Write) -> io::Result<()> {
        self.send(stream)?;
        self.end()?;
        self.flush(stream)
    }

    /// Sends what is still to be sent.
    pub(crate) fn send(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while let Some(unsent) = self.unsent()? {
            match stream.write(unsent) {
                Ok(0) => return Err(self.fail(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.sent(n)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(error),
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Returns whether the stream has ended, without the record that ends a direction.
fn is_cut(error: &io::Error) -> bool {
    // A timeout of the system's own connection, and not of a call.
    if cfg!(unix) && error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_some() {
        return true;
    }
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// [`record::Error::Truncated`], with the error that says what cut the stream.
#[derive(Debug)]
struct Cut {
    failure: record::Error,
    source: io::Error,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl core::error::Error for Cut {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}

pub(crate) fn halves_of_two_streams() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "these are halves of two streams",
    )
}

impl record::Error {
    /// Returns the error of a record in the error of a stream of records, if it is one. A stream that was
    /// reset is [`Truncated`](Self::Truncated).
    ///
    /// ```
    /// use countersign::record;
    /// use std::io;
    ///
    /// let error = io::Error::from(record::Error::Truncated);
    /// assert_eq!(record::Error::of(&error), Some(record::Error::Truncated));
    /// assert_eq!(record::Error::of(&io::ErrorKind::TimedOut.into()), None);
    /// ```
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let below = error.get_ref()?;
        match below.downcast_ref::<Cut>() {
            Some(cut) => Some(cut.failure),
            None => below.downcast_ref().copied(),
        }
    }
}

impl From<record::Error> for io::Error {
    fn from(error: record::Error) -> Self {
        Self::new(kind(error), error)
    }
}

fn kind(error: record::Error) -> io::ErrorKind {
    match error {
        record::Error::Truncated => io::ErrorKind::UnexpectedEof,
        record::Error::Closed => io::ErrorKind::BrokenPipe,
        record::Error::Exhausted => io::ErrorKind::Other,
        record::Error::BadTag | record::Error::TooLong { .. } | record::Error::Length { .. } => {
            io::ErrorKind::InvalidData
        }
    }
}

#[cfg(test)]
mod tests;
