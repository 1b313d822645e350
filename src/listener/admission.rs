//! Who is let in and who is evicted, without I/O, threads or tasks.

use std::collections::VecDeque;

/// The connections of a listener: those whose handshake is pending (`P`), and the streams that wait
/// to be taken (`T`).
///
/// At most `max_pending` handshakes are pending. A new connection evicts the oldest one. While
/// `max_ready` streams wait, no further connection should be accepted. Handshakes that are pending
/// then still finish, and their streams are never evicted.
pub(crate) struct Admission<P, T> {
    max_pending: usize,
    max_ready: usize,
    next: Ticket,
    /// The oldest first.
    pending: VecDeque<(Ticket, P)>,
    /// Handshakes that were admitted and have not left, evicted ones included.
    running: usize,
    ready: VecDeque<T>,
    closed: bool,
}

/// Names one handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What there is to take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    Stream(T),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    Ended,
}

impl<P, T> Admission<P, T> {
    pub(crate) fn new(max_pending: usize, max_ready: usize) -> Self {
        Self {
            max_pending,
            max_ready,
            next: Ticket(0),
            pending: VecDeque::new(),
            running: 0,
            ready: VecDeque::new(),
            closed: false,
        }
    }

    /// Returns whether a further connection should be accepted now.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.len() < self.max_ready
    }

    /// Admits a connection, and returns its ticket and the pending handshake that it evicts. Returns
    /// `None` after [`close`](Self::close).
    pub(crate) fn admit(&mut self, handshake: P) -> Option<(Ticket, Option<P>)> {
        if self.closed {
            return None;
        }
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        self.running += 1;
        self.pending.push_back((ticket, handshake));
        let evicted = (self.pending.len() > self.max_pending)
            .then(|| self.pending.pop_front())
            .flatten();
        Some((ticket, evicted.map(|(_, handshake)| handshake)))
    }

    /// Returns a handshake that is still pending.
    #[cfg(feature = "tokio")]
    pub(crate) fn pending_mut(&mut self, ticket: Ticket) -> Option<&mut P> {
        let at = self.position(ticket)?;
        self.pending.get_mut(at).map(|(_, handshake)| handshake)
    }

    /// Ends the wait for a handshake, and returns whether it was still pending. Only then does its
    /// outcome count: otherwise it was evicted.
    pub(crate) fn settle(&mut self, ticket: Ticket) -> bool {
        let at = self.position(ticket);
        at.is_some_and(|at| self.pending.remove(at).is_some())
    }

    /// Lets a stream wait to be taken. Its handshake has been settled.
    pub(crate) fn deliver(&mut self, stream: T) {
        self.ready.push_back(stream);
    }

    /// Records that an admitted handshake has left, whatever became of it.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.settle(ticket);
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
    #[cfg(feature = "net")]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Evicts every pending handshake.
    pub(crate) fn evict_all(&mut self) -> impl Iterator<Item = P> + use<P, T> {
        core::mem::take(&mut self.pending)
            .into_iter()
            .map(|(_, handshake)| handshake)
    }

    /// Returns how many handshakes are pending and how many streams wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.pending.len(), self.ready.len())
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        (self.pending)
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
            .ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use std::vec::Vec;

    use super::*;

    type Names = Admission<&'static str, &'static str>;

    #[test]
    fn one_more_than_the_cap_evicts_the_oldest() {
        let mut admission = Names::new(2, 1);
        let (first, evicted) = admission.admit("first").unwrap();
        assert_eq!(evicted, None);
        let (second, evicted) = admission.admit("second").unwrap();
        assert_eq!(evicted, None);
        let (_, evicted) = admission.admit("third").unwrap();
        assert_eq!(evicted, Some("first"));
        assert!(
            !admission.settle(first),
            "an evicted handshake has no outcome"
        );
        assert!(admission.settle(second));
        assert!(!admission.settle(second), "an outcome counts once");
        let (_, evicted) = admission.admit("fourth").unwrap();
        assert_eq!(evicted, None, "a settled handshake leaves room");
    }

    #[test]
    fn streams_are_taken_in_the_order_in_which_they_were_delivered() {
        let mut admission = Names::new(2, 2);
        assert_eq!(admission.take(), Taken::Nothing);
        for name in ["a", "b"] {
            assert!(admission.has_room());
            let (ticket, _) = admission.admit(name).unwrap();
            assert!(admission.settle(ticket));
            admission.deliver(name);
            admission.leave(ticket);
        }
        assert!(!admission.has_room());
        assert_eq!(admission.take(), Taken::Stream("a"));
        assert!(admission.has_room());
        assert_eq!(admission.take(), Taken::Stream("b"));
        assert_eq!(admission.take(), Taken::Nothing);
    }

    #[test]
    fn the_end_comes_after_the_last_handshake_has_left_and_the_last_stream_is_taken() {
        let mut admission = Names::new(1, 1);
        let (evicted, _) = admission.admit("evicted").unwrap();
        let (last, _) = admission.admit("last").unwrap();
        admission.close();
        assert_eq!(admission.admit("too late"), None);
        assert_eq!(admission.take(), Taken::Nothing);
        admission.leave(evicted);
        assert!(admission.settle(last));
        admission.deliver("last");
        admission.leave(last);
        assert_eq!(admission.take(), Taken::Stream("last"));
        assert_eq!(admission.take(), Taken::Ended);
    }

    #[test]
    fn all_pending_handshakes_are_evicted_and_waiting_streams_stay() {
        let mut admission = Names::new(3, 3);
        let (done, _) = admission.admit("done").unwrap();
        assert!(admission.settle(done));
        admission.deliver("done");
        for name in ["a", "b"] {
            assert!(admission.admit(name).is_some());
        }
        assert_eq!(admission.evict_all().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(admission.counts(), (0, 1));
        assert_eq!(admission.take(), Taken::Stream("done"));
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn a_pending_handshake_can_be_changed_until_it_is_evicted() {
        let mut admission = Names::new(1, 1);
        let (first, _) = admission.admit("first").unwrap();
        *admission.pending_mut(first).expect("it is pending") = "changed";
        let (_, evicted) = admission.admit("second").unwrap();
        assert_eq!(evicted, Some("changed"));
        assert_eq!(admission.pending_mut(first), None);
    }
}
