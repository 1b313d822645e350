//! One total deadline for a handshake.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::time::{Instant, sleep_until};

use crate::endpoint::linger;

/// When a whole handshake times out.
#[derive(Clone, Copy)]
pub(super) struct Timeout(Option<Instant>);

impl Timeout {
    pub(super) const NEVER: Self = Self(None);

    /// Runs what takes no longer than `timeout`, or as long as it likes if the clock cannot express
    /// the end.
    ///
    /// One timer serves all that is awaited meanwhile: it wakes the task at the end, where
    /// [`limit`](Self::limit) finds that the time is over.
    pub(super) async fn after<F: Future>(
        timeout: Duration,
        run: impl FnOnce(Self) -> F,
    ) -> F::Output {
        let end = Instant::now().checked_add(timeout);
        let mut running = pin!(run(Self(end)));
        let Some(end) = end else {
            return running.await;
        };
        let mut alarm = pin!(sleep_until(end));
        poll_fn(|cx| {
            let polled = running.as_mut().poll(cx);
            // An alarm that is over already wakes nobody, so this does.
            if polled.is_pending() && alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await
    }

    /// Returns the time that is left, which is endless without an end.
    pub(super) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    /// Awaits `io` until the end, and returns the error of a socket that timed out after it.
    pub(super) async fn limit<T>(self, io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut io = pin!(io);
        self.limit_poll(|cx| io.as_mut().poll(cx)).await
    }

    /// [`limit`](Self::limit) in less space.
    pub(super) fn limit_poll<T>(
        self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> impl Future<Output = io::Result<T>> {
        poll_fn(move |cx| {
            // Even if something is ready: a peer that always sends gets no more time than others.
            if self.0.is_some_and(|end| Instant::now() >= end) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            poll(cx)
        })
    }
}

/// Waits until the peer has read what was sent to it and closes, for at most as long as is `left`.
pub(super) async fn linger<S>(stream: &mut S, left: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    Timeout::after(left.min(linger::LONGEST), async |timeout| {
        let mut left = linger::MOST;
        // Small, since every pending login has room for it.
        let mut discarded = [0; 64];
        let mut ended = (timeout
            .limit_poll(|cx| pin!(stream.shutdown()).poll(cx))
            .await)
            .is_err();
        while !ended && left > 0 {
            let read = timeout.limit_poll(|cx| pin!(stream.read(&mut discarded)).poll(cx));
            match read.await {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => ended = true,
            }
        }
    })
    .await;
}
