//! One total deadline for a blocking stream.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use super::timed::Timed;
use crate::endpoint::linger;

/// A socket with one *total* deadline: a [`Read`] and [`Write`] that fails with
/// [`io::ErrorKind::TimedOut`] once the deadline has passed, even if bytes keep trickling in.
///
/// A socket's own timeouts start anew with each call, so a peer that sends a byte now and then can
/// hold a thread for ever. `Deadline` works under everything that reads and writes: this crate's
/// handshake, TLS, the application's first request.
///
/// It owns the stream or borrows it: `Deadline::new(stream, timeout)` or
/// `Deadline::new(&stream, timeout)`. [`Timed`] says which streams it takes. It changes nothing that
/// a clone of the socket shares, neither flags nor timeouts, and works on nonblocking sockets too.
///
/// ```
/// use countersign::Deadline;
/// use std::{io::{ErrorKind, Read}, net::{TcpListener, TcpStream}, time::Duration};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let silent = TcpStream::connect(listener.local_addr()?)?;
///
/// let mut deadline = Deadline::new(&silent, Duration::from_millis(10));
/// let error = deadline.read(&mut [0; 16]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Deadline<S> {
    stream: S,
    /// None if the deadline is later than the clock can express.
    end: Option<Instant>,
    /// None until there is a handle.
    handle: Option<DeadlineHandle>,
}

/// Lifts a [`Deadline`] from outside. It is returned by [`Deadline::handle`].
#[derive(Debug, Clone, Default)]
pub struct DeadlineHandle(Arc<Control>);

#[derive(Debug, Default)]
struct Control {
    lifted: AtomicBool,
    cancelled: AtomicBool,
}

/// How long a read or write may wait before it looks whether it was cancelled. On Windows a wait does
/// not end when another thread shuts the socket down.
const LONGEST_WAIT: Option<Duration> = if cfg!(windows) {
    Some(Duration::from_millis(50))
} else {
    None
};

impl<S> Deadline<S> {
    /// Starts the clock: the deadline passes after `timeout`.
    pub fn new(stream: S, timeout: Duration) -> Self {
        Self::until(stream, Instant::now().checked_add(timeout))
    }

    pub(super) fn until(stream: S, end: Option<Instant>) -> Self {
        Self {
            stream,
            end,
            handle: None,
        }
    }

    pub(super) fn with_handle(mut self, handle: DeadlineHandle) -> Self {
        self.handle = Some(handle);
        self
    }

    /// Returns a handle that lifts the deadline, for a stream that cannot be reached later because
    /// another one owns it.
    ///
    /// The first call allocates. Without it a `Deadline` allocates nothing.
    ///
    /// ```
    /// use countersign::Deadline;
    /// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut deadline =
    ///     Deadline::new(TcpStream::connect(listener.local_addr()?)?, Duration::from_millis(10));
    /// let handle = deadline.handle();
    /// let mut boxed: Box<dyn Read> = Box::new(deadline); // under TLS, for instance
    ///
    /// // ... the handshake, and then:
    /// handle.lift();
    /// # let mut peer = listener.accept()?.0;
    /// # let late = std::thread::spawn(move || {
    /// #     std::thread::sleep(Duration::from_millis(30));
    /// #     peer.write_all(b"hello").unwrap()
    /// # });
    /// boxed.read_exact(&mut [0; 5])?;
    /// # late.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handle(&mut self) -> DeadlineHandle {
        self.handle.get_or_insert_default().clone()
    }

    /// Returns the stream below, for its address or its options.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream, without the deadline.
    pub fn into_inner(self) -> S {
        self.stream
    }

    fn is_lifted(&self) -> bool {
        (self.handle.as_ref()).is_some_and(|handle| handle.0.lifted.load(Ordering::Relaxed))
    }

    fn is_cancelled(&self) -> bool {
        (self.handle.as_ref()).is_some_and(|handle| handle.0.cancelled.load(Ordering::Relaxed))
    }

    /// Calls a read or write that ends at the deadline at the latest.
    fn limit(
        &mut self,
        end: Option<Instant>,
        mut call: impl FnMut(&mut S, Option<Instant>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            if self.is_cancelled() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let turn = LONGEST_WAIT.and_then(|wait| Instant::now().checked_add(wait));
            let until = end.into_iter().chain(turn).min();
            match call(&mut self.stream, until) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut && until != end => {}
                done => return done,
            }
        }
    }
}

impl<S: Timed> Deadline<S> {
    /// Waits until the peer has read what was sent to it and closes.
    pub(super) fn linger(&mut self) {
        let soon = Instant::now().checked_add(linger::LONGEST);
        let end = self.end.into_iter().chain(soon).min();
        let mut left = linger::MOST;
        let mut discarded = [0; 512];
        let mut ended = self.stream.shut_down(Shutdown::Write).is_err();
        while !ended && left > 0 {
            let read = self.limit(end, |stream, end| stream.read_until(&mut discarded, end));
            match read {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => ended = true,
            }
        }
    }
}

impl DeadlineHandle {
    /// Lifts the deadline: each read or write that begins after this is the stream's own, with the
    /// stream's own timeouts.
    pub fn lift(&self) {
        self.0.lifted.store(true, Ordering::Relaxed);
    }

    /// Ends whatever waits, within [`LONGEST_WAIT`] if there is one.
    pub(super) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

impl<S: Timed + Read> Read for Deadline<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_lifted() {
            return self.stream.read(buf);
        }
        self.limit(self.end, |stream, end| stream.read_until(buf, end))
    }
}

impl<S: Timed + Write> Write for Deadline<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.is_lifted() {
            return self.stream.write(buf);
        }
        self.limit(self.end, |stream, end| stream.write_until(buf, end))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_lifted() {
            return self.stream.write_vectored(bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        let first = first.map_or(&[][..], |buf| buf);
        self.limit(self.end, |stream, end| stream.write_until(first, end))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_lifted() {
            return self.stream.flush();
        }
        self.stream.flush_until(self.end)
    }
}
