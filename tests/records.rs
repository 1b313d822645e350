//! Records after a handshake in modes 1 and 2, on a line that an attacker controls.
//!
//! Every manipulation runs through the core and through each stream on top of it: blocking and
//! over tokio, whole and in halves.

mod ends;
mod format;
mod line;
mod sockets;
mod stream;
mod streams;
mod via;
mod writing;

use countersign::record::{self, Opened};

use self::ends::{Ends, failed, sealed};
use self::via::{Via, session_of};
use crate::side::Side;
use crate::support::{Act, Draws};

const PAYLOADS: [&[u8]; 3] = [b"one", b"second", b"3rd of three"];

/// An end under test, and the records that the attacker has seen.
struct Scene {
    via: Via,
    side: Side,
    ends: Ends,
    /// The records of the far end: three with data, and the close.
    theirs: Vec<Vec<u8>>,
    /// The first records of the near end.
    ours: Vec<Vec<u8>>,
}

impl Scene {
    fn new(via: Via, side: Side) -> Self {
        let mut ends = Ends::new(via, side);
        let mut theirs: Vec<_> = (PAYLOADS.iter())
            .map(|payload| sealed(&mut *ends.sealer, payload))
            .collect();
        theirs.push(ends.sealer.close().unwrap().to_vec());
        for payload in PAYLOADS {
            ends.near.write_all(payload).unwrap();
            ends.near.flush().unwrap();
        }
        Self {
            via,
            side,
            ours: ends.written(),
            ends,
            theirs,
        }
    }

    /// The records with the same payloads that the far end sent in another session.
    fn another(&self) -> Vec<Vec<u8>> {
        let [client, server] = session_of(self.via.kind, Draws::from(0x10));
        let mut sealer = match self.side {
            Side::Client => server.sealer,
            Side::Server => client.sealer,
        };
        let mut records: Vec<_> = (PAYLOADS.iter())
            .map(|payload| sealed(&mut *sealer, payload))
            .collect();
        records.push(sealer.close().unwrap().to_vec());
        records
    }

    /// Has the near end receive `bytes` instead of what the far end sent, and checks what it
    /// delivers and how it ends.
    fn judge(
        mut self,
        context: &str,
        bytes: &[u8],
        (piece, room): (usize, usize),
        delivered: usize,
        end: Result<(), record::Error>,
    ) {
        let ends = &mut self.ends;
        let is_core = self.via.is_core();
        if !is_core {
            ends.near.write_all(b"kept").unwrap();
        }
        let written = ends.written();
        ends.say(bytes, piece, Act::Nothing);

        let (received, ended) = ends.near.read_to_end(room);
        let expected = PAYLOADS[..delivered].concat();
        assert_eq!(received, expected, "{context}: what was delivered");
        let ended = ended.map_err(|error| failed::<()>(Err(error)));
        assert_eq!(ended, end, "{context}");

        // It stays ended, even if good records follow.
        ends.say(&self.theirs[delivered.min(3)], usize::MAX, Act::Nothing);
        for _ in 0..3 {
            let (received, again) = ends.near.read_to_end(room);
            assert_eq!(received, b"", "{context}: after the end");
            let again = again.map_err(|error| failed::<()>(Err(error)));
            assert_eq!(again, end, "{context}: after the end");
        }

        // In the core, ending the other direction is up to the caller.
        if is_core {
            return;
        }
        if matches!(end, Ok(()) | Err(record::Error::Truncated)) {
            ends.near.write_all(b" going").unwrap();
            ends.near.close().unwrap();
            for (seq, payload) in PAYLOADS.iter().enumerate() {
                assert_eq!(ends.opened(seq), *payload);
            }
            assert_eq!(ends.opened(written.len() - 1), b"kept", "{context}");
            assert_eq!(ends.opened(written.len()), b" going", "{context}");
            let close = ends.written().pop().unwrap();
            assert_eq!(
                ends.opener.open(&mut close.clone()),
                Ok(Opened::Close),
                "{context}"
            );
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

/// How many bytes a read gets at most, and the size of the reader's buffer.
const CUTS: [(usize, usize); 3] = [(usize::MAX, 100), (1, 100), (7, 1)];

/// Runs an alteration of the far end's records through everything. The near end should deliver this
/// number of payloads, and then end in this way.
fn altered(
    what: &str,
    alter: impl Fn(&Scene) -> Vec<Vec<u8>>,
    delivered: usize,
    end: Result<(), record::Error>,
) {
    for via in Via::all() {
        for side in Side::BOTH {
            for cut in CUTS {
                let scene = Scene::new(via, side);
                let bytes = alter(&scene).concat();
                let context = format!("{what}, {via:?}, {side:?}, {cut:?}");
                scene.judge(&context, &bytes, cut, delivered, end);
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
fn unaltered_records_arrive() {
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
        "a byte between two records",
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
        for side in Side::BOTH {
            let len = Scene::new(via, side).theirs.concat().len();
            for bit in 0..len * 8 {
                let scene = Scene::new(via, side);
                let mut bytes = scene.theirs.concat();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let (delivered, end) = flipped(&scene.theirs, &bytes);
                let context = format!("{via:?}, {side:?}, bit {bit}");
                scene.judge(&context, &bytes, CUTS[0], delivered, end);
            }
        }
    }
}

/// The expected outcome of `bytes` that differ from these records in one place: the records before
/// it are delivered, and then the connection ends.
fn flipped(records: &[Vec<u8>], bytes: &[u8]) -> (usize, Result<(), record::Error>) {
    let mut rest = bytes;
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
fn a_stream_that_is_cut_at_any_byte_is_truncated() {
    for via in Via::all() {
        for side in Side::BOTH {
            let len = Scene::new(via, side).theirs.concat().len();
            for at in 0..len {
                let scene = Scene::new(via, side);
                let bytes = &scene.theirs.concat()[..at];
                let mut end = 0;
                let ends = scene.theirs.iter().map(|record| {
                    end += record.len();
                    end
                });
                let delivered = ends.take_while(|&end| end <= at).count();
                let context = format!("{via:?}, {side:?}, cut at {at}");
                scene.judge(&context, bytes, CUTS[0], delivered, TRUNCATED);
            }
        }
    }
}
