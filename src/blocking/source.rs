//! What a listener accepts connections from.

use core::ops::Deref;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(windows)]
use std::os::windows::io::{AsSocket as AsFd, BorrowedSocket as BorrowedFd};
use std::sync::Arc;

#[cfg(any(windows, feature = "tokio"))]
use rustix::event::Timespec;
use rustix::event::{PollFd, PollFlags, poll};
#[cfg(unix)]
use rustix::io::Errno;
use rustix::net;

use crate::listener::Process;

/// A source of connections for a [`Listener`](crate::Listener): a listening socket of the standard
/// library, or whatever else yields sockets.
///
/// ```
/// use countersign::{Pause, Source};
/// use std::{io, net::{SocketAddr, TcpStream}, sync::mpsc};
///
/// /// Connections that another part of the program has accepted.
/// struct HandedOver(mpsc::Receiver<TcpStream>);
///
/// impl Source for HandedOver {
///     type Stream = TcpStream;
///
///     fn accept(&self, pause: &Pause) -> io::Result<Option<(TcpStream, Option<SocketAddr>)>> {
///         match self.0.recv_timeout(pause.longest()) {
///             Ok(stream) => Ok(Some((stream, None))),
///             Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
///             Err(mpsc::RecvTimeoutError::Disconnected) => Err(io::ErrorKind::NotConnected.into()),
///         }
///     }
/// }
/// ```
pub trait Source: Send + 'static {
    /// The stream of a connection: a socket in blocking mode.
    type Stream: Connection;

    /// Returns the next connection and the address of its peer, if it has one. Returns `None` when
    /// `pause` ends the wait. The listener then calls it again, unless it was told to stop.
    ///
    /// # Errors
    ///
    /// An error of kind [`NotConnected`](io::ErrorKind::NotConnected) or
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) says that no further connection will come, and
    /// stops the listener. If descriptors or memory ran out, the listener evicts a pending handshake.
    /// After that, and after any other error, it calls again. `NotConnected` as an error of the system,
    /// such as from `peer_addr` of a connection that has ended, does not stop it either.
    fn accept(&self, pause: &Pause) -> io::Result<Option<(Self::Stream, Option<SocketAddr>)>>;

    /// Returns the address that clients connect to, if there is one.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Returns the process that connected, if the streams are Unix sockets and the system reports it:
    /// [`Process::connected_to`].
    #[must_use]
    fn process(_: &Self::Stream) -> Option<Process> {
        None
    }
}

/// How long an [`accept`](Source::accept) may wait.
///
/// On Unix it is also a descriptor that becomes readable when the wait is to end, for sources that
/// can wait for that and for connections together.
#[derive(Debug)]
pub struct Pause {
    #[cfg(unix)]
    woken: io::PipeReader,
}

/// Ends the wait of an [`accept`](Source::accept) when it is dropped.
#[derive(Debug)]
pub(super) struct Waker {
    #[cfg(unix)]
    _pipe: io::PipeWriter,
}

impl Pause {
    #[cfg(unix)]
    pub(super) fn new() -> io::Result<(Self, Waker)> {
        let (woken, pipe) = io::pipe()?;
        Ok((Self { woken }, Waker { _pipe: pipe }))
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> io::Result<(Self, Waker)> {
        Ok((Self {}, Waker {}))
    }

    /// Returns how long to wait at most, if nothing else ends the wait: 50 milliseconds.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// Waits until a listening socket has a connection, and returns `true` then. Returns `false` if the
    /// wait is to end.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot wait for the socket.
    #[cfg(unix)]
    pub fn wait(&self, socket: &impl AsFd) -> io::Result<bool> {
        let mut ready = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(self, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => return Ok(false),
            waited => waited?,
        };
        let [_, woken] = &ready;
        Ok(woken.revents().is_empty())
    }

    /// Waits until a listening socket has a connection, and returns `true` then. Returns `false` if the
    /// wait is to end.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot wait for the socket.
    #[cfg(windows)]
    pub fn wait(&self, socket: &impl AsFd) -> io::Result<bool> {
        let longest = Timespec::try_from(self.longest()).map_err(io::Error::other)?;
        let ready = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&longest))?;
        Ok(ready > 0)
    }
}

#[cfg(unix)]
impl AsFd for Pause {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

/// A stream that a [`Listener`](crate::Listener) can authenticate: a socket, references to which
/// are [`Read`] and [`Write`].
///
/// Every such type implements it: the streams of the standard library and of crates like `socket2`.
pub trait Connection: AsFd + Send + Sync + 'static {
    #[doc(hidden)]
    fn read_socket(&self, buf: &mut [u8]) -> io::Result<usize>;

    #[doc(hidden)]
    fn write_socket(&self, buf: &[u8]) -> io::Result<usize>;
}

impl<S> Connection for S
where
    S: AsFd + Send + Sync + 'static,
    for<'s> &'s S: Read + Write,
{
    fn read_socket(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut socket = self;
        socket.read(buf)
    }

    fn write_socket(&self, buf: &[u8]) -> io::Result<usize> {
        let mut socket = self;
        socket.write(buf)
    }
}

/// A socket in a handshake, which its [`Listener`](crate::Listener) can end from outside.
#[derive(Debug)]
pub struct Pending<S>(Arc<S>);

impl<S> Pending<S> {
    pub(super) fn new(socket: Arc<S>) -> Self {
        Self(socket)
    }

    /// Returns the socket once nobody else holds it.
    pub(super) fn into_inner(self) -> Option<S> {
        Arc::into_inner(self.0)
    }
}

impl<S> Deref for Pending<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Connection> Read for Pending<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_socket(buf)
    }
}

impl<S: Connection> Write for Pending<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_socket(buf)
    }

    /// A socket has nothing to flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsFd> AsFd for Pending<S> {
    #[cfg(unix)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    #[cfg(windows)]
    fn as_socket(&self) -> BorrowedFd<'_> {
        self.0.as_socket()
    }
}

/// Whether an accepted socket may be nonblocking because the listening socket is.
const INHERITS: bool = !cfg!(target_os = "linux");

impl Source for TcpListener {
    type Stream = TcpStream;

    fn accept(&self, pause: &Pause) -> io::Result<Option<(TcpStream, Option<SocketAddr>)>> {
        let accepted = accept(self, pause, || TcpListener::accept(self))?;
        let Some((stream, peer)) = accepted else {
            return Ok(None);
        };
        if INHERITS {
            stream.set_nonblocking(false)?;
        }
        Ok(Some((stream, Some(peer))))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        TcpListener::local_addr(self).ok()
    }
}

#[cfg(unix)]
impl Source for UnixListener {
    type Stream = UnixStream;

    fn accept(&self, pause: &Pause) -> io::Result<Option<(UnixStream, Option<SocketAddr>)>> {
        let accepted = accept(self, pause, || UnixListener::accept(self))?;
        let Some((stream, _)) = accepted else {
            return Ok(None);
        };
        if INHERITS {
            stream.set_nonblocking(false)?;
        }
        Ok(Some((stream, None)))
    }

    fn process(stream: &UnixStream) -> Option<Process> {
        Process::connected_to(stream)
    }
}

/// How many connections may wait in a socket that this crate has bound. The system may have a lower
/// limit.
const QUEUE: i32 = 4096;

/// Makes a bound socket listen, or lengthens the queue of one that listens.
///
/// The standard library and tokio give a TCP socket a queue of 128 connections. Of a thousand clients
/// that connect at once, each one that finds it full tries again after a second.
pub(crate) fn listen(socket: &impl AsFd) -> io::Result<()> {
    Ok(net::listen(socket, QUEUE)?)
}

/// Returns whether a connection waits in a listening socket now.
#[cfg(feature = "tokio")]
pub(crate) fn has_connection(socket: &impl AsFd) -> io::Result<bool> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&now))?;
    Ok(ready > 0)
}

/// Accepts once the socket has a connection. No flag of the socket is changed, because others may
/// hold the same socket.
fn accept<T>(
    socket: &impl AsFd,
    pause: &Pause,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<Option<T>> {
    if !pause.wait(socket)? {
        return Ok(None);
    }
    match call() {
        // Another holder of the socket was faster.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        accepted => accepted.map(Some),
    }
}
