//! What the policy promises, whatever the arrivals are. The first two promises hold while the limit
//! does not shrink.

use core::time::Duration;
use std::collections::BTreeMap;
use std::format;
use std::time::Instant;
use std::vec::Vec;

use super::super::{Admission, Source, Ticket};
use super::random::Random;
use super::simulation::{Client, HallAndKept, Retry, World, bot, honest};

const GRACE: Duration = Duration::from_millis(750);

/// A listener to which connections arrive at random times.
struct Arrivals {
    cap: usize,
    random: Random,
    admission: Admission<Arrival, ()>,
    now: Instant,
    count: usize,
    pending: BTreeMap<usize, (Ticket, Arrival)>,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    nth: usize,
    source: Source,
    time: Instant,
}

impl Arrivals {
    fn new(cap: usize, seed: u64) -> Self {
        Self {
            cap,
            random: Random(seed),
            admission: Admission::seeded(cap, 1, seed),
            now: Instant::now(),
            count: 0,
            pending: BTreeMap::new(),
        }
    }

    /// Makes a listener whose cap depends on `seed`.
    fn any(seed: u64) -> Self {
        let mut arrivals = Self::new(0, seed);
        let cap = 1 + arrivals.random.below(200) as usize;
        Self::new(cap, arrivals.random.next())
    }

    /// Returns how many are kept.
    fn share(&self) -> usize {
        self.cap / 3
    }

    /// Returns what the arrival evicts.
    fn arrive(&mut self, source: Source, rate: u32) -> Option<Arrival> {
        self.now += self.random.gap(rate);
        let arrival = Arrival {
            nth: self.count,
            source,
            time: self.now,
        };
        self.count += 1;
        let (ticket, evicted) = self.admission.admit(source, arrival, self.now).unwrap();
        self.pending.insert(arrival.nth, (ticket, arrival));
        assert!(self.admission.counts().0 <= self.cap);
        evicted
    }

    /// Finishes a pending handshake, if there is one.
    fn finish(&mut self) {
        let nth = self.random.below(200) as usize % self.pending.len().max(1);
        let Some((&nth, &(ticket, _))) = self.pending.iter().nth(nth) else {
            return;
        };
        self.pending.remove(&nth);
        assert!(self.admission.settle(ticket).is_some());
        self.admission.leave(ticket);
    }
}

/// Runs `check` on each eviction among arrivals with all kinds of caps, rates and numbers of sources.
/// At that moment the evicted handshake is still among the pending ones.
fn each_eviction(mut check: impl FnMut(&Arrivals, Arrival)) {
    let mut evictions = 0;
    for seed in 0..200 {
        let mut arrivals = Arrivals::any(seed);
        let rate = 1 << (3 + arrivals.random.below(11));
        let sources = 1 << arrivals.random.below(9);
        let per_login = 2 + arrivals.random.below(20);
        for _ in 0..1000 {
            let source = bot(arrivals.random.below(sources));
            if let Some(evicted) = arrivals.arrive(source, rate) {
                check(&arrivals, evicted);
                arrivals.pending.remove(&evicted.nth).unwrap();
                evictions += 1;
            }
            if arrivals.random.below(per_login) == 0 {
                arrivals.finish();
            }
        }
    }
    assert!(evictions > 20_000, "{evictions} evictions");
}

#[test]
fn a_connection_stays_until_two_thirds_of_the_cap_have_arrived_after_it() {
    each_eviction(|arrivals, evicted| {
        let newer = arrivals.count - 1 - evicted.nth;
        assert!(newer >= arrivals.cap - arrivals.share(), "after {newer}");
    });
}

#[test]
fn the_oldest_kept_handshake_of_a_source_has_750_ms() {
    let mut cases = BTreeMap::new();
    each_eviction(|arrivals, evicted| {
        let of_its_source = |(_, other): &&(Ticket, Arrival)| other.source == evicted.source;
        // The handshakes that are kept are the oldest.
        let mut kept = arrivals.pending.values().take(arrivals.share());
        let is_kept = kept.clone().any(|(_, other)| other.nth == evicted.nth);
        let oldest = kept.find(of_its_source).map(|(_, oldest)| oldest.nth);
        let is_oldest = is_kept && oldest == Some(evicted.nth);
        let age = arrivals.now - evicted.time;
        assert!(!is_oldest || age >= GRACE, "after {age:?}");
        *cases.entry((is_kept, is_oldest)).or_insert(0) += 1;
    });
    // Out of the hall, the newest of many, the oldest after its time.
    assert_eq!(cases.len(), 3, "{cases:?}");
    assert!(cases.values().all(|count| *count > 100), "{cases:?}");
}

#[test]
fn a_flood_from_few_sources_displaces_no_other_source() {
    for seed in 0..200 {
        let mut arrivals = Arrivals::any(seed);
        let share = u32::try_from(arrivals.share()).unwrap();
        if share < 2 {
            continue;
        }
        // With the newcomer, there are at most as many sources as handshakes are kept.
        let flooding = 1 + arrivals.random.below(share - 1);
        let others = arrivals.random.below(share - flooding);
        // If there are as many, each may have one, and the oldest of them goes when its time is over.
        let has_equals = flooding + others + 1 == share;
        let rate = 1 << (8 + arrivals.random.below(6));

        for nth in 0..3000 {
            let source = match nth {
                1000 => honest(others),
                nth if nth < others => honest(nth),
                _ => bot(arrivals.random.below(flooding)),
            };
            let evicted = arrivals.arrive(source, rate);
            let Some(evicted) = evicted.filter(|evicted| evicted.source >= honest(0)) else {
                continue;
            };
            let age = arrivals.now - evicted.time;
            let context = format!("{flooding} flood {share} beside {others}: {age:?}");
            assert!(has_equals && age >= GRACE, "{context}");
        }
    }
}

#[test]
fn a_herd_makes_progress_at_a_third_of_the_cap_in_each_round_trip() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let rtt = Duration::from_millis(u64::from(1 + random.below(749)));
        let cap = 3 + random.below(200);
        let sources = 1 << random.below(11);
        let clients = (0..5 * cap)
            .map(|_| Client {
                source: honest(random.below(sources)),
                rtt: rtt.mul_f64(0.9) + random.up_to(rtt / 10),
                starts: random.up_to(2 * rtt),
                retry: Retry::AtOnce,
                tries: 0,
                done: None,
            })
            .collect();
        let policy = HallAndKept::new(cap as usize, seed);
        let mut world = World::new(policy, None, clients, seed);
        world.run(100 * rtt);
        let mut done: Vec<_> = (world.clients.iter())
            .map(|client| client.done.expect("all get in"))
            .collect();
        done.sort_unstable();
        // The last of them are too few to fill the listener.
        let herd = done.len() - cap as usize;
        let took = done[herd].checked_sub(done[0]).unwrap();
        let rate = f64::from(4 * cap) / took.as_secs_f64();
        let promised = f64::from(cap / 3) / rtt.as_secs_f64();
        assert!(
            rate >= promised,
            "{cap} {rtt:?} {sources}: {rate} of {promised}"
        );
    }
}

#[test]
fn a_flood_from_many_sources_leaves_each_try_its_chance() {
    const SECONDS: u32 = 10;
    for rate in [2_000, 5_000, 10_000] {
        let mut arrivals = Arrivals::new(192, 1);
        let mut outlived = 0;
        for _ in 0..SECONDS * rate {
            let source = bot(arrivals.random.below(1 << 20));
            let evicted = arrivals.arrive(source, rate);
            let age = evicted.map(|evicted| arrivals.now - evicted.time);
            outlived += u32::from(age >= Some(GRACE));
        }
        // Of this rate, one in `rate * 0.8 s / share`.
        let chances = SECONDS * 64 * 10 / 8;
        let around = chances * 9 / 10..chances * 11 / 10;
        assert!(
            around.contains(&outlived),
            "{rate}: {outlived} of {chances}"
        );
    }
}

#[test]
fn nobody_can_predict_which_of_two_handshakes_goes() {
    let evicted = || {
        let mut arrivals = Arrivals::new(30, 1);
        arrivals.admission = Admission::new(30, 1);
        let evicted = (0..1000).filter_map(|nth| arrivals.arrive(bot(nth), 100));
        evicted.map(|evicted| evicted.nth).collect::<Vec<_>>()
    };
    assert_ne!(evicted(), evicted());
}
