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
    lifted: Option<Arc<AtomicBool>>,
}

/// Lifts a [`Deadline`] from outside. It is returned by [`Deadline::handle`].
#[derive(Debug, Clone)]
pub struct DeadlineHandle {
    lifted: Arc<AtomicBool>,
}

impl<S> Deadline<S> {
    /// Starts the clock: the deadline passes after `timeout`.
    pub fn new(stream: S, timeout: Duration) -> Self {
        Self::until(stream, Instant::now().checked_add(timeout))
    }

    pub(super) fn until(stream: S, end: Option<Instant>) -> Self {
        Self {
            stream,
            end,
            lifted: None,
        }
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
        let lifted = self.lifted.get_or_insert_default();
        DeadlineHandle {
            lifted: Arc::clone(lifted),
        }
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
        (self.lifted.as_ref()).is_some_and(|lifted| lifted.load(Ordering::Relaxed))
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
            match self.stream.read_until(&mut discarded, end) {
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
        self.lifted.store(true, Ordering::Relaxed);
    }
}

impl<S: Timed + Read> Read for Deadline<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_lifted() {
            return self.stream.read(buf);
        }
        self.stream.read_until(buf, self.end)
    }
}

impl<S: Timed + Write> Write for Deadline<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.is_lifted() {
            return self.stream.write(buf);
        }
        self.stream.write_until(buf, self.end)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_lifted() {
            return self.stream.write_vectored(bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.stream
            .write_until(first.map_or(&[], |buf| buf), self.end)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_lifted() {
            return self.stream.flush();
        }
        self.stream.flush_until(self.end)
    }
}
