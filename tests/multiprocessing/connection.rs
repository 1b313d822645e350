//! Messages after the handshake, of any size.

use std::io::{self, ErrorKind};

use allocation_counter::measure;
use countersign::compat::multiprocessing::KnowsAuthkey;

use super::{Far, framed};
use crate::side::Side;
use crate::support::{Act, Driver, Says, Wire};

/// A proof that a `Connection` can be made with, over any stream.
fn knows(driver: Driver) -> KnowsAuthkey {
    let mut wire = Far::opposite(Side::Client).wire();
    Side::Client.run(driver, &mut wire).unwrap()
}

fn receive(driver: Driver, bytes: &[u8], max: usize) -> io::Result<Option<Vec<u8>>> {
    let end = bytes.len();
    let mut wire = Wire::to(Says(bytes.to_vec())).read_until(end, Act::Nothing);
    driver.recv_bytes(&mut wire, knows(driver), max)
}

/// The header in the long form, which CPython gives a message of 2 GiB and more.
fn long_header(len: u64) -> Vec<u8> {
    [&(-1_i32).to_be_bytes()[..], &len.to_be_bytes()].concat()
}

/// A message in which neighbouring bytes differ.
fn message(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

const MIB: usize = 1 << 20;

#[test]
fn messages_of_every_size_arrive_and_small_ones_are_one_write() {
    for &driver in Driver::ALL {
        for len in [0, 1, 2, 255, 16383, 16384, 16385, MIB] {
            let message = message(len);
            let mut wire = Wire::to(Says(vec![]));
            driver
                .send_bytes(&mut wire, knows(driver), &message)
                .unwrap();
            assert!(wire.written == framed(&message), "{len} bytes");
            // The second of two small writes would wait until the first is acknowledged.
            let writes = if len <= 16384 { 1 } else { 2 };
            assert_eq!(wire.writes.len(), writes, "{driver:?}, {len} bytes");
            assert_eq!(wire.flushes, 1);

            let received = receive(driver, &wire.written, len).unwrap();
            assert!(received.as_deref() == Some(&message), "{len} bytes");
        }
    }
}

#[test]
fn a_message_may_arrive_in_any_two_segments_and_the_next_is_left_in_the_stream() {
    for &driver in Driver::ALL {
        for long in [false, true] {
            let message = message(20);
            let header = if long {
                long_header(20)
            } else {
                20_i32.to_be_bytes().to_vec()
            };
            let bytes = [&header[..], &message, &framed(b"the next")].concat();
            for cut in 1..bytes.len() {
                let mut wire = Wire::to(Says(bytes.clone()));
                wire = wire.read_until(cut, Act::Move(usize::MAX));
                let received = driver.recv_bytes(&mut wire, knows(driver), 20).unwrap();
                assert_eq!(received.as_deref(), Some(&message[..]));
                assert_eq!(wire.rest(), framed(b"the next"), "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_at_its_header() {
    for &driver in Driver::ALL {
        let short = |len: i32| len.to_be_bytes().to_vec();
        for (header, max) in [
            (short(1), 0),
            (short(101), 100),
            (short(i32::MAX), MIB),
            (long_header(101), 100),
            (long_header(1 << 31), MIB),
            (long_header(u64::MAX), MIB),
        ] {
            let bytes = [&header[..], &[7; 200]].concat();
            let mut wire = Wire::to(Says(bytes));
            let error = driver.recv_bytes(&mut wire, knows(driver), max);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidData);
            assert_eq!(wire.read, header.len());
        }
        let received = receive(driver, &[long_header(100), vec![7; 100]].concat(), 100);
        assert_eq!(received.unwrap(), Some(vec![7; 100]));
        let received = receive(driver, &long_header(0), 0);
        assert_eq!(received.unwrap(), Some(vec![]));
    }
}

#[test]
fn an_impossible_length_is_refused_whatever_the_limit() {
    for &driver in Driver::ALL {
        for len in [-2, -59, i32::MIN] {
            let bytes = [&len.to_be_bytes()[..], &[0; 100]].concat();
            let error = receive(driver, &bytes, usize::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{len}");
            assert!(error.to_string().contains(&len.to_string()), "{error}");
        }
    }
}

#[test]
fn the_end_of_the_stream_is_an_error_except_between_two_messages() {
    for &driver in Driver::ALL {
        let short = framed(b"hello");
        let long = [&long_header(5)[..], b"hello"].concat();
        for bytes in [&short, &long] {
            assert_eq!(receive(driver, b"", 100).unwrap(), None);
            for at in 1..bytes.len() {
                let error = receive(driver, &bytes[..at], 100).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{driver:?}, {at}");
            }
            assert_eq!(receive(driver, bytes, 100).unwrap().unwrap(), b"hello");
        }
    }
}

#[test]
fn an_error_of_the_stream_within_a_message_is_returned() {
    for &driver in Driver::ALL {
        for at in 0..9 {
            let wire = Wire::to(Says(framed(b"hello")));
            let mut wire = wire.read_until(at, Act::Fail(ErrorKind::TimedOut));
            let error = driver.recv_bytes(&mut wire, knows(driver), 100);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

            let mut wire = Wire::to(Says(vec![])).write_until(at, Act::Fail(ErrorKind::TimedOut));
            let error = driver.send_bytes(&mut wire, knows(driver), b"hello");
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        }
    }
}

#[test]
fn no_memory_is_allocated_for_a_length_that_is_only_announced() {
    const GIB: usize = 1 << 30;

    for &driver in Driver::ALL {
        let short = i32::try_from(GIB).unwrap().to_be_bytes().to_vec();
        let long = long_header(GIB as u64);
        for (header, sent) in [(&short, 0), (&short, 100), (&long, 0), (&long, 100)] {
            let bytes = [&header[..], &vec![7; sent]].concat();
            let mut kind = None;
            // The stream double and tokio's runtime allocate too, but fixed amounts.
            let info = measure(|| kind = receive(driver, &bytes, GIB).err().map(|e| e.kind()));
            assert_eq!(kind, Some(ErrorKind::UnexpectedEof));
            assert!(info.bytes_max < 1 << 18, "{} bytes", info.bytes_max);
        }
    }
}
