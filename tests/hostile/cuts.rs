//! Streams that move a message in parts.

use std::io::ErrorKind;

use countersign::KeyId;

use super::{F2_LEN, ID, ends, ours, tail};
use crate::support::{Act, key};

#[test]
fn the_same_session_comes_out_however_the_stream_is_cut() {
    let tail = tail();
    let key = ours();
    for (driver, side) in ends() {
        for cut in 1..side.received(ID.len()) {
            let mut wire = (side.honest_wire(&key, &tail)).read_until(cut, Act::Move(usize::MAX));
            let session = side.run(driver, &key, &mut wire).unwrap();
            assert_eq!(session.key_id(), ID);
            assert!(wire.rest() == tail, "{driver:?} {side:?}, cut at {cut}");
        }
    }
}

#[test]
fn no_byte_of_the_application_is_asked_for() {
    let tail = tail();
    assert_eq!(tail.len(), 64 * 1024);
    let longest = "x".repeat(KeyId::MAX_LEN);
    for ((driver, side), id) in ends().flat_map(|end| ["", ID, &longest].map(|id| (end, id))) {
        let key = key("ours").with_id(id).unwrap();
        for piece in (1..=2 * F2_LEN).chain([usize::MAX]) {
            let mut wire = side.honest_wire(&key, &tail).dripping(piece);
            let session = side.run(driver, &key, &mut wire).unwrap();
            assert_eq!(session.key_id(), id);

            let mut read = 0;
            for &room in &wire.offered {
                let end = side.known_end(read, id.len());
                assert!(
                    (1..=end - read).contains(&room),
                    "{driver:?} {side:?}, {} bytes of key id, pieces of {piece}: \
                     {room} bytes asked for after {read}",
                    id.len(),
                );
                read += room.min(piece);
            }
            assert_eq!(read, side.received(id.len()));
            assert_eq!(wire.read, read);
            assert!(wire.rest() == tail, "{driver:?} {side:?}, piece {piece}");
        }
    }
}

#[test]
fn a_message_is_one_write_and_one_flush() {
    let key = ours();
    for (driver, side) in ends() {
        let mut wire = side.honest_wire(&key, b"");
        let _ = side.run(driver, &key, &mut wire).unwrap();
        assert_eq!(wire.writes, side.writes(), "{driver:?} {side:?}");
        assert_eq!(wire.flushes, side.writes().len(), "{driver:?} {side:?}");
    }
}

#[test]
fn a_stream_that_takes_a_byte_at_a_time_gets_every_byte_once() {
    let key = ours();
    for (driver, side) in ends() {
        let mut wire = side.honest_wire(&key, b"");
        wire.on_write = Box::new(|_| Act::Move(1));
        // The honest peer verifies the bytes.
        let _ = side.run(driver, &key, &mut wire).unwrap();
        let sent: usize = side.writes().iter().sum();
        assert_eq!(wire.writes, vec![1; sent], "{driver:?} {side:?}");
        assert_eq!(wire.flushes, side.writes().len(), "{driver:?} {side:?}");
    }
}

#[test]
fn an_interrupted_call_is_made_again() {
    const TIMES: usize = 3;

    // Three interruptions before each byte and each flush.
    fn stumbling() -> Box<dyn FnMut(usize) -> Act + Send> {
        let mut calls = 0;
        Box::new(move |_| {
            calls += 1;
            if calls % (TIMES + 1) == 0 {
                Act::Move(1)
            } else {
                Act::Fail(ErrorKind::Interrupted)
            }
        })
    }

    let key = ours();
    for (driver, side) in ends() {
        let mut wire = side.honest_wire(&key, b"application data");
        wire.on_read = stumbling();
        wire.on_write = stumbling();
        wire.on_flush = stumbling();
        let _ = side.run(driver, &key, &mut wire).unwrap();

        let received = side.received(ID.len());
        assert_eq!(wire.offered.len(), (TIMES + 1) * received);
        let sent: usize = side.writes().iter().sum();
        assert_eq!(wire.written.len(), sent);
        assert_eq!(wire.flushes, (TIMES + 1) * side.writes().len());
        assert_eq!(wire.rest(), b"application data");
    }
}
