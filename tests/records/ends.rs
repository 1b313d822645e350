//! The ends under test, and the core at the other end of their line.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use countersign::record::{self, OVERHEAD, Opened, PAYLOAD_MAX, len_of};
#[cfg(feature = "tokio")]
use countersign::tokio as over_tokio;
use countersign::{Client, Server};

use super::line::{Line, far};
#[cfg(feature = "tokio")]
use super::stream::at_once;
use super::stream::{IntoStream, Stream};
use super::via::{AnyRecords, How, Kind, Open, Seal, Via, session_of};
use crate::side::Side;
use crate::support::{Act, Draws, Says, key};

/// The largest record on the wire.
pub const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;

/// The smallest stream over the core: each write is a record.
struct Bare {
    records: AnyRecords,
    line: Line,
    /// The part of a record that was read.
    record: Vec<u8>,
    payload: VecDeque<u8>,
    closed: bool,
    truncated: bool,
}

impl Bare {
    fn new(records: AnyRecords, line: Line) -> Self {
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
        let record = sealed(&mut *self.records.sealer, buf);
        (&self.line).write_all(&record)?;
        Ok(buf.len())
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.write(&all)
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
pub fn sealed(sealer: &mut dyn Seal, payload: &[u8]) -> Vec<u8> {
    let mut record = [&[0; 2][..], payload, &[0; 16]].concat();
    sealer.seal(&mut record).unwrap();
    record
}

/// Opens a record, which must not be the close.
pub fn opened(opener: &mut dyn Open, record: &[u8]) -> Vec<u8> {
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
pub fn session(kind: Kind) -> [AnyRecords; 2] {
    session_of(kind, Draws::from(0xc0))
}

/// An end under test after its handshake, and the core at the other end of its line.
pub(super) struct Ends {
    pub near: Box<dyn Stream>,
    pub line: Line,
    /// How much the near end had written when the handshake was over.
    pub start: usize,
    pub sealer: Box<dyn Seal>,
    pub opener: Box<dyn Open>,
}

/// Runs a verb of an endpoint in this mode.
macro_rules! secured {
    ($kind:expr, $endpoint:expr, $line:expr, $via:expr, $outcome:path) => {
        match $kind {
            Kind::Protected => $outcome($endpoint.protect($line))
                .unwrap()
                .into_stream($via),
            #[cfg(feature = "encrypt")]
            Kind::Encrypted => $outcome($endpoint.encrypt($line))
                .unwrap()
                .into_stream($via),
        }
    };
}

impl Ends {
    pub fn new(via: Via, side: Side) -> Self {
        let kind = via.kind;
        if via.is_core() {
            return Self::of_cores(kind, side);
        }
        let (line, records) = far(kind, side);
        let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
        let below = line.clone();
        let near: Box<dyn Stream> = match (via.how, side) {
            (How::Core, _) => unreachable!("it has no stream"),
            (How::Blocking | How::BlockingHalves, Side::Client) => {
                secured!(kind, client, below, via, std::convert::identity)
            }
            (How::Blocking | How::BlockingHalves, Side::Server) => {
                secured!(kind, server, below, via, std::convert::identity)
            }
            #[cfg(feature = "tokio")]
            (How::Tokio | How::TokioHalves, Side::Client) => {
                let client = over_tokio::Client::from(client);
                secured!(kind, client, below, via, at_once)
            }
            #[cfg(feature = "tokio")]
            (How::Tokio | How::TokioHalves, Side::Server) => {
                let server = over_tokio::Server::from(server);
                secured!(kind, server, below, via, at_once)
            }
        };
        // Lets the far end read the last message, if the near end sent it.
        assert_eq!(line.wire().rest(), b"");
        Self::after_handshake(near, line, records.try_recv().unwrap())
    }

    fn of_cores(kind: Kind, side: Side) -> Self {
        let [client, server] = session(kind);
        let (near, far) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let line = Line::to(Says(Vec::new()));
        Self::after_handshake(Box::new(Bare::new(near, line.clone())), line, far)
    }

    fn after_handshake(near: Box<dyn Stream>, line: Line, far: AnyRecords) -> Self {
        let AnyRecords { sealer, opener } = far;
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
        opened(&mut *self.opener, record)
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
    let below = record::Error::of(&error);
    let below = below.unwrap_or_else(|| panic!("not the record's error: {error:?}"));
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
