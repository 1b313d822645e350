//! Measures whether honest clients get in while others flood a server with silent connections, or
//! while a thousand of them reconnect at once; and what a connection costs and leaves behind.
//!
//! ```text
//! cargo bench --all-features --bench flood                # all, in minutes
//! cargo bench --all-features --bench flood -- --quick     # the listeners only
//! cargo bench --all-features --bench flood -- herd "50 ms"    # these scenes
//! ```
//!
//! The servers are the two listeners and, beside each, two accept loops by hand with the same
//! handshake: one that evicts the oldest of 128, and a naive one without a limit. Server, attackers
//! and honest clients are processes of their own on one machine, and so share its processors. The
//! clients come from addresses in 127.0.0.0/8.
//!
//! Loopback has no round trip worth mentioning, so the honest client sleeps: 1.5 round trips before
//! it connects, one between the challenge and its response, and half of one after the verdict or
//! after it was cut. It notices in its sleep that it was cut. A timer has steps of a millisecond, so
//! 1 ms is up to 2 ms, and for 0.2 ms there is no sleep.
//!
//! The bench needs Linux, `prlimit`, and a hard limit of about 6,000 descriptors (`ulimit -Hn`).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

mod attacker;
mod cost;
mod honest;
mod report;
mod role;
mod scenes;
mod server;

use std::env;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", kind, cap, hook] => {
            server::serve(kind, cap.parse().unwrap(), hook.parse().unwrap());
        }
        ["attack", address, sources, rate, first] => attacker::attack(
            address.parse().unwrap(),
            sources.parse().unwrap(),
            rate.parse().unwrap(),
            first.parse().unwrap(),
        ),
        ["come-and-go", address, count] => {
            attacker::come_and_go(address.parse().unwrap(), count.parse().unwrap());
        }
        ["log-in", address, ref honest @ ..] => {
            honest::Honest::parse(honest).log_in(address.parse().unwrap());
        }
        // The process that starts the others.
        _ => conduct(&words),
    }
}

fn conduct(words: &[&str]) {
    let has = |word| words.contains(&word);
    let wanted: Vec<&str> = (words.iter().copied())
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_wanted = |name: &str| wanted.iter().all(|word| name.contains(word));
    let measures = has("--bench");
    for (title, scenes) in [
        ("Floods and shortages", scenes::floods()),
        ("Herds", scenes::herds()),
    ] {
        let mut scenes: Vec<_> = (scenes.into_iter())
            .filter(|scene| is_wanted(&scene.name))
            .collect();
        if !measures {
            // Enough to show that the bench works.
            scenes.truncate(1);
        }
        if !scenes.is_empty() {
            println!("\n### {title}\n\n{}", report::HEAD);
        }
        for scene in scenes {
            for server in scene.servers {
                if scenes::LISTENERS.contains(server) || measures && !has("--quick") {
                    println!("{}", scene.play(server));
                }
            }
        }
    }
    if is_wanted("cost") {
        cost::print(measures);
    }
}
