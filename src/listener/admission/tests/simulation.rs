//! A simulation of clients, floods and a listener, as a queue of events.
//!
//! A connection is accepted after one and a half round trips, and its response arrives one later. A
//! client learns half a round trip after its eviction that it has to try again.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Instant;
use std::vec::Vec;

use super::super::{Admission, Shrunk, Source, Ticket};
use super::random::Random;

/// Who is let in. An attempt is the number of a connection in the order of arrival.
pub(super) trait Policy {
    /// Returns the attempt that is evicted.
    fn enter(&mut self, attempt: usize, source: Source, now: Instant) -> Option<usize>;
    /// Returns whether the attempt was still pending.
    fn finish(&mut self, attempt: usize) -> bool;
    /// An evicted attempt has left.
    fn leave(&mut self, attempt: usize);
    /// A descriptor is missing. Returns the attempt that is evicted.
    fn shrink(&mut self, now: Instant) -> Option<usize>;
}

pub(super) struct HallAndKept {
    admission: Admission<usize, ()>,
    tickets: BTreeMap<usize, Ticket>,
}

impl HallAndKept {
    pub(super) fn new(cap: usize, seed: u64) -> Self {
        Self {
            admission: Admission::seeded(cap, 1, seed),
            tickets: BTreeMap::new(),
        }
    }
}

impl Policy for HallAndKept {
    fn enter(&mut self, attempt: usize, source: Source, now: Instant) -> Option<usize> {
        let (ticket, evicted) = self.admission.admit(source, attempt, now).unwrap();
        self.tickets.insert(attempt, ticket);
        evicted
    }

    fn finish(&mut self, attempt: usize) -> bool {
        let Some(&ticket) = self.tickets.get(&attempt) else {
            return false;
        };
        let settled = self.admission.settle(ticket).is_some();
        if settled {
            self.leave(attempt);
        }
        settled
    }

    fn leave(&mut self, attempt: usize) {
        let ticket = self.tickets.remove(&attempt).unwrap();
        self.admission.leave(ticket);
    }

    fn shrink(&mut self, now: Instant) -> Option<usize> {
        match self.admission.shrink(now) {
            Shrunk::Evicted(attempt) => Some(attempt),
            Shrunk::Leaving | Shrunk::Nothing => None,
        }
    }
}

/// A comparison: the oldest is evicted, and a missing descriptor is waited for.
pub(super) struct OldestFirst {
    pub(super) cap: usize,
    pub(super) pending: BTreeSet<usize>,
}

impl Policy for OldestFirst {
    fn enter(&mut self, attempt: usize, _: Source, _: Instant) -> Option<usize> {
        self.pending.insert(attempt);
        (self.pending.len() > self.cap)
            .then(|| self.pending.pop_first())
            .flatten()
    }

    fn finish(&mut self, attempt: usize) -> bool {
        self.pending.remove(&attempt)
    }

    fn leave(&mut self, _: usize) {}

    fn shrink(&mut self, _: Instant) -> Option<usize> {
        None
    }
}

/// When a client tries again after an eviction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Retry {
    Never,
    AtOnce,
    After(Duration),
    /// A random time up to this.
    Jitter(Duration),
    /// This time, and after each try twice as long.
    Backoff(Duration),
}

pub(super) struct Client {
    pub(super) source: Source,
    pub(super) rtt: Duration,
    pub(super) starts: Duration,
    pub(super) retry: Retry,
    pub(super) tries: u32,
    /// When it has received its verdict.
    pub(super) done: Option<Duration>,
}

impl Client {
    /// Returns how long it took to get in, if it did.
    pub(super) fn took(&self) -> Option<Duration> {
        self.done?.checked_sub(self.starts)
    }
}

/// Silent connections that come at random, each from a random one of `sources`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flood {
    pub(super) rate: u32,
    pub(super) sources: u32,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A connection arrives: of this client, or of the flood.
    Connection(Option<usize>),
    /// The response of this attempt arrives.
    Response(usize),
    /// This attempt, which was evicted, has left.
    Left(usize),
}

pub(super) struct World<P> {
    pub(super) policy: P,
    pub(super) clients: Vec<Client>,
    pub(super) flood: Option<Flood>,
    pub(super) descriptors: usize,
    began: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, usize, Event)>>,
    scheduled: usize,
    random: Random,
    /// How many clients are neither in nor have given up.
    waiting: usize,
    /// Connections that wait for a descriptor.
    queue: VecDeque<Option<usize>>,
    /// How many descriptors are in use.
    open: usize,
    /// The client of each attempt. The flood has none.
    attempts: Vec<Option<usize>>,
}

/// The length of the queue of a listening socket.
const BACKLOG: usize = 128;
/// The time after which TCP repeats a packet that the queue had no place for.
const RETRANSMISSION: Duration = Duration::from_secs(1);
/// The time from an eviction until its descriptor is free.
const LEAVING: Duration = Duration::from_micros(100);

impl<P: Policy> World<P> {
    pub(super) fn new(policy: P, flood: Option<Flood>, clients: Vec<Client>, seed: u64) -> Self {
        Self {
            policy,
            clients,
            flood,
            descriptors: usize::MAX,
            began: Instant::now(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            random: Random(seed),
            waiting: 0,
            queue: VecDeque::new(),
            open: 0,
            attempts: Vec::new(),
        }
    }

    /// Runs until `end`, or until all clients are in or have given up.
    pub(super) fn run(&mut self, end: Duration) {
        for index in 0..self.clients.len() {
            self.connect(index, self.clients[index].starts);
        }
        if self.flood.is_some() {
            self.at(Duration::ZERO, Event::Connection(None));
        }
        self.waiting = self.clients.len();
        while self.waiting > 0
            && let Some(Reverse((now, _, event))) = self.events.pop()
            && now < end
        {
            self.now = now;
            match event {
                Event::Connection(client) => self.arrive(client),
                Event::Response(attempt) => self.respond(attempt),
                Event::Left(attempt) => {
                    self.policy.leave(attempt);
                    self.open -= 1;
                }
            }
            self.accept();
        }
    }

    /// How many connections were accepted.
    pub(super) fn accepted(&self) -> usize {
        self.attempts.len()
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.events.push(Reverse((time, self.scheduled, event)));
        self.scheduled += 1;
    }

    /// A client begins to connect at `time`.
    fn connect(&mut self, index: usize, time: Duration) {
        let arrival = time + self.clients[index].rtt * 3 / 2;
        self.at(arrival, Event::Connection(Some(index)));
    }

    fn arrive(&mut self, client: Option<usize>) {
        if let (None, Some(flood)) = (client, self.flood) {
            let gap = self.random.gap(flood.rate);
            self.at(self.now + gap, Event::Connection(None));
        }
        if self.queue.len() < BACKLOG {
            self.queue.push_back(client);
        } else if let Some(index) = client {
            self.at(self.now + RETRANSMISSION, Event::Connection(Some(index)));
        }
    }

    /// Accepts what the descriptors allow.
    fn accept(&mut self) {
        let now = self.began + self.now;
        while let Some(&client) = self.queue.front() {
            if self.open == self.descriptors {
                if let Some(evicted) = self.policy.shrink(now) {
                    self.evict(evicted);
                }
                return;
            }
            self.queue.pop_front();
            self.open += 1;
            let attempt = self.attempts.len();
            self.attempts.push(client);
            let source = match client {
                Some(index) => {
                    let client = &mut self.clients[index];
                    client.tries += 1;
                    let response = self.now + client.rtt;
                    let source = client.source;
                    self.at(response, Event::Response(attempt));
                    source
                }
                None => bot(self.random.below(self.flood.unwrap().sources)),
            };
            if let Some(evicted) = self.policy.enter(attempt, source, now) {
                self.evict(evicted);
            }
        }
    }

    fn evict(&mut self, attempt: usize) {
        self.at(self.now + LEAVING, Event::Left(attempt));
        if let Some(index) = self.attempts[attempt] {
            let client = &self.clients[index];
            let pause = match client.retry {
                Retry::Never => {
                    self.waiting -= 1;
                    return;
                }
                Retry::AtOnce => Duration::ZERO,
                Retry::After(pause) => pause,
                Retry::Jitter(longest) => self.random.up_to(longest),
                Retry::Backoff(first) => first * 2_u32.pow(client.tries - 1),
            };
            let told = self.now + client.rtt / 2;
            self.connect(index, told + pause);
        }
    }

    fn respond(&mut self, attempt: usize) {
        if self.policy.finish(attempt) {
            self.open -= 1;
            self.waiting -= 1;
            let client = &mut self.clients[self.attempts[attempt].unwrap()];
            client.done = Some(self.now + client.rtt / 2);
        }
    }
}

/// The source of an attacker.
pub(super) fn bot(index: u32) -> Source {
    Source::V4((0x0a00_0000 + index).into())
}

/// The source of an honest client.
pub(super) fn honest(index: u32) -> Source {
    Source::V4((0xc000_0000 + index).into())
}
