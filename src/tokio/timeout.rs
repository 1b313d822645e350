//! One total deadline for a handshake.

use core::future::Future;
use core::time::Duration;
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::time::{Instant, timeout_at};

use crate::endpoint::linger;

/// When a whole handshake times out.
#[derive(Clone, Copy)]
pub(super) struct Timeout(Option<Instant>);

impl Timeout {
    pub(super) const NEVER: Self = Self(None);

    /// Never, too, if the clock cannot express the end.
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Returns the time that is left, which is endless without an end.
    pub(super) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    /// Waits until the peer has read what was sent to it and closes.
    pub(super) async fn linger<S>(self, stream: &mut S)
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        let soon = Self::after(linger::LONGEST);
        let timeout = Self(self.0.into_iter().chain(soon.0).min());
        let mut left = linger::MOST;
        // Small, since every pending login has room for it.
        let mut discarded = [0; 64];
        let mut ended = timeout.limit(stream.shutdown()).await.is_err();
        while !ended && left > 0 {
            match timeout.limit(stream.read(&mut discarded)).await {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => ended = true,
            }
        }
    }

    /// Awaits `io` until the end, and returns the error of a socket that timed out after it.
    pub(super) async fn limit<T>(self, io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        match self.0 {
            None => io.await,
            // A tokio timeout polls what is ready first, even if its time is over.
            Some(end) if Instant::now() >= end => Err(io::ErrorKind::TimedOut.into()),
            Some(end) => {
                (timeout_at(end, io).await).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}
