//! The ends under test, and the core at the other end of their line.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
#[cfg(feature = "tokio")]
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use countersign::handshake::Protect;
use countersign::record::{
    self, Integrity, OVERHEAD, Opened, Opener, PAYLOAD_MAX, Records, Sealer, len_of,
};
#[cfg(feature = "tokio")]
use countersign::tokio as over_tokio;
use countersign::{Client, Protected, ReadHalf, Server, WriteHalf};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::line::{Far, Line};
#[cfg(feature = "tokio")]
use crate::listener::running::runtime;
use crate::side::Side;
#[cfg(feature = "tokio")]
use crate::sockets::LONG;
use crate::support::{Act, Draws, Pair, Says, key};

/// The largest record on the wire.
pub const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;

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

    /// The streams, and the core below them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Core]
            .into_iter()
            .chain(Self::STREAMS.iter().copied())
    }

    pub fn is_halves(self) -> bool {
        match self {
            Self::BlockingHalves => true,
            #[cfg(feature = "tokio")]
            Self::TokioHalves => true,
            _ => false,
        }
    }

    /// Whether a read of the stream below can report more bytes than there was room for. Over
    /// tokio, the type of the buffer rules it out.
    pub fn lets_reads_lie(self) -> bool {
        matches!(self, Self::Blocking | Self::BlockingHalves)
    }
}

/// What an end under test can be made to do.
pub(super) trait Stream: Send {
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

    /// Reads into buffers of `room` bytes, until the end or a failure.
    fn read_to_end(&mut self, room: usize) -> (Vec<u8>, io::Result<()>) {
        let mut received = Vec::new();
        let mut buf = vec![0; room];
        loop {
            match self.read(&mut buf) {
                Ok(0) => return (received, Ok(())),
                Ok(n) => received.extend(&buf[..n]),
                Err(error) => return (received, Err(error)),
            }
        }
    }
}

/// A stream that is protected, in one piece or in halves.
pub(super) trait IntoStream {
    fn into_stream(self, via: Via) -> Box<dyn Stream>;
}

struct Whole<P>(P);

struct Halves<R, W>(R, W);

macro_rules! stream {
    ($stream:ty, $reader:tt, $writer:tt, $outcome:path) => {
        impl Stream for $stream {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                $outcome(self.$reader.read(buf))
            }

            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                $outcome(self.$writer.write(buf))
            }

            fn flush(&mut self) -> io::Result<()> {
                $outcome(self.$writer.flush())
            }

            fn close(&mut self) -> io::Result<()> {
                $outcome(self.$writer.close())
            }
        }
    };
}

macro_rules! whole_and_halves {
    ($whole:ty, $reader:ty, $writer:ty, $outcome:path) => {
        stream!(Whole<$whole>, 0, 0, $outcome);
        stream!(Halves<$reader, $writer>, 0, 1, $outcome);

        impl IntoStream for $whole {
            fn into_stream(self, via: Via) -> Box<dyn Stream> {
                if via.is_halves() {
                    let (reader, writer) = self.split();
                    Box::new(Halves(reader, writer))
                } else {
                    Box::new(Whole(self))
                }
            }
        }
    };
}

whole_and_halves!(
    Protected<Line>,
    ReadHalf<Line>,
    WriteHalf<Line>,
    std::convert::identity
);
whole_and_halves!(
    Protected<TcpStream>,
    ReadHalf<TcpStream>,
    WriteHalf<TcpStream>,
    std::convert::identity
);
#[cfg(feature = "tokio")]
whole_and_halves!(
    over_tokio::Protected<Line>,
    over_tokio::ReadHalf<Line>,
    over_tokio::WriteHalf<Line>,
    at_once
);
#[cfg(feature = "tokio")]
whole_and_halves!(
    over_tokio::Protected<tokio::net::TcpStream>,
    over_tokio::ReadHalf<tokio::net::TcpStream>,
    over_tokio::WriteHalf<tokio::net::TcpStream>,
    blocking
);

/// Waits for a future, but fails after `LONG`.
#[cfg(feature = "tokio")]
fn blocking<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime().block_on(async { tokio::time::timeout(LONG, future).await? })
}

/// Polls a future once, and drops it. Fails with `WouldBlock` if it is pending.
#[cfg(feature = "tokio")]
fn at_once<T, E: Into<io::Error>>(future: impl Future<Output = Result<T, E>>) -> io::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map_err(Into::into),
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

/// The smallest stream over the core: each write is a record.
struct Bare {
    records: Records<Integrity>,
    line: Line,
    /// The part of a record that was read.
    record: Vec<u8>,
    payload: VecDeque<u8>,
    closed: bool,
    truncated: bool,
}

impl Bare {
    fn new(records: Records<Integrity>, line: Line) -> Self {
        Self {
            records,
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
            // The core does not see the end of the stream, so this reports it.
            if self.truncated {
                return Err(record::Error::Truncated.into());
            }
            let len = match self.record.first_chunk() {
                None => 2,
                Some(header) => len_of(*header)?,
            };
            if self.record.len() < len {
                let mut piece = vec![0; len - self.record.len()];
                match (&self.line).read(&mut piece)? {
                    0 => self.truncated = true,
                    n => self.record.extend(&piece[..n]),
                }
                continue;
            }
            match self.records.opener.open(&mut self.record)? {
                Opened::Data(payload) => self.payload.extend(payload),
                Opened::Close => {
                    self.closed = true;
                    let after = self.records.opener.open(&mut self.record);
                    assert_eq!(after, Err(record::Error::Closed));
                }
            }
            self.record.clear();
        }
        self.payload.read(buf)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.line).write_all(&sealed(&mut self.records.sealer, buf))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let close = self.records.sealer.close()?;
        (&self.line).write_all(&close)
    }
}

/// Seals a record with this payload.
pub fn sealed(sealer: &mut Sealer<Integrity>, payload: &[u8]) -> Vec<u8> {
    let mut record = [&[0; 2][..], payload, &[0; 16]].concat();
    sealer.seal(&mut record).unwrap();
    record
}

/// Opens a record, which must not be the close.
pub fn opened(opener: &mut Opener<Integrity>, record: &[u8]) -> Vec<u8> {
    match opener.open(&mut record.to_vec()) {
        Ok(Opened::Data(payload)) => payload.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Splits bytes into records.
pub fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some(header) = bytes.first_chunk() {
        let (record, rest) = bytes.split_at(len_of(*header).unwrap());
        records.push(record.to_vec());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a part of a record");
    records
}

/// The records of the client and the server of a handshake between two cores.
pub fn session() -> [Records<Integrity>; 2] {
    session_of(Draws::from(0xc0))
}

/// Like [`session`], with this nonce of the client.
pub fn session_of(client_draws: Draws) -> [Records<Integrity>; 2] {
    let pair = Pair {
        client_draws,
        ..Pair::of(&key("ours"))
    };
    pair.establish(Protect).map(|(_, records)| records)
}

/// An end under test after its handshake, and the core at the other end of its line.
pub(super) struct Ends {
    pub near: Box<dyn Stream>,
    pub line: Line,
    /// How much the near end had written when the handshake was over.
    start: usize,
    pub sealer: Sealer<Integrity>,
    pub opener: Opener<Integrity>,
}

impl Ends {
    pub fn new(via: Via, side: Side) -> Self {
        if via == Via::Core {
            return Self::of_cores(side);
        }
        let (far, records) = Far::opposite(side);
        let line = Line::to(far);
        let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
        let near: Box<dyn Stream> = match via {
            Via::Core => unreachable!("it has no stream"),
            Via::Blocking | Via::BlockingHalves => {
                let near = match side {
                    Side::Client => client.protect(line.clone()),
                    Side::Server => server.protect(line.clone()),
                };
                near.unwrap().into_stream(via)
            }
            #[cfg(feature = "tokio")]
            Via::Tokio | Via::TokioHalves => {
                let near = match side {
                    Side::Client => {
                        let client = over_tokio::Client::from(client);
                        at_once(client.protect(line.clone()))
                    }
                    Side::Server => {
                        let server = over_tokio::Server::from(server);
                        at_once(server.protect(line.clone()))
                    }
                };
                near.unwrap().into_stream(via)
            }
        };
        // Lets the far end read the last message, if the near end sent it.
        assert_eq!(line.wire().rest(), b"");
        Self::after_handshake(near, line, records.try_recv().unwrap())
    }

    fn of_cores(side: Side) -> Self {
        let [client, server] = session();
        let (near, far) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let line = Line::to(Says(Vec::new()));
        Self::after_handshake(Box::new(Bare::new(near, line.clone())), line, far)
    }

    fn after_handshake(near: Box<dyn Stream>, line: Line, far: Records<Integrity>) -> Self {
        let Records { sealer, opener } = far;
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

    /// Opens the record of this number that the near end has written. The far end has to open them
    /// in order.
    pub fn opened(&mut self, record: usize) -> Vec<u8> {
        let record = &self.written()[record];
        opened(&mut self.opener, record)
    }

    /// Has the far end send these bytes. A read gets at most `piece` of them, and after them does
    /// `then`.
    pub fn say(&self, bytes: &[u8], piece: usize, then: Act) {
        let mut wire = self.line.wire();
        wire.say(bytes);
        let end = wire.read + bytes.len();
        wire.on_read = Box::new(move |read| {
            if read < end {
                Act::Move(piece.min(end - read))
            } else {
                then
            }
        });
    }
}

/// The error of a record that an outcome contains, which has to have the right kind and text.
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

/// A payload in which neighbouring bytes differ.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

pub fn lens(records: &[Vec<u8>]) -> Vec<usize> {
    records.iter().map(Vec::len).collect()
}
