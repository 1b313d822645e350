//! Records on their way in and out, whatever waits for the stream below.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::sync::Arc;
use std::vec;

use crate::record::{Error, OVERHEAD, Opened, Opener, PAYLOAD_MAX, Sealer};

const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;
const PAYLOAD_START: usize = 2;

/// Shared by the two directions: what ends one for good ends the other.
#[derive(Clone, Default)]
pub(crate) struct Dead(Arc<AtomicBool>);

impl Dead {
    fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::BadTag);
        }
        Ok(())
    }
}

/// Records that come in, and what of the payload of one is not yet read.
pub(crate) struct Incoming {
    opener: Opener,
    octets: Box<[u8]>,
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
    /// The peer has closed.
    End,
    /// Nothing, before more was read from the stream.
    Nothing,
}

impl Incoming {
    pub(crate) fn new(opener: Opener, dead: Dead) -> Self {
        Self {
            opener,
            // Room for two records, so that the rest of one and the next come in one read.
            octets: vec![0; 2 * RECORD_MAX].into_boxed_slice(),
            records: 0..0,
            payload: 0..0,
            closed: false,
            failure: None,
            dead,
        }
    }

    /// Opens the next record if there is nothing left of the last.
    pub(crate) fn ready(&mut self) -> Result<Ready, Error> {
        if !self.payload.is_empty() {
            return Ok(Ready::Payload);
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.closed {
            return Ok(Ready::End);
        }
        match self.open() {
            Ok(ready) => Ok(ready),
            Err(failure) => Err(self.fail(failure)),
        }
    }

    fn open(&mut self) -> Result<Ready, Error> {
        let octets = self.octets.get(self.records.clone()).unwrap_or_default();
        let Some(header) = octets.first_chunk() else {
            return Ok(Ready::Nothing);
        };
        let len = Opener::len_of(*header)?;
        let Some(record) = octets.get(..len) else {
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

    /// Takes what fits.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let payload = self.octets.get(self.payload.clone()).unwrap_or_default();
        let n = payload.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..n), payload.get(..n)) {
            to.copy_from_slice(from);
        }
        self.payload.start += n;
        n
    }

    /// Where to read more from the stream, never empty where nothing is ready.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.records.is_empty() {
            self.records = 0..0;
        } else if self.records.start > 0 {
            self.octets.copy_within(self.records.clone(), 0);
            self.records = 0..self.records.len();
        }
        self.octets.get_mut(self.records.end..).unwrap_or_default()
    }

    /// Goes on by `n` octets that were read into [`space`](Self::space); none is the end of the
    /// stream.
    pub(crate) fn advance(&mut self, n: usize) -> Result<(), Error> {
        let room = self.octets.len() - self.records.end;
        if n == 0 {
            return Err(self.fail(Error::Truncated));
        }
        // A stream that reports more than it had room for is broken.
        if n > room {
            return Err(self.fail(Error::Length { len: n }));
        }
        self.records.end += n;
        Ok(())
    }

    fn fail(&mut self, failure: Error) -> Error {
        // A peer that was cut off may still be there to be written to; one that sends what is
        // not authentic is not the peer.
        if failure != Error::Truncated {
            self.dead.0.store(true, Ordering::Relaxed);
        }
        self.failure = Some(failure);
        failure
    }
}

/// A record that goes out: filled first, then sealed, then sent.
pub(crate) struct Outgoing {
    sealer: Sealer,
    octets: Box<[u8]>,
    /// How much of the payload is filled.
    filled: usize,
    /// What is sealed and not yet sent; nothing is filled meanwhile.
    unsent: Range<usize>,
    closed: bool,
    dead: Dead,
}

impl Outgoing {
    pub(crate) fn new(sealer: Sealer, dead: Dead) -> Self {
        Self {
            sealer,
            octets: vec![0; RECORD_MAX].into_boxed_slice(),
            filled: 0,
            unsent: 0..0,
            closed: false,
            dead,
        }
    }

    /// What is to be sent before anything else.
    pub(crate) fn unsent(&self) -> Result<&[u8], Error> {
        self.dead.check()?;
        Ok(self.octets.get(self.unsent.clone()).unwrap_or_default())
    }

    /// Goes on by `n` octets that were sent.
    pub(crate) fn sent(&mut self, n: usize) -> Result<(), Error> {
        // A stream that reports more than it was given is broken. What it took is not known, and
        // sending the record again would make it another.
        if n > self.unsent.len() {
            self.dead.0.store(true, Ordering::Relaxed);
            return Err(Error::Length { len: n });
        }
        self.unsent.start += n;
        Ok(())
    }

    /// Fills the payload with what fits, when nothing is unsent; 0 says that it is full and to be
    /// sealed.
    pub(crate) fn fill(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.dead.check()?;
        if self.closed {
            return Err(Error::Closed);
        }
        let n = data.len().min(PAYLOAD_MAX - self.filled);
        let start = PAYLOAD_START + self.filled;
        if let (Some(to), Some(from)) = (self.octets.get_mut(start..start + n), data.get(..n)) {
            to.copy_from_slice(from);
        }
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
        self.sealer
            .seal(self.octets.get_mut(..len).unwrap_or_default())?;
        self.filled = 0;
        self.unsent = 0..len;
        Ok(())
    }

    /// Makes the end of the direction, once, when nothing is unsent or filled.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.dead.check()?;
        if self.closed {
            return Ok(());
        }
        let record = self.sealer.close()?;
        if let Some(to) = self.octets.get_mut(..record.len()) {
            to.copy_from_slice(&record);
        }
        self.unsent = 0..record.len();
        self.closed = true;
        Ok(())
    }
}
