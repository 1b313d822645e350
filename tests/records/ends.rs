//! What the tests of records put under test, the core at the other end of its line, and the line
//! between the two.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
#[cfg(feature = "tokio")]
use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use countersign::handshake::{Mode, Prologue, client, server};
use countersign::record::{self, Opened, Opener, Sealer};
use countersign::{Client, Protected, ReadHalf, Server, Session, WriteHalf};
use rand::rngs::SysRng;
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::support::{Act, Draws, End, Pair, Peer, Says, Wire, deliver, key, transcript};

/// Which end is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

pub const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A wire of which the test keeps hold while an end under test has it too.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Wire>>);

impl Line {
    pub fn to(peer: impl Peer + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Wire::to(peer))))
    }

    pub fn wire(&self) -> MutexGuard<'_, Wire> {
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
        let Some(awaited) = self.stage.take() else {
            return Vec::new();
        };
        let written: Vec<u8> = written.drain(..).collect();
        match awaited {
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
pub enum Via {
    Core,
    Blocking,
    BlockingHalves,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "tokio")]
    TokioHalves,
}

impl Via {
    pub const STREAMS: &[Self] = &[
        Self::Blocking,
        Self::BlockingHalves,
        #[cfg(feature = "tokio")]
        Self::Tokio,
        #[cfg(feature = "tokio")]
        Self::TokioHalves,
    ];

    /// The streams, and the core that is under all of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Core]
            .into_iter()
            .chain(Self::STREAMS.iter().copied())
    }

    /// Whether a stream below can report more octets than there was room for; tokio's buffers
    /// keep it from doing so.
    pub fn lets_reads_lie(self) -> bool {
        matches!(self, Self::Blocking | Self::BlockingHalves)
    }
}

/// What each of them can be made to do, without waiting for anything.
pub(super) trait Stream {
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
pub fn sealed(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
    let mut record = [&[0; 2][..], payload, &[0; 16]].concat();
    sealer.seal(&mut record).unwrap();
    record
}

/// What is in a record, which is not the close.
pub fn opened(opener: &mut Opener, record: &[u8]) -> Vec<u8> {
    match opener.open(record) {
        Ok(Opened::Data(payload)) => payload.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Cuts a stream of octets where one record ends and the next begins.
pub fn records(mut octets: &[u8]) -> Vec<Vec<u8>> {
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
pub fn sessions(mode: Mode) -> (Session, Session) {
    sessions_of(mode, Draws::from(0xc0))
}

/// Those of one in which the client draws this nonce.
pub fn sessions_of(mode: Mode, client_draws: Draws) -> (Session, Session) {
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
pub(super) struct Ends {
    pub near: Box<dyn Stream>,
    pub(super) line: Line,
    /// How much the near end had written when the handshake was over.
    start: usize,
    pub sealer: Sealer,
    pub opener: Opener,
}

impl Ends {
    pub fn new(via: Via, side: Side) -> Self {
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
    pub fn written(&self) -> Vec<Vec<u8>> {
        records(&self.line.wire().written[self.start..])
    }

    /// What the far end takes from the first record that the near end has written, of those that
    /// it did not open yet.
    pub fn opened(&mut self, record: usize) -> Vec<u8> {
        let record = &self.written()[record];
        opened(&mut self.opener, record)
    }

    /// Has the far end send these octets, of which a read gets `piece` at most; after them each
    /// read does `then`.
    pub fn say(&self, octets: &[u8], piece: usize, then: Act) {
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
    pub fn read_to_end(&mut self, room: usize) -> (Vec<u8>, Result<(), io::Error>) {
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
pub fn failed<T>(outcome: io::Result<T>) -> record::Error {
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
