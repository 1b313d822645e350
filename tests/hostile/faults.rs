//! Streams that fail.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::ops::Range;

use countersign::handshake::{Message, Refusal, StreamError};
use countersign::{Error, Key, Phase};

use super::{ClientSide, F1_LEN, F2_LEN, F3_LEN, ID, Outcome, ServerSide, Side, ours};
use crate::failures::{refusal_of, stream};
use crate::support::{Act, DENIAL, Driver, Wire, key};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Flush,
}

/// One place in a handshake at which the stream can fail.
#[derive(Clone, Copy, Debug)]
struct Point {
    side: Side,
    call: Call,
    /// What is being done there.
    phase: Phase,
    /// How many bytes were read or written before, or how many times the stream was flushed.
    at: usize,
    /// How many bytes this end has sent by then.
    sent: usize,
}

impl Point {
    fn all() -> Vec<Self> {
        use Phase::{Awaiting, Sending};

        let f1_and_f3 = F1_LEN + F3_LEN;
        // The last column is how many bytes were sent before the call could be made.
        let calls: [(Side, Call, Phase, Range<usize>, usize); 9] = [
            (
                ClientSide,
                Call::Read,
                Awaiting(Message::CHALLENGE),
                0..F1_LEN,
                0,
            ),
            (
                ClientSide,
                Call::Write,
                Sending(Message::RESPONSE),
                0..F2_LEN,
                0,
            ),
            (
                ClientSide,
                Call::Flush,
                Sending(Message::RESPONSE),
                0..1,
                F2_LEN,
            ),
            (
                ClientSide,
                Call::Read,
                Awaiting(Message::VERDICT),
                F1_LEN..f1_and_f3,
                F2_LEN,
            ),
            (
                ServerSide,
                Call::Write,
                Sending(Message::CHALLENGE),
                0..F1_LEN,
                0,
            ),
            (
                ServerSide,
                Call::Flush,
                Sending(Message::CHALLENGE),
                0..1,
                F1_LEN,
            ),
            (
                ServerSide,
                Call::Read,
                Awaiting(Message::RESPONSE),
                0..F2_LEN,
                F1_LEN,
            ),
            (
                ServerSide,
                Call::Write,
                Sending(Message::VERDICT),
                F1_LEN..f1_and_f3,
                F1_LEN,
            ),
            (
                ServerSide,
                Call::Flush,
                Sending(Message::VERDICT),
                1..2,
                f1_and_f3,
            ),
        ];
        calls
            .into_iter()
            .flat_map(|(side, call, phase, range, sent)| {
                range.map(move |at| Self {
                    side,
                    call,
                    phase,
                    at,
                    sent: if call == Call::Write { at } else { sent },
                })
            })
            .collect()
    }

    fn of(calls: &[Call]) -> Vec<Self> {
        let mut points = Self::all();
        points.retain(|point| calls.contains(&point.call));
        points
    }

    /// Runs a handshake with an honest peer over a stream that does `act` from here on.
    fn run(self, driver: Driver, act: Act) -> (Outcome, Wire) {
        self.run_as(driver, act, &ours(), &ours())
    }

    fn run_as(self, driver: Driver, act: Act, own: &Key, peers: &Key) -> (Outcome, Wire) {
        let wire = self.side.honest_wire(peers, b"application data");
        let mut wire = match self.call {
            Call::Read => wire.read_until(self.at, act),
            Call::Write => wire.write_until(self.at, act),
            Call::Flush => wire.flush_until(self.at, act),
        };
        let outcome = self.side.run(driver, own, &mut wire);
        (outcome, wire)
    }
}

/// Makes the stream's calls of these kinds fail in each of these ways, at every point.
fn everywhere(calls: &[Call], acts: &[Act], is_right: impl Fn(Point, Act, &Wire, &Error) -> bool) {
    for point in Point::of(calls) {
        for (&driver, &act) in Driver::ALL
            .iter()
            .flat_map(|driver| acts.iter().map(move |act| (driver, act)))
        {
            if (point.call, act) == (Call::Read, Act::Lie) && !driver.lets_reads_lie() {
                continue;
            }
            let (outcome, wire) = point.run(driver, act);
            let error = outcome.expect_err("there is no session on a stream that failed");
            assert!(
                is_right(point, act, &wire, &error),
                "{driver:?}, {act:?} at {point:?}: {error:?}"
            );
            assert_eq!(
                wire.written.len(),
                point.sent,
                "{driver:?}, {act:?} at {point:?}: what was sent"
            );
        }
    }
}

#[test]
fn a_stream_that_ends_at_any_byte_is_an_error_that_names_the_awaited_message() {
    everywhere(
        &[Call::Read],
        &[Act::Nothing],
        |point, _, _, error| matches!(error, Error::Closed(phase) if *phase == point.phase),
    );
}

#[test]
fn a_connection_that_is_cut_is_closed_at_any_byte() {
    let acts = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
    ]
    .map(Act::Fail);
    everywhere(
        &[Call::Read, Call::Write, Call::Flush],
        &acts,
        |point, _, _, error| matches!(error, Error::Closed(phase) if *phase == point.phase),
    );
}

#[test]
fn a_stream_that_times_out_is_an_error_that_names_the_message() {
    let acts = [ErrorKind::WouldBlock, ErrorKind::TimedOut].map(Act::Fail);
    everywhere(
        &[Call::Read, Call::Write, Call::Flush],
        &acts,
        |point, _, _, error| matches!(error, Error::TimedOut(phase) if *phase == point.phase),
    );
}

#[test]
fn any_other_failure_of_the_stream_is_returned_as_it_is() {
    let kinds = [
        ErrorKind::Other,
        ErrorKind::InvalidData,
        ErrorKind::InvalidInput,
        ErrorKind::NotConnected,
        ErrorKind::PermissionDenied,
        ErrorKind::ConnectionRefused,
        ErrorKind::OutOfMemory,
        ErrorKind::WriteZero,
    ];
    everywhere(
        &[Call::Read, Call::Write, Call::Flush],
        &kinds.map(Act::Fail),
        |point, act, _, error| {
            let below = error.source().and_then(|e| e.downcast_ref::<io::Error>());
            matches!(error, Error::Io { phase, source }
                if *phase == point.phase && act == Act::Fail(source.kind()))
                && below.is_some_and(|below| act == Act::Fail(below.kind()))
        },
    );
}

#[test]
fn a_stream_that_takes_nothing_is_an_error() {
    everywhere(&[Call::Write], &[Act::Nothing], |point, _, _, error| {
        matches!(error, Error::Io { phase, source }
            if *phase == point.phase && source.kind() == ErrorKind::WriteZero)
    });
}

#[test]
fn a_stream_that_reports_more_than_it_was_given_is_refused() {
    everywhere(
        &[Call::Read, Call::Write],
        &[Act::Lie],
        |point, _, wire, error| {
            let given = match point.call {
                Call::Read => *wire.offered.last().unwrap(),
                _ if point.at < point.side.writes()[0] => point.side.writes()[0] - point.at,
                _ => F1_LEN + F3_LEN - point.at,
            };
            let (room, len) = (given, given + 1);
            stream(error) == Some(StreamError::Overrun { room, len })
        },
    );
}

#[test]
fn why_a_client_was_refused_is_reported_even_if_the_denial_cannot_be_sent() {
    let failures = [
        Act::Fail(ErrorKind::BrokenPipe),
        Act::Fail(ErrorKind::ConnectionReset),
        Act::Fail(ErrorKind::TimedOut),
        Act::Fail(ErrorKind::Other),
        Act::Nothing,
        Act::Lie,
    ];
    let refused = [
        (key("theirs").with_id(ID).unwrap(), Refusal::WrongProof),
        (
            key("ours").with_id("worker-8").unwrap(),
            Refusal::UnknownKeyId,
        ),
    ];
    for point in Point::of(&[Call::Write, Call::Flush])
        .into_iter()
        .filter(|point| point.phase == Phase::Sending(Message::VERDICT))
    {
        for ((peer, why), act) in refused
            .iter()
            .flat_map(|peer| failures.map(|act| (peer, act)))
        {
            for &driver in Driver::ALL {
                let (outcome, wire) = point.run_as(driver, act, &ours(), peer);
                let error = outcome.unwrap_err();
                let context = format!("{driver:?}, {act:?} at {point:?}");
                assert_eq!(refusal_of(&error, peer.id()), *why, "{context}");
                assert_eq!(wire.written.len(), point.sent);
                assert!(DENIAL.starts_with(&wire.written[F1_LEN..]));
            }
        }
    }
}
