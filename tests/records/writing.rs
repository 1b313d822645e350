//! Writing, flushing and closing.

use std::io::{ErrorKind, IoSlice};

use countersign::record::{self, OVERHEAD, Opened};

use super::ends::{Ends, RECORD_MAX, failed, lens, pattern, sealed};
use super::via::Via;
use crate::side::Side;
use crate::support::Act;

#[test]
fn a_direction_stays_open_when_the_other_is_closed() {
    for via in Via::streams() {
        for side in Side::BOTH {
            // The near end closes first.
            let mut ends = Ends::new(via, side);
            ends.near.write_all(b"last words").unwrap();
            ends.near.close().unwrap();
            assert_eq!(ends.opened(0), b"last words");
            let close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&mut close.clone()), Ok(Opened::Close));
            for _ in 0..3 {
                let said = sealed(&mut *ends.sealer, b"still here");
                ends.say(&said, usize::MAX, Act::Fail(ErrorKind::WouldBlock));
                let (received, _) = ends.near.read_to_end(100);
                assert_eq!(received, b"still here", "{via:?}, {side:?}");
            }
            let close = ends.sealer.close().unwrap();
            ends.say(&close, usize::MAX, Act::Nothing);
            assert!(ends.near.read_to_end(100).1.is_ok());

            // The far end closes first.
            let mut ends = Ends::new(via, side);
            let close = ends.sealer.close().unwrap();
            ends.say(&close, usize::MAX, Act::Nothing);
            assert!(ends.near.read_to_end(100).1.is_ok());
            for record in 0..3 {
                ends.near.write_all(b"still here").unwrap();
                ends.near.flush().unwrap();
                assert_eq!(ends.opened(record), b"still here", "{via:?}, {side:?}");
                assert!(ends.near.read_to_end(100).1.is_ok());
            }
            ends.near.close().unwrap();
            let close = ends.written().pop().unwrap();
            assert_eq!(ends.opener.open(&mut close.clone()), Ok(Opened::Close));
        }
    }
}

#[test]
fn a_write_is_sent_at_once_as_records_of_up_to_16384_bytes() {
    for via in Via::streams() {
        let mut ends = Ends::new(via, Side::Client);
        for (record, byte) in pattern(100).into_iter().enumerate() {
            assert_eq!(ends.near.write(&[byte]).unwrap(), 1);
            assert_eq!(ends.opened(record), [byte], "{via:?}");
        }

        let mut ends = Ends::new(via, Side::Client);
        assert_eq!(ends.near.write(&pattern(40_000)).unwrap(), 32_768);
        assert_eq!(lens(&ends.written()), [RECORD_MAX; 2], "{via:?}");

        let mut ends = Ends::new(via, Side::Client);
        ends.near.write_all(&pattern(40_000)).unwrap();
        let expected = [16_384, 16_384, 7_232].map(|len| len + OVERHEAD);
        assert_eq!(lens(&ends.written()), expected, "{via:?}");
        let all = [ends.opened(0), ends.opened(1), ends.opened(2)].concat();
        assert!(all == pattern(40_000));
        // What a call takes is one write of the stream below.
        let writes = [expected[0] + expected[1], expected[2]];
        assert_eq!(ends.line.wire().writes, writes, "{via:?}");
    }
}

#[test]
fn a_vectored_write_is_one_write_of_the_stream_below() {
    for via in Via::streams() {
        let mut ends = Ends::new(via, Side::Client);
        let (head, body) = (pattern(20), pattern(16_360));
        let parts = [&head[..], &[], &body, b"tail", b"more"];
        let written = (ends.near.write_vectored(&parts.map(IoSlice::new))).unwrap();
        assert_eq!(written, 16_388, "{via:?}");
        let second = 4 + OVERHEAD;
        assert_eq!(ends.line.wire().writes, [RECORD_MAX + second], "{via:?}");
        assert!(ends.opened(0) == [&head[..], &body, b"tail"].concat());
        assert_eq!(ends.opened(1), b"more", "{via:?}");

        assert_eq!(ends.near.write_vectored(&[]).unwrap(), 0);
        assert_eq!(ends.near.write_vectored(&[IoSlice::new(b"")]).unwrap(), 0);
        assert_eq!(
            ends.near.write_vectored(&[IoSlice::new(b"more")]).unwrap(),
            4
        );
        assert_eq!(ends.opened(2), b"more", "{via:?}");
    }
}

#[test]
fn empty_writes_and_flushes_send_no_record() {
    for via in Via::streams() {
        let mut ends = Ends::new(via, Side::Client);
        for _ in 0..3 {
            assert_eq!(ends.near.write(b"").unwrap(), 0);
            ends.near.flush().unwrap();
            // An empty buffer waits for nothing either.
            assert_eq!(ends.near.read(&mut []).unwrap(), 0);
        }
        assert!(ends.written().is_empty(), "{via:?}");
        assert!(ends.line.wire().offered.is_empty(), "{via:?}");

        // The next record is the first.
        ends.near.write_all(b"x").unwrap();
        ends.near.flush().unwrap();
        assert_eq!(ends.opened(0), b"x");
    }
}

#[test]
fn closing_again_does_nothing_and_writing_after_it_fails() {
    for via in Via::streams() {
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
        assert_eq!(ends.opener.open(&mut close.clone()), Ok(Opened::Close));
    }
}
