//! Measures a login in memory with both ends in one thread: the time of each end, its allocations,
//! and the messages.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::allocations::Allocations;
use crate::peers::Peer;

/// The costs of a login. Where there are two values, the client's is the first.
pub struct Costs {
    pub times: [Duration; 2],
    pub allocations: [Allocations; 2],
    pub bytes: usize,
    pub messages: usize,
}

/// For logins with a timeout, which never ends here.
static TIMER: LazyLock<Runtime> = LazyLock::new(|| {
    let timer = Builder::new_current_thread().enable_time().build();
    timer.unwrap_or_else(|error| unreachable!("{error}"))
});

/// The limit of turns for a login.
const TURNS_MAX: usize = 64;

/// The number of counted logins in a turn. The login before is not counted: it finds the caches as
/// another peer left them.
pub fn second_login(peer: &dyn Peer) -> Result<Costs> {
    login(peer)?;
    login(peer)
}

fn login(peer: &dyn Peer) -> Result<Costs> {
    let _entered = TIMER.enter();
    let wire = Arc::new(Mutex::new(Wire::new()));
    let end = |side| End {
        wire: wire.clone(),
        side,
    };
    let (mut near, mut far) = (end(0), end(1));
    let mut logins = [peer.connect_async(&mut near), peer.accept_async(&mut far)];
    let mut ended = [false; 2];
    let mut times = [Duration::ZERO; 2];
    let mut allocations = [Allocations::default(); 2];
    let mut context = Context::from_waker(Waker::noop());
    for side in (0..TURNS_MAX).map(|turn| turn % 2) {
        if ended[side] {
            continue;
        }
        let before = Allocations::now();
        let start = Instant::now();
        let polled = logins[side].as_mut().poll(&mut context);
        times[side] += start.elapsed();
        allocations[side] += Allocations::now() - before;
        if let Poll::Ready(outcome) = polled {
            outcome?;
            ended[side] = true;
        }
        if ended == [true; 2] {
            let wire = wire.lock().unwrap_or_else(|_| unreachable!());
            return Ok(Costs {
                times,
                allocations,
                bytes: wire.bytes,
                messages: wire.messages,
            });
        }
    }
    bail!("the two ends wait for each other")
}

struct Wire {
    /// Bytes on their way to the client, and to the server.
    queues: [Vec<u8>; 2],
    bytes: usize,
    messages: usize,
    last_writer: Option<usize>,
}

impl Wire {
    fn new() -> Self {
        // Large enough that no end has to allocate more.
        let queue = || Vec::with_capacity(1 << 14);
        Self {
            queues: [queue(), queue()],
            bytes: 0,
            messages: 0,
            last_writer: None,
        }
    }
}

struct End {
    wire: Arc<Mutex<Wire>>,
    side: usize,
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.wire.lock().unwrap_or_else(|_| unreachable!());
        let queue = &mut wire.queues[self.side];
        if queue.is_empty() {
            // Polled again after the turn of the other end.
            return Poll::Pending;
        }
        let len = queue.len().min(buffer.remaining());
        buffer.put_slice(&queue[..len]);
        queue.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.wire.lock().unwrap_or_else(|_| unreachable!());
        wire.queues[1 - self.side].extend_from_slice(bytes);
        wire.bytes += bytes.len();
        if wire.last_writer.replace(self.side) != Some(self.side) {
            wire.messages += 1;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
