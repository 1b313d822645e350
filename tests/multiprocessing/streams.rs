//! Streams that end, fail, time out or move little at a time.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use countersign::compat::multiprocessing::{self, Problem};
use countersign::handshake::StreamError;
use countersign::{Deadline, Error};

use super::{AUTHKEY, Far, Message, TAIL, bytes, ends, problem};
use crate::failures::stream;
use crate::side::Side;
use crate::support::{Act, Driver, tcp_pair};

#[test]
fn the_reason_of_a_refusal_is_reported_even_if_the_failure_cannot_be_sent() {
    let far = || Far::opposite(Side::Server).with_authkey(b"other");
    for &driver in Driver::ALL {
        for act in [
            Act::Fail(ErrorKind::BrokenPipe),
            Act::Fail(ErrorKind::WouldBlock),
            Act::Nothing,
            Act::Lie,
        ] {
            for at in 63..63 + 13 {
                let mut wire = far().wire().write_until(at, act);
                let outcome = Side::Server.run(driver, &mut wire);
                assert_eq!(problem(outcome), Problem::WrongDigest);
                assert_eq!(wire.written.len(), at);
            }
        }
    }
}

#[test]
fn the_end_of_the_stream_at_any_byte_is_reported_with_the_message_awaited() {
    for (driver, side) in ends() {
        for (at, message) in bytes(side.received()) {
            for act in [Act::Nothing, Act::Fail(ErrorKind::ConnectionReset)] {
                let mut wire = Far::opposite(side).wire().read_until(at, act);
                let outcome = side.run(driver, &mut wire);
                let awaited = message.awaited();
                assert!(
                    matches!(outcome, Err(Error::Closed(phase)) if phase.to_string() == awaited),
                    "{driver:?} {side:?}, {act:?} at {at}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_timeout_names_the_message_wherever_the_stream_times_out() {
    let acts = [ErrorKind::WouldBlock, ErrorKind::TimedOut].map(Act::Fail);
    for ((driver, side), act) in ends().flat_map(|end| acts.map(|act| (end, act))) {
        let reads = bytes(side.received()).map(|(at, message)| {
            (
                message.awaited(),
                Far::opposite(side).wire().read_until(at, act),
            )
        });
        let writes = bytes(side.sent()).map(|(at, message)| {
            (
                message.being_sent(),
                Far::opposite(side).wire().write_until(at, act),
            )
        });
        let flushes = side.sent().into_iter().enumerate().map(|(at, message)| {
            let mut wire = Far::opposite(side).wire();
            wire.on_flush = Box::new(move |flushes| match flushes {
                before if before < at => Act::Move(usize::MAX),
                _ => act,
            });
            (message.being_sent(), wire)
        });
        for (expected, mut wire) in reads.chain(writes).chain(flushes) {
            let error = side.run(driver, &mut wire).unwrap_err();
            let case = format!("{driver:?} {side:?}, {act:?}: {error:?}");
            assert!(
                matches!(error, Error::TimedOut(phase) if phase.to_string() == expected),
                "{case}"
            );
        }
    }
}

#[test]
fn a_stream_that_reports_more_bytes_than_it_was_given_is_an_error() {
    for (driver, side) in ends() {
        let reads = bytes(side.received())
            .filter(|_| driver.lets_reads_lie())
            .map(|(at, _)| Far::opposite(side).wire().read_until(at, Act::Lie));
        let writes =
            bytes(side.sent()).map(|(at, _)| Far::opposite(side).wire().write_until(at, Act::Lie));
        for mut wire in reads.chain(writes) {
            let error = side.run(driver, &mut wire).unwrap_err();
            assert!(
                matches!(stream(&error), Some(StreamError::Overrun { room, len })
                    if len == room + 1),
                "{driver:?} {side:?}: {error:?}"
            );
        }
    }
}

#[test]
fn a_handshake_may_arrive_in_any_two_segments_or_byte_by_byte() {
    for (driver, side) in ends() {
        for cut in 1..120 {
            let wire = Far::opposite(side).wire();
            let mut wire = wire.read_until(cut, Act::Move(usize::MAX));
            let _knows = side.run(driver, &mut wire).unwrap();
            assert_eq!(wire.read, 120);
            assert_eq!(wire.rest(), TAIL, "{driver:?} {side:?}, cut at {cut}");
        }

        let mut wire = Far::opposite(side).wire().dripping(1);
        wire.on_write = Box::new(|_| Act::Move(1));
        let _knows = side.run(driver, &mut wire).unwrap();
        assert_eq!(wire.rest(), TAIL);
    }
}

#[test]
fn an_interrupted_call_is_repeated() {
    fn stumbling() -> Box<dyn FnMut(usize) -> Act + Send> {
        let mut calls = 0;
        Box::new(move |_| {
            calls += 1;
            if calls % 3 == 0 {
                Act::Move(1)
            } else {
                Act::Fail(ErrorKind::Interrupted)
            }
        })
    }

    for (driver, side) in ends() {
        let mut wire = Far::opposite(side).wire();
        wire.on_read = stumbling();
        wire.on_write = stumbling();
        wire.on_flush = stumbling();
        let _knows = side.run(driver, &mut wire).unwrap();
        assert_eq!(wire.written.len(), 120);
    }
}

#[test]
fn a_handshake_with_a_silent_peer_ends_at_the_deadline_and_names_the_message_awaited() {
    let short = Duration::from_millis(50);
    for side in [Side::Client, Side::Server] {
        let (near, _silent) = tcp_pair();
        let mut stream = Deadline::new(&near, short);
        let outcome = match side {
            Side::Client => multiprocessing::client_authenticate(&mut stream, AUTHKEY),
            Side::Server => multiprocessing::server_authenticate(&mut stream, AUTHKEY),
        };
        let awaited = side.received()[0].awaited();
        assert!(matches!(outcome, Err(Error::TimedOut(phase)) if phase.to_string() == awaited));
    }
}

#[test]
fn two_clients_wait_for_each_other_until_the_deadline() {
    let short = Duration::from_millis(50);
    let (near, far) = tcp_pair();
    thread::scope(|scope| {
        for socket in [&near, &far] {
            scope.spawn(move || {
                let mut stream = Deadline::new(socket, short);
                let outcome = multiprocessing::client_authenticate(&mut stream, AUTHKEY);
                let awaited = Message::Challenge.awaited();
                assert!(
                    matches!(outcome, Err(Error::TimedOut(phase)) if phase.to_string() == awaited)
                );
            });
        }
    });
}
