//! Record buffers without I/O, shared by both drivers.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::sync::Arc;
use std::vec;

use crate::record::{
    Error, Integrity, OVERHEAD, Opened, Opener, PAYLOAD_MAX, Records, Sealer, len_of,
};

const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;
const PAYLOAD_START: usize = 2;

/// Makes the buffers of both directions.
pub(crate) fn buffers(records: Records<Integrity>) -> (Incoming, Outgoing) {
    let dead = Dead::default();
    let incoming = Incoming::new(records.opener, dead.clone());
    (incoming, Outgoing::new(records.sealer, dead))
}

/// Shared by the two directions: what ends one of them for good ends the other.
#[derive(Clone, Default)]
struct Dead(Arc<AtomicBool>);

impl Dead {
    fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::BadTag);
        }
        Ok(())
    }
}

/// Records that are received, and what remains of the payload of the one that was opened last.
pub(crate) struct Incoming {
    opener: Opener<Integrity>,
    bytes: Box<[u8]>,
    /// What was read and is not yet opened.
    records: Range<usize>,
    /// What was opened and is not yet taken. It has verified.
    payload: Range<usize>,
    closed: bool,
    failure: Option<Error>,
    dead: Dead,
}

/// What there is to read.
pub(crate) enum Ready {
    Payload,
    /// The peer has closed its direction.
    End,
    /// Nothing, until more is read from the stream.
    Nothing,
}

impl Incoming {
    fn new(opener: Opener<Integrity>, dead: Dead) -> Self {
        Self {
            opener,
            // Room for two records, so that the rest of one and the next come in one read.
            bytes: vec![0; 2 * RECORD_MAX].into_boxed_slice(),
            records: 0..0,
            payload: 0..0,
            closed: false,
            failure: None,
            dead,
        }
    }

    /// Opens the next record if nothing is left of the last.
    pub(crate) fn ready(&mut self) -> Result<Ready, Error> {
        if !self.payload.is_empty() {
            return Ok(Ready::Payload);
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.dead.check()?;
        if self.closed {
            return Ok(Ready::End);
        }
        match self.open() {
            Ok(ready) => Ok(ready),
            Err(failure) => Err(self.fail(failure)),
        }
    }

    fn open(&mut self) -> Result<Ready, Error> {
        let bytes = slice_mut(&mut self.bytes, &self.records)?;
        let Some(header) = bytes.first_chunk() else {
            return Ok(Ready::Nothing);
        };
        let len = len_of(*header)?;
        let Some(record) = bytes.get_mut(..len) else {
            return Ok(Ready::Nothing);
        };
        let opened = self.opener.open(record)?;
        let start = self.records.start + PAYLOAD_START;
        self.records.start += len;
        match opened {
            Opened::Data(payload) => {
                self.payload = start..start + payload.len();
                Ok(Ready::Payload)
            }
            Opened::Close => {
                self.closed = true;
                Ok(Ready::End)
            }
        }
    }

    /// Moves as much of the payload as fits.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let payload = slice(&self.bytes, &self.payload)?;
        let n = payload.len().min(out.len());
        let ((to, _), (from, _)) = (out.split_at_mut(n), payload.split_at(n));
        to.copy_from_slice(from);
        self.payload.start += n;
        Ok(n)
    }

    /// Where to read more from the stream; never empty where nothing is ready.
    pub(crate) fn space(&mut self) -> Result<&mut [u8], Error> {
        if self.records.is_empty() {
            self.records = 0..0;
        } else if self.records.start > 0 {
            self.bytes.copy_within(self.records.clone(), 0);
            self.records = 0..self.records.len();
        }
        let len = self.bytes.len();
        slice_mut(&mut self.bytes, &(self.records.end..len))
    }

    /// Records that `n` bytes were read into [`space`](Self::space). None is the end of the stream.
    pub(crate) fn advance(&mut self, n: usize) -> Result<(), Error> {
        if n == 0 {
            return Err(self.fail(Error::Truncated));
        }
        // A stream that reports more than it had room for is broken.
        if n > self.bytes.len() - self.records.end {
            return Err(self.fail(Error::Length { len: n }));
        }
        self.records.end += n;
        Ok(())
    }

    fn fail(&mut self, failure: Error) -> Error {
        // A peer whose stream was cut may still read what this end sends. One that sends what is
        // not authentic is not the peer.
        if failure != Error::Truncated {
            self.dead.0.store(true, Ordering::Relaxed);
        }
        self.failure = Some(failure);
        failure
    }
}

/// A record that is sent: it is filled, then sealed, then written.
pub(crate) struct Outgoing {
    sealer: Sealer<Integrity>,
    bytes: Box<[u8]>,
    /// How much of the payload is filled.
    filled: usize,
    /// What is sealed and not yet sent. Nothing is filled meanwhile.
    unsent: Range<usize>,
    closed: bool,
    dead: Dead,
}

impl Outgoing {
    fn new(sealer: Sealer<Integrity>, dead: Dead) -> Self {
        Self {
            sealer,
            bytes: vec![0; RECORD_MAX].into_boxed_slice(),
            filled: 0,
            unsent: 0..0,
            closed: false,
            dead,
        }
    }

    /// What must be sent before anything else.
    pub(crate) fn unsent(&self) -> Result<&[u8], Error> {
        self.dead.check()?;
        slice(&self.bytes, &self.unsent)
    }

    /// Records that `n` bytes were sent.
    pub(crate) fn sent(&mut self, n: usize) -> Result<(), Error> {
        // A stream that reports more than it was given is broken. What it took is unknown, and
        // sending the record again would make it another one.
        if n > self.unsent.len() {
            self.dead.0.store(true, Ordering::Relaxed);
            return Err(Error::Length { len: n });
        }
        self.unsent.start += n;
        Ok(())
    }

    /// Fills the payload with as much as fits, when nothing is unsent. 0 says that it is full and
    /// must be sealed.
    pub(crate) fn fill(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.dead.check()?;
        if self.closed {
            return Err(Error::Closed);
        }
        let n = data.len().min(PAYLOAD_MAX - self.filled);
        let start = PAYLOAD_START + self.filled;
        let (data, _) = data.split_at(n);
        slice_mut(&mut self.bytes, &(start..start + n))?.copy_from_slice(data);
        self.filled += n;
        Ok(n)
    }

    /// Seals what is filled, if anything is, when nothing is unsent.
    pub(crate) fn seal(&mut self) -> Result<(), Error> {
        self.dead.check()?;
        if self.filled == 0 {
            return Ok(());
        }
        let len = self.filled + OVERHEAD;
        self.sealer.seal(slice_mut(&mut self.bytes, &(0..len))?)?;
        self.filled = 0;
        self.unsent = 0..len;
        Ok(())
    }

    /// Makes the record that ends the direction, once, when nothing is unsent or filled.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.dead.check()?;
        if self.closed {
            return Ok(());
        }
        let room = slice_mut(&mut self.bytes, &(0..OVERHEAD))?;
        room.copy_from_slice(&self.sealer.close()?);
        self.unsent = 0..OVERHEAD;
        self.closed = true;
        Ok(())
    }
}

/// A range that lies outside its buffer would be a mistake of this file, and is an error.
fn slice<'b>(bytes: &'b [u8], range: &Range<usize>) -> Result<&'b [u8], Error> {
    let len = range.len();
    bytes.get(range.clone()).ok_or(Error::Length { len })
}

fn slice_mut<'b>(bytes: &'b mut [u8], range: &Range<usize>) -> Result<&'b mut [u8], Error> {
    let len = range.len();
    bytes.get_mut(range.clone()).ok_or(Error::Length { len })
}
