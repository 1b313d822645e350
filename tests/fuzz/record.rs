//! Records that are altered, moved, repeated, cut off and forged on their way. The core opens them,
//! and a secured stream reads them.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::client::{AwaitChallenge, AwaitVerdict};
use countersign::handshake::{Prologue, Protect, Transcript, client};
use countersign::record::{self, OVERHEAD, Opened, PAYLOAD_MAX, Protection, Sealer, len_of};
use countersign::{Key, Server};

use super::harness::{Draws, Recorded, deliver, key, records, without_allocating};

static KEY: LazyLock<Key> = LazyLock::new(|| key("ours", "worker-7"));

/// An input is a [`Plan`]: the number of records and whether the close follows, their lengths, and
/// then, up to its end, the steps.
pub fn body(input: &[u8]) {
    // An input that ends early is no plan.
    if let Ok(plan) = Plan::from(&mut Unstructured::new(input)) {
        core(Protect, &plan, &mut Draws::of(input));
        stream(Protect, &plan, &mut Draws::of(input));
        #[cfg(feature = "encrypt")]
        {
            core(Encrypt, &plan, &mut Draws::of(input));
            stream(Encrypt, &plan, &mut Draws::of(input));
        }
    }
}

fn core<M: Recorded>(mode: M, plan: &Plan, draws: &mut Draws) {
    let [client, mut server] = records(mode, &KEY, draws);
    let line = plan.carry_out(mode, client.sealer, server.sealer, draws);

    let (mut rest, mut delivered) = (&line.bytes[..], &line.delivered[..]);
    let mut arrived = None;
    let end = loop {
        let Some(header) = rest.first_chunk() else {
            break End::Cut;
        };
        let outcome = match len_of(*header) {
            Ok(len) if len > rest.len() => break End::Cut,
            Ok(len) => {
                let (record, behind) = rest.split_at(len);
                rest = behind;
                let record = arrived.insert(record.to_vec());
                without_allocating(|| server.opener.open(record))
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Opened::Data(payload)) => {
                let (expected, later) = delivered.split_at(payload.len());
                assert!(payload == expected, "another payload");
                delivered = later;
            }
            Ok(Opened::Close) => break End::Closed,
            Err(_) => {
                // After an error, not even the right record is opened.
                let next = line.sent.iter().find(|record| rest.starts_with(record));
                let next = next.map_or(rest, |record| &record[..]);
                assert!(server.opener.open(&mut next.to_vec()).is_err());
                break End::NotAuthentic;
            }
        }
    };
    assert_eq!(end, line.end);
    assert_eq!(delivered, b"", "every authentic record is delivered");
}

fn stream<M: Recorded>(mode: M, plan: &Plan, draws: &mut Draws) {
    let (transcript, prologue) = (Box::new(Transcript::new()), &Prologue::EMPTY);
    let await_challenge = client::start(transcript, &*KEY, prologue, mode, draws).unwrap();
    let peer = RefCell::new(Peer {
        mode,
        state: State::AwaitsChallenge(await_challenge),
        plan,
        draws: Draws::of(&[]),
        says: io::Cursor::default(),
        line: None,
        written: 0,
    });
    let server = Server::new(KEY.clone());
    let mut secured = M::secure(&server, AtPeer(&peer)).unwrap();

    let mut delivered = Vec::new();
    let read = secured.read_to_end(&mut delivered).map(drop);
    let end = match read.as_ref().map_err(below) {
        Ok(()) => End::Closed,
        Err(record::Error::Truncated) => End::Cut,
        Err(_) => End::NotAuthentic,
    };
    {
        let peer = peer.borrow();
        let line = peer.line.as_ref().unwrap();
        assert_eq!(end, line.end);
        assert!(delivered == line.delivered, "another payload");
    }

    // Reading again ends in the same way. An error that is final ends the other direction too.
    let again = secured.read(&mut [0]);
    assert_eq!(
        again.as_ref().map_err(below),
        read.as_ref().map(|()| &0).map_err(below)
    );
    let written = secured.write_all(b"x").and_then(|()| secured.flush());
    assert_eq!(written.is_ok(), end != End::NotAuthentic);
    let sent = if written.is_ok() { 1 + OVERHEAD } else { 0 };
    assert_eq!(peer.borrow().written, sent);
}

fn below(error: &io::Error) -> record::Error {
    record::Error::of(error).unwrap_or_else(|| panic!("{error}"))
}

/// What the sender sends, and what happens to it on the way.
struct Plan {
    piece: usize,
    lens: Vec<usize>,
    closes: bool,
    steps: Vec<Step>,
}

/// Appends to the bytes on the line, or alters them.
enum Step {
    /// Appends the sender's next record.
    Next,
    /// Appends any record: one of the sender's, one of the other direction or one of another session.
    Any(usize),
    /// Appends these bytes.
    Raw(Vec<u8>),
    /// Flips these bits of the byte at this offset.
    Alter(usize, u8),
    /// Removes this many bytes from the end.
    Cut(usize),
}

impl Plan {
    fn from(choices: &mut Unstructured<'_>) -> Result<Self> {
        let first: u8 = choices.arbitrary()?;
        let count = usize::from(first & 7);
        // Only the first record can have the greatest length, because many would be slow.
        let lens = (0..count).map(|n| {
            Ok(match choices.arbitrary()? {
                len @ 0_u8..=251 => usize::from(len) + 1,
                253 if n == 0 => PAYLOAD_MAX - 1,
                254.. if n == 0 => PAYLOAD_MAX,
                _ => 1000,
            })
        });
        let lens = lens.collect::<Result<_>>()?;
        let mut steps = Vec::new();
        while !choices.is_empty() && steps.len() < 24 {
            steps.push(match choices.arbitrary::<u8>()? % 8 {
                0 => Step::Any(choices.arbitrary::<u8>()?.into()),
                1 => {
                    let len = choices.arbitrary::<u8>()?;
                    let len = usize::from(len).min(choices.len());
                    Step::Raw(choices.bytes(len)?.to_vec())
                }
                2 => Step::Alter(choices.arbitrary::<u16>()?.into(), choices.arbitrary()?),
                3 => Step::Cut(choices.arbitrary::<u8>()?.into()),
                _ => Step::Next,
            });
        }
        Ok(Self {
            piece: [usize::MAX, 1, 7, 100][usize::from(first >> 4 & 3)],
            lens,
            closes: first & 8 != 0,
            steps,
        })
    }

    fn carry_out<M: Recorded>(
        &self,
        mode: M,
        mut sealer: Sealer<M::Protection>,
        mut back: Sealer<M::Protection>,
        draws: &mut Draws,
    ) -> Line {
        let mut count = 0_u8;
        let mut sent: Vec<Vec<u8>> = (self.lens.iter())
            .map(|&len| {
                count += 1;
                sealed(&mut sealer, len, count)
            })
            .collect();
        if self.closes {
            sent.push(sealer.close().unwrap().to_vec());
        }
        let [mut another, _] = records(mode, &KEY, draws);
        let len = self.lens.last().copied().unwrap_or(1);
        let others = [&mut back, &mut another.sealer].map(|sealer| sealed(sealer, len, 1));

        let mut bytes = Vec::new();
        let mut next = sent.iter();
        for step in &self.steps {
            match step {
                Step::Next => bytes.extend(next.next().into_iter().flatten()),
                Step::Any(n) => {
                    let mut all = sent.iter().chain(&others);
                    bytes.extend(all.nth(n % (sent.len() + others.len())).unwrap());
                }
                Step::Raw(raw) => bytes.extend(raw),
                Step::Alter(at, bits) if !bytes.is_empty() => {
                    let at = at % bytes.len();
                    bytes[at] ^= bits;
                }
                Step::Alter(..) => {}
                Step::Cut(len) => bytes.truncate(bytes.len().saturating_sub(*len)),
            }
        }
        let (delivered, end) = authentic(&bytes, &sent, &self.lens);
        Line {
            bytes,
            sent,
            delivered,
            end,
        }
    }
}

fn sealed<P: Protection>(sealer: &mut Sealer<P>, len: usize, fill: u8) -> Vec<u8> {
    let mut record = vec![fill; len + OVERHEAD];
    sealer.seal(&mut record).unwrap();
    record
}

/// What arrives, and what the receiver has to make of it.
struct Line {
    bytes: Vec<u8>,
    sent: Vec<Vec<u8>>,
    delivered: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// With the sender's close.
    Closed,
    /// Before the sender's close.
    Cut,
    NotAuthentic,
}

/// Returns the payloads of the records at the start of the line that are whole and in order, and how
/// the line ends after them.
fn authentic(line: &[u8], sent: &[Vec<u8>], lens: &[usize]) -> (Vec<u8>, End) {
    let (mut rest, mut delivered) = (line, Vec::new());
    for (record, fill) in sent.iter().zip(1_u8..) {
        let Some(behind) = rest.strip_prefix(&record[..]) else {
            break;
        };
        rest = behind;
        let Some(&len) = lens.get(usize::from(fill) - 1) else {
            return (delivered, End::Closed);
        };
        delivered.extend(vec![fill; len]);
    }
    let Some(header) = rest.first_chunk() else {
        return (delivered, End::Cut);
    };
    let len = usize::from(u16::from_be_bytes(*header));
    if len <= PAYLOAD_MAX && len + OVERHEAD > rest.len() {
        return (delivered, End::Cut);
    }
    (delivered, End::NotAuthentic)
}

/// A client that is honest in the handshake, and whose records then arrive as planned.
struct Peer<'a, M: Recorded> {
    mode: M,
    state: State<M>,
    plan: &'a Plan,
    draws: Draws,
    says: io::Cursor<Vec<u8>>,
    line: Option<Line>,
    /// The number of bytes written to it after the handshake.
    written: usize,
}

enum State<M: Recorded> {
    AwaitsChallenge(AwaitChallenge<Box<Transcript>, &'static Key, M>),
    AwaitsVerdict(AwaitVerdict<Box<Transcript>, &'static Key, M>),
    Done,
}

/// The stream to the peer.
struct AtPeer<'c, 'a, M: Recorded>(&'c RefCell<Peer<'a, M>>);

impl<M: Recorded> Read for AtPeer<'_, '_, M> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut peer = self.0.borrow_mut();
        let room = buf.len().min(peer.plan.piece);
        peer.says.read(&mut buf[..room])
    }
}

impl<M: Recorded> Write for AtPeer<'_, '_, M> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let peer = &mut *self.0.borrow_mut();
        peer.state = match std::mem::replace(&mut peer.state, State::Done) {
            State::AwaitsChallenge(state) => {
                let state = deliver(state, buf);
                peer.says.get_mut().extend(state.response());
                State::AwaitsVerdict(state)
            }
            State::AwaitsVerdict(state) => {
                let (_, ours) = deliver(state, buf);
                let mode = peer.mode;
                let [_, another] = records(mode, &KEY, &mut peer.draws);
                let line =
                    (peer.plan).carry_out(mode, ours.sealer, another.sealer, &mut peer.draws);
                peer.says.get_mut().extend(&line.bytes);
                peer.line = Some(line);
                State::Done
            }
            State::Done => {
                peer.written += buf.len();
                State::Done
            }
        };
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
