//! Streams that fail, move few bytes at a time or report wrong lengths, and how many calls a record
//! needs.

use std::io::{self, ErrorKind};

use countersign::record::{self, OVERHEAD, Opened, PAYLOAD_MAX};

use super::ends::{Ends, RECORD_MAX, failed, lens, pattern, sealed};
use super::stream::Stream;
use super::via::Via;
use crate::side::Side;
use crate::support::Act;

/// Repeats a call while it fails with one of these kinds.
fn repeated<T>(kinds: &[ErrorKind], call: &mut dyn FnMut() -> io::Result<T>) -> io::Result<T> {
    // More often than any call of the tests has to be repeated.
    for _ in 0..200_000 {
        match call() {
            Err(error) if kinds.contains(&error.kind()) => {}
            answer => return answer,
        }
    }
    panic!("the call never succeeds")
}

/// Writes everything, and repeats calls that fail with one of these kinds.
fn write_all(near: &mut dyn Stream, mut bytes: &[u8], kinds: &[ErrorKind]) {
    while !bytes.is_empty() {
        let n = repeated(kinds, &mut || near.write(bytes)).unwrap();
        assert_ne!(n, 0);
        bytes = &bytes[n..];
    }
}

#[test]
fn records_arrive_in_pieces_of_every_size() {
    for via in Via::streams() {
        for piece in (1..=60).chain([PAYLOAD_MAX, RECORD_MAX - 1, RECORD_MAX + 1]) {
            let mut ends = Ends::new(via, Side::Server);
            let payloads = [
                pattern(1),
                pattern(60),
                pattern(3_000),
                pattern(PAYLOAD_MAX),
            ];
            let mut bytes: Vec<_> = (payloads.iter())
                .flat_map(|payload| sealed(&mut *ends.sealer, payload))
                .collect();
            bytes.extend(ends.sealer.close().unwrap());
            ends.say(&bytes, piece, Act::Nothing);
            let (received, end) = ends.near.read_to_end(1_000);
            end.unwrap();
            assert!(received == payloads.concat(), "{via:?}, pieces of {piece}");
        }
    }
}

/// Does `act` before each byte that moves.
fn stumbling(act: Act) -> Box<dyn FnMut(usize) -> Act + Send> {
    let mut calls = 0;
    Box::new(move |_| {
        calls += 1;
        if calls % 2 == 0 { Act::Move(1) } else { act }
    })
}

/// Moves what is left up to `count` more bytes, then does `act`.
fn until(count: usize, act: Act) -> Box<dyn FnMut(usize) -> Act + Send> {
    let mut first = None;
    Box::new(move |done| {
        let end = *first.get_or_insert(done) + count;
        if done < end {
            Act::Move(end - done)
        } else {
            act
        }
    })
}

const AGAIN: [ErrorKind; 4] = [
    ErrorKind::WouldBlock,
    ErrorKind::TimedOut,
    ErrorKind::Interrupted,
    ErrorKind::Other,
];

#[test]
fn a_read_that_fails_between_any_two_bytes_can_be_repeated() {
    for via in Via::streams() {
        for kind in AGAIN {
            let mut ends = Ends::new(via, Side::Client);
            let bytes = [
                sealed(&mut *ends.sealer, &pattern(300)),
                sealed(&mut *ends.sealer, b"x"),
                ends.sealer.close().unwrap().to_vec(),
            ]
            .concat();
            ends.line.wire().say(&bytes);
            ends.line.wire().on_read = stumbling(Act::Fail(kind));
            let mut received: Vec<u8> = Vec::new();
            let mut buf = [0; 200];
            let mut failures = 0;
            loop {
                match ends.near.read(&mut buf) {
                    Ok(0) => break,
                    Ok(n) => received.extend(&buf[..n]),
                    Err(error) => {
                        assert_eq!(error.kind(), kind, "{via:?}");
                        failures += 1;
                    }
                }
            }
            // What was interrupted is repeated below; the caller repeats the rest.
            let expected = if kind == ErrorKind::Interrupted {
                0
            } else {
                bytes.len()
            };
            assert_eq!(failures, expected, "{via:?}, {kind:?}");
            assert!(received == [&pattern(300)[..], b"x"].concat());
        }
    }
}

#[test]
fn a_write_that_times_out_between_any_two_bytes_is_finished_by_the_next_calls() {
    let data = pattern(PAYLOAD_MAX + 100);
    for via in Via::streams() {
        for kind in [
            ErrorKind::WouldBlock,
            ErrorKind::TimedOut,
            ErrorKind::Interrupted,
        ] {
            let mut ends = Ends::new(via, Side::Server);
            ends.line.wire().on_write = stumbling(Act::Fail(kind));
            let mut flushes = 0;
            ends.line.wire().on_flush = Box::new(move |_| {
                flushes += 1;
                if flushes % 3 == 0 {
                    Act::Move(0)
                } else {
                    Act::Fail(kind)
                }
            });
            write_all(&mut *ends.near, &data, &[kind]);
            repeated(&[kind], &mut || ends.near.flush()).unwrap();
            write_all(&mut *ends.near, b"more", &[kind]);
            repeated(&[kind], &mut || ends.near.close()).unwrap();

            let lens = lens(&ends.written());
            assert_eq!(lens, [RECORD_MAX, 118, 22, 18], "{via:?}, {kind:?}");
            let received = [ends.opened(0), ends.opened(1)].concat();
            assert!(received == data, "{via:?}, {kind:?}");
            assert_eq!(ends.opened(2), b"more");
            let mut close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&mut close), Ok(Opened::Close));
        }
    }
}

#[test]
fn a_timeout_while_a_record_is_sent_is_the_error_of_the_next_call() {
    for via in Via::streams() {
        for kind in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            let mut ends = Ends::new(via, Side::Client);
            ends.line.wire().on_write = until(10, Act::Fail(kind));
            assert_eq!(ends.near.write(b"hello").unwrap(), 5, "{via:?}");
            for _ in 0..2 {
                assert_eq!(ends.near.write(b" world").unwrap_err().kind(), kind);
                assert_eq!(ends.near.flush().unwrap_err().kind(), kind);
                assert_eq!(ends.near.close().unwrap_err().kind(), kind);
            }
            ends.line.wire().on_write = Box::new(|_| Act::Move(usize::MAX));
            ends.near.write_all(b" world").unwrap();
            assert_eq!(lens(&ends.written()), [23, 24], "{via:?}");
            assert_eq!([ends.opened(0), ends.opened(1)].concat(), b"hello world");
        }
    }
}

#[test]
fn reading_sends_what_a_timeout_has_left_over() {
    for via in Via::streams() {
        // A blocking half cannot reach the other half's rest.
        if via.is_blocking() && via.is_halves() {
            continue;
        }
        for kind in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            let mut ends = Ends::new(via, Side::Client);
            ends.line.wire().on_write = until(10, Act::Fail(kind));
            ends.near.write_all(b"a request").unwrap();
            // The rest still has no room, and the read does not report that.
            let answer = sealed(&mut *ends.sealer, b"an answer");
            ends.say(&answer[..5], usize::MAX, Act::Fail(ErrorKind::WouldBlock));
            let waiting = ends.near.read(&mut [0; 100]).unwrap_err();
            assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "{via:?}");
            assert_eq!(ends.line.wire().written.len() - ends.start, 10);

            ends.line.wire().on_write = Box::new(|_| Act::Move(usize::MAX));
            ends.say(&answer[5..], usize::MAX, Act::Fail(ErrorKind::WouldBlock));
            assert_eq!(ends.near.read(&mut [0; 100]).unwrap(), 9, "{via:?}");
            assert_eq!(ends.opened(0), b"a request", "{via:?}");
        }
    }
}

#[test]
fn a_blocking_stream_repeats_interrupted_writes_and_flushes() {
    for via in Via::streams().filter(|via| via.is_blocking()) {
        let mut ends = Ends::new(via, Side::Client);
        ends.line.wire().on_write = stumbling(Act::Fail(ErrorKind::Interrupted));
        ends.line.wire().on_flush = stumbling(Act::Fail(ErrorKind::Interrupted));
        ends.near.write_all(b"hello").unwrap();
        ends.near.flush().unwrap();
        ends.near.close().unwrap();
        assert_eq!(lens(&ends.written()), [23, 18], "{via:?}");
    }
}

#[test]
fn an_error_while_a_record_is_sent_is_returned_at_once_and_ends_the_direction() {
    for via in Via::streams() {
        for (act, kind) in [
            (Act::Nothing, ErrorKind::WriteZero),
            (Act::Fail(ErrorKind::BrokenPipe), ErrorKind::BrokenPipe),
            (Act::Fail(ErrorKind::Other), ErrorKind::Other),
        ] {
            let mut ends = Ends::new(via, Side::Client);
            ends.line.wire().on_write = until(10, act);
            let error = ends.near.write(b"hello").unwrap_err();
            assert_eq!((error.kind(), error.get_ref().is_none()), (kind, true));
            // The record cannot be sent again, and nothing else can follow a part of it.
            ends.line.wire().on_write = Box::new(|_| Act::Move(usize::MAX));
            for _ in 0..2 {
                assert_eq!(ends.near.write(b"x").unwrap_err().kind(), kind, "{via:?}");
                assert_eq!(ends.near.flush().unwrap_err().kind(), kind, "{via:?}");
                assert_eq!(ends.near.close().unwrap_err().kind(), kind, "{via:?}");
            }
            assert_eq!(ends.line.wire().written.len() - ends.start, 10);

            // What the peer has sent can still be read.
            let last = sealed(&mut *ends.sealer, b"last words");
            ends.say(&last, usize::MAX, Act::Nothing);
            let (received, ended) = ends.near.read_to_end(100);
            assert_eq!(received, b"last words", "{via:?}");
            assert_eq!(failed(ended), record::Error::Truncated, "{via:?}");
        }
    }
}

#[test]
fn a_stream_that_reports_more_bytes_than_it_was_given_is_not_used_again() {
    for via in Via::streams() {
        let mut ends = Ends::new(via, Side::Client);
        ends.line.wire().on_write = Box::new(|_| Act::Lie);
        let lied = failed(ends.near.write(b"hello"));
        assert_eq!(lied, record::Error::Length { len: 24 }, "{via:?}");
        ends.line.wire().on_write = Box::new(|_| Act::Move(usize::MAX));
        // Nothing tells how much it wrote, so sending the record again could send it twice.
        assert_eq!(failed(ends.near.flush()), record::Error::BadTag, "{via:?}");
        assert_eq!(failed(ends.near.close()), record::Error::BadTag, "{via:?}");
        assert!(ends.written().is_empty(), "{via:?}");

        if !via.is_blocking() {
            continue;
        }
        let mut ends = Ends::new(via, Side::Client);
        let record = sealed(&mut *ends.sealer, b"hello");
        ends.say(&record[..5], usize::MAX, Act::Lie);
        for _ in 0..2 {
            let lied = failed(ends.near.read(&mut [0; 100]));
            assert!(matches!(lied, record::Error::Length { .. }), "{via:?}");
        }
        assert_eq!(failed(ends.near.write(b"x")), record::Error::BadTag);
    }
}

#[test]
fn an_error_of_the_stream_below_is_returned_unchanged() {
    for via in Via::streams() {
        for kind in [ErrorKind::PermissionDenied, ErrorKind::Other] {
            let mut ends = Ends::new(via, Side::Client);
            ends.say(&[0; 10], usize::MAX, Act::Fail(kind));
            let error = ends.near.read(&mut [0; 100]).unwrap_err();
            assert_eq!((error.kind(), error.get_ref().is_none()), (kind, true));
        }
    }
}

#[test]
fn a_reset_is_a_truncation_with_the_reset_as_its_source() {
    for via in Via::streams() {
        for kind in [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::BrokenPipe,
            ErrorKind::UnexpectedEof,
        ] {
            let mut ends = Ends::new(via, Side::Client);
            let whole = sealed(&mut *ends.sealer, b"has verified");
            let cut = sealed(&mut *ends.sealer, b"is cut");
            let bytes = [&whole[..], &cut[..10]].concat();
            ends.say(&bytes, usize::MAX, Act::Fail(kind));
            let (received, ended) = ends.near.read_to_end(5);
            assert_eq!(received, b"has verified", "{via:?}, {kind:?}");
            let error = ended.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{via:?}, {kind:?}");
            assert_eq!(error.to_string(), record::Error::Truncated.to_string());
            assert_eq!(record::Error::of(&error), Some(record::Error::Truncated));
            let source = error.get_ref().unwrap().source().unwrap();
            let source: &io::Error = source.downcast_ref().unwrap();
            assert_eq!(source.kind(), kind, "{via:?}");

            // It stays so, even if the stream would go on.
            ends.say(&cut[10..], usize::MAX, Act::Nothing);
            let again = failed(ends.near.read(&mut [0; 100]));
            assert_eq!(again, record::Error::Truncated, "{via:?}");
            // The peer may still read what this end sends.
            ends.near.write_all(b"still here").unwrap();
            assert_eq!(ends.opened(0), b"still here", "{via:?}");
        }
    }
}

#[test]
fn a_record_is_one_write_and_a_read_gets_several_records() {
    const COUNT: usize = 100;

    for via in Via::streams() {
        for (len, most) in [(PAYLOAD_MAX, COUNT / 2 + 1), (1_000, 5), (10, 1)] {
            let mut ends = Ends::new(via, Side::Client);
            let mut bytes = Vec::new();
            for _ in 0..COUNT {
                bytes.extend(sealed(&mut *ends.sealer, &pattern(len)));
            }
            ends.say(&bytes, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
            let mut buf = vec![0; len];
            for _ in 0..COUNT {
                assert_eq!(ends.near.read(&mut buf).unwrap(), len);
                ends.near.write_all(&buf).unwrap();
                ends.near.flush().unwrap();
            }
            let wire = ends.line.wire();
            let reads = wire.offered.len();
            assert!(reads <= most, "{via:?}, {len}: {reads} reads");
            assert_eq!(wire.writes, vec![len + OVERHEAD; COUNT], "{via:?}, {len}");
            assert_eq!(wire.flushes, COUNT, "{via:?}, {len}");
        }
    }
}
