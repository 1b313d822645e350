//! Reads and writes of a socket that end at a point in time.

use core::time::Duration;
use std::io;
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsSocket as AsFd, BorrowedSocket as BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{recv, send, shutdown};

/// A stream whose reads and writes can end at a deadline: any socket, owned or borrowed.
///
/// A socket is what implements `AsFd` on Unix or `AsSocket` on Windows: the streams of the standard
/// library and of other crates, and `&`, `&mut`, `Box` and `Arc` of one. On anything else that has a
/// file descriptor, such as a pipe or a file, a read or write fails with
/// [`io::ErrorKind::InvalidInput`].
///
/// It touches no flag and no timeout of the socket, so clones of the socket are not affected, and it
/// works on nonblocking sockets too. The trait is sealed.
///
/// On Windows a deadline bounds the wait until a socket is ready, but not the read or write that
/// follows. A read can outlast the deadline if two threads read from one socket. Writes are made in
/// pieces of 4,096 bytes, which the buffers of Windows take at once.
pub trait Timed: Sealed {
    /// Reads until `end` at the latest, or for as long as it takes.
    #[doc(hidden)]
    fn read_until(&mut self, buf: &mut [u8], end: Option<Instant>) -> io::Result<usize>;

    /// Writes until `end` at the latest, or for as long as it takes.
    #[doc(hidden)]
    fn write_until(&mut self, buf: &[u8], end: Option<Instant>) -> io::Result<usize>;

    /// Flushes until `end` at the latest, or for as long as it takes.
    #[doc(hidden)]
    fn flush_until(&mut self, end: Option<Instant>) -> io::Result<()>;

    /// Reads, or writes if only that is possible, until `end` at the latest.
    #[doc(hidden)]
    fn read_or_write_until(
        &mut self,
        buf: &mut [u8],
        _unsent: &[u8],
        end: Option<Instant>,
    ) -> io::Result<Moved> {
        self.read_until(buf, end).map(Moved::Read)
    }

    /// Ends one direction of the connection, or both.
    #[doc(hidden)]
    fn shut_down(&self, how: Shutdown) -> io::Result<()>;
}

/// What a call that may read or write has done.
#[doc(hidden)]
#[derive(Debug)]
pub enum Moved {
    Read(usize),
    /// An error of writing. Reading can still succeed.
    Written(io::Result<usize>),
}

#[doc(hidden)]
pub trait Sealed {}

impl<S: AsFd> Sealed for S {}

impl<S: AsFd> Timed for S {
    fn read_until(&mut self, buf: &mut [u8], end: Option<Instant>) -> io::Result<usize> {
        attempt(borrow(self), PollFlags::IN, end, |socket| {
            recv(socket, &mut *buf, system::RECV).map(|(n, _)| n)
        })
    }

    fn write_until(&mut self, buf: &[u8], end: Option<Instant>) -> io::Result<usize> {
        let piece = buf.get(..system::PIECE).unwrap_or(buf);
        attempt(borrow(self), PollFlags::OUT, end, |socket| {
            send(socket, piece, system::SEND)
        })
    }

    /// A socket has nothing to flush.
    fn flush_until(&mut self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }

    fn read_or_write_until(
        &mut self,
        buf: &mut [u8],
        unsent: &[u8],
        end: Option<Instant>,
    ) -> io::Result<Moved> {
        let (socket, piece) = (borrow(self), unsent.get(..system::PIECE).unwrap_or(unsent));
        loop {
            let left = left(end)?;
            let mut polled = [PollFd::new(&socket, PollFlags::IN | PollFlags::OUT)];
            match poll(&mut polled, left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => continue,
                waited => waited?,
            };
            let [polled] = &polled;
            // Whatever else there is, reading finds: data, the end, or an error.
            if polled.revents() == PollFlags::OUT {
                if let Some(written) = finished(send(socket, piece, system::SEND)) {
                    return Ok(Moved::Written(written));
                }
            } else if let Some(read) =
                finished(recv(socket, &mut *buf, system::RECV).map(|(n, _)| n))
            {
                return read.map(Moved::Read);
            }
        }
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        match shutdown(borrow(self), how) {
            // The connection has ended already.
            Err(Errno::NOTCONN) => Ok(()),
            done => Ok(done?),
        }
    }
}

/// Repeats `call` until it succeeds or fails, and waits in between until the socket is ready.
fn attempt(
    socket: BorrowedFd<'_>,
    ready: PollFlags,
    end: Option<Instant>,
    mut call: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
) -> io::Result<usize> {
    loop {
        // Before the call, or a peer that always has another byte would have no deadline.
        let left = left(end)?;
        if !system::CALL_BLOCKS
            && let Some(result) = finished(call(socket))
        {
            return result;
        }
        let waited = poll(&mut [PollFd::new(&socket, ready)], left.as_ref());
        match waited {
            // The end has come, or the longest wait is over.
            Ok(0) | Err(Errno::INTR) => continue,
            waited => waited?,
        };
        if let Some(result) = finished(call(socket)) {
            return result;
        }
    }
}

/// Returns the result of a call, or `None` if it has to be repeated.
fn finished(result: Result<usize, Errno>) -> Option<io::Result<usize>> {
    match result {
        Err(Errno::WOULDBLOCK | Errno::INTR) => None,
        Err(Errno::NOTSOCK) => Some(Err(not_a_socket())),
        result => Some(result.map_err(io::Error::from)),
    }
}

/// The longest wait at once. Some systems count a wait in milliseconds, in 31 bits.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns how long to wait: until the end, or for ever.
fn left(end: Option<Instant>) -> io::Result<Option<Timespec>> {
    let Some(end) = end else {
        return Ok(None);
    };
    match end.checked_duration_since(Instant::now()) {
        None | Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
        Some(left) => Timespec::try_from(left.min(LONGEST))
            .map(Some)
            .map_err(io::Error::other),
    }
}

fn not_a_socket() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "a deadline needs a socket; this is a pipe, a file or a terminal",
    )
}

#[cfg(unix)]
fn borrow<S: AsFd>(socket: &S) -> BorrowedFd<'_> {
    socket.as_fd()
}

#[cfg(windows)]
fn borrow<S: AsFd>(socket: &S) -> BorrowedFd<'_> {
    socket.as_socket()
}

/// A read or write that returns at once if the socket is not ready.
#[cfg(unix)]
mod system {
    use rustix::net::{RecvFlags, SendFlags};

    pub(super) const CALL_BLOCKS: bool = false;
    pub(super) const PIECE: usize = usize::MAX;
    pub(super) const RECV: RecvFlags = RecvFlags::DONTWAIT;
    /// Where there is no flag against the signal, the standard library sets an option of its sockets.
    #[cfg(target_vendor = "apple")]
    pub(super) const SEND: SendFlags = SendFlags::DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    pub(super) const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
}

/// There is no such read or write. So wait first, and write little.
#[cfg(windows)]
mod system {
    use rustix::net::{RecvFlags, SendFlags};

    pub(super) const CALL_BLOCKS: bool = true;
    pub(super) const PIECE: usize = 4096;
    pub(super) const RECV: RecvFlags = RecvFlags::empty();
    pub(super) const SEND: SendFlags = SendFlags::empty();
}
