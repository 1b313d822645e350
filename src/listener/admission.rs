//! Who is let in and who is evicted, without I/O, threads or tasks.

mod pending;
mod source;
#[cfg(test)]
mod tests;

use core::fmt;
use core::hash::BuildHasher;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::hash::RandomState;
use std::time::Instant;
use std::vec::Vec;

use self::pending::Pending;
pub(crate) use self::pending::Ticket;
pub(crate) use self::source::Source;

/// The connections of a listener: those whose handshake is pending (`P`), and the streams that wait
/// to be taken (`T`).
///
/// At most `max_pending` handshakes are pending, and [`Pending`] chooses the one that a new
/// connection evicts. While `max_ready` streams wait, no further connection should be accepted.
/// Handshakes that are pending then still finish, and their streams are never evicted.
pub(crate) struct Admission<P, T> {
    max_ready: usize,
    pending: Pending<P>,
    /// Evicted handshakes that have not left, and when they were evicted.
    evicted: BTreeMap<Ticket, Instant>,
    /// Handshakes that were admitted and have not left, evicted ones included.
    running: usize,
    ready: VecDeque<T>,
    closed: bool,
    /// Nobody will take what is ready.
    abandoned: bool,
}

/// What there is to take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    Stream(T),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    Ended,
}

/// How a connection that could not be accepted or started may get what it lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shrunk<P> {
    /// This handshake was evicted. Try again once a handshake has left.
    Evicted(P),
    /// Handshakes that were evicted before have not left yet. Try again once one has.
    Leaving,
    /// No handshake is pending. Pause.
    Nothing,
}

/// An evicted handshake that has not left after this time is in a hook or a look-up that blocks.
const STUCK: Duration = Duration::from_secs(1);

impl<P, T> Admission<P, T> {
    pub(crate) fn new(max_pending: usize, max_ready: usize) -> Self {
        Self::seeded(max_pending, max_ready, RandomState::new().hash_one(()))
    }

    fn seeded(max_pending: usize, max_ready: usize, seed: u64) -> Self {
        Self {
            max_ready,
            pending: Pending::new(max_pending, seed),
            evicted: BTreeMap::new(),
            running: 0,
            ready: VecDeque::new(),
            closed: false,
            abandoned: false,
        }
    }

    /// Returns whether a further connection should be accepted now.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.len() < self.max_ready
    }

    /// Admits a connection that was accepted at `now`, and returns its ticket and the pending
    /// handshake that it evicts. Returns `None` after [`close`](Self::close).
    pub(crate) fn admit(
        &mut self,
        source: Source,
        handshake: P,
        now: Instant,
    ) -> Option<(Ticket, Option<P>)> {
        if self.closed {
            return None;
        }
        self.running += 1;
        let (ticket, evicted) = self.pending.enter(source, handshake, now);
        Some((ticket, evicted.map(|evicted| self.evict(evicted, now))))
    }

    /// Evicts a pending handshake because a descriptor, a thread or memory ran out, and admits fewer
    /// for a while.
    ///
    /// While evicted handshakes have not left, there is nothing to gain from evicting more: if a hook
    /// blocks them, all others would follow.
    pub(crate) fn shrink(&mut self, now: Instant) -> Shrunk<P> {
        (self.evicted).retain(|_, since| now.saturating_duration_since(*since) < STUCK);
        if !self.evicted.is_empty() {
            return Shrunk::Leaving;
        }
        match self.pending.shrink(now) {
            Some(evicted) => Shrunk::Evicted(self.evict(evicted, now)),
            None => Shrunk::Nothing,
        }
    }

    fn evict(&mut self, (ticket, handshake): (Ticket, P), now: Instant) -> P {
        self.evicted.insert(ticket, now);
        handshake
    }

    /// Returns a handshake that is still pending.
    #[cfg(feature = "tokio")]
    pub(crate) fn pending_mut(&mut self, ticket: Ticket) -> Option<&mut P> {
        self.pending.get_mut(ticket)
    }

    /// Ends the wait for a handshake, and returns it if it was still pending. Only then does its
    /// outcome count: otherwise it was evicted.
    pub(crate) fn settle(&mut self, ticket: Ticket) -> Option<P> {
        self.pending.remove(ticket)
    }

    /// Lets a stream wait to be taken. Its handshake has been settled. Returns the stream if nobody
    /// will take it.
    #[must_use]
    pub(crate) fn deliver(&mut self, stream: T) -> Option<T> {
        if self.abandoned {
            return Some(stream);
        }
        self.ready.push_back(stream);
        None
    }

    /// Records that an admitted handshake has left, whatever became of it: what it held is free.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.settle(ticket);
        self.evicted.remove(&ticket);
        self.running -= 1;
    }

    /// Takes the stream that has waited longest.
    pub(crate) fn take(&mut self) -> Taken<T> {
        match self.ready.pop_front() {
            Some(stream) => Taken::Stream(stream),
            None if self.closed && self.running == 0 => Taken::Ended,
            None => Taken::Nothing,
        }
    }

    /// Records that no further connection will be admitted.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Returns whether no further connection will be admitted.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Records that nobody will take a stream any more. Evicts every pending handshake, the oldest
    /// first, and returns them and the streams that wait.
    pub(crate) fn abandon(&mut self, now: Instant) -> (Vec<P>, VecDeque<T>) {
        self.closed = true;
        self.abandoned = true;
        let all = self.pending.remove_all();
        let evicted = all.map(|evicted| self.evict(evicted, now)).collect();
        (evicted, core::mem::take(&mut self.ready))
    }

    /// Returns whether nobody will take a stream any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Returns whether a handshake was evicted and has not left.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_evicted(&self, ticket: Ticket) -> bool {
        self.evicted.contains_key(&ticket)
    }

    /// Returns how many handshakes are pending and how many streams wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.pending.len(), self.ready.len())
    }

    /// Shows how many handshakes are pending and how many streams wait.
    pub(crate) fn fmt_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pending, ready) = self.counts();
        f.debug_struct("Listener")
            .field("pending", &pending)
            .field("ready", &ready)
            .finish_non_exhaustive()
    }
}
