//! The stream below a secured stream, and how long a call on it may take.

use core::ops::Deref;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

#[cfg(feature = "net")]
use crate::blocking::timed::{Moved, Timed};
use crate::record::Protection;
use crate::secured::Outgoing;

/// The calls of a stream that is known to be a socket.
///
/// They are kept as pointers, so that a stream that is no socket can be read and written too.
struct Socket<S> {
    read: fn(&S, &mut [u8], Option<Instant>) -> io::Result<usize>,
    write: fn(&S, &[u8], Option<Instant>) -> io::Result<usize>,
    #[cfg(feature = "net")]
    read_or_write: ReadOrWrite<S>,
    shut_down: fn(&S, Shutdown) -> io::Result<()>,
}

#[cfg(feature = "net")]
type ReadOrWrite<S> = fn(&S, &mut [u8], &[u8], Option<Instant>) -> io::Result<Moved>;

/// How long the calls on a stream below may take.
pub(super) struct Limits<S> {
    socket: Option<Socket<S>>,
    pub(super) read: Option<Duration>,
    pub(super) write: Option<Duration>,
}

#[cfg(feature = "net")]
impl<S> Socket<S>
where
    for<'s> &'s S: Timed,
{
    fn new() -> Self {
        Self {
            read: |mut socket, buf, end| socket.read_until(buf, end),
            write: |mut socket, buf, end| socket.write_until(buf, end),
            read_or_write: |mut socket, buf, unsent, end| {
                socket.read_or_write_until(buf, unsent, end)
            },
            shut_down: |socket, how| socket.shut_down(how),
        }
    }
}

impl<S> Clone for Socket<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Socket<S> {}

impl<S> Clone for Limits<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Limits<S> {}

impl<S> Limits<S> {
    /// A stream that may be no socket.
    pub(super) const NONE: Self = Self {
        socket: None,
        read: None,
        write: None,
    };

    /// From now on the stream is known to be a socket.
    #[cfg(feature = "net")]
    pub(super) fn know_socket(&mut self)
    where
        for<'s> &'s S: Timed,
    {
        self.socket = Some(Socket::new());
    }

    /// The limits of both halves, each of which may have found out that the stream is a socket.
    pub(super) fn with_writer(self, writer: Self) -> Self {
        Self {
            socket: self.socket.or(writer.socket),
            read: self.read,
            write: writer.write,
        }
    }

    /// The stream for one read. What is still to be sent is sent in the same time.
    pub(super) fn reading<T>(&self, stream: T) -> Below<T, S> {
        let read_end = end(self.read);
        Below {
            read_end,
            write_end: read_end.into_iter().chain(end(self.write)).min(),
            socket: self.socket,
            stream,
        }
    }

    /// The stream for one write.
    pub(super) fn writing<T>(&self, stream: T) -> Below<T, S> {
        Below {
            read_end: None,
            write_end: end(self.write),
            socket: self.socket,
            stream,
        }
    }

    /// The stream until this point in time.
    #[cfg(feature = "net")]
    pub(super) fn until<T>(stream: T, end: Option<Instant>) -> Below<T, S>
    where
        for<'s> &'s S: Timed,
    {
        Below {
            read_end: end,
            write_end: end,
            socket: Some(Socket::new()),
            stream,
        }
    }

    /// Tells the peer's system that nothing more comes, if the stream is a socket.
    pub(super) fn half_close(&self, stream: &S) -> io::Result<()> {
        match self.socket {
            Some(socket) => (socket.shut_down)(stream, Shutdown::Write),
            None => Ok(()),
        }
    }
}

/// A timeout that the clock cannot express is none.
fn end(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// A stream for one call. Without an end its reads and writes are the stream's own.
pub(super) struct Below<T, S> {
    stream: T,
    socket: Option<Socket<S>>,
    read_end: Option<Instant>,
    write_end: Option<Instant>,
}

impl<T: Read + Deref<Target = S>, S> Read for Below<T, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.socket {
            Some(socket) if self.read_end.is_some() => {
                (socket.read)(&self.stream, buf, self.read_end)
            }
            _ => self.stream.read(buf),
        }
    }
}

impl<T: Write + Deref<Target = S>, S> Write for Below<T, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.socket {
            Some(socket) if self.write_end.is_some() => {
                (socket.write)(&self.stream, buf, self.write_end)
            }
            _ => self.stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A stream that also sends what is still to be sent, so that whoever writes a request and then only
/// reads does not wait for the answer to half of it.
pub(super) struct Sending<'a, T, S, P> {
    pub(super) stream: Below<T, S>,
    pub(super) outgoing: &'a mut Outgoing<P>,
}

impl<T, S, P> Read for Sending<'_, T, S, P>
where
    T: Read + Write + Deref<Target = S>,
    P: Protection,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "net")]
        if let Some(socket) = self.stream.socket {
            // Whichever is possible first: a peer that does not read may still write. The next write
            // returns an error of the sending that lasts.
            while let Ok(Some(unsent)) = self.outgoing.unsent() {
                let end = self.stream.read_end;
                match (socket.read_or_write)(&self.stream.stream, buf, unsent, end)? {
                    Moved::Read(n) => return Ok(n),
                    Moved::Written(Ok(n)) => self.outgoing.sent(n)?,
                    Moved::Written(Err(error)) => drop(self.outgoing.fail(error)),
                }
            }
            return self.stream.read(buf);
        }
        if self.outgoing.has_unsent() {
            // The next write returns an error that lasts, and repeats a wait that was too long.
            let _ = self.outgoing.send(&mut self.stream);
        }
        self.stream.read(buf)
    }
}
