//! What follows a handshake in mode 1, on a line that somebody else has in hand.
//!
//! Every manipulation runs through the core and through each stream on top of it: blocking and
//! over tokio, whole and in halves.

mod ends;
mod sockets;

use std::io::{self, ErrorKind};

use countersign::handshake::Mode;
use countersign::record::{self, OVERHEAD, Opened, PAYLOAD_MAX};

use self::ends::{Ends, SIDES, Side, Stream, Via, failed, opened, sealed, sessions, sessions_of};
use crate::support::{Act, Draws};

/// The largest record on the wire.
const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;

// Somebody on the line.

const PAYLOADS: [&[u8]; 3] = [b"one", b"second", b"3rd of three"];

/// An end under test, and the records that somebody on the line has seen.
struct Scene {
    side: Side,
    ends: Ends,
    /// Those of the far end: three with data, and the close.
    theirs: Vec<Vec<u8>>,
    /// The first ones of the near end itself.
    ours: Vec<Vec<u8>>,
}

impl Scene {
    fn new(via: Via, side: Side) -> Self {
        let mut ends = Ends::new(via, side);
        let mut theirs: Vec<_> = (PAYLOADS.iter())
            .map(|payload| sealed(&mut ends.sealer, payload))
            .collect();
        theirs.push(ends.sealer.close().unwrap().to_vec());
        for payload in PAYLOADS {
            ends.near.write_all(payload).unwrap();
            ends.near.flush().unwrap();
        }
        Self {
            side,
            ours: ends.written(),
            ends,
            theirs,
        }
    }

    /// The records that the far end sent in another session, of the same payloads.
    fn another(&self) -> Vec<Vec<u8>> {
        let (mut client, mut server) = sessions_of(Mode::Protect, Draws::from(0x10));
        let far = match self.side {
            Side::Client => &mut server,
            Side::Server => &mut client,
        };
        let (mut sealer, _) = far.records().unwrap();
        let mut records: Vec<_> = (PAYLOADS.iter())
            .map(|payload| sealed(&mut sealer, payload))
            .collect();
        records.push(sealer.close().unwrap().to_vec());
        records
    }

    /// Has the near end receive `octets` instead of what the far end sent, and judges what it
    /// makes of them.
    fn judge(
        mut self,
        context: &str,
        octets: &[u8],
        (piece, room): (usize, usize),
        delivered: usize,
        end: Result<(), record::Error>,
    ) {
        let ends = &mut self.ends;
        let is_core = ends.line.wire().flushes == 0;
        if !is_core {
            ends.near.write_all(b"kept").unwrap();
        }
        let written = ends.written();
        ends.say(octets, piece, Act::Nothing);

        let (received, ended) = ends.read_to_end(room);
        let expected = PAYLOADS[..delivered].concat();
        assert_eq!(received, expected, "{context}: what was delivered");
        let ended = ended.map_err(|error| failed::<()>(Err(error)));
        assert_eq!(ended, end, "{context}");

        // As it ended it remains, also where good records come yet.
        ends.say(&self.theirs[delivered.min(3)], usize::MAX, Act::Nothing);
        for _ in 0..3 {
            let (received, again) = ends.read_to_end(room);
            assert_eq!(received, b"", "{context}: after the end");
            let again = again.map_err(|error| failed::<()>(Err(error)));
            assert_eq!(again, end, "{context}: after the end");
        }

        // The core leaves it to its caller to end the other direction too.
        if is_core {
            return;
        }
        if matches!(end, Ok(()) | Err(record::Error::Truncated)) {
            ends.near.write_all(b" going").unwrap();
            ends.near.close().unwrap();
            for (seq, payload) in PAYLOADS.iter().enumerate() {
                assert_eq!(ends.opened(seq), *payload);
            }
            assert_eq!(ends.opened(written.len()), b"kept going", "{context}");
            let close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&close), Ok(Opened::Close), "{context}");
        } else {
            for _ in 0..2 {
                let written = failed(ends.near.write(b"more"));
                assert_eq!(written, record::Error::BadTag, "{context}");
                let flushed = failed(ends.near.flush());
                assert_eq!(flushed, record::Error::BadTag, "{context}");
                let closed = failed(ends.near.close());
                assert_eq!(closed, record::Error::BadTag, "{context}");
            }
            assert!(ends.written() == written, "{context}: something was sent");
        }
    }
}

/// How the octets are cut into reads, and how large the reader's own buffer is.
const CUTS: [(usize, usize); 3] = [(usize::MAX, 100), (1, 100), (7, 1)];

/// Runs an alteration of the far end's records through everything. It should lead to so many
/// payloads that are delivered, and to this end.
fn altered(
    what: &str,
    alter: impl Fn(&Scene) -> Vec<Vec<u8>>,
    delivered: usize,
    end: Result<(), record::Error>,
) {
    for via in Via::all() {
        for side in SIDES {
            for cut in CUTS {
                let scene = Scene::new(via, side);
                let octets = alter(&scene).concat();
                let context = format!("{what}, {via:?}, {side:?}, {cut:?}");
                scene.judge(&context, &octets, cut, delivered, end);
            }
        }
    }
}

impl Scene {
    /// The far end's records in this order.
    fn order(&self, order: &[usize]) -> Vec<Vec<u8>> {
        order.iter().map(|&at| self.theirs[at].clone()).collect()
    }

    /// The far end's records with others in the place of some.
    fn with(&self, others: &[(usize, &[u8])]) -> Vec<Vec<u8>> {
        let mut records = self.theirs.clone();
        for &(at, other) in others {
            records[at] = other.to_vec();
        }
        records
    }
}

const BAD_TAG: Result<(), record::Error> = Err(record::Error::BadTag);
const TRUNCATED: Result<(), record::Error> = Err(record::Error::Truncated);

#[test]
fn records_that_nobody_touches_arrive() {
    altered("untouched", |scene| scene.theirs.clone(), 3, Ok(()));
}

#[test]
fn a_record_that_is_left_out_repeated_or_moved_ends_the_connection() {
    let order = |what: &str, order: &'static [usize], delivered, end| {
        altered(what, |scene| scene.order(order), delivered, end);
    };
    order("the first left out", &[1, 2, 3], 0, BAD_TAG);
    order("the second left out", &[0, 2, 3], 1, BAD_TAG);
    order("the last before the close left out", &[0, 1, 3], 2, BAD_TAG);
    order("all before the close left out", &[3], 0, BAD_TAG);
    order("the close left out", &[0, 1, 2], 3, TRUNCATED);
    order("all left out", &[], 0, TRUNCATED);
    order("the first repeated", &[0, 0, 1, 2, 3], 1, BAD_TAG);
    order("an early one repeated", &[0, 1, 0, 2, 3], 2, BAD_TAG);
    order("the last repeated", &[0, 1, 2, 2, 3], 3, BAD_TAG);
    order("the first two swapped", &[1, 0, 2, 3], 0, BAD_TAG);
    order("the next two swapped", &[0, 2, 1, 3], 1, BAD_TAG);
    order("the close before the last", &[0, 1, 3, 2], 2, BAD_TAG);
}

#[test]
fn a_record_that_is_reflected_ends_the_connection() {
    altered(
        "the first reflected",
        |scene| scene.with(&[(0, &scene.ours[0])]),
        0,
        BAD_TAG,
    );
    altered(
        "the third reflected",
        |scene| scene.with(&[(2, &scene.ours[2])]),
        2,
        BAD_TAG,
    );
    altered("all reflected", |scene| scene.ours.clone(), 0, BAD_TAG);
}

#[test]
fn a_record_of_another_session_ends_the_connection() {
    for at in 0..4 {
        altered(
            &format!("record {at} of another session"),
            |scene| scene.with(&[(at, &scene.another()[at])]),
            at,
            BAD_TAG,
        );
    }
    altered("all of another session", Scene::another, 0, BAD_TAG);
}

#[test]
fn a_forged_record_ends_the_connection() {
    altered(
        "a close without a tag",
        |scene| scene.with(&[(1, &[0; 18])]),
        1,
        BAD_TAG,
    );
    altered(
        "the tag of another record",
        |scene| {
            let tag = &scene.theirs[0][scene.theirs[0].len() - 16..];
            scene.with(&[(1, &[&[0, 6], &b"second"[..], tag].concat())])
        },
        1,
        BAD_TAG,
    );
    altered(
        "two payloads in one record",
        |scene| {
            let tag = &scene.theirs[1][scene.theirs[1].len() - 16..];
            scene.with(&[(0, &[&[0, 9], &b"onesecond"[..], tag].concat())])
        },
        0,
        BAD_TAG,
    );
    altered(
        "an octet between two records",
        |scene| scene.with(&[(1, &[&[0][..], &scene.theirs[1]].concat())]),
        1,
        BAD_TAG,
    );
    altered(
        "HTTP",
        |_| vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()],
        0,
        Err(record::Error::TooLong { len: 0x4745 }),
    );
}

#[test]
fn what_follows_the_close_is_never_delivered() {
    let order = |what: &str, order: &'static [usize]| {
        altered(what, |scene| scene.order(order), 3, Ok(()));
    };
    order("the close repeated", &[0, 1, 2, 3, 3]);
    order("a record after the close", &[0, 1, 2, 3, 0]);
    altered(
        "anything after the close",
        |scene| [scene.theirs.clone(), vec![vec![0xff; 40_000]]].concat(),
        3,
        Ok(()),
    );
}

#[test]
fn any_flipped_bit_of_any_record_ends_the_connection() {
    for via in Via::all() {
        for side in SIDES {
            let len = Scene::new(via, side).theirs.concat().len();
            for bit in 0..len * 8 {
                let scene = Scene::new(via, side);
                let mut octets = scene.theirs.concat();
                octets[bit / 8] ^= 1 << (bit % 8);
                let (delivered, end) = flipped(&scene.theirs, &octets);
                let context = format!("{via:?}, {side:?}, bit {bit}");
                scene.judge(&context, &octets, CUTS[0], delivered, end);
            }
        }
    }
}

/// What becomes of `octets` that differ from these records in one place: the records before it
/// are delivered, and there the connection ends.
fn flipped(records: &[Vec<u8>], octets: &[u8]) -> (usize, Result<(), record::Error>) {
    let mut rest = octets;
    let mut whole = 0;
    while let Some(after) = rest.strip_prefix(&records[whole][..]) {
        rest = after;
        whole += 1;
    }
    let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    let end = if len > 16_384 {
        record::Error::TooLong { len }
    } else if rest.len() < 2 + len + 16 {
        record::Error::Truncated
    } else {
        record::Error::BadTag
    };
    (whole, Err(end))
}

#[test]
fn a_stream_that_is_cut_at_any_octet_is_truncated() {
    for via in Via::all() {
        for side in SIDES {
            let len = Scene::new(via, side).theirs.concat().len();
            for at in 0..len {
                let scene = Scene::new(via, side);
                let octets = &scene.theirs.concat()[..at];
                let mut end = 0;
                let ends = scene.theirs.iter().map(|record| {
                    end += record.len();
                    end
                });
                let delivered = ends.take_while(|&end| end <= at).count();
                let context = format!("{via:?}, {side:?}, cut at {at}");
                scene.judge(&context, octets, CUTS[0], delivered, TRUNCATED);
            }
        }
    }
}

#[test]
fn a_payload_has_1_to_16384_octets_and_more_is_refused_before_it_is_read() {
    for via in Via::all() {
        for side in SIDES {
            let mut ends = Ends::new(via, side);
            for len in [1, PAYLOAD_MAX] {
                let payload = pattern(len);
                let record = sealed(&mut ends.sealer, &payload);
                ends.say(&record, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
                let (received, waiting) = ends.read_to_end(100_000);
                assert!(received == payload, "{via:?}, {side:?}, {len}");
                assert_eq!(waiting.unwrap_err().kind(), ErrorKind::WouldBlock);
            }
        }
        for len in [16_385_u16, 65_535] {
            let mut ends = Ends::new(via, Side::Client);
            // Whoever wanted to read on would wait.
            let header = len.to_be_bytes();
            ends.say(&header, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
            for _ in 0..2 {
                let refused = failed(ends.near.read(&mut [0; 100]));
                let len = usize::from(len);
                assert_eq!(refused, record::Error::TooLong { len }, "{via:?}");
            }
            assert_eq!(ends.line.wire().offered.len(), 1, "{via:?}");
            if via != Via::Core {
                assert_eq!(failed(ends.near.write(b"x")), record::Error::BadTag);
            }
        }
    }
}

#[test]
fn the_core_refuses_a_buffer_that_is_no_record() {
    let (mut client, mut server) = sessions(Mode::Protect);
    let (mut sealer, mut clients_opener) = client.records().unwrap();
    let (mut servers_sealer, mut opener) = server.records().unwrap();

    // Nothing was sealed by these, and no number was used.
    for len in [0, 1, 17, 18, RECORD_MAX + 1] {
        let mut record = vec![7; len];
        let refused = sealer.seal(&mut record);
        assert_eq!(refused, Err(record::Error::Length { len }));
        assert_eq!(record, vec![7; len]);
    }
    let good = sealed(&mut sealer, b"good");
    assert_eq!(opened(&mut opener, &good), b"good");

    for wrong in [
        &[][..],
        &[0],
        &[0; 17],
        &[0; 19],
        &good[1..],
        &good[..good.len() - 1],
    ] {
        let (_, mut server) = sessions(Mode::Protect);
        let (_, mut opener) = server.records().unwrap();
        let len = wrong.len();
        let refused = opener.open(wrong);
        assert!(
            matches!(refused, Err(record::Error::Length { len: l }) if l == len)
                || refused == Err(record::Error::TooLong { len: 0x0467 }),
            "{refused:?}",
        );
        assert_eq!(opener.open(wrong), Err(record::Error::BadTag));
    }

    // A good record after a bad one.
    let (bad, good) = (
        sealed(&mut servers_sealer, b"bad"),
        sealed(&mut servers_sealer, b"good"),
    );
    let mut altered = bad.clone();
    altered[2] ^= 1;
    for record in [&altered, &bad, &good, &bad] {
        assert_eq!(clients_opener.open(record), Err(record::Error::BadTag));
    }
}

#[test]
fn there_are_records_once_and_in_mode_1_only() {
    let (client, server) = sessions(Mode::Protect);
    for mut session in [client, server] {
        assert!(session.records().is_some());
        assert!(session.records().is_none());
    }
    let (client, server) = sessions(Mode::Authenticate);
    for mut session in [client, server] {
        assert!(session.records().is_none());
    }
}

// The two directions.

#[test]
fn when_one_side_has_closed_the_other_goes_on() {
    for &via in Via::STREAMS {
        for side in SIDES {
            // The near end closes first.
            let mut ends = Ends::new(via, side);
            ends.near.write_all(b"last words").unwrap();
            ends.near.close().unwrap();
            assert_eq!(ends.opened(0), b"last words");
            let close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&close), Ok(Opened::Close));
            for _ in 0..3 {
                let said = sealed(&mut ends.sealer, b"still here");
                ends.say(&said, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
                let (received, _) = ends.read_to_end(100);
                assert_eq!(received, b"still here", "{via:?}, {side:?}");
            }
            let close = ends.sealer.close().unwrap();
            ends.say(&close, usize::MAX, Act::Nothing);
            assert!(ends.read_to_end(100).1.is_ok());

            // The far end closes first.
            let mut ends = Ends::new(via, side);
            let close = ends.sealer.close().unwrap();
            ends.say(&close, usize::MAX, Act::Nothing);
            assert!(ends.read_to_end(100).1.is_ok());
            for record in 0..3 {
                ends.near.write_all(b"still here").unwrap();
                ends.near.flush().unwrap();
                assert_eq!(ends.opened(record), b"still here", "{via:?}, {side:?}");
                assert!(ends.read_to_end(100).1.is_ok());
            }
            ends.near.close().unwrap();
            let close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&close), Ok(Opened::Close));
        }
    }
}

// Writing.

/// Octets that can be told apart.
fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn lens(records: &[Vec<u8>]) -> Vec<usize> {
    records.iter().map(Vec::len).collect()
}

#[test]
fn writes_are_gathered_into_records_of_up_to_16384_octets() {
    for &via in Via::STREAMS {
        let mut ends = Ends::new(via, Side::Client);
        for octet in pattern(1000) {
            assert_eq!(ends.near.write(&[octet]).unwrap(), 1);
        }
        assert!(ends.written().is_empty(), "{via:?}");
        ends.near.flush().unwrap();
        assert_eq!(lens(&ends.written()), [1000 + 18], "{via:?}");
        assert!(ends.opened(0) == pattern(1000));

        let mut ends = Ends::new(via, Side::Client);
        ends.near.write_all(&pattern(40_000)).unwrap();
        ends.near.flush().unwrap();
        let expected = [16_384, 16_384, 7_232].map(|len| len + OVERHEAD);
        assert_eq!(lens(&ends.written()), expected, "{via:?}");
        let all = [ends.opened(0), ends.opened(1), ends.opened(2)].concat();
        assert!(all == pattern(40_000));
        // A record is one write of the stream below.
        assert_eq!(ends.line.wire().writes, expected, "{via:?}");

        // A full record waits for the next octet, or for a flush.
        let mut ends = Ends::new(via, Side::Client);
        ends.near.write_all(&pattern(16_384)).unwrap();
        assert!(ends.written().is_empty(), "{via:?}");
        ends.near.write_all(b"x").unwrap();
        assert_eq!(lens(&ends.written()), [RECORD_MAX], "{via:?}");
        ends.near.close().unwrap();
        assert_eq!(lens(&ends.written()), [RECORD_MAX, 19, 18], "{via:?}");
    }
}

#[test]
fn nothing_is_sent_for_nothing() {
    for &via in Via::STREAMS {
        let mut ends = Ends::new(via, Side::Client);
        for _ in 0..3 {
            assert_eq!(ends.near.write(b"").unwrap(), 0);
            ends.near.flush().unwrap();
            // Nor is anything waited for.
            assert_eq!(ends.near.read(&mut []).unwrap(), 0);
        }
        assert!(ends.written().is_empty(), "{via:?}");
        assert!(ends.line.wire().offered.is_empty(), "{via:?}");

        // The record after it is the first one.
        ends.near.write_all(b"x").unwrap();
        ends.near.flush().unwrap();
        assert_eq!(ends.opened(0), b"x");
    }
}

#[test]
fn closing_again_does_nothing_and_writing_after_it_fails() {
    for &via in Via::STREAMS {
        let mut ends = Ends::new(via, Side::Client);
        ends.near.write_all(b"x").unwrap();
        for _ in 0..3 {
            ends.near.close().unwrap();
            ends.near.flush().unwrap();
        }
        for _ in 0..3 {
            let written = failed(ends.near.write(b"y"));
            assert_eq!(written, record::Error::Closed, "{via:?}");
            assert_eq!(ends.near.write(b"").unwrap(), 0);
        }
        assert_eq!(lens(&ends.written()), [19, 18], "{via:?}");
        assert_eq!(ends.opened(0), b"x");
        let close = ends.written().pop().unwrap();
        assert_eq!(ends.opener.open(&close), Ok(Opened::Close));
    }
}

// Streams that do not do what they are asked.

/// Repeats a call for as long as it fails with one of these kinds.
fn repeated<T>(kinds: &[ErrorKind], call: &mut dyn FnMut() -> io::Result<T>) -> io::Result<T> {
    // More often than any call of the tests has to be made again.
    for _ in 0..200_000 {
        match call() {
            Err(error) if kinds.contains(&error.kind()) => {}
            answer => return answer,
        }
    }
    panic!("no end of it")
}

/// Writes through calls that are repeated when they fail with one of these kinds.
fn write_stubbornly(near: &mut dyn Stream, mut octets: &[u8], kinds: &[ErrorKind]) {
    while !octets.is_empty() {
        let n = repeated(kinds, &mut || near.write(octets)).unwrap();
        assert_ne!(n, 0);
        octets = &octets[n..];
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
            let mut octets: Vec<_> = (payloads.iter())
                .flat_map(|payload| sealed(&mut ends.sealer, payload))
                .collect();
            octets.extend(ends.sealer.close().unwrap());
            ends.say(&octets, piece, Act::Nothing);
            let (received, end) = ends.read_to_end(1_000);
            end.unwrap();
            assert!(received == payloads.concat(), "{via:?}, pieces of {piece}");
        }
    }
}

/// `act` between any two octets that move.
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
fn a_read_that_fails_between_any_two_octets_can_be_repeated() {
    for &via in Via::STREAMS {
        for kind in AGAIN {
            let mut ends = Ends::new(via, Side::Client);
            let octets = [
                sealed(&mut ends.sealer, &pattern(300)),
                sealed(&mut ends.sealer, b"x"),
                ends.sealer.close().unwrap().to_vec(),
            ]
            .concat();
            ends.line.wire().say(&octets);
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
            assert_eq!(failures, octets.len(), "{via:?}, {kind:?}");
            assert!(received == [&pattern(300)[..], b"x"].concat());
        }
    }
}

#[test]
fn a_write_that_fails_between_any_two_octets_can_be_repeated() {
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
            write_stubbornly(&mut *ends.near, &data, &kinds);
            repeated(&kinds, &mut || ends.near.flush()).unwrap();
            write_stubbornly(&mut *ends.near, b"more", &kinds);
            repeated(&kinds, &mut || ends.near.close()).unwrap();

            let lens = lens(&ends.written());
            assert_eq!(lens, [RECORD_MAX, 118, 22, 18], "{via:?}, {act:?}");
            let received = [ends.opened(0), ends.opened(1)].concat();
            assert!(received == data, "{via:?}, {act:?}");
            assert_eq!(ends.opened(2), b"more");
            let close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&close), Ok(Opened::Close));
        }
    }
}

#[test]
fn a_blocking_stream_is_not_bothered_by_interruptions_of_writes_and_flushes() {
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
fn a_stream_that_takes_nothing_fails_instead_of_looping() {
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
fn a_stream_that_reports_more_than_it_was_given_is_not_used_again() {
    for &via in Via::STREAMS {
        let mut ends = Ends::new(via, Side::Client);
        ends.line.wire().on_write = Box::new(|_| Act::Lie);
        ends.near.write_all(b"hello").unwrap();
        let lied = failed(ends.near.flush());
        assert_eq!(lied, record::Error::Length { len: 24 }, "{via:?}");
        ends.line.wire().on_write = Box::new(|_| Act::Move(usize::MAX));
        // What it took is not known; the same record once more would be one too many.
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
fn failures_of_the_stream_below_are_handed_on_as_they_are() {
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

// What it costs the stream below.

#[test]
fn a_record_is_one_write_and_at_most_one_read_and_several_come_in_one() {
    const COUNT: usize = 100;

    for &via in Via::STREAMS {
        for (len, most) in [(PAYLOAD_MAX, COUNT / 2 + 1), (1_000, 5), (10, 1)] {
            let mut ends = Ends::new(via, Side::Client);
            let mut octets = Vec::new();
            for _ in 0..COUNT {
                octets.extend(sealed(&mut ends.sealer, &pattern(len)));
            }
            ends.say(&octets, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
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
