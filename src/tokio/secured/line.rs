//! The stream below, and what is still to be sent on it.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker, ready};
use std::io;
use std::sync::Arc;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::adapter::{Writing, poll_writing};
use super::wakers::Wakers;
use crate::record::Protection;
use crate::secured::Outgoing;

/// The stream below, and what is still to be sent on it: what both halves use.
pub(super) struct Line<S, P> {
    pub(super) stream: S,
    outgoing: Outgoing<P>,
    wakers: Arc<Wakers>,
    /// Wakes both tasks. The stream below gets it for everything that it sends.
    both: Waker,
    /// Some systems do not wake a task when its socket is shut down at this end.
    aborted: AtomicBool,
}

impl<S, P> Line<S, P> {
    pub(super) fn new(stream: S, outgoing: Outgoing<P>) -> Self {
        let wakers = Arc::<Wakers>::default();
        Self {
            stream,
            outgoing,
            both: Arc::clone(&wakers).into(),
            wakers,
            aborted: AtomicBool::new(false),
        }
    }

    /// Ends what waits in either direction, and whatever follows.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.both.wake_by_ref();
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protection> Line<S, P> {
    /// Reads the stream below, and first sends what the writer has left: whoever writes a request and
    /// then only reads must not wait for the answer to half of it.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // Even if nothing is left now, a later write may leave something.
        self.wakers.reader.set(cx.waker());
        // The error of the sending is the writer's, which is told it by its next call.
        if self.outgoing.has_unsent() && self.poll_outgoing(|it, stream| it.send(stream)).is_ready()
        {
            self.wakers.writer.wake();
        }
        if self.is_aborted() {
            return Poll::Ready(Ok(0));
        }
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<S: AsyncWrite + Unpin, P: Protection> Line<S, P> {
    pub(super) fn poll_write<'d>(
        &mut self,
        cx: &mut Context<'_>,
        parts: impl Iterator<Item = &'d [u8]> + Clone,
    ) -> Poll<io::Result<usize>> {
        self.wakers.writer.set(cx.waker());
        self.poll_outgoing(|outgoing, stream| outgoing.write(stream, parts))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wakers.writer.set(cx.waker());
        self.poll_outgoing(|outgoing, stream| outgoing.flush(stream))
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wakers.writer.set(cx.waker());
        let closed = ready!(self.poll_outgoing(|outgoing, stream| outgoing.close(stream)));
        let shut_down =
            Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(&self.both));
        match closed {
            Ok(()) => shut_down,
            // The stream below is shut down all the same, but why it has no close says more.
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_outgoing<T>(
        &mut self,
        code: impl FnOnce(&mut Outgoing<P>, &mut Writing<'_, '_, S>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if self.is_aborted() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let cx = &mut Context::from_waker(&self.both);
        poll_writing(Pin::new(&mut self.stream), cx, |stream| {
            code(&mut self.outgoing, stream)
        })
    }
}
