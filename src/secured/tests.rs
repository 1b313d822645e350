//! What stays in the buffers, which no interface shows.

use core::iter::once;
use std::vec::Vec;

use super::buffer::Buffer;
use super::*;
use crate::mac::MacKey;
use crate::record::{Integrity, Records};

const PAYLOAD: &[u8] = b"what the peer sent";

/// A record with the payload, and what receives it.
fn record() -> io::Result<(Vec<u8>, Incoming<Integrity>)> {
    let [client, server] = [(b"client", b"server"), (b"server", b"client")]
        .map(|(ours, theirs)| [ours, theirs].map(|key| Integrity::new(MacKey::new(key))))
        .map(|[ours, theirs]| buffers(Records::new(ours, theirs)));
    let ((_, mut outgoing), (incoming, _)) = (client, server);
    let mut wire = Vec::new();
    assert_eq!(outgoing.write(&mut wire, once(PAYLOAD))?, PAYLOAD.len());
    // The sender's buffer has gone to this thread's spare ones, and the receiver gets it next.
    Buffer::default().hold().fill(0);
    Ok((wire, incoming))
}

fn spare_has(bytes: &[u8]) -> bool {
    let mut spare = Buffer::default();
    spare.hold().windows(bytes.len()).any(|it| it == bytes)
}

#[test]
fn what_is_read_is_wiped() -> io::Result<()> {
    let (wire, mut incoming) = record()?;
    let mut out = [0; 100];
    for _ in PAYLOAD {
        assert_eq!(
            incoming.read(&mut wire.as_slice(), out.split_at_mut(1).0)?,
            1
        );
    }
    for byte in PAYLOAD.chunks(4) {
        assert!(!spare_has(byte));
    }
    Ok(())
}

#[test]
fn what_is_not_read_is_wiped_when_the_stream_is_dropped() -> io::Result<()> {
    let (wire, mut incoming) = record()?;
    assert_eq!(incoming.read(&mut wire.as_slice(), &mut [0; 3])?, 3);
    // The control: the buffer is not spare yet.
    assert!(!spare_has(b"the peer sent"));
    drop(incoming);
    assert!(!spare_has(b"peer"));
    Ok(())
}

#[test]
fn what_is_sent_stays_where_it_was_sealed() -> io::Result<()> {
    // The control of the tests above: a spare buffer shows what was in it. In mode 1 a record is
    // what the network has seen.
    let (wire, mut incoming) = record()?;
    let mut out = [0; 100];
    assert_eq!(
        incoming.read(&mut wire.as_slice(), &mut out)?,
        PAYLOAD.len()
    );
    let tag = wire.last_chunk::<16>();
    assert!(tag.is_some_and(|tag| spare_has(tag)));
    Ok(())
}

/// A stream that notes the length of each write.
struct Writes(Vec<usize>);

impl Write for Writes {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.push(buf.len());
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_large_write_sends_two_records_in_one_write_of_the_stream_below() -> io::Result<()> {
    let [ours, theirs] = [b"client", b"server"].map(|key| Integrity::new(MacKey::new(key)));
    let (_, mut outgoing) = buffers(Records::new(ours, theirs));
    let mut below = Writes(Vec::new());
    let mut write = |len| outgoing.write(&mut below, [&*std::vec![1; len], &[2; 8]].into_iter());
    assert_eq!(write(16_384)?, 16_392);
    assert_eq!(write(100_000)?, 32_768);
    assert_eq!(write(16_376)?, 16_384);
    assert_eq!(below.0, [16_392 + 36, 32_768 + 36, 16_384 + 18]);
    Ok(())
}
