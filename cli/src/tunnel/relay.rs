//! Carries bytes between two streams, in both directions.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::socket::{Socket, end_as_usual};

/// The most that is read before it is written: two records of the longest kind, which a tunnel sends in
/// one call. Larger buffers cost more than they save, because they leave the cache.
const BUFFER: usize = 32 * 1024;

/// How many buffers a thread keeps: both directions of two connections.
const SPARE_MAX: usize = 4;

/// How long what a peer still sends is discarded, after nobody takes it and everything for that peer
/// is sent. A socket that is closed with unread bytes is reset, which destroys what was sent.
const LINGER: Duration = Duration::from_secs(1);

/// What was carried, and why it ended before both directions had.
pub(super) struct Carried {
    pub(super) from_plain: u64,
    pub(super) to_plain: u64,
    /// The time since anything was carried. A proxy that cuts idle connections shows in it.
    pub(super) silent: Duration,
    pub(super) cut: Option<Cut>,
}

const READING_TUNNEL: &str = "reading the tunnel";
const WRITING_TUNNEL: &str = "writing the tunnel";

/// Why a connection was cut.
#[derive(Debug)]
pub(super) struct Cut {
    doing: &'static str,
    error: io::Error,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.error)?;
        match self.doing {
            READING_TUNNEL | WRITING_TUNNEL => f.write_str("; the log of the other end says why"),
            _ => Ok(()),
        }
    }
}

/// Carries what the plain stream sends to the tunnel, and what the tunnel sends to the plain stream,
/// until both have ended.
///
/// The end of one direction is passed on and leaves the other as it is. A stream that cannot be read,
/// or that carried nothing for `idle`, ends both: the caller then drops the streams. If a stream can
/// only not be written, what it has sent is still carried.
pub(super) async fn relay(
    plain: &mut Socket,
    tunnel: &mut (impl AsyncRead + AsyncWrite + Unpin),
    idle: Option<Duration>,
) -> Carried {
    let mut from_plain = Direction::new("reading the plain side", WRITING_TUNNEL);
    let mut to_plain = Direction::new(READING_TUNNEL, "writing the plain side");
    let mut last = Last {
        carried: 0,
        at: Instant::now(),
    };
    let mut idle = pin!(idle.map(Idle::new));
    let ended = poll_fn(|cx| {
        let out = from_plain.poll(cx, plain, tunnel)?;
        let back = to_plain.poll(cx, tunnel, plain)?;
        last.note(from_plain.carried + to_plain.carried);
        if let (Poll::Ready(()), Poll::Ready(())) = (out, back) {
            return Poll::Ready(Ok(()));
        }
        match idle.as_mut().as_pin_mut() {
            Some(idle) => idle.poll(cx, last.at).map(Err),
            None => Poll::Pending,
        }
    })
    .await;
    // An error may have come right after bytes.
    last.note(from_plain.carried + to_plain.carried);
    if ended.is_ok() {
        // If it takes longer, the peer is cut, as it would be without.
        let _ = timeout(LINGER, async {
            from_plain.discard(plain).await;
            to_plain.discard(tunnel).await;
        })
        .await;
    }
    let cut = ended.err().or(from_plain.broken).or(to_plain.broken);
    Carried {
        from_plain: from_plain.carried,
        to_plain: to_plain.carried,
        silent: last.at.elapsed(),
        cut: match cut {
            None => end_as_usual(plain)
                .err()
                .map(|error| cut_at("closing", error)),
            cut => cut,
        },
    }
}

/// One direction.
struct Direction {
    reading: &'static str,
    writing: &'static str,
    buffer: Buffer,
    /// The range of the buffer that is read and not yet written.
    start: usize,
    end: usize,
    /// What was met after the bytes in the buffer: the end of the stream, or its error.
    met: Option<io::Result<()>>,
    unflushed: bool,
    /// The end is passed on, or nobody takes it.
    done: bool,
    /// Why the stream cannot be written.
    broken: Option<Cut>,
    carried: u64,
}

impl Direction {
    fn new(reading: &'static str, writing: &'static str) -> Self {
        Self {
            reading,
            writing,
            buffer: Buffer(None),
            start: 0,
            end: 0,
            met: None,
            unflushed: false,
            done: false,
            broken: None,
            carried: 0,
        }
    }

    /// Is ready when this direction has ended, and an error if the connection has to be cut.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Cut>> {
        while !self.done {
            if self.start == self.end {
                match self.met.take() {
                    None => ready!(self.poll_fill(cx, from, to)),
                    Some(Ok(())) => {
                        let shut_down = Pin::new(&mut *to).poll_shutdown(cx);
                        if shut_down.is_pending() {
                            self.met = Some(Ok(()));
                        }
                        self.ended(ready!(shut_down));
                    }
                    Some(Err(error)) => return Poll::Ready(Err(cut_at(self.reading, error))),
                }
            } else if let Err(error) = ready!(self.poll_drain(cx, to)) {
                self.ended(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads until nothing more is there, or the buffer is full. So what came in several pieces goes
    /// out in one.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<()> {
        let mut space = ReadBuf::new(self.buffer.hold());
        while self.met.is_none() && space.remaining() > 0 {
            let before = space.filled().len();
            match Pin::new(&mut *from).poll_read(cx, &mut space) {
                Poll::Ready(Ok(())) if space.filled().len() == before => self.met = Some(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.met = Some(Err(error)),
                Poll::Pending => break,
            }
        }
        (self.start, self.end) = (0, space.filled().len());
        if self.end > 0 {
            return Poll::Ready(());
        }
        self.buffer.release();
        if self.met.is_some() {
            return Poll::Ready(());
        }
        if self.unflushed {
            let flushed = ready!(Pin::new(to).poll_flush(cx));
            self.unflushed = false;
            if flushed.is_err() {
                self.ended(flushed);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some(held) = self.buffer.get(self.start, self.end) {
            let n = ready!(Pin::new(&mut *to).poll_write(cx, held))?;
            if n == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.start += n;
            self.carried += n as u64;
            self.unflushed = true;
        }
        self.buffer.release();
        Poll::Ready(Ok(()))
    }

    fn ended(&mut self, result: io::Result<()>) {
        self.done = true;
        self.buffer.release();
        self.broken = result.err().map(|error| cut_at(self.writing, error));
    }

    /// Reads to the end what nobody takes.
    async fn discard(&mut self, from: &mut (impl AsyncRead + Unpin)) {
        if self.broken.is_some() {
            // Whatever it ends with, the connection is over.
            let _ = tokio::io::copy(from, &mut tokio::io::sink()).await;
        }
    }
}

fn cut_at(doing: &'static str, error: io::Error) -> Cut {
    Cut { doing, error }
}

/// When something was carried last.
struct Last {
    carried: u64,
    at: Instant,
}

impl Last {
    fn note(&mut self, carried: u64) {
        if carried != self.carried {
            self.carried = carried;
            self.at = Instant::now();
        }
    }
}

/// Waits until nothing was carried for some time.
struct Idle {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            sleep: Box::pin(sleep(limit)),
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, last: Instant) -> Poll<Cut> {
        let end = last + self.limit;
        // The timer is moved only when it fires, and not for each read.
        while self.sleep.as_mut().poll(cx).is_ready() {
            if end <= Instant::now() {
                let error = io::Error::new(ErrorKind::TimedOut, "the idle timeout has passed");
                return Poll::Ready(cut_at("waiting", error));
            }
            self.sleep.as_mut().reset(end);
        }
        Poll::Pending
    }
}

thread_local! {
    /// The buffers of this thread that no direction needs now.
    static SPARE: Cell<Vec<Box<[u8]>>> = const { Cell::new(Vec::new()) };
}

/// A buffer, or none: a connection that is idle holds no memory for what it carries.
struct Buffer(Option<Box<[u8]>>);

impl Buffer {
    fn hold(&mut self) -> &mut [u8] {
        self.0.get_or_insert_with(|| {
            let mut spare = SPARE.take();
            let buffer = spare.pop();
            SPARE.set(spare);
            buffer.unwrap_or_else(|| vec![0; BUFFER].into())
        })
    }

    /// Returns what is in a range, if there is something in it.
    fn get(&self, start: usize, end: usize) -> Option<&[u8]> {
        let held = self.0.as_ref()?.get(start..end)?;
        (!held.is_empty()).then_some(held)
    }

    fn release(&mut self) {
        if let Some(buffer) = self.0.take() {
            let mut spare = SPARE.take();
            if spare.len() < SPARE_MAX {
                spare.push(buffer);
            }
            SPARE.set(spare);
        }
    }
}
