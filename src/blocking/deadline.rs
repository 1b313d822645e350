//! One total deadline for a blocking socket.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// A blocking socket with one *total* deadline: a [`Read`] and [`Write`] that fails with
/// [`io::ErrorKind::TimedOut`] once the deadline has passed, even if bytes keep trickling in.
///
/// A socket's own timeouts start anew with each call, so a peer that sends a byte now and then can
/// hold a thread for ever. Before each call, `Deadline` sets the socket's timeout to what is left
/// of its own. It works under everything that reads and writes: this crate's handshake, TLS, the
/// application's first request.
///
/// Dropping it restores the socket's former timeouts. Clones of a socket made with `try_clone`
/// share its timeouts, so another thread that reads or writes a clone meanwhile is affected too.
///
/// The socket must be in blocking mode.
///
/// ```
/// use countersign::Deadline;
/// use std::{io::{ErrorKind, Read}, net::{TcpListener, TcpStream}, time::Duration};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let silent = TcpStream::connect(listener.local_addr()?)?;
///
/// let mut deadline = Deadline::new(&silent, Duration::from_millis(10))?;
/// let error = deadline.read(&mut [0; 16]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Deadline<'s, S: Timeouts> {
    socket: &'s S,
    /// None if the deadline is later than the clock can express.
    end: Option<Instant>,
    former: (Option<Duration>, Option<Duration>),
}

impl<'s, S: Timeouts> Deadline<'s, S> {
    /// Starts the clock: the deadline passes after `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the socket's error if it cannot say what its timeouts are.
    pub fn new(socket: &'s S, timeout: Duration) -> io::Result<Self> {
        Ok(Self {
            socket,
            end: Instant::now().checked_add(timeout),
            former: (socket.read_timeout()?, socket.write_timeout()?),
        })
    }

    /// Repeats `call` while it times out before the deadline.
    fn attempt<T>(
        &self,
        set_timeout: impl Fn(&S, Option<Duration>) -> io::Result<()>,
        mut call: impl FnMut(&'s S) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let left = match self.end {
                None => None,
                Some(end) => match end.checked_duration_since(Instant::now()) {
                    None | Some(Duration::ZERO) => return Err(io::ErrorKind::TimedOut.into()),
                    left => left,
                },
            };
            set_timeout(self.socket, left)?;
            let began = Instant::now();
            match call(self.socket) {
                Err(error) if is_timeout(&error) => {}
                done => return done,
            }
            // A timeout that is early by a tick of the kernel, or because another holder of the
            // socket has set one, is no reason to give up. A timeout at once means that the socket
            // does not block, and trying again would spin.
            if began.elapsed() < AT_ONCE && left.is_none_or(|left| left > TICK) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a Deadline needs a socket in blocking mode",
                ));
            }
        }
    }
}

impl<'s, S: Timeouts> Read for Deadline<'s, S>
where
    &'s S: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.attempt(S::set_read_timeout, |mut socket| socket.read(buf))
    }
}

impl<'s, S: Timeouts> Write for Deadline<'s, S>
where
    &'s S: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.attempt(S::set_write_timeout, |mut socket| socket.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(S::set_write_timeout, |mut socket| socket.flush())
    }
}

impl<S: Timeouts> Drop for Deadline<'_, S> {
    fn drop(&mut self) {
        // A socket that refuses a timeout that it had before is closed or broken.
        let _ = self.socket.set_read_timeout(self.former.0);
        let _ = self.socket.set_write_timeout(self.former.1);
    }
}

/// A blocking socket whose timeouts a [`Deadline`] can set.
///
/// Implement it for your own socket type by forwarding to the socket inside:
///
/// ```
/// use countersign::Timeouts;
/// use std::{io, net::TcpStream, time::Duration};
///
/// struct Peer {
///     socket: TcpStream,
/// }
///
/// impl Timeouts for Peer {
///     fn read_timeout(&self) -> io::Result<Option<Duration>> {
///         self.socket.read_timeout()
///     }
///     fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
///         self.socket.set_read_timeout(timeout)
///     }
///     fn write_timeout(&self) -> io::Result<Option<Duration>> {
///         self.socket.write_timeout()
///     }
///     fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
///         self.socket.set_write_timeout(timeout)
///     }
/// }
/// ```
pub trait Timeouts {
    /// Returns the timeout of a read. `None` waits for ever.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets the timeout of each read.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Returns the timeout of a write. `None` waits for ever.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    fn write_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets the timeout of each write.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
}

macro_rules! timeouts_of_a_socket {
    ($socket:ty) => {
        impl Timeouts for $socket {
            fn read_timeout(&self) -> io::Result<Option<Duration>> {
                self.read_timeout()
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)
            }

            fn write_timeout(&self) -> io::Result<Option<Duration>> {
                self.write_timeout()
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_write_timeout(timeout)
            }
        }
    };
}

timeouts_of_a_socket!(TcpStream);
#[cfg(unix)]
timeouts_of_a_socket!(UnixStream);

const AT_ONCE: Duration = Duration::from_millis(1);

/// Longer than the coarsest tick of a kernel's timers.
const TICK: Duration = Duration::from_millis(50);

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
