//! Streams that fail, move few bytes at a time or report wrong lengths, and how many calls a record
//! needs.

use std::io::{self, ErrorKind};

use countersign::record::{self, OVERHEAD, Opened, PAYLOAD_MAX};

use super::ends::{Ends, RECORD_MAX, Stream, Via, failed, lens, pattern, sealed};
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
    for &via in Via::STREAMS {
        for piece in (1..=60).chain([PAYLOAD_MAX, RECORD_MAX - 1, RECORD_MAX + 1]) {
            let mut ends = Ends::new(via, Side::Server);
            let payloads = [
                pattern(1),
                pattern(60),
                pattern(3_000),
                pattern(PAYLOAD_MAX),
            ];
            let mut bytes: Vec<_> = (payloads.iter())
                .flat_map(|payload| sealed(&mut ends.sealer, payload))
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

const AGAIN: [ErrorKind; 4] = [
    ErrorKind::WouldBlock,
    ErrorKind::TimedOut,
    ErrorKind::Interrupted,
    ErrorKind::Other,
];

#[test]
fn a_read_that_fails_between_any_two_bytes_can_be_repeated() {
    for &via in Via::STREAMS {
        for kind in AGAIN {
            let mut ends = Ends::new(via, Side::Client);
            let bytes = [
                sealed(&mut ends.sealer, &pattern(300)),
                sealed(&mut ends.sealer, b"x"),
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
fn a_write_that_fails_between_any_two_bytes_can_be_repeated() {
    let data = pattern(PAYLOAD_MAX + 100);
    for &via in Via::STREAMS {
        for act in [AGAIN.map(Act::Fail).as_slice(), &[Act::Nothing]].concat() {
            let mut ends = Ends::new(via, Side::Server);
            ends.line.wire().on_write = stumbling(act);
            let mut flushes = 0;
            ends.line.wire().on_flush = Box::new(move |_| {
                flushes += 1;
                match act {
                    Act::Fail(kind) if flushes % 3 != 0 => Act::Fail(kind),
                    _ => Act::Move(0),
                }
            });
            let mut kinds = AGAIN.to_vec();
            kinds.push(ErrorKind::WriteZero);
            write_all(&mut *ends.near, &data, &kinds);
            repeated(&kinds, &mut || ends.near.flush()).unwrap();
            write_all(&mut *ends.near, b"more", &kinds);
            repeated(&kinds, &mut || ends.near.close()).unwrap();

            let lens = lens(&ends.written());
            assert_eq!(lens, [RECORD_MAX, 118, 22, 18], "{via:?}, {act:?}");
            let received = [ends.opened(0), ends.opened(1)].concat();
            assert!(received == data, "{via:?}, {act:?}");
            assert_eq!(ends.opened(2), b"more");
            let close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&mut close.clone()), Ok(Opened::Close));
        }
    }
}

#[test]
fn a_blocking_stream_repeats_interrupted_writes_and_flushes() {
    for via in [Via::Blocking, Via::BlockingHalves] {
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
fn a_stream_that_writes_nothing_is_an_error() {
    for &via in Via::STREAMS {
        let mut ends = Ends::new(via, Side::Client);
        ends.line.wire().on_write = Box::new(|_| Act::Nothing);
        ends.near.write_all(&pattern(PAYLOAD_MAX)).unwrap();
        for _ in 0..2 {
            let error = ends.near.write(b"x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WriteZero, "{via:?}");
            let error = ends.near.flush().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WriteZero, "{via:?}");
            let error = ends.near.close().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WriteZero, "{via:?}");
        }
    }
}

#[test]
fn a_stream_that_reports_more_bytes_than_it_was_given_is_not_used_again() {
    for &via in Via::STREAMS {
        let mut ends = Ends::new(via, Side::Client);
        ends.line.wire().on_write = Box::new(|_| Act::Lie);
        ends.near.write_all(b"hello").unwrap();
        let lied = failed(ends.near.flush());
        assert_eq!(lied, record::Error::Length { len: 24 }, "{via:?}");
        ends.line.wire().on_write = Box::new(|_| Act::Move(usize::MAX));
        // Nothing tells how much it wrote, so sending the record again could send it twice.
        assert_eq!(failed(ends.near.flush()), record::Error::BadTag, "{via:?}");
        assert_eq!(failed(ends.near.close()), record::Error::BadTag, "{via:?}");
        assert!(ends.written().is_empty(), "{via:?}");

        if !via.lets_reads_lie() {
            continue;
        }
        let mut ends = Ends::new(via, Side::Client);
        let record = sealed(&mut ends.sealer, b"hello");
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
    for &via in Via::STREAMS {
        for kind in [ErrorKind::ConnectionReset, ErrorKind::Other] {
            let mut ends = Ends::new(via, Side::Client);
            ends.say(&[0; 10], usize::MAX, Act::Fail(kind));
            let error = ends.near.read(&mut [0; 100]).unwrap_err();
            assert_eq!((error.kind(), error.get_ref().is_none()), (kind, true));
            ends.line.wire().on_write = Box::new(move |_| Act::Fail(kind));
            ends.near.write_all(b"x").unwrap();
            let error = ends.near.flush().unwrap_err();
            assert_eq!((error.kind(), error.get_ref().is_none()), (kind, true));
        }
    }
}

#[test]
fn a_record_is_one_write_and_a_read_gets_several_records() {
    const COUNT: usize = 100;

    for &via in Via::STREAMS {
        for (len, most) in [(PAYLOAD_MAX, COUNT / 2 + 1), (1_000, 5), (10, 1)] {
            let mut ends = Ends::new(via, Side::Client);
            let mut bytes = Vec::new();
            for _ in 0..COUNT {
                bytes.extend(sealed(&mut ends.sealer, &pattern(len)));
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
