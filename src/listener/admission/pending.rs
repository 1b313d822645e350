//! The pending handshakes, and the policy that chooses which of them is evicted.

use core::cmp::Reverse;
use core::hash::Hasher;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::DefaultHasher;
use std::time::Instant;

use super::source::Source;

/// Names one handshake. Tickets are ordered by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The pending handshakes, in two parts.
///
/// - The *hall* has the newest two thirds of the limit. The oldest leaves it first, so every
///   connection is safe until that many have arrived after it, wherever they come from.
/// - The *kept* ones have outlived the hall. They are at most one third of the limit, and are shared
///   between the sources. So a flood from few sources displaces its own connections only, and in a
///   herd some clients always have the time to finish.
///
/// Nothing but the order of arrival, the source and the age has an influence: a peer that knows the
/// policy cannot improve its place by what it sends.
pub(super) struct Pending<P> {
    cap: usize,
    /// The limit that the last [`shrink`](Self::shrink) left, and when.
    shrunk: Option<(usize, Instant)>,
    /// Makes [`grace`](Self::grace) unpredictable.
    seed: u64,
    next: Ticket,
    entries: BTreeMap<Ticket, Entry<P>>,
    /// The entries before this ticket are kept. The others are in the hall.
    hall: Ticket,
    kept: Shares,
}

struct Entry<P> {
    source: Source,
    began: Instant,
    handshake: P,
}

/// No source loses its oldest kept handshake before this age.
const GRACE: Duration = Duration::from_millis(750);

/// The grace is longer by a random time below this. Otherwise attackers that connect in step could
/// replace all kept handshakes at the moment at which their grace ends.
const GRACE_SPREAD_MILLIS: u64 = 1500;

/// A limit that was shrunk grows by one in this time.
const REGROWTH: Duration = Duration::from_millis(100);

impl<P> Pending<P> {
    pub(super) fn new(cap: usize, seed: u64) -> Self {
        Self {
            cap,
            shrunk: None,
            seed,
            next: Ticket(0),
            entries: BTreeMap::new(),
            hall: Ticket(0),
            kept: Shares::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a handshake, and evicts one if there are too many.
    pub(super) fn enter(
        &mut self,
        source: Source,
        handshake: P,
        now: Instant,
    ) -> (Ticket, Option<(Ticket, P)>) {
        let ticket = self.next;
        self.next = ticket.following();
        let entry = Entry {
            source,
            began: now,
            handshake,
        };
        self.entries.insert(ticket, entry);
        (ticket, self.evict_above(self.limit(now), now))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut P> {
        (self.entries.get_mut(&ticket)).map(|entry| &mut entry.handshake)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<P> {
        let entry = self.entries.remove(&ticket)?;
        if ticket < self.hall {
            self.kept.remove(entry.source, ticket);
        }
        Some(entry.handshake)
    }

    /// Removes all handshakes, the oldest first.
    pub(super) fn remove_all(&mut self) -> impl Iterator<Item = (Ticket, P)> + use<P> {
        self.kept = Shares::default();
        core::mem::take(&mut self.entries)
            .into_iter()
            .map(|(ticket, entry)| (ticket, entry.handshake))
    }

    /// Evicts a handshake, and lowers the limit so that fewer than now are pending. Returns `None` if
    /// nothing is pending.
    pub(super) fn shrink(&mut self, now: Instant) -> Option<(Ticket, P)> {
        let limit = self.entries.len().checked_sub(1)?;
        // With a limit of zero, every connection would be evicted as it arrives.
        self.shrunk = Some((limit.max(1), now));
        self.evict_above(limit, now)
    }

    fn limit(&self, now: Instant) -> usize {
        let Some((limit, since)) = self.shrunk else {
            return self.cap;
        };
        let regrown = now.saturating_duration_since(since).as_nanos() / REGROWTH.as_nanos();
        usize::try_from(regrown).map_or(self.cap, |regrown| {
            limit.saturating_add(regrown).min(self.cap)
        })
    }

    /// Evicts one handshake if more than `limit` are pending.
    fn evict_above(&mut self, limit: usize, now: Instant) -> Option<(Ticket, P)> {
        if self.entries.len() <= limit {
            return None;
        }
        let share = limit / 3;
        while self.kept.len < share {
            let (ticket, source) = self.oldest_of_the_hall()?;
            self.hall = ticket.following();
            self.kept.insert(source, ticket);
        }
        let evicted = if self.kept.len > share {
            // The limit has fallen.
            self.kept.heaviest()?.newest
        } else {
            let (candidate, source) = self.oldest_of_the_hall()?;
            (self.evicted_for(candidate, source, now)).unwrap_or(candidate)
        };
        self.remove(evicted).map(|handshake| (evicted, handshake))
    }

    fn oldest_of_the_hall(&self) -> Option<(Ticket, Source)> {
        let (ticket, entry) = self.entries.range(self.hall..).next()?;
        Some((*ticket, entry.source))
    }

    /// Returns the kept handshake that leaves its place to `candidate`, if one does.
    fn evicted_for(&self, candidate: Ticket, source: Source, now: Instant) -> Option<Ticket> {
        let heaviest = self.kept.heaviest()?;
        if heaviest.count > self.kept.count(source) + 1 {
            return Some(heaviest.newest);
        }
        let oldest = self.entries.get(&heaviest.oldest)?;
        let age = now.saturating_duration_since(oldest.began);
        (age >= self.grace(candidate)).then_some(heaviest.oldest)
    }

    /// The age at which a kept handshake is old enough to be evicted for `candidate`.
    fn grace(&self, candidate: Ticket) -> Duration {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write_u64(candidate.0);
        GRACE + Duration::from_millis(hasher.finish() % GRACE_SPREAD_MILLIS)
    }
}

impl Ticket {
    fn following(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The kept handshakes of each source, and which source has the most.
#[derive(Default)]
struct Shares {
    len: usize,
    by_source: BTreeMap<Source, BTreeSet<Ticket>>,
    ranking: BTreeSet<Rank>,
}

/// How many handshakes of a source are kept, and its oldest. Of two sources with as many, the one
/// with the older handshake ranks higher.
type Rank = (usize, Reverse<Ticket>, Source);

/// The source that ranks highest.
struct Heaviest {
    count: usize,
    oldest: Ticket,
    newest: Ticket,
}

impl Shares {
    fn insert(&mut self, source: Source, ticket: Ticket) {
        self.len += 1;
        self.change(source, |tickets| tickets.insert(ticket));
    }

    fn remove(&mut self, source: Source, ticket: Ticket) {
        self.len -= 1;
        self.change(source, |tickets| tickets.remove(&ticket));
    }

    fn count(&self, source: Source) -> usize {
        self.by_source.get(&source).map_or(0, BTreeSet::len)
    }

    fn heaviest(&self) -> Option<Heaviest> {
        let (count, Reverse(oldest), source) = *self.ranking.last()?;
        let newest = *self.by_source.get(&source)?.last()?;
        Some(Heaviest {
            count,
            oldest,
            newest,
        })
    }

    /// Changes the handshakes of a source, and its rank with them.
    fn change(&mut self, source: Source, change: impl FnOnce(&mut BTreeSet<Ticket>) -> bool) {
        let rank = |tickets: &BTreeSet<Ticket>| -> Option<Rank> {
            Some((tickets.len(), Reverse(*tickets.first()?), source))
        };
        let tickets = self.by_source.entry(source).or_default();
        if let Some(rank) = rank(tickets) {
            self.ranking.remove(&rank);
        }
        change(tickets);
        if let Some(rank) = rank(tickets) {
            self.ranking.insert(rank);
        } else {
            self.by_source.remove(&source);
        }
    }
}
