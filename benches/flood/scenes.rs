//! Floods, shortages and herds.

use std::time::Duration;

use super::honest::{Honest, Retry};
use super::report::{Logins, Row};
use super::role::{Limit, Role};

pub const LISTENERS: &[&str] = &["std", "tokio"];
const ALL: &[&str] = &[
    "std",
    "tokio",
    "std, oldest first",
    "tokio, oldest first",
    "std, naive",
    "tokio, naive",
];
const WITH_A_CAP: &[&str] = &["std", "tokio", "std, oldest first", "tokio, oldest first"];
const OVER_STD: &[&str] = &["std", "std, oldest first", "std, naive"];

/// The default cap of a listener.
const CAP: u32 = 192;
/// The hall of the default cap. An accept loop that evicts the oldest promises the same with it.
const OLDEST_FIRST_CAP: u32 = 128;
const NO_CAP: u32 = u32::MAX;

/// Silent connections a second, and from how many addresses.
#[derive(Clone, Copy)]
struct Flood {
    rate: u32,
    sources: u32,
}

pub struct Scene {
    pub name: String,
    pub servers: &'static [&'static str],
    /// The cap of the listeners.
    cap: u32,
    /// The cap of an accept loop that evicts the oldest.
    cap_by_hand: u32,
    limit: Limit,
    /// The milliseconds that the hook takes.
    hook: u32,
    flood: Option<Flood>,
    honest: Honest,
    /// What the simulation says of the listeners, and of an accept loop that evicts the oldest.
    /// Empty where neither was simulated.
    simulated: [&'static str; 2],
}

/// A flood and honest clients, each from an address of its own, that do not try again.
fn flood(
    name: &str,
    rtt_micros: u64,
    rate: u32,
    sources: u32,
    simulated: [&'static str; 2],
) -> Scene {
    Scene {
        name: name.to_owned(),
        servers: ALL,
        cap: CAP,
        cap_by_hand: OLDEST_FIRST_CAP,
        limit: Limit::Usual,
        hook: 0,
        flood: Some(Flood { rate, sources }),
        honest: Honest {
            clients: 400,
            within: Duration::from_secs(2),
            rtt: Duration::from_micros(rtt_micros),
            retry: Retry::Never,
            sources: 400,
            patience: Duration::from_secs(2),
        },
        simulated,
    }
}

pub fn floods() -> Vec<Scene> {
    vec![
        Scene {
            cap: 1024,
            cap_by_hand: 1024,
            ..flood(
                "1,024 descriptors, cap 1,024; 400/s silent; 50 ms",
                50_000,
                400,
                2000,
                ["", ""],
            )
        },
        Scene {
            servers: OVER_STD,
            cap: 128,
            limit: Limit::Threads(100),
            ..flood(
                "100 threads, cap 128; 40/s silent; 50 ms",
                50_000,
                40,
                2000,
                ["", ""],
            )
        },
        Scene {
            cap: 128,
            ..flood(
                "5,000/s silent from one address, cap 128; 50 ms",
                50_000,
                5000,
                1,
                ["100 %", "0 %"],
            )
        },
        Scene {
            hook: 10,
            ..flood(
                "hook of 10 ms; 300/s silent; 50 ms",
                50_000,
                300,
                2000,
                ["", ""],
            )
        },
        flood(
            "1,000/s silent from 2,000 addresses; 0.2 ms",
            0,
            1000,
            2000,
            ["100 %", "100 %"],
        ),
        flood(
            "1,000/s silent from 2,000 addresses; 50 ms",
            50_000,
            1000,
            2000,
            ["100 %", "100 %"],
        ),
        flood(
            "1,000/s silent from 2,000 addresses; 100 ms",
            100_000,
            1000,
            2000,
            ["82 %", "81 %"],
        ),
        flood(
            "5,000/s silent from 2,000 addresses; 50 ms",
            50_000,
            5000,
            2000,
            ["1 %", "0 %"],
        ),
        Scene {
            flood: Some(Flood {
                rate: 5000,
                sources: 1,
            }),
            servers: WITH_A_CAP,
            simulated: ["all in, 1779 / 3342 ms", "0 %"],
            ..herd(
                "herd of 1,000 and 5,000/s silent from one address; 200 ms".to_owned(),
                200,
                Retry::AtOnce,
                1000,
            )
        },
    ]
}

/// A thousand clients that connect at once.
fn herd(name: String, rtt_millis: u64, retry: Retry, sources: u32) -> Scene {
    let rtt = Duration::from_millis(rtt_millis);
    // An accept loop by hand does not look at the source.
    let compared = retry == Retry::AtOnce && sources > 1;
    let simulated_by_hand = if rtt_millis == 200 { "0 %" } else { "" };
    Scene {
        name,
        servers: if compared { ALL } else { LISTENERS },
        cap: CAP,
        cap_by_hand: OLDEST_FIRST_CAP,
        limit: Limit::Usual,
        hook: 0,
        flood: None,
        honest: Honest {
            clients: 1000,
            within: 2 * rtt,
            rtt,
            retry,
            sources,
            patience: Duration::from_secs(5),
        },
        simulated: [simulated(rtt_millis, retry), simulated_by_hand],
    }
}

/// The p50 and p99 that the simulation says of a herd, which do not depend on the sources.
fn simulated(rtt_millis: u64, retry: Retry) -> &'static str {
    match (rtt_millis, retry) {
        (1, Retry::AtOnce) => "all in, 5 / 10 ms",
        (1, Retry::After100) => "all in, 105 / 310 ms",
        (1, Retry::Jitter100) => "all in, 33 / 103 ms",
        (50, Retry::AtOnce) => "all in, 282 / 543 ms",
        (50, Retry::After100) => "all in, 366 / 838 ms",
        (50, Retry::Jitter100) => "all in, 311 / 556 ms",
        (200, Retry::AtOnce) => "all in, 1149 / 2159 ms",
        (200, Retry::After100) => "all in, 1168 / 2441 ms",
        (200, Retry::Jitter100) => "all in, 1139 / 2305 ms",
        other => panic!("{other:?} was not simulated"),
    }
}

pub fn herds() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for rtt in [1, 50, 200] {
        for retry in [Retry::AtOnce, Retry::After100, Retry::Jitter100] {
            for (sources, from) in [(1000, "1,000 addresses"), (1, "one address")] {
                let name = format!(
                    "herd of 1,000 from {from}, retry {}; {rtt} ms",
                    retry.name()
                );
                scenes.push(herd(name, rtt, retry, sources));
            }
        }
    }
    scenes
}

impl Scene {
    pub fn play<'s>(&'s self, server: &'s str) -> Row<'s> {
        let (driver, policy) = server.split_once(", ").unwrap_or((server, ""));
        let (kind, cap, simulated) = match policy {
            "" => (driver.to_owned(), self.cap, self.simulated[0]),
            "naive" => (format!("{driver} by hand"), NO_CAP, ""),
            _ => (
                format!("{driver} by hand"),
                self.cap_by_hand,
                self.simulated[1],
            ),
        };
        let serve = [
            "serve".to_owned(),
            kind,
            cap.to_string(),
            self.hook.to_string(),
        ];
        let mut role = Role::start(self.limit, &serve);
        let address = role.says();
        let threads = role.watch_threads();
        let attacker = self.flood.map(|flood| {
            // Enough to fill the server.
            let first = self.cap.max(CAP) + self.cap.max(CAP) / 4;
            let numbers = [flood.sources, flood.rate, first].map(|number| number.to_string());
            let attack = ["attack".to_owned(), address.clone()]
                .into_iter()
                .chain(numbers);
            let mut attacker = Role::start(Limit::Raised, &attack.collect::<Vec<_>>());
            attacker.says();
            attacker
        });
        let mut log_in = vec!["log-in".to_owned(), address];
        log_in.extend(self.honest.arguments());
        let logins = Logins::of(&Role::start(Limit::Raised, &log_in).ends());
        let ended = attacker.map_or(0, |attacker| {
            let said = attacker.told_to_end();
            said.lines().last().unwrap().parse().unwrap()
        });
        Row {
            scene: &self.name,
            server,
            evictions: ended + logins.cut,
            logins,
            threads: threads.most(),
            kib: role.status("VmHWM:"),
            simulated,
        }
    }
}
