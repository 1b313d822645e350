//! The task that accepts.

use core::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::task::yield_now;
use ::tokio::time::{sleep, timeout};

use super::handshake::Handshake;
use super::shared::{Pending, Shared};
use crate::listener::admission::{Shrunk, Source as Origin};
use crate::listener::{Arrival, Attempt, Outcome, PAUSE, Trouble};
use crate::tokio::source::Source;
use crate::tokio::timeout::Timeout;

/// Accepts until the source has no more connections.
pub(super) async fn accept<L, A, J, F, T, U>(shared: Arc<Shared<T>>, mut source: L, attempt: A)
where
    L: Source,
    A: Fn(L::Stream) -> J,
    J: FnOnce(Timeout) -> F + Send + 'static,
    F: Future<Output = Attempt<T, U>> + Send + 'static,
    T: Send + 'static,
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    loop {
        shared.has_room().await;
        match poll_fn(|cx| source.poll_accept(cx)).await {
            Ok((stream, peer)) => {
                let arrival = Arrival::now(peer, L::process(&stream));
                if admit(&shared, arrival, attempt(stream)) {
                    // The evicted task holds its descriptor until the runtime drops it. A burst that is
                    // accepted without a pause would hold as many of them as it has connections.
                    yield_now().await;
                }
            }
            Err(error) => match Trouble::of(&error) {
                Trouble::Final => {
                    shared.lock().failure = Some(error);
                    return;
                }
                Trouble::Passing => yield_now().await,
                // After the pause it is worth another try, whatever has left.
                Trouble::Nobody => {
                    let _ = timeout(PAUSE, shared.room.notified()).await;
                }
                Trouble::Shortage if make_room(&shared).await => {}
                Trouble::Shortage | Trouble::Unknown => fail(&shared, error).await,
            },
        }
    }
}

/// Starts a task for the connection. Returns whether it evicted a handshake, because too many were
/// pending.
fn admit<J, F, T, U>(shared: &Arc<Shared<T>>, arrival: Arrival, attempt: J) -> bool
where
    J: FnOnce(Timeout) -> F + Send + 'static,
    F: Future<Output = Attempt<T, U>> + Send + 'static,
    T: Send + 'static,
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pending = Pending {
        task: None,
        arrival,
        reported: false,
    };
    let origin = Origin::of(arrival.peer);
    let admitted = (shared.lock().admission).admit(origin, pending, arrival.began);
    let Some((ticket, evicted)) = admitted else {
        shared.hooks.report_apart(arrival, Outcome::ShutDown);
        return false;
    };
    if let Some(evicted) = &evicted {
        shared.end(evicted, Outcome::Evicted);
    }
    let handshake = Handshake {
        ticket,
        shared: Arc::clone(shared),
    };
    // Not under the lock: a runtime that is shutting down drops the task here and now.
    let task = ::tokio::spawn(handshake.run(arrival.began, attempt)).abort_handle();
    let admission = &mut shared.lock().admission;
    if let Some(pending) = admission.pending_mut(ticket) {
        pending.task = Some(task);
    } else if admission.is_evicted(ticket) {
        task.abort();
    }
    evicted.is_some()
}

/// Evicts a handshake because something ran out, and waits until one has left. Returns `false` if
/// none is pending.
async fn make_room<T>(shared: &Shared<T>) -> bool {
    let left = shared.room.notified();
    let shrunk = shared.lock().admission.shrink(Instant::now());
    match shrunk {
        Shrunk::Evicted(evicted) => shared.end(&evicted, Outcome::Evicted),
        Shrunk::Leaving => {}
        Shrunk::Nothing => return false,
    }
    // After the pause it is worth another try, whatever has left.
    let _ = timeout(PAUSE, left).await;
    true
}

/// Reports a connection that could not be accepted, and pauses.
async fn fail<T>(shared: &Shared<T>, error: io::Error) {
    shared
        .hooks
        .report_apart(Arrival::of_nobody(), Outcome::Failed(error));
    sleep(PAUSE).await;
}

/// Dropping it records that no further connection will be admitted.
pub(super) struct Closing<T>(pub(super) Arc<Shared<T>>);

impl<T> Drop for Closing<T> {
    fn drop(&mut self) {
        self.0.lock().admission.close();
        self.0.arrived.notify_waiters();
    }
}
