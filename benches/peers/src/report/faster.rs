//! Lists where a peer beats countersign, for every column of the tables in which less, or more, is
//! better.

use std::fmt::Write;

use crate::allocations::COUNTED;
use crate::builds::Build;
use crate::crowd::{CROWDS, Pending, Rates};
use crate::logins::Times;
use crate::peers::Id;
use crate::records::{Kind, Size};
use crate::results::{InMemory, Results};

use super::tables::grouped;

pub fn of(results: &Results) -> String {
    let mut text = "\
## Where a peer is faster

Every measurement, table by table, in which a peer is faster or smaller than countersign's native protocol. The recipe,
which this crate speaks too, counts as a peer. `encrypt` is compared with the peers that encrypt with forward secrecy.

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
        less(
            text,
            "a login, times the floor",
            &results.logins,
            times,
            |times| format!("{times:.2}"),
        );
    }
    let messages = |costs: &InMemory| number(costs.messages);
    less(
        text,
        "messages of a login",
        &results.memory,
        messages,
        grouped,
    );
    let bytes = |costs: &InMemory| number(costs.bytes);
    less(text, "bytes of a login", &results.memory, bytes, grouped);
}

fn in_memory(text: &mut String, results: &Results) {
    for (side, end) in ["client", "server"].into_iter().enumerate() {
        let time = |costs: &InMemory| costs.times[side].median();
        let what = format!("CPU of the {end} without a socket");
        less(text, &what, &results.memory, time, |time| {
            format!("{:.1} µs", 1e6 * time)
        });
        if COUNTED {
            #[expect(clippy::cast_precision_loss, reason = "some thousands")]
            let count = |costs: &InMemory| costs.allocations[side].count as f64;
            let what = format!("allocations of the {end}");
            less(text, &what, &results.memory, count, grouped);
        }
    }
}

fn crowd(text: &mut String, results: &Results) {
    for (crowd, clients) in CROWDS.into_iter().enumerate() {
        let wall = |rates: &Rates| rates.wall[crowd].median();
        let what = format!("logins a second with {clients} at once");
        less(text, &what, &results.crowd, wall, |wall| {
            grouped(1.0 / wall)
        });
        let cpu = |rates: &Rates| rates.cpu[crowd].median();
        let what = format!("CPU of a login with {clients} at once");
        less(text, &what, &results.crowd, cpu, |cpu| {
            format!("{:.0} µs", 1e6 * cpu)
        });
    }
}

fn pending(text: &mut String, results: &Results) {
    let what = "bytes of heap of a pending login, silent";
    let silent = |pending: &Pending| pending.silent;
    less(text, what, &results.pending, silent, grouped);
    let what = "the same after the client's opening";
    let opened = |pending: &Pending| pending.opened;
    less(text, what, &results.pending, opened, grouped);
}

fn records(text: &mut String, results: &Results) {
    for size in Size::ALL {
        for (ours, mode) in [(Kind::Protect, "mode 1"), (Kind::Encrypt, "mode 2")] {
            for kind in [Kind::TlsAwsLc, Kind::TlsRing] {
                let flows = results.records(size, ours).zip(results.records(size, kind));
                let Some((ours, theirs)) = flows else {
                    continue;
                };
                let speed = ours.times.against(&theirs.times).median;
                if speed > 1.0 {
                    let _ = writeln!(
                        text,
                        "- {}: {} {speed:.2} times the speed of countersign's {mode}.",
                        size.records(),
                        kind.name()
                    );
                }
            }
        }
    }
}

fn builds(text: &mut String, results: &Results) {
    // The first is not a peer, and SCRAM, the first after countersign's, does not encrypt.
    let [_, native, _, encrypt, peers @ ..] = &*results.builds else {
        return;
    };
    let encrypting = peers.get(1..).unwrap_or_default();
    for (ours, peers) in [(native, peers), (encrypt, encrypting)] {
        let what = "building the smallest program";
        let time = |build: &Build| build.times.median();
        build(text, what, ours, peers, time, |time| format!("{time:.1} s"));
        let what = "crates of the smallest program";
        let crates = |build: &Build| number(build.crates);
        build(text, what, ours, peers, crates, grouped);
    }
}

type Built = (&'static str, anyhow::Result<Build>);

fn build(
    text: &mut String,
    what: &str,
    ours: &Built,
    peers: &[Built],
    of: impl Fn(&Build) -> f64,
    show: impl Fn(f64) -> String,
) {
    let value = |(name, build): &Built| Some((*name, of(build.as_ref().ok()?)));
    if let Some(ours) = value(ours) {
        line(text, what, ours, peers.iter().filter_map(value), show);
    }
}

/// Writes a line for countersign's native protocol, and one for `encrypt`, of which only what
/// encrypts with forward secrecy is a peer.
fn less<T>(
    text: &mut String,
    what: &str,
    all: &[(Id, anyhow::Result<T>)],
    of: impl Fn(&T) -> f64,
    show: impl Fn(f64) -> String,
) {
    let value = |(id, outcome): &(Id, anyhow::Result<T>)| Some((*id, of(outcome.as_ref().ok()?)));
    let is_peer_of_native: fn(Id) -> bool = |id| id != Id::Floor && !id.is_native();
    for (ours, is_peer) in [
        (Id::Native, is_peer_of_native),
        (Id::Encrypt, Id::has_forward_secrecy),
    ] {
        let Some((_, own)) = all.iter().filter_map(value).find(|(id, _)| *id == ours) else {
            continue;
        };
        let peers = (all.iter().filter_map(value)).filter(|(id, _)| is_peer(*id));
        let peers = peers.map(|(id, value)| (id.name(), value));
        line(text, what, (ours.name(), own), peers, &show);
    }
}

/// Writes a line with the peers that have visibly less than countersign.
fn line<'p>(
    text: &mut String,
    what: &str,
    (name, ours): (&str, f64),
    peers: impl Iterator<Item = (&'p str, f64)>,
    show: impl Fn(f64) -> String,
) {
    let better: Vec<_> = peers
        .filter(|(_, theirs)| *theirs < ours && show(*theirs) != show(ours))
        .map(|(name, theirs)| format!("{name} {}", show(theirs)))
        .collect();
    if !better.is_empty() {
        let _ = writeln!(
            text,
            "- {what}: {} ({name} {}).",
            better.join(" / "),
            show(ours)
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn number(count: usize) -> f64 {
    count as f64
}
