//! Records in both directions, without I/O, shared by both drivers.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use super::buffer::{Buffer, RECORD_MAX, RECORDS, wipe};
use crate::record::{
    Error, OVERHEAD, Opened, Opener, PAYLOAD_MAX, Protection, Records, Sealer, len_of,
};

const PAYLOAD_START: usize = 2;
const TAG_LEN: usize = OVERHEAD - PAYLOAD_START;

/// Makes the buffers of both directions.
pub(crate) fn buffers<P>(records: Records<P>) -> (Incoming<P>, Outgoing<P>) {
    let dead = Dead::default();
    let incoming = Incoming::new(Box::new(records.opener), dead.clone());
    (incoming, Outgoing::new(Box::new(records.sealer), dead))
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
pub(crate) struct Incoming<P> {
    /// Over a kilobyte in mode 2. A future that holds the stream may have room for it several times.
    opener: Box<Opener<P>>,
    /// Held only while something is in one of the two ranges, or while the stream is read.
    buffer: Buffer,
    /// What was read and is not yet opened.
    records: Range<usize>,
    /// What was opened and is not yet taken. It has verified.
    payload: Range<usize>,
    closed: bool,
    failure: Option<Error>,
    dead: Dead,
}

/// What there is to read.
pub(super) enum Ready {
    Payload,
    /// The peer has closed its direction.
    End,
    /// Nothing, until more is read from the stream.
    Nothing,
}

impl<P> Incoming<P> {
    fn new(opener: Box<Opener<P>>, dead: Dead) -> Self {
        Self {
            opener,
            buffer: Buffer::default(),
            records: 0..0,
            payload: 0..0,
            closed: false,
            failure: None,
            dead,
        }
    }

    /// Moves as much of the payload as fits, and wipes it here.
    pub(super) fn take(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let payload = self.buffer.get_mut(&self.payload)?;
        let n = payload.len().min(out.len());
        let ((to, _), (from, _)) = (out.split_at_mut(n), payload.split_at_mut(n));
        to.copy_from_slice(from);
        wipe(from);
        self.payload.start += n;
        Ok(n)
    }

    /// Where to read more from the stream, when nothing is ready. It is never empty.
    pub(super) fn space(&mut self) -> Result<&mut [u8], Error> {
        let bytes = self.buffer.hold();
        let end = self.records.len();
        bytes.copy_within(self.records.clone(), 0);
        self.records = 0..end;
        bytes.get_mut(end..).ok_or(Error::Length { len: end })
    }

    /// Records that `n` bytes were read into [`space`](Self::space). None is the end of the stream.
    pub(super) fn advance(&mut self, n: usize) -> Result<(), Error> {
        if n == 0 {
            return Err(self.fail(Error::Truncated));
        }
        let end = self.records.end.checked_add(n);
        match end {
            Some(end) if self.buffer.get(&(self.records.end..end)).is_ok() => {
                self.records.end = end;
                Ok(())
            }
            // A stream that reports more than it had room for is broken.
            _ => Err(self.fail(Error::Length { len: n })),
        }
    }

    /// Ends the direction for good.
    pub(super) fn fail(&mut self, failure: Error) -> Error {
        // A peer whose stream was cut may still read what this end sends. One that sends what is
        // not authentic is not the peer.
        if failure != Error::Truncated {
            self.dead.0.store(true, Ordering::Relaxed);
        }
        self.failure = Some(failure);
        self.records = 0..0;
        failure
    }

    /// Releases the buffer if nothing is in it.
    pub(super) fn settle(&mut self) {
        if self.records.is_empty() && self.payload.is_empty() {
            self.buffer.release();
        }
    }
}

impl<P: Protection> Incoming<P> {
    /// Opens the next record if nothing is left of the last.
    pub(super) fn ready(&mut self) -> Result<Ready, Error> {
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
        if self.records.is_empty() {
            return Ok(Ready::Nothing);
        }
        match self.open() {
            Ok(ready) => Ok(ready),
            Err(failure) => Err(self.fail(failure)),
        }
    }

    fn open(&mut self) -> Result<Ready, Error> {
        let bytes = self.buffer.get_mut(&self.records)?;
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
                // What follows it belongs to nothing.
                self.records = 0..0;
                self.closed = true;
                Ok(Ready::End)
            }
        }
    }
}

impl<P> Drop for Incoming<P> {
    fn drop(&mut self) {
        if let Ok(payload) = self.buffer.get_mut(&self.payload) {
            wipe(payload);
        }
    }
}

/// Records that are sent: they are sealed, then written.
pub(crate) struct Outgoing<P> {
    sealer: Box<Sealer<P>>,
    /// Held only while something is unsent.
    buffer: Buffer,
    /// What is sealed and not yet sent. Nothing is sealed meanwhile.
    unsent: Range<usize>,
    closed: bool,
    /// The error of the stream after which nothing more is sent.
    broken: Option<io::ErrorKind>,
    dead: Dead,
}

impl<P> Outgoing<P> {
    fn new(sealer: Box<Sealer<P>>, dead: Dead) -> Self {
        Self {
            sealer,
            buffer: Buffer::default(),
            unsent: 0..0,
            closed: false,
            broken: None,
            dead,
        }
    }

    /// Returns whether there is a rest to be sent before anything else.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// What must be sent before anything else.
    pub(crate) fn unsent(&self) -> io::Result<Option<&[u8]>> {
        self.dead.check()?;
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        if self.unsent.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.buffer.get(&self.unsent)?))
    }

    /// Records that `n` bytes were sent.
    pub(crate) fn sent(&mut self, n: usize) -> Result<(), Error> {
        // A stream that reports more than it was given is broken. What it took is unknown, and
        // sending the record again would make it another one.
        if n > self.unsent.len() {
            self.dead.0.store(true, Ordering::Relaxed);
            self.discard();
            return Err(Error::Length { len: n });
        }
        self.unsent.start += n;
        if self.unsent.is_empty() {
            self.discard();
        }
        Ok(())
    }

    /// Ends the direction for good after this error of the stream. A record of which only a part was
    /// sent can be followed by nothing else.
    pub(crate) fn fail(&mut self, error: io::Error) -> io::Error {
        self.broken = Some(error.kind());
        self.discard();
        error
    }

    fn discard(&mut self) {
        self.unsent = 0..0;
        self.buffer.release();
    }
}

impl<P: Protection> Outgoing<P> {
    /// Seals as much of the parts as fits into the buffer, when nothing is unsent, and returns how much
    /// that is. There must be something in them.
    pub(super) fn seal<'d>(
        &mut self,
        mut parts: impl Iterator<Item = &'d [u8]>,
    ) -> Result<usize, Error> {
        self.dead.check()?;
        if self.closed {
            return Err(Error::Closed);
        }
        let (mut sealed, mut part) = (0, [].as_slice());
        for start in (0..).step_by(RECORD_MAX).take(RECORDS) {
            let end = self.fill(start + PAYLOAD_START, &mut part, &mut parts)?;
            let len = end - start - PAYLOAD_START;
            if len == 0 {
                break;
            }
            let record = start..end + TAG_LEN;
            let bytes = self.buffer.get_mut(&record)?;
            if let Err(error) = self.sealer.seal(bytes) {
                wipe(bytes);
                // What was sealed before is sent, and the next call has the same error.
                if sealed > 0 {
                    break;
                }
                self.discard();
                return Err(error);
            }
            self.unsent = 0..record.end;
            sealed += len;
        }
        Ok(sealed)
    }

    /// Fills the payload of a record that begins at `start`, and returns its end.
    fn fill<'d>(
        &mut self,
        start: usize,
        part: &mut &'d [u8],
        parts: &mut impl Iterator<Item = &'d [u8]>,
    ) -> Result<usize, Error> {
        self.buffer.hold();
        let (mut end, limit) = (start, start + PAYLOAD_MAX);
        while end < limit {
            if part.is_empty() {
                match parts.next() {
                    Some(next) => *part = next,
                    None => break,
                }
            }
            let (now, later) = part.split_at(part.len().min(limit - end));
            let room = end..end + now.len();
            self.buffer.get_mut(&room)?.copy_from_slice(now);
            (*part, end) = (later, room.end);
        }
        Ok(end)
    }

    /// Makes the record that ends the direction, once, when nothing is unsent.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.dead.check()?;
        if self.closed {
            return Ok(());
        }
        let close = self.sealer.close()?;
        self.buffer.hold();
        self.buffer.get_mut(&(0..OVERHEAD))?.copy_from_slice(&close);
        self.unsent = 0..OVERHEAD;
        self.closed = true;
        Ok(())
    }
}
