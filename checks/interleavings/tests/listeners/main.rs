//! The listeners' threads and tasks under many schedules: what one of them wakes, drops or evicts,
//! while the others go on.
//!
//! A schedule in which every thread and every task waits for ever fails as a deadlock.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what it is for"
)]

mod blocking;
mod over_tokio;

use std::fmt::Debug;
use std::time::Duration;

use countersign::{Key, ListenerOptions, Outcome};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

/// Longer than any schedule takes.
const NEVER: Duration = Duration::from_secs(600);

/// Runs a scenario under schedules that are random, and under schedules that change between threads
/// only a few times.
fn explore(scenario: fn()) {
    shuttle::check_random(scenario, 1_000);
    shuttle::check_pct(scenario, 1_000, 3);
}

fn key() -> Key {
    Key::new(b"a secret of many schedules").unwrap()
}

/// A key that the servers do not know.
fn strange_key() -> Key {
    Key::new(b"a secret of somebody else").unwrap()
}

/// The words of what was reported, one for each connection.
type Reports = Arc<Mutex<Vec<&'static str>>>;

/// Returns the options with a deadline and a hook, and what the hook is told.
fn reporting(options: ListenerOptions) -> (ListenerOptions, Reports) {
    let reports = Reports::default();
    let reported = Arc::clone(&reports);
    let options = options.deadline(NEVER).on_event(move |event| {
        reported.lock().unwrap().push(match event.outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Evicted => "evicted",
            Outcome::Failed(_) => "failed",
            Outcome::ShutDown => "shut down",
            Outcome::Refused(_) => "refused",
            _ => "another",
        });
    });
    (options, reports)
}

/// Waits until no thread or task of the listener is left. Returns what was reported, sorted: tasks have
/// their hooks called at the same time.
fn all_of(reports: Reports) -> Vec<&'static str> {
    let mut reports = reports;
    loop {
        match Arc::try_unwrap(reports) {
            Ok(reports) => {
                let mut reports = reports.into_inner().unwrap();
                reports.sort_unstable();
                return reports;
            }
            Err(shared) => reports = shared,
        }
        thread::yield_now();
    }
}

fn count(reports: &[&str], word: &str) -> usize {
    reports.iter().filter(|report| **report == word).count()
}

/// Waits until a listener shows this count.
fn until(listener: &impl Debug, count: &str) {
    while !format!("{listener:?}").contains(count) {
        thread::yield_now();
    }
}
