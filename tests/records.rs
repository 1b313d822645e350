//! What follows a handshake in mode 1, on a line that somebody else has in hand.
//!
//! Every manipulation runs through the core and through each stream on top of it: blocking and
//! over tokio, whole and in halves.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};
#[cfg(feature = "tokio")]
use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use countersign::handshake::{Flight, Incompatible, Mode, Prologue, client, server};
use countersign::record::{self, OVERHEAD, Opened, Opener, PAYLOAD_MAX, Sealer};
use countersign::{
    Client, Error, Event, ListenerOptions, Outcome, Phase, Protected, ProtectedListener, ReadHalf,
    Server, Session, Timeouts, WriteHalf,
};
use rand::rngs::SysRng;
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Act, Draws, End, Pair, Peer, Says, Wire, deliver, key, tcp_pair, transcript};

/// More than the largest record on the wire.
const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;

/// For what would otherwise be waited for without end.
const TIME: Duration = Duration::from_secs(20);

/// Which end is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A wire of which the test keeps hold while an end under test has it too.
#[derive(Clone)]
struct Line(Arc<Mutex<Wire>>);

impl Line {
    fn to(peer: impl Peer + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Wire::to(peer))))
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap()
    }
}

impl Read for &Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.wire().do_read(buf)
    }
}

impl Write for &Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.wire().do_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire().do_flush()
    }
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

/// What a stream of tokio makes of an answer of the wire. Nobody is woken: the tests try again.
#[cfg(feature = "tokio")]
fn polled<T>(answer: io::Result<T>) -> Poll<io::Result<T>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        answer => Poll::Ready(answer),
    }
}

#[cfg(feature = "tokio")]
impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.wire().do_read(buf.initialize_unfilled());
        polled(read.map(|n| buf.advance(n)))
    }
}

#[cfg(feature = "tokio")]
impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        polled(self.wire().do_write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.wire().do_flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The core at the far end of a line. It goes through the handshake and is silent then.
struct Far {
    stage: Option<Stage>,
    session: Sender<Session>,
}

/// What the far end awaits.
enum Stage {
    /// A reader, for the challenge to be sent to.
    Reader,
    Challenge(client::AwaitChallenge<'static>),
    Response(server::AwaitResponse<'static>),
    Verdict(client::AwaitVerdict<'static>),
}

impl Far {
    fn opposite(side: Side) -> (Self, Receiver<Session>) {
        let stage = match side {
            Side::Client => Stage::Reader,
            Side::Server => Stage::Challenge(
                client::start(
                    transcript(),
                    &Prologue::EMPTY,
                    Mode::Protect,
                    Box::leak(Box::new(key("ours"))),
                    &mut SysRng,
                )
                .unwrap(),
            ),
        };
        let (sender, receiver) = channel();
        let far = Self {
            stage: Some(stage),
            session: sender,
        };
        (far, receiver)
    }
}

impl Peer for Far {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let Some(stage) = self.stage.take() else {
            return Vec::new();
        };
        let written: Vec<u8> = written.drain(..).collect();
        match stage {
            Stage::Reader => {
                let config: &'static _ = Box::leak(Box::new(server::Config::new(Prologue::EMPTY)));
                let (f1, next) = (config.start(transcript(), Mode::Protect, &mut SysRng)).unwrap();
                self.stage = Some(Stage::Response(next));
                f1.as_ref().to_vec()
            }
            Stage::Challenge(state) => {
                let (f2, next) = deliver(state, written).unwrap();
                let f2 = f2.as_ref().to_vec();
                self.stage = Some(Stage::Verdict(next));
                f2
            }
            Stage::Response(state) => {
                let (f3, outcome) = deliver(state, written).unwrap().verify(Some(&key("ours")));
                self.session.send(outcome.unwrap()).unwrap();
                f3.as_ref().to_vec()
            }
            Stage::Verdict(state) => {
                let session = deliver(state, written).unwrap();
                self.session.send(session).unwrap();
                Vec::new()
            }
        }
    }
}

/// What is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Core,
    Blocking,
    BlockingHalves,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "tokio")]
    TokioHalves,
}

impl Via {
    const STREAMS: &[Self] = &[
        Self::Blocking,
        Self::BlockingHalves,
        #[cfg(feature = "tokio")]
        Self::Tokio,
        #[cfg(feature = "tokio")]
        Self::TokioHalves,
    ];

    /// The streams, and the core that is under all of them.
    fn all() -> impl Iterator<Item = Self> {
        [Self::Core]
            .into_iter()
            .chain(Self::STREAMS.iter().copied())
    }

    /// Whether a stream below can report more octets than there was room for; tokio's buffers
    /// keep it from doing so.
    fn lets_reads_lie(self) -> bool {
        matches!(self, Self::Blocking | Self::BlockingHalves)
    }
}

/// What each of them can be made to do, without waiting for anything.
trait Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;
    fn flush(&mut self) -> io::Result<()>;
    fn close(&mut self) -> io::Result<()>;

    fn write_all(&mut self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.write(buf)?;
            buf = &buf[n..];
        }
        Ok(())
    }
}

struct Whole<P>(P);

struct Halves<R, W>(R, W);

macro_rules! stream {
    ($stream:ty, $reader:tt, $writer:tt, $answer:path) => {
        impl Stream for $stream {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                $answer(self.$reader.read(buf))
            }

            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                $answer(self.$writer.write(buf))
            }

            fn flush(&mut self) -> io::Result<()> {
                $answer(self.$writer.flush())
            }

            fn close(&mut self) -> io::Result<()> {
                $answer(self.$writer.close())
            }
        }
    };
}

stream!(Whole<Protected<Line>>, 0, 0, std::convert::identity);
stream!(
    Halves<ReadHalf<Line>, WriteHalf<Line>>,
    0,
    1,
    std::convert::identity
);
#[cfg(feature = "tokio")]
stream!(Whole<countersign::tokio::Protected<Line>>, 0, 0, at_once);
#[cfg(feature = "tokio")]
stream!(
    Halves<countersign::tokio::ReadHalf<Line>, countersign::tokio::WriteHalf<Line>>,
    0,
    1,
    at_once
);

/// What a future gives when it is polled once and then dropped.
#[cfg(feature = "tokio")]
fn at_once<T, E: Into<io::Error>>(future: impl Future<Output = Result<T, E>>) -> io::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map_err(Into::into),
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

/// The smallest stream over the core: each write is a record.
struct Bare {
    sealer: Sealer,
    opener: Opener,
    line: Line,
    /// What has come of a record.
    record: Vec<u8>,
    payload: VecDeque<u8>,
    closed: bool,
    truncated: bool,
}

impl Bare {
    fn new((sealer, opener): (Sealer, Opener), line: Line) -> Self {
        Self {
            sealer,
            opener,
            line,
            record: Vec::new(),
            payload: VecDeque::new(),
            closed: false,
            truncated: false,
        }
    }
}

impl Stream for Bare {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.payload.is_empty() && !self.closed {
            // The core sees no stream, and so not its end.
            if self.truncated {
                return Err(record::Error::Truncated.into());
            }
            let len = match self.record.first_chunk() {
                None => 2,
                Some(header) => Opener::len_of(*header)?,
            };
            if self.record.len() < len {
                let mut piece = vec![0; len - self.record.len()];
                match (&self.line).read(&mut piece)? {
                    0 => self.truncated = true,
                    n => self.record.extend(&piece[..n]),
                }
                continue;
            }
            match self.opener.open(&self.record)? {
                Opened::Data(payload) => self.payload.extend(payload),
                Opened::Close => {
                    self.closed = true;
                    let after = self.opener.open(&self.record);
                    assert_eq!(after, Err(record::Error::Closed));
                }
            }
            self.record.clear();
        }
        self.payload.read(buf)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.line).write_all(&sealed(&mut self.sealer, buf))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let close = self.sealer.close()?;
        (&self.line).write_all(&close)
    }
}

/// A record of this payload.
fn sealed(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
    let mut record = [&[0; 2][..], payload, &[0; 16]].concat();
    sealer.seal(&mut record).unwrap();
    record
}

/// What is in a record, which is not the close.
fn opened(opener: &mut Opener, record: &[u8]) -> Vec<u8> {
    match opener.open(record) {
        Ok(Opened::Data(payload)) => payload.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Cuts a stream of octets where one record ends and the next begins.
fn records(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some(header) = octets.first_chunk() {
        let (record, rest) = octets.split_at(Opener::len_of(*header).unwrap());
        records.push(record.to_vec());
        octets = rest;
    }
    assert!(octets.is_empty(), "a part of a record");
    records
}

/// The two sessions of a handshake between two cores.
fn sessions(mode: Mode) -> (Session, Session) {
    sessions_of(mode, Draws::from(0xc0))
}

/// Those of one in which the client draws this nonce.
fn sessions_of(mode: Mode, client_draws: Draws) -> (Session, Session) {
    let mut pair = Pair::of(&key("ours"));
    (pair.client_mode, pair.server_mode) = (mode, mode);
    pair.client_draws = client_draws;
    let run = pair.run();
    match (run.client, run.server) {
        (End::Accepted(client), End::Accepted(server)) => (client, server),
        other => panic!("{other:?}"),
    }
}

/// An end under test after its handshake, and the core at the other end of its line.
struct Ends {
    near: Box<dyn Stream>,
    line: Line,
    /// How much the near end had written when the handshake was over.
    start: usize,
    sealer: Sealer,
    opener: Opener,
}

impl Ends {
    fn new(via: Via, side: Side) -> Self {
        if via == Via::Core {
            return Self::of_cores(side);
        }
        let (far, session) = Far::opposite(side);
        let line = Line::to(far);
        let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
        let near: Box<dyn Stream> = match via {
            Via::Core => unreachable!("it has no stream"),
            Via::Blocking | Via::BlockingHalves => {
                let near = match side {
                    Side::Client => client.protect(line.clone()),
                    Side::Server => server.protect(line.clone()),
                };
                let near = near.unwrap();
                if via == Via::Blocking {
                    Box::new(Whole(near))
                } else {
                    let (reader, writer) = near.split();
                    Box::new(Halves(reader, writer))
                }
            }
            #[cfg(feature = "tokio")]
            Via::Tokio | Via::TokioHalves => {
                let near = match side {
                    Side::Client => {
                        let client = countersign::tokio::Client::from(client);
                        at_once(client.protect(line.clone()))
                    }
                    Side::Server => {
                        let server = countersign::tokio::Server::from(server);
                        at_once(server.protect(line.clone()))
                    }
                };
                let near = near.unwrap();
                if via == Via::Tokio {
                    Box::new(Whole(near))
                } else {
                    let (reader, writer) = near.split();
                    Box::new(Halves(reader, writer))
                }
            }
        };
        // The far end takes the last flight, where that is the near end's.
        assert_eq!(line.wire().rest(), b"");
        let (sealer, opener) = session.try_recv().unwrap().records().unwrap();
        Self::after_handshake(near, line, (sealer, opener))
    }

    fn of_cores(side: Side) -> Self {
        let (mut client, mut server) = sessions(Mode::Protect);
        let (client, server) = (client.records().unwrap(), server.records().unwrap());
        let (near, far) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let line = Line::to(Says(Vec::new()));
        Self::after_handshake(Box::new(Bare::new(near, line.clone())), line, far)
    }

    fn after_handshake(
        near: Box<dyn Stream>,
        line: Line,
        (sealer, opener): (Sealer, Opener),
    ) -> Self {
        let mut wire = line.wire();
        let start = wire.written.len();
        (wire.flushes, wire.read) = (0, 0);
        wire.writes.clear();
        wire.offered.clear();
        drop(wire);
        Self {
            near,
            line,
            start,
            sealer,
            opener,
        }
    }

    /// The records that the near end has written.
    fn written(&self) -> Vec<Vec<u8>> {
        records(&self.line.wire().written[self.start..])
    }

    /// What the far end takes from the first record that the near end has written, of those that
    /// it did not open yet.
    fn opened(&mut self, record: usize) -> Vec<u8> {
        let record = &self.written()[record];
        opened(&mut self.opener, record)
    }

    /// Has the far end send these octets, of which a read gets `piece` at most; after them each
    /// read does `then`.
    fn say(&self, octets: &[u8], piece: usize, then: Act) {
        let mut wire = self.line.wire();
        wire.say(octets);
        let end = wire.read + octets.len();
        wire.on_read = Box::new(move |read| {
            if read < end {
                Act::Move(piece.min(end - read))
            } else {
                then
            }
        });
    }

    /// Reads into buffers of `room` octets, up to the end or to a failure.
    fn read_to_end(&mut self, room: usize) -> (Vec<u8>, Result<(), io::Error>) {
        let mut received = Vec::new();
        let mut buf = vec![0; room];
        loop {
            match self.near.read(&mut buf) {
                Ok(0) => return (received, Ok(())),
                Ok(n) => received.extend(&buf[..n]),
                Err(error) => return (received, Err(error)),
            }
        }
    }
}

/// What a stream of the kind under test fails with.
#[track_caller]
fn failed<T>(outcome: io::Result<T>) -> record::Error {
    let error = outcome.err().expect("this fails");
    let below = error.get_ref().and_then(|error| error.downcast_ref());
    let below = *below.unwrap_or_else(|| panic!("not the record's error: {error:?}"));
    let kind = match below {
        record::Error::Truncated => ErrorKind::UnexpectedEof,
        record::Error::Closed => ErrorKind::BrokenPipe,
        _ => ErrorKind::InvalidData,
    };
    assert_eq!(error.kind(), kind);
    assert_eq!(error.to_string(), below.to_string());
    below
}

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
            for seq in 0..written.len() {
                assert_eq!(ends.opened(seq), PAYLOADS[seq]);
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
    altered(
        "all of another session",
        |scene| scene.another(),
        0,
        BAD_TAG,
    );
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
        |scene| scene.with(&[(3, &[&scene.theirs[3], &[0xff; 40_000][..]].concat())]),
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

#[test]
fn a_stream_that_is_dropped_without_being_closed_is_truncated_for_the_peer() {
    for closed in [true, false] {
        for halves in [false, true] {
            let (mut near, mut far) = tcp_protected();
            near.write_all(b"flushed").unwrap();
            near.flush().unwrap();
            near.write_all(b"and not flushed").unwrap();
            if halves {
                let (reader, mut writer) = near.split();
                if closed {
                    writer.close().unwrap();
                }
                // One half alone ends nothing.
                drop(reader);
                far.write_all(b"x").unwrap();
                far.flush().unwrap();
                drop(writer);
            } else {
                if closed {
                    near.close().unwrap();
                }
                drop(near);
            }
            let mut received = Vec::new();
            let ended = far.read_to_end(&mut received);
            if closed {
                assert_eq!(received, b"flushedand not flushed");
                ended.unwrap();
            } else {
                assert_eq!(received, b"flushed");
                // The octet that nobody read makes a reset of the end of the socket.
                match ended.unwrap_err() {
                    reset if halves && reset.kind() == ErrorKind::ConnectionReset => {}
                    error => assert_eq!(failed::<()>(Err(error)), record::Error::Truncated),
                }
            }
        }
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_stream_over_tokio_that_is_dropped_without_shutdown_is_truncated_for_the_peer() {
    for shut_down in [true, false] {
        block_on(async {
            let (mut near, mut far) = duplex_protected(64 * 1024).await;
            near.write_all(b"flushed").await.unwrap();
            near.flush().await.unwrap();
            near.write_all(b" and not flushed").await.unwrap();
            if shut_down {
                near.shutdown().await.unwrap();
                near.shutdown().await.unwrap();
            }
            drop(near);
            let mut received = Vec::new();
            let ended = far.read_to_end(&mut received).await;
            if shut_down {
                assert_eq!(received, b"flushed and not flushed");
                ended.unwrap();
            } else {
                assert_eq!(received, b"flushed");
                assert_eq!(failed(ended), record::Error::Truncated);
            }
        });
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

// The two modes, and what an end in one of them says of the other.

#[test]
fn ends_in_different_modes_refuse_each_other() {
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
    let closed_for = |outcome: Error| {
        assert!(
            matches!(outcome, Error::Closed(Phase::Awaiting(Flight::Response))),
            "{outcome:?}"
        );
        let sentence = outcome.to_string();
        assert!(sentence.contains("another mode"), "{sentence}");
    };
    let refused = |outcome: Error, ours: Mode| {
        let theirs = u8::from(ours == Mode::Authenticate);
        let expected = Incompatible::Mode { ours, theirs };
        assert!(
            matches!(outcome, Error::Incompatible(incompatible) if incompatible == expected),
            "{outcome:?}"
        );
        let sentence = outcome.to_string();
        let (one, other) = (ours == Mode::Protect)
            .then_some(("Protect", "Authenticate"))
            .unwrap_or(("Authenticate", "Protect"));
        let named = format!("(the peer {other}, this end {one})");
        assert!(sentence.ends_with(&named), "{sentence}");
    };

    // A client that wants protection, and a server that gives none.
    let (near, far) = tcp_pair();
    let at_server = thread::scope(|scope| {
        let at_server = scope.spawn(|| server.authenticate_within(&far, TIME));
        refused(client.protect(near).unwrap_err(), Mode::Protect);
        at_server.join().unwrap()
    });
    closed_for(at_server.unwrap_err());

    // A client that wants none, and a server that gives it.
    let (near, far) = tcp_pair();
    let at_server = thread::scope(|scope| {
        let at_server = scope.spawn(|| server.protect_within(far, TIME));
        let at_client = client.authenticate_within(&near, TIME).unwrap_err();
        refused(at_client, Mode::Authenticate);
        drop(near);
        at_server.join().unwrap()
    });
    closed_for(at_server.unwrap_err());

    #[cfg(feature = "tokio")]
    block_on(async {
        let client = countersign::tokio::Client::from(client);
        let server = countersign::tokio::Server::from(server);
        let (near, mut far) = tokio::io::duplex(256);
        let (at_client, at_server) =
            tokio::join!(client.protect(near), server.authenticate(&mut far));
        refused(at_client.unwrap_err(), Mode::Protect);
        closed_for(at_server.unwrap_err());

        let (mut near, far) = tokio::io::duplex(256);
        let at_client = async {
            let outcome = client.authenticate(&mut near).await;
            drop(near);
            outcome
        };
        let (at_client, at_server) = tokio::join!(at_client, server.protect(far));
        refused(at_client.unwrap_err(), Mode::Authenticate);
        closed_for(at_server.unwrap_err());
    });
}

#[test]
fn an_end_refuses_the_other_mode_at_the_header_and_sends_nothing_then() {
    let challenge = |mode| [b"CSIGN1S", &[mode][..]].concat();
    let response = |mode| [b"CSIGN1C", &[mode][..]].concat();
    for side in SIDES {
        for mode in [0, 2, 255] {
            // Eight octets and no more: nothing behind them is waited for.
            let says = match side {
                Side::Client => challenge(mode),
                Side::Server => response(mode),
            };
            for outcome in protect_over(side, &says) {
                let (error, sent) = outcome;
                let expected = Incompatible::Mode {
                    ours: Mode::Protect,
                    theirs: mode,
                };
                assert!(
                    matches!(&error, Error::Incompatible(found) if *found == expected),
                    "{side:?}, {mode}: {error:?}"
                );
                let own_first_flight = match side {
                    Side::Client => 0,
                    Side::Server => 40,
                };
                assert_eq!(sent, own_first_flight, "{side:?}, {mode}");
            }
        }
    }
}

/// What each driver makes of a peer that says just this, and how many octets it sent.
fn protect_over(side: Side, says: &[u8]) -> Vec<(Error, usize)> {
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
    let mut outcomes = Vec::new();
    let line = Line::to(Says(says.to_vec()));
    let outcome = match side {
        Side::Client => client.protect(line.clone()),
        Side::Server => server.protect(line.clone()),
    };
    outcomes.push((outcome.unwrap_err(), line.wire().written.len()));
    #[cfg(feature = "tokio")]
    {
        let line = Line::to(Says(says.to_vec()));
        let outcome = match side {
            Side::Client => {
                block_on(countersign::tokio::Client::from(client).protect(line.clone()))
            }
            Side::Server => {
                block_on(countersign::tokio::Server::from(server).protect(line.clone()))
            }
        };
        outcomes.push((outcome.unwrap_err(), line.wire().written.len()));
    }
    outcomes
}

// Over sockets.

/// Two protected ends of a TCP connection.
fn tcp_protected() -> (Protected<TcpStream>, Protected<TcpStream>) {
    let (near, far) = tcp_pair();
    let client = thread::spawn(|| Client::new(key("ours")).protect_within(near, TIME).unwrap());
    let server = Server::new(key("ours")).protect_within(far, TIME).unwrap();
    (client.join().unwrap(), server)
}

#[cfg(feature = "tokio")]
type Duplex = countersign::tokio::Protected<tokio::io::DuplexStream>;

/// Two protected ends of a stream in memory.
#[cfg(feature = "tokio")]
async fn duplex_protected(room: usize) -> (Duplex, Duplex) {
    let client = countersign::tokio::Client::new(key("ours"));
    let server = countersign::tokio::Server::new(key("ours"));
    let (near, far) = tokio::io::duplex(room);
    tokio::try_join!(client.protect(near), server.protect(far)).unwrap()
}

/// Whoever passes the three flights of a handshake on, and then flips a bit of what the client
/// sends.
fn relay(client: &TcpStream, server: &TcpStream, flights: [usize; 3], bit: usize) {
    fn pass(mut from: &TcpStream, mut to: &TcpStream, len: usize) {
        let mut flight = vec![0; len];
        from.read_exact(&mut flight).unwrap();
        to.write_all(&flight).unwrap();
    }
    let [f1, f2, f3] = flights;
    pass(server, client, f1);
    pass(client, server, f2);
    pass(server, client, f3);
    let mut sent = Vec::new();
    (&mut &*client).read_to_end(&mut sent).unwrap();
    sent[bit / 8] ^= 1 << (bit % 8);
    (&mut &*server).write_all(&sent).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn a_relay_that_alters_what_follows_is_found_out_in_mode_1_and_not_in_mode_0() {
    const MESSAGE: &[u8] = b"pay 1 to Mallory";
    const ALTERED: &[u8] = b"pay 9 to Mallory";
    let bit = |start: usize| (start + 4) * 8 + 3;
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));

    // Mode 0: both ends are authentic, and what arrives is the relay's.
    let (near, relays_near) = tcp_pair();
    let (relays_far, far) = tcp_pair();
    thread::scope(|scope| {
        scope.spawn(move || relay(&relays_near, &relays_far, [40, 73, 33], bit(0)));
        scope.spawn(|| {
            let _ = client.authenticate(&mut &near).unwrap();
            (&near).write_all(MESSAGE).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
        });
        let _ = server.authenticate(&mut &far).unwrap();
        let mut received = Vec::new();
        (&far).read_to_end(&mut received).unwrap();
        assert_eq!(received, ALTERED);
    });

    // Mode 1: both ends are authentic, and nothing of it arrives.
    let (near, relays_near) = tcp_pair();
    let (relays_far, far) = tcp_pair();
    thread::scope(|scope| {
        scope.spawn(move || relay(&relays_near, &relays_far, [40, 73, 33], bit(2)));
        scope.spawn(|| {
            let mut near = client.protect(near).unwrap();
            near.write_all(MESSAGE).unwrap();
            near.close().unwrap();
        });
        let mut far = server.protect(far).unwrap();
        let mut received = Vec::new();
        let ended = far.read_to_end(&mut received);
        assert_eq!(failed(ended), record::Error::BadTag);
        assert_eq!(received, b"");
    });
}

#[test]
fn the_deadline_of_the_handshake_does_not_stay_on_the_stream() {
    const HANDSHAKE: Duration = Duration::from_secs(1);
    let former = Some(Duration::from_secs(60));

    let (near, far) = tcp_pair();
    near.set_read_timeout(former).unwrap();
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
    let (begun, over) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut far = server.protect_within(far, HANDSHAKE).unwrap();
            let began: Instant = over.recv().unwrap();
            // Past what was given for the handshake, while the other end reads.
            thread::sleep(2 * HANDSHAKE - began.elapsed().min(HANDSHAKE));
            far.write_all(b"late").unwrap();
            far.close().unwrap();
            let mut received = Vec::new();
            far.read_to_end(&mut received).unwrap();
            assert_eq!(received, b"later");
        });
        let began = Instant::now();
        let mut near = client.protect_within(near, HANDSHAKE).unwrap();
        assert_eq!(near.read_timeout().unwrap(), former);
        assert_eq!(near.write_timeout().unwrap(), None);
        begun.send(began).unwrap();
        let mut received = Vec::new();
        near.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"late");
        assert!(began.elapsed() > HANDSHAKE);
        near.write_all(b"later").unwrap();
        near.close().unwrap();
    });
}

#[cfg(feature = "tokio")]
#[test]
fn the_deadline_of_the_handshake_does_not_stay_on_the_stream_of_tokio() {
    const HANDSHAKE: Duration = Duration::from_secs(1);

    let client = countersign::tokio::Client::new(key("ours"));
    let server = countersign::tokio::Server::new(key("ours"));
    block_on(async {
        let (near, far) = tokio::io::duplex(64);
        let began = Instant::now();
        let (mut near, mut far) = tokio::try_join!(
            client.protect_within(near, HANDSHAKE),
            server.protect_within(far, HANDSHAKE),
        )
        .unwrap();
        let mut received = Vec::new();
        let ((), ended) = tokio::join!(
            async {
                tokio::time::sleep(2 * HANDSHAKE).await;
                far.write_all(b"late").await.unwrap();
                far.close().await.unwrap();
            },
            near.read_to_end(&mut received),
        );
        ended.unwrap();
        assert_eq!(received, b"late");
        assert!(began.elapsed() > HANDSHAKE);
    });
}

#[test]
fn a_timeout_of_the_socket_below_loses_nothing() {
    let (mut near, mut far) = tcp_protected();
    near.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let error = near.read(&mut [0; 8]).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    far.write_all(b"late").unwrap();
    far.close().unwrap();
    near.set_read_timeout(None).unwrap();
    let mut received = Vec::new();
    near.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"late");
}

/// Octets that depend on all those before them, and their checksum.
struct Octets {
    state: u64,
    sum: u64,
}

impl Octets {
    fn new() -> Self {
        Self { state: 1, sum: 0 }
    }

    /// The next octets; their number is a multiple of eight.
    fn fill(&mut self, buf: &mut [u8]) {
        for word in buf.as_chunks_mut::<8>().0 {
            self.state = (self.state)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *word = self.state.to_ne_bytes();
        }
        self.add(buf);
    }

    /// Counts these octets in. What is swapped changes the sum as what is altered does.
    fn add(&mut self, buf: &[u8]) {
        for word in buf.as_chunks::<8>().0 {
            self.sum = self.sum.rotate_left(5) ^ u64::from_ne_bytes(*word);
        }
    }
}

/// Far more than any buffer on the way has room for, and little enough for a build without
/// optimisation: 64 MiB in both directions together. The bench `records` does the same with a
/// gigabyte in one.
const EACH_WAY: usize = 32 << 20;

/// What is written and read at a time; neither is a multiple of a record's payload.
const WRITTEN: usize = 40_000;
const READ: usize = 65_536;

#[test]
fn sixty_four_mebibytes_arrive_unaltered_half_of_them_each_way_at_once() {
    fn send(mut writer: WriteHalf<TcpStream>) -> u64 {
        let mut octets = Octets::new();
        let mut buf = vec![0; WRITTEN];
        let mut left = EACH_WAY;
        while left > 0 {
            let piece = left.min(WRITTEN);
            octets.fill(&mut buf[..piece]);
            writer.write_all(&buf[..piece]).unwrap();
            left -= piece;
        }
        writer.close().unwrap();
        octets.sum
    }

    fn receive(mut reader: ReadHalf<TcpStream>) -> (usize, u64) {
        let mut octets = Octets::new();
        let mut buf = vec![0; READ];
        let mut len = 0;
        loop {
            // Whole words, as they were summed where they came from.
            let mut filled = 0;
            while filled < READ {
                match reader.read(&mut buf[filled..]).unwrap() {
                    0 => break,
                    n => filled += n,
                }
            }
            if filled == 0 {
                return (len, octets.sum);
            }
            octets.add(&buf[..filled]);
            len += filled;
        }
    }

    let (near, far) = tcp_protected();
    let ((near_reader, near_writer), (far_reader, far_writer)) = (near.split(), far.split());
    thread::scope(|scope| {
        let sent = [near_writer, far_writer].map(|writer| scope.spawn(|| send(writer)));
        let received = [far_reader, near_reader].map(|reader| scope.spawn(|| receive(reader)));
        for (sent, received) in sent.into_iter().zip(received) {
            let sum = sent.join().unwrap();
            assert_eq!(received.join().unwrap(), (EACH_WAY, sum));
        }
    });
}

#[cfg(feature = "tokio")]
#[test]
fn eight_mebibytes_arrive_unaltered_over_tokio() {
    const LEN: usize = 8 << 20;

    block_on(async {
        // Less room than a record has, so that each waits half-way.
        let (mut near, mut far) = duplex_protected(10_000).await;
        let sending = async {
            let mut octets = Octets::new();
            let mut buf = vec![0; LEN / 128];
            for _ in 0..128 {
                octets.fill(&mut buf);
                near.write_all(&buf).await.unwrap();
            }
            near.close().await.unwrap();
            octets.sum
        };
        let receiving = async {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            received
        };
        let (sum, received) = tokio::join!(sending, receiving);
        let mut octets = Octets::new();
        octets.add(&received);
        assert_eq!((received.len(), octets.sum), (LEN, sum));
    });
}

// Listeners.

/// Options whose hook says how each connection ended.
fn observed() -> (ListenerOptions, Receiver<String>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let options = ListenerOptions::new()
        .deadline(TIME)
        .on_event(move |event: &Event| {
            if let Outcome::Refused(error) = &event.outcome {
                // Nobody listens any more where the test is over.
                let _ = sender.lock().unwrap().send(error.to_string());
            }
        });
    (options, receiver)
}

#[test]
fn a_protected_listener_hands_over_protected_streams_and_refuses_other_clients() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (options, refused) = observed();
    let ours = key("ours").with_id("worker-7").unwrap();
    let server = Server::new(ours.clone());
    let listener = ProtectedListener::with_options(socket, server, options).unwrap();
    let client = Client::new(ours);

    let stream = TcpStream::connect(address).unwrap();
    let error = client.authenticate_within(&stream, TIME).unwrap_err();
    assert!(
        matches!(error, Error::Incompatible(Incompatible::Mode { .. })),
        "{error:?}"
    );
    drop(stream);
    let sentence = refused.recv_timeout(TIME).unwrap();
    assert!(sentence.contains("another mode"), "{sentence}");

    // One that answers in mode 0 all the same.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"CSIGN1C\0").unwrap();
    let sentence = refused.recv_timeout(TIME).unwrap();
    assert!(
        sentence.ends_with("(the peer Authenticate, this end Protect)"),
        "{sentence}"
    );
    drop(stream);

    let stream = TcpStream::connect(address).unwrap();
    let client = thread::spawn(move || {
        let mut stream = client.protect_within(stream, TIME).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.close().unwrap();
        let mut echo = String::new();
        stream.read_to_string(&mut echo).unwrap();
        echo
    });
    let mut stream: Protected<TcpStream> = listener.accept().unwrap();
    assert_eq!(stream.session().key_id(), "worker-7");
    assert_eq!(stream.read_timeout().unwrap(), None);
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    stream.write_all(&received).unwrap();
    stream.close().unwrap();
    assert_eq!(client.join().unwrap(), "hello");

    listener.shutdown();
    assert!(listener.accept().is_err());
}

#[cfg(feature = "tokio")]
#[test]
fn a_protected_listener_of_tokio_hands_over_protected_streams_and_refuses_other_clients() {
    use countersign::tokio::{Client, ProtectedListener, Server};
    use tokio::net::{TcpListener, TcpStream};

    block_on(async {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (options, refused) = observed();
        let ours = key("ours").with_id("worker-7").unwrap();
        let server = Server::new(ours.clone());
        let listener = ProtectedListener::with_options(socket, server, options).unwrap();
        let client = Client::new(ours);

        // The hook runs on this thread too, so it has to be let run until it has spoken.
        let spoken = async || {
            let until = Instant::now() + TIME;
            loop {
                match refused.try_recv() {
                    Ok(sentence) => return sentence,
                    Err(_) => assert!(Instant::now() < until, "nobody was refused"),
                }
                tokio::task::yield_now().await;
            }
        };

        let mut stream = TcpStream::connect(address).await.unwrap();
        let error = client.authenticate(&mut stream).await.unwrap_err();
        assert!(
            matches!(error, Error::Incompatible(Incompatible::Mode { .. })),
            "{error:?}"
        );
        drop(stream);
        let sentence = spoken().await;
        assert!(sentence.contains("another mode"), "{sentence}");

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"CSIGN1C\0").await.unwrap();
        let sentence = spoken().await;
        assert!(
            sentence.ends_with("(the peer Authenticate, this end Protect)"),
            "{sentence}"
        );
        drop(stream);

        let talk = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = client.protect_within(stream, TIME).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.close().await.unwrap();
            let mut echo = String::new();
            stream.read_to_string(&mut echo).await.unwrap();
            echo
        };
        let serve = async {
            let stream = listener.accept().await.unwrap();
            assert_eq!(stream.session().key_id(), "worker-7");
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let (echo, ()) = tokio::join!(talk, serve);
        assert_eq!(echo, "hello");

        listener.shutdown();
        assert!(listener.accept().await.is_err());
    });
}
