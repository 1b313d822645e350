//! Herds and floods: how many honest clients get in, beside a listener that evicts the oldest.

use core::time::Duration;
use std::collections::BTreeSet;
use std::vec::Vec;

use super::random::Random;
use super::simulation::{Client, Flood, HallAndKept, OldestFirst, Policy, Retry, World, honest};

const CAP: usize = 192;
/// The hall of [`CAP`]. A listener that evicts the oldest promises the same with it.
const OLDEST_FIRST_CAP: usize = 128;

/// Honest clients come from here on, so that the flood has filled the listener before.
const FLOODED: Duration = Duration::from_secs(1);
/// The time in which they come.
const STREAM: Duration = Duration::from_secs(2);
/// The time that each of them has.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
enum Honest {
    /// So many at once, each from an address of its own.
    Herd(u32),
    /// So many at once, from one address.
    HerdOfOne(u32),
    /// So many a second, each from an address of its own.
    Each(u32),
    /// So many a second, from one address.
    One(u32),
}

#[derive(Debug, Clone, Copy)]
struct Scene {
    honest: Honest,
    rtt: Duration,
    retry: Retry,
    flood: Option<Flood>,
    descriptors: usize,
}

/// Honest clients that do not try again, and a flood.
fn first_try(honest: Honest, rtt: u64, rate: u32, sources: u32) -> Scene {
    Scene {
        honest,
        rtt: Duration::from_millis(rtt),
        retry: Retry::Never,
        flood: Some(Flood { rate, sources }),
        descriptors: usize::MAX,
    }
}

/// Honest clients that try again later each time, and a flood.
fn with_backoff(rtt: u64, rate: u32, sources: u32) -> Scene {
    Scene {
        retry: Retry::Backoff(Duration::from_millis(100)),
        ..first_try(Honest::Each(200), rtt, rate, sources)
    }
}

fn herd(honest: Honest, rtt: u64, retry: Retry) -> Scene {
    Scene {
        honest,
        rtt: Duration::from_millis(rtt),
        retry,
        flood: None,
        descriptors: usize::MAX,
    }
}

impl Scene {
    fn clients(&self, seed: u64) -> Vec<Client> {
        let mut random = Random(seed);
        let client = |nth, starts, rtt| Client {
            source: match self.honest {
                Honest::Herd(_) | Honest::Each(_) => honest(nth),
                Honest::HerdOfOne(_) | Honest::One(_) => honest(0),
            },
            rtt,
            starts,
            retry: self.retry,
            tries: 0,
            done: None,
        };
        match self.honest {
            // Without a difference they would come in step, and any policy would let some in.
            Honest::Herd(count) | Honest::HerdOfOne(count) => (0..count)
                .map(|nth| {
                    let starts = FLOODED + random.up_to(self.rtt * 2);
                    client(
                        nth,
                        starts,
                        self.rtt.mul_f64(0.9) + random.up_to(self.rtt / 5),
                    )
                })
                .collect(),
            Honest::Each(rate) | Honest::One(rate) => {
                let mut starts = FLOODED;
                let arrivals = core::iter::from_fn(|| {
                    starts += random.gap(rate);
                    (starts < FLOODED + STREAM).then_some(starts)
                });
                (0..)
                    .zip(arrivals)
                    .map(|(nth, starts)| client(nth, starts, self.rtt))
                    .collect()
            }
        }
    }

    fn play<P: Policy>(&self, policy: P, seed: u64) -> Played {
        let mut world = World::new(policy, self.flood, self.clients(seed), seed);
        world.descriptors = self.descriptors;
        world.run(FLOODED + STREAM + PATIENCE);
        let mut times: Vec<_> = (world.clients.iter())
            .filter_map(Client::took)
            .filter(|time| *time <= PATIENCE)
            .collect();
        times.sort_unstable();
        Played {
            clients: world.clients.len(),
            times,
            accepted: world.accepted(),
        }
    }

    fn play_oldest_first(&self, seed: u64) -> Played {
        self.play(
            OldestFirst {
                cap: OLDEST_FIRST_CAP,
                pending: BTreeSet::new(),
            },
            seed,
        )
    }

    fn play_hall_and_kept(&self, seed: u64) -> Played {
        self.play(HallAndKept::new(CAP, seed), seed)
    }
}

struct Played {
    clients: usize,
    /// How long each client took that got in, in ascending order.
    times: Vec<Duration>,
    accepted: usize,
}

/// Returns how many clients in a hundred get in, over a few runs.
fn percent(play: impl Fn(u64) -> Played) -> usize {
    let played: Vec<_> = (1..=3).map(play).collect();
    let in_time: usize = played.iter().map(|played| played.times.len()).sum();
    let clients: usize = played.iter().map(|played| played.clients).sum();
    100 * in_time / clients
}

#[test]
fn honest_clients_get_in_where_a_listener_that_evicts_the_oldest_lets_none_in() {
    let each = Honest::Each(200);
    let few_descriptors = Scene {
        descriptors: 64,
        ..with_backoff(50, 5_000, 1)
    };
    let herd = herd(Honest::Herd(1000), 200, Retry::AtOnce);
    let herd_and_flood = Scene {
        flood: Some(Flood {
            rate: 5_000,
            sources: 1,
        }),
        ..herd
    };
    for (scene, at_least) in [
        (herd, 100),
        (first_try(each, 50, 5_000, 1), 100),
        (first_try(each, 50, 20_000, 10), 100),
        (with_backoff(50, 5_000, 2_000), 8),
        (few_descriptors, 100),
        (herd_and_flood, 100),
    ] {
        let before = percent(|seed| scene.play_oldest_first(seed));
        let now = percent(|seed| scene.play_hall_and_kept(seed));
        assert!(
            before <= 1 && now >= at_least,
            "{scene:?}: {before} %, {now} %"
        );
    }
}

#[test]
fn as_many_get_in_where_a_listener_that_evicts_the_oldest_lets_most_in() {
    let each = Honest::Each(200);
    for (scene, at_least) in [
        (first_try(each, 50, 500, 1), 100),
        (first_try(each, 50, 1_000, 2_000), 100),
        (first_try(each, 100, 1_000, 2_000), 80),
        (first_try(Honest::One(100), 50, 500, 2_000), 100),
    ] {
        let before = percent(|seed| scene.play_oldest_first(seed));
        let now = percent(|seed| scene.play_hall_and_kept(seed));
        assert!(
            now >= before.max(at_least),
            "{scene:?}: {before} %, {now} %"
        );
    }
}

#[test]
fn a_herd_gets_in_within_three_seconds_however_it_retries() {
    let pause = Duration::from_millis(100);
    for rtt in [1, 5, 50, 100, 200] {
        for retry in [Retry::AtOnce, Retry::After(pause), Retry::Jitter(pause)] {
            for honest in [Honest::Herd(1000), Honest::HerdOfOne(1000)] {
                let scene = herd(honest, rtt, retry);
                let played = scene.play_hall_and_kept(rtt);
                assert_eq!(played.times.len(), played.clients, "{scene:?}");
                let last = played.times.last().unwrap();
                assert!(last.as_secs() < 3, "{scene:?}: {last:?}");
                let wasted = played.accepted - played.clients;
                assert!(wasted <= 2 * played.clients, "{scene:?}: {wasted} wasted");
            }
        }
    }
}
