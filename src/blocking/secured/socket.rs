//! What a secured stream can do because the stream below is a socket.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use super::below::{Limits, Sending};
use super::{ReadHalf, Secured, WriteHalf};
use crate::blocking::timed::{Sealed, Timed};
use crate::record::Protection;

impl<S, P: Protection> Secured<S, P>
where
    S: Read + Write,
    for<'s> &'s S: Timed,
{
    /// Closes the stream, and then reads and discards what comes until the peer has closed it too, and
    /// ended the connection or `timeout` is over.
    /// Then nothing is left unread that would make the system reset the connection and destroy this
    /// end's close on its way.
    ///
    /// Call it where the peer has sent all that matters. Both ends may call it at once.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::TimedOut`] if the peer has not closed the stream after `timeout`,
    /// [`record::Error::Truncated`](crate::record::Error::Truncated) if it ended the connection without
    /// its close, and the errors of reading and writing.
    pub fn finish(mut self, timeout: Duration) -> io::Result<()> {
        let end = Instant::now().checked_add(timeout);
        let mut stream = Limits::until(&mut self.shared.stream, end);
        self.outgoing.close(&mut stream)?;
        self.shut_down(Shutdown::Write)?;
        let mut stream = Limits::until(&mut self.shared.stream, end);
        self.incoming.read_out(&mut stream)
    }
}

impl<S, P> Sealed for Secured<S, P> {}

/// A deadline over the stream. The timeouts of the stream do not count meanwhile.
impl<S, P: Protection> Timed for Secured<S, P>
where
    S: Read + Write,
    for<'s> &'s S: Timed,
{
    fn read_until(&mut self, buf: &mut [u8], end: Option<Instant>) -> io::Result<usize> {
        let mut stream = Sending {
            stream: Limits::until(&mut self.shared.stream, end),
            outgoing: &mut self.outgoing,
        };
        self.incoming.read(&mut stream, buf)
    }

    fn write_until(&mut self, buf: &[u8], end: Option<Instant>) -> io::Result<usize> {
        let mut stream = Limits::until(&mut self.shared.stream, end);
        self.outgoing.write(&mut stream, [buf].into_iter())
    }

    fn flush_until(&mut self, end: Option<Instant>) -> io::Result<()> {
        let mut stream = Limits::until(&mut self.shared.stream, end);
        self.outgoing.flush(&mut stream)
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        Timed::shut_down(&&self.shared.stream, how)
    }
}

impl<S, P> Sealed for &mut Secured<S, P> {}

/// For a `Deadline` that borrows the stream.
impl<S, P> Timed for &mut Secured<S, P>
where
    Secured<S, P>: Timed,
{
    fn read_until(&mut self, buf: &mut [u8], end: Option<Instant>) -> io::Result<usize> {
        (**self).read_until(buf, end)
    }

    fn write_until(&mut self, buf: &[u8], end: Option<Instant>) -> io::Result<usize> {
        (**self).write_until(buf, end)
    }

    fn flush_until(&mut self, end: Option<Instant>) -> io::Result<()> {
        (**self).flush_until(end)
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        (**self).shut_down(how)
    }
}

/// What a stream and both halves have.
macro_rules! shutdown {
    ($stream:ident) => {
        impl<S, P> $stream<S, P> {
            /// Ends both directions at once, without a close. A read that waits in another thread
            /// returns [`record::Error::Truncated`](crate::record::Error::Truncated), and a write an
            /// error of the socket. The peer's read fails too.
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            pub fn shutdown(&self) -> io::Result<()>
            where
                for<'s> &'s S: Timed,
            {
                Timed::shut_down(&&self.shared.stream, Shutdown::Both)
            }
        }
    };
}

shutdown!(Secured);
shutdown!(ReadHalf);
shutdown!(WriteHalf);

/// The timeout of a direction.
macro_rules! timeout {
    ($stream:ident, $timeout:ident, $set_timeout:ident, $field:ident, $call:literal) => {
                impl<S, P> $stream<S, P> {
            #[doc = concat!("Returns the timeout of a ", $call, ".")]
            pub fn $timeout(&self) -> Option<Duration> {
                self.limits.$field
            }

            #[doc = concat!("Bounds each ", $call, " by `timeout` in total, however slowly bytes drip")]
            /// in. It then fails with [`io::ErrorKind::TimedOut`] and has lost nothing: the next call
            /// goes on. `None` is the default, and leaves it to the timeouts of the socket.
            ///
            /// The socket is not touched, so its clones have no timeout.
            ///
            /// # Errors
            ///
            /// Returns [`io::ErrorKind::InvalidInput`] for a timeout of zero.
            pub fn $set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>
            where
                for<'s> &'s S: Timed,
            {
                self.limits.know_socket();
                self.limits.$field = not_zero(timeout)?;
                Ok(())
            }
        }
    };
}

timeout!(Secured, read_timeout, set_read_timeout, read, "read");
timeout!(
    Secured,
    write_timeout,
    set_write_timeout,
    write,
    "write, flush or close"
);
timeout!(ReadHalf, read_timeout, set_read_timeout, read, "read");
timeout!(
    WriteHalf,
    write_timeout,
    set_write_timeout,
    write,
    "write, flush or close"
);

fn not_zero(timeout: Option<Duration>) -> io::Result<Option<Duration>> {
    match timeout {
        Some(Duration::ZERO) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a timeout of zero; use None for no timeout",
        )),
        timeout => Ok(timeout),
    }
}
