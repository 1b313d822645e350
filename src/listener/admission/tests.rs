//! The bookkeeping, the promises of the policy, and scenes of herds and floods, all in virtual time.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod promises;
mod random;
mod scenes;
mod simulation;

use std::vec::Vec;

use super::*;

type Names = Admission<&'static str, &'static str>;

/// Admits a connection without an address.
fn admit(admission: &mut Names, name: &'static str) -> (Ticket, Option<&'static str>) {
    let admitted = admission.admit(Source::Local, name, Instant::now());
    admitted.expect("it is not closed")
}

#[test]
fn one_more_than_the_cap_evicts_one() {
    let mut admission = Names::new(2, 1);
    let (first, evicted) = admit(&mut admission, "first");
    assert_eq!(evicted, None);
    let (second, evicted) = admit(&mut admission, "second");
    assert_eq!(evicted, None);
    let (_, evicted) = admit(&mut admission, "third");
    assert_eq!(evicted, Some("first"), "with a cap of two none is kept");
    assert!(
        admission.settle(first).is_none(),
        "an evicted handshake has no outcome"
    );
    assert!(admission.settle(second).is_some());
    assert!(admission.settle(second).is_none(), "an outcome counts once");
    let (_, evicted) = admit(&mut admission, "fourth");
    assert_eq!(evicted, None, "a settled handshake leaves room");
}

#[test]
fn streams_are_taken_in_the_order_in_which_they_were_delivered() {
    let mut admission = Names::new(2, 2);
    assert_eq!(admission.take(), Taken::Nothing);
    for name in ["a", "b"] {
        assert!(admission.has_room());
        let (ticket, _) = admit(&mut admission, name);
        assert!(admission.settle(ticket).is_some());
        assert_eq!(admission.deliver(name), None);
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
    let (evicted, _) = admit(&mut admission, "evicted");
    let (last, _) = admit(&mut admission, "last");
    admission.close();
    let too_late = admission.admit(Source::Local, "too late", Instant::now());
    assert_eq!(too_late, None);
    assert_eq!(admission.take(), Taken::Nothing);
    admission.leave(evicted);
    assert!(admission.settle(last).is_some());
    assert_eq!(admission.deliver("last"), None);
    admission.leave(last);
    assert_eq!(admission.take(), Taken::Stream("last"));
    assert_eq!(admission.take(), Taken::Ended);
}

#[test]
fn what_is_pending_or_waits_when_a_listener_is_dropped_is_returned_to_be_ended() {
    let mut admission = Names::new(3, 3);
    let (done, _) = admit(&mut admission, "done");
    assert!(admission.settle(done).is_some());
    assert_eq!(admission.deliver("done"), None);
    let (late, _) = admit(&mut admission, "late");
    assert!(admission.settle(late).is_some());
    for name in ["a", "b", "c"] {
        admit(&mut admission, name);
    }
    // This one makes "a" a kept one.
    let (_, evicted) = admit(&mut admission, "d");
    assert_eq!(evicted, Some("b"));
    let (evicted, waiting) = admission.abandon(Instant::now());
    assert_eq!(evicted, ["a", "c", "d"]);
    assert_eq!(waiting, ["done"]);
    assert_eq!(admission.counts(), (0, 0));
    assert_eq!(admission.deliver("late"), Some("late"));
    assert_eq!(
        admission.admit(Source::Local, "too late", Instant::now()),
        None
    );
}

#[cfg(feature = "tokio")]
#[test]
fn a_pending_handshake_can_be_changed_until_it_is_evicted() {
    let mut admission = Names::new(1, 1);
    let (first, _) = admit(&mut admission, "first");
    *admission.pending_mut(first).expect("it is pending") = "changed";
    let (_, evicted) = admit(&mut admission, "second");
    assert_eq!(evicted, Some("changed"));
    assert_eq!(admission.pending_mut(first), None);
}

#[test]
fn a_shrink_evicts_once_and_waits_until_the_evicted_handshake_has_left() {
    let now = Instant::now();
    let mut admission = Names::new(9, 1);
    assert_eq!(admission.shrink(now), Shrunk::Nothing);
    let (oldest, _) = admit(&mut admission, "oldest");
    let (done, _) = admit(&mut admission, "done");
    let (_, _) = admit(&mut admission, "newest");
    assert!(admission.settle(done).is_some());

    assert_eq!(admission.shrink(now), Shrunk::Evicted("oldest"));
    assert_eq!(admission.shrink(now), Shrunk::Leaving);
    admission.leave(oldest);
    // A login whose hook blocks is still there, and holds up nothing.
    assert_eq!(admission.shrink(now), Shrunk::Evicted("newest"));
    // Neither does an evicted handshake, once it must be taken for stuck.
    let half = Duration::from_millis(500);
    assert_eq!(admission.shrink(now + half), Shrunk::Leaving);
    assert_eq!(admission.shrink(now + 2 * half), Shrunk::Nothing);
}

#[test]
fn an_eviction_by_a_connection_holds_up_a_shrink_too() {
    let now = Instant::now();
    let mut admission = Names::new(2, 1);
    let (first, _) = admit(&mut admission, "first");
    admit(&mut admission, "second");
    admit(&mut admission, "third");
    assert_eq!(admission.shrink(now), Shrunk::Leaving);
    admission.leave(first);
    assert_eq!(admission.shrink(now), Shrunk::Evicted("second"));
}

#[test]
fn the_limit_falls_below_the_number_that_is_pending_and_grows_by_one_each_100_ms() {
    let began = Instant::now();
    let mut admission = Names::new(50, 1);
    for _ in 0..20 {
        admit(&mut admission, "early");
    }
    assert_eq!(admission.shrink(began), Shrunk::Evicted("early"));
    for (millis, limit) in [
        (0, 19),
        (99, 19),
        (100, 20),
        (250, 21),
        (3000, 49),
        (9000, 50),
    ] {
        let now = began + Duration::from_millis(millis);
        for _ in 0..60 {
            admission.admit(Source::Local, "late", now);
        }
        assert_eq!(admission.counts().0, limit, "after {millis} ms");
    }
}

#[test]
fn the_newest_of_the_heaviest_source_leaves_if_more_are_kept_than_the_limit_allows() {
    let now = Instant::now();
    let other = Source::of(Some(([192, 0, 2, 1], 1).into()));
    let mut admission = Names::new(9, 1);
    let mut tickets = Vec::new();
    for (name, source) in [("a", Source::Local), ("b", other), ("c", other)] {
        tickets.push(admission.admit(source, name, now).unwrap().0);
    }
    for name in ["d", "e", "f", "g", "h", "i"] {
        tickets.push(admit(&mut admission, name).0);
    }
    let (_, evicted) = admission.admit(Source::Local, "j", now).unwrap();
    assert_eq!(evicted, Some("d"), "a, b and c are kept");
    admission.leave(tickets[3]);
    for ticket in tickets.split_off(4) {
        admission.leave(ticket);
    }
    assert_eq!(admission.counts().0, 4);
    assert_eq!(admission.shrink(now), Shrunk::Evicted("c"));
}

#[test]
fn a_limit_that_has_fallen_to_nothing_still_admits_one() {
    let now = Instant::now();
    let mut admission = Names::new(9, 1);
    let (only, _) = admit(&mut admission, "only");
    assert_eq!(admission.shrink(now), Shrunk::Evicted("only"));
    admission.leave(only);
    let (_, evicted) = admission.admit(Source::Local, "next", now).unwrap();
    assert_eq!(evicted, None);
    let (_, evicted) = admission.admit(Source::Local, "last", now).unwrap();
    assert_eq!(evicted, Some("next"));
}

#[test]
fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
    let source = |address: &str| Source::of(Some(address.parse().unwrap()));
    for (a, b) in [
        ("192.0.2.1:1", "192.0.2.1:2"),
        ("192.0.2.1:1", "[::ffff:192.0.2.1]:1"),
        ("[2001:db8:1:2::]:1", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:1"),
    ] {
        assert_eq!(source(a), source(b), "{a} {b}");
    }
    let different = [
        "192.0.2.1:1",
        "192.0.2.2:1",
        "[2001:db8:1:2::1]:1",
        "[2001:db8:1:3::1]:1",
        "[2001:db9:1:2::1]:1",
        "[::1]:1",
    ];
    let mut sources: Vec<_> = different.iter().map(|address| source(address)).collect();
    sources.push(Source::of(None));
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), different.len() + 1);
}
