//! Messages after the handshake, framed as CPython frames them.

use std::io;
use std::vec::Vec;

use crate::buffer::{Buffer, StreamError};

/// Up to this length a message is sent with its header in one write, as CPython does. Two small
/// writes would wait for each other (Nagle's algorithm).
const AT_ONCE: usize = 16_384;

/// The most memory that a message takes by what the peer announces, in bytes. More is taken as bytes
/// arrive.
const FIRST: usize = 8192;

/// Returns a message as it is sent: in one part, or in two if it is long.
pub(super) fn parts(message: &[u8]) -> Result<(Vec<u8>, &[u8]), StreamError> {
    let header = header(message.len())?;
    Ok(if message.len() <= AT_ONCE {
        ([header.as_slice(), message].concat(), &[])
    } else {
        (header.as_slice().into(), message)
    })
}

/// Returns what comes before a message of this length: four bytes, or twelve if it does not fit a
/// signed integer of four.
pub(super) fn header(len: usize) -> Result<Buffer<12>, StreamError> {
    let mut header = Buffer::EMPTY;
    if let Ok(len) = i32::try_from(len) {
        header.append(&len.to_be_bytes())?;
    } else {
        header.append(&LONG.to_be_bytes())?;
        header.append(&(len as u64).to_be_bytes())?;
    }
    Ok(header)
}

/// The length that announces another one, of eight bytes.
const LONG: i32 = -1;

/// A message that is being received.
pub(super) struct Incoming {
    max: usize,
    header: Buffer<12>,
    /// None until the header is complete.
    len: Option<usize>,
    message: Vec<u8>,
    filled: usize,
}

/// How far a message has come.
pub(crate) enum Received {
    More,
    Message(Vec<u8>),
    /// The stream ended before the first byte of a message.
    End,
}

impl Incoming {
    pub(super) const NONE: Self = Self {
        max: 0,
        header: Buffer::EMPTY,
        len: None,
        message: Vec::new(),
        filled: 0,
    };

    /// Awaits a message of at most `max` bytes, or the rest of one that has begun to arrive.
    pub(super) fn expect(&mut self, max: usize) -> io::Result<()> {
        self.max = max;
        match self.len {
            Some(len) => self.allow(len as u64).map(drop),
            None if self.header.received().is_empty() => self.header.expect(4).map_err(broken),
            None => Ok(()),
        }
    }

    /// Where to read more; never empty, and never past the end of the message.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let Some(len) = self.len else {
            return self.header.space();
        };
        let room = len.min(FIRST.max(self.filled.saturating_mul(2)));
        if self.message.len() < room {
            self.message.resize(room, 0);
        }
        self.message.get_mut(self.filled..).unwrap_or(&mut [])
    }

    /// Records that `n` bytes were read into [`space`](Self::space). None is the end of the stream.
    pub(super) fn advance(&mut self, n: usize) -> io::Result<Received> {
        if n == 0 {
            return if self.header.received().is_empty() {
                Ok(Received::End)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let len = if let Some(len) = self.len {
            let room = self.space().len();
            if n > room {
                return Err(broken(StreamError::Overrun { room, len: n }));
            }
            self.filled += n;
            len
        } else {
            self.header.advance(n).map_err(broken)?;
            let Some(len) = self.announced()? else {
                return Ok(Received::More);
            };
            *self.len.insert(len)
        };
        Ok(if self.filled == len {
            Received::Message(core::mem::replace(self, Self::NONE).message)
        } else {
            Received::More
        })
    }

    /// Returns the length of the message, once the header is complete.
    fn announced(&mut self) -> io::Result<Option<usize>> {
        if !self.header.is_complete() {
            return Ok(None);
        }
        let header = self.header.received();
        let len = match (
            header.first_chunk(),
            header.get(4..).and_then(<[u8]>::first_chunk),
        ) {
            (_, Some(long)) => u64::from_be_bytes(*long),
            (Some(short), None) => match i32::from_be_bytes(*short) {
                LONG => {
                    self.header.expect(12).map_err(broken)?;
                    return Ok(None);
                }
                len => u64::try_from(len)
                    .map_err(|_| invalid(std::format!("a message cannot have {len} bytes")))?,
            },
            (None, None) => return Ok(None),
        };
        self.allow(len).map(Some)
    }

    fn allow(&self, len: u64) -> io::Result<usize> {
        match usize::try_from(len) {
            Ok(len) if len <= self.max => Ok(len),
            _ => Err(invalid(std::format!(
                "a message of {len} bytes came, and at most {} are allowed",
                self.max
            ))),
        }
    }
}

pub(super) fn broken(error: StreamError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn invalid(reason: std::string::String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
