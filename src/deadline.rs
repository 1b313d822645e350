//! One deadline for everything that is done with a socket.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// A blocking socket with one *total* deadline: a [`Read`] and [`Write`] that fails with
/// [`io::ErrorKind::TimedOut`] once the time is over, however the octets drip in.
///
/// A socket's own timeouts start anew with each call, so that a peer which sends an octet now
/// and then holds a thread for ever. `Deadline` sets what is left of the time before each call.
/// It goes under everything that reads and writes: this crate's handshake, TLS, the
/// application's first request.
///
/// When dropped it gives the socket its former timeouts back. Clones of a socket made with
/// `try_clone` share their timeouts with it: another thread that reads or writes one
/// meanwhile is subject to them too.
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
    /// None for a time so long that the clock cannot name its end.
    end: Option<Instant>,
    former: (Option<Duration>, Option<Duration>),
}

impl<'s, S: Timeouts> Deadline<'s, S> {
    /// Starts the clock.
    ///
    /// # Errors
    ///
    /// That of asking the socket for its present timeouts.
    pub fn new(socket: &'s S, time: Duration) -> io::Result<Self> {
        Ok(Self {
            socket,
            end: Instant::now().checked_add(time),
            former: (socket.read_timeout()?, socket.write_timeout()?),
        })
    }

    /// Calls `call` until it gives something other than a timeout before its time.
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
            // Too early by a tick of the kernel's, or by a timeout that another holder of the
            // socket has set, is no reason to give up. At once is a socket that does not block,
            // and trying again would spin.
            if began.elapsed() < AT_ONCE && left.is_none_or(|left| left > TICK) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a deadline needs a socket in blocking mode",
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
        // Nobody can be told of a failure here, and a socket that refuses to take back a
        // timeout it had is closed or broken.
        let _ = self.socket.set_read_timeout(self.former.0);
        let _ = self.socket.set_write_timeout(self.former.1);
    }
}

/// A blocking socket whose timeouts a [`Deadline`] can set.
///
/// Implement it for a socket type of your own by forwarding to the socket inside:
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
    /// The present timeout of a read; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// That of the socket.
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets the timeout of each read.
    ///
    /// # Errors
    ///
    /// That of the socket.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// The present timeout of a write; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// That of the socket.
    fn write_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets the timeout of each write.
    ///
    /// # Errors
    ///
    /// That of the socket.
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

/// More than the coarsest tick of a kernel's timers.
const TICK: Duration = Duration::from_millis(50);

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
