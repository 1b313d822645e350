//! Lists where a peer beats countersign, for every column of the tables in which less, or more, is
//! better.

use std::fmt::Write;

use crate::allocations::COUNTED;
use crate::crowd::{CROWDS, Pending, Rates};
use crate::logins::Times;
use crate::peers::Id;
use crate::records::Kind;
use crate::results::{InMemory, Results};

use super::tables::grouped;

pub fn of(results: &Results) -> String {
    let mut text = "\
## Where a peer is faster

Every measurement, table by table, in which a peer is faster or smaller than countersign's native protocol. The recipe,
which this crate speaks too, counts as a peer.

"
    .to_owned();
    logins(&mut text, results);
    in_memory(&mut text, results);
    crowd(&mut text, results);
    pending(&mut text, results);
    records(&mut text, results);
    builds(&mut text, results);
    text += "\
- On a CPU without SHA extensions, everything that uses SHA-256 is slower, and what uses AES is not.
- A peer that resumes sessions saves work that it has done before. Here no login resumes another.
";
    text
}

fn logins(text: &mut String, results: &Results) {
    if let Some(floor) = results.login(Id::Floor) {
        let times = |times: &Times| times.turns.against(floor).median;
        let all = peers(&results.logins, times);
        less(text, "a login, times the floor", &all, |times| {
            format!("{times:.2}")
        });
    }
    less(
        text,
        "messages of a login",
        &peers(&results.memory, |costs| number(costs.messages)),
        grouped,
    );
    less(
        text,
        "bytes of a login",
        &peers(&results.memory, |costs| number(costs.bytes)),
        grouped,
    );
}

fn in_memory(text: &mut String, results: &Results) {
    for (side, end) in ["client", "server"].into_iter().enumerate() {
        let time = |costs: &InMemory| costs.times[side].median();
        let all = peers(&results.memory, time);
        let what = format!("CPU of the {end} without a socket");
        less(text, &what, &all, |time| format!("{:.1} µs", 1e6 * time));
        if COUNTED {
            #[expect(clippy::cast_precision_loss, reason = "some thousands")]
            let count = |costs: &InMemory| costs.allocations[side].count as f64;
            let what = format!("allocations of the {end}");
            less(text, &what, &peers(&results.memory, count), grouped);
        }
    }
}

fn crowd(text: &mut String, results: &Results) {
    for (crowd, clients) in CROWDS.into_iter().enumerate() {
        let wall = |rates: &Rates| rates.wall[crowd].median();
        let what = format!("logins a second with {clients} at once");
        less(text, &what, &peers(&results.crowd, wall), |wall| {
            grouped(1.0 / wall)
        });
        let cpu = |rates: &Rates| rates.cpu[crowd].median();
        let what = format!("CPU of a login with {clients} at once");
        less(text, &what, &peers(&results.crowd, cpu), |cpu| {
            format!("{:.0} µs", 1e6 * cpu)
        });
    }
}

fn pending(text: &mut String, results: &Results) {
    let silent = |pending: &Pending| pending.silent;
    let opened = |pending: &Pending| pending.opened;
    less(
        text,
        "bytes of heap of a pending login, silent",
        &peers(&results.pending, silent),
        grouped,
    );
    less(
        text,
        "the same after the client's opening",
        &peers(&results.pending, opened),
        grouped,
    );
}

fn records(text: &mut String, results: &Results) {
    let Some(protected) = results.records(Kind::Protected) else {
        return;
    };
    for kind in [Kind::TlsAwsLc, Kind::TlsRing] {
        let Some(tls) = results.records(kind) else {
            continue;
        };
        let speed = protected.against(tls).median;
        if speed > 1.0 {
            let _ = writeln!(
                text,
                "- {}: {speed:.2} times the speed of countersign's mode 1, and encrypted.",
                kind.name()
            );
        }
    }
}

fn builds(text: &mut String, results: &Results) {
    let built = || {
        // The first is not a peer.
        (results.builds.iter().skip(1))
            .filter_map(|(name, build)| Some((*name, build.as_ref().ok()?)))
    };
    let all: Vec<_> = built()
        .map(|(name, build)| (name, build.times.median()))
        .collect();
    less(text, "building the smallest program", &all, |time| {
        format!("{time:.1} s")
    });
    let all: Vec<_> = built()
        .map(|(name, build)| (name, number(build.crates)))
        .collect();
    less(text, "crates of the smallest program", &all, grouped);
}

/// Returns the values of all peers that ran, without the floor, which is no way to log in.
fn peers<T>(all: &[(Id, anyhow::Result<T>)], of: impl Fn(&T) -> f64) -> Vec<(&'static str, f64)> {
    (all.iter())
        .filter(|(id, _)| *id != Id::Floor)
        .filter_map(|(id, outcome)| Some((id.name(), of(outcome.as_ref().ok()?))))
        .collect()
}

/// Writes a line with the peers that have visibly less than countersign.
fn less(text: &mut String, what: &str, all: &[(&str, f64)], show: impl Fn(f64) -> String) {
    let Some((_, ours)) = all.iter().find(|(name, _)| *name == Id::Native.name()) else {
        return;
    };
    let better: Vec<_> = (all.iter())
        .filter(|(_, theirs)| theirs < ours && show(*theirs) != show(*ours))
        .map(|(name, theirs)| format!("{name} {}", show(*theirs)))
        .collect();
    if !better.is_empty() {
        let _ = writeln!(
            text,
            "- {what}: {} (countersign {}).",
            better.join(" / "),
            show(*ours)
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn number(count: usize) -> f64 {
    count as f64
}
