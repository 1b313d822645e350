//! Records: what follows a handshake in mode 1, without I/O and without allocation.
//!
//! ```text
//! n (2 octets) | payload (n, 0 to 16,384) | tag (16)
//! ```
//!
//! Each direction has a key and a sequence number of its own, so that a record that is altered,
//! moved, repeated, reflected or brought from elsewhere has a wrong tag. An empty record is the
//! end of its direction; a stream that ends without one was cut. **Nothing is hidden:** records
//! are protected from alteration and are readable by everybody on the line.
//!
//! Most programs use [`Client::protect`](crate::Client::protect) and
//! [`Server::protect`](crate::Server::protect), which put a stream on top. A [`Sealer`] and an
//! [`Opener`] come from [`Session::records`](crate::Session::records):
//!
//! ```
//! use countersign::record::{Opened, Opener, OVERHEAD};
//! # use countersign::handshake::{Mode, Prologue, Progress, Receive, Transcript, client, server};
//! # use countersign::{Key, Session, generate_secret};
//! # use rand::rngs::SysRng;
//! # fn deliver<R: Receive>(mut state: R, flight: &[u8]) -> R::Next {
//! #     let mut flight = flight;
//! #     loop {
//! #         let space = state.space();
//! #         let (piece, rest) = flight.split_at(space.len().min(flight.len()));
//! #         space[..piece.len()].copy_from_slice(piece);
//! #         flight = rest;
//! #         match state.advance(piece.len()).unwrap() {
//! #             Progress::More(same) => state = same,
//! #             Progress::Done(next) => return next,
//! #         }
//! #     }
//! # }
//! # let key = Key::new(generate_secret()?)?;
//! # let config = server::Config::new(Prologue::EMPTY);
//! # let (mut t, mut u, mode) = (Transcript::new(), Transcript::new(), Mode::Protect);
//! # let (f1, at_server) = config.start(&mut t, mode, &mut SysRng)?;
//! # let at_client = client::start(&mut u, &Prologue::EMPTY, mode, &key, &mut SysRng)?;
//! # let (f2, at_client) = deliver(at_client, f1.as_ref());
//! # let (f3, server) = deliver(at_server, f2.as_ref()).verify(Some(&key));
//! # let (mut server, mut client) = (server?, deliver(at_client, f3.as_ref()));
//!
//! // `client` and `server` are the two sessions of a handshake in mode 1.
//! let (mut sealer, _) = client.records().expect("mode 1, for the first time");
//! let (_, mut opener) = server.records().expect("mode 1, for the first time");
//!
//! let mut record = [0; 5 + OVERHEAD];
//! record[2..7].copy_from_slice(b"hello");
//! sealer.seal(&mut record)?;
//!
//! assert_eq!(Opener::len_of([record[0], record[1]])?, record.len());
//! assert_eq!(opener.open(&record)?, Opened::Data(b"hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::fmt;

use crate::handshake::append;
use crate::handshake::mac::MacKey;

/// The most octets of a payload.
pub const PAYLOAD_MAX: usize = 16_384;

/// What a record is longer than its payload, in octets.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

const HEADER_LEN: usize = 2;
const TAG_LEN: usize = 16;

/// Makes the records of one direction.
///
/// It cannot be cloned: two sealers of one key would use every sequence number twice.
///
/// ```compile_fail,E0599
/// # fn run(sealer: countersign::record::Sealer) {
/// let another = sealer.clone();
/// # }
/// ```
///
/// ```
/// # fn run(sealer: countersign::record::Sealer) {
/// let another = sealer;
/// # }
/// ```
pub struct Sealer {
    key: MacKey,
    seq: u64,
    closed: bool,
}

impl Sealer {
    pub(crate) fn new(key: MacKey) -> Self {
        Self {
            key,
            seq: 0,
            closed: false,
        }
    }

    /// Makes a record of `record`: two octets, the payload of 1 to 16,384, and 16 octets. The
    /// first and the last are filled in, the payload stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for a payload of another length, [`Error::Closed`] after
    /// [`close`](Self::close), [`Error::Exhausted`] once 2^64 - 1 records were made. `record` is
    /// then as it was.
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), Error> {
        match record.len().checked_sub(OVERHEAD) {
            Some(1..=PAYLOAD_MAX) => self.seal_any(record),
            _ => Err(Error::Length { len: record.len() }),
        }
    }

    /// The record that ends this direction.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] the second time, and [`Error::Exhausted`].
    ///
    /// ```
    /// # fn run(mut sealer: countersign::record::Sealer) -> Result<(), countersign::record::Error> {
    /// let end = sealer.close()?;
    /// assert!(sealer.close().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&mut self) -> Result<[u8; OVERHEAD], Error> {
        let mut record = [0; OVERHEAD];
        self.seal_any(&mut record)?;
        self.closed = true;
        Ok(record)
    }

    fn seal_any(&mut self, record: &mut [u8]) -> Result<(), Error> {
        let next = next(self.seq, self.closed)?;
        let len = record.len();
        let parts = record
            .split_last_chunk_mut::<TAG_LEN>()
            .and_then(|(rest, tag)| Some((rest.split_first_chunk_mut::<HEADER_LEN>()?, tag)));
        let Some(((header, payload), tag)) = parts else {
            return Err(Error::Length { len });
        };
        // The payload was bounded by the caller.
        *header = u16::try_from(payload.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        let whole = (self.key)
            .tag_of(&prefix(self.seq, *header), payload)
            .disclose();
        for (to, from) in tag.iter_mut().zip(whole) {
            *to = from;
        }
        self.seq = next;
        Ok(())
    }
}

/// Opens the records of one direction. The first that does not verify ends it for good.
pub struct Opener {
    key: MacKey,
    seq: u64,
    closed: bool,
    poisoned: bool,
}

impl Opener {
    pub(crate) fn new(key: MacKey) -> Self {
        Self {
            key,
            seq: 0,
            closed: false,
            poisoned: false,
        }
    }

    /// The length of the whole record that begins with these two octets: 18 to 16,402.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], before anything of the payload is read. The connection is then at its
    /// end.
    ///
    /// ```
    /// use countersign::record::{Error, Opener};
    ///
    /// assert_eq!(Opener::len_of([0, 5]), Ok(23));
    /// assert_eq!(Opener::len_of([0xff, 0xff]), Err(Error::TooLong { len: 65_535 }));
    /// ```
    pub fn len_of(header: [u8; 2]) -> Result<usize, Error> {
        let len = usize::from(u16::from_be_bytes(header));
        if len > PAYLOAD_MAX {
            return Err(Error::TooLong { len });
        }
        Ok(len + OVERHEAD)
    }

    /// Verifies one whole record and gives what is in it.
    ///
    /// # Errors
    ///
    /// [`Error::BadTag`] for a record that was altered or is out of sequence,
    /// [`Error::TooLong`] and [`Error::Length`] for one of the wrong length, [`Error::Closed`]
    /// after the end of the direction, [`Error::Exhausted`] once 2^64 - 1 records were opened.
    /// After `Closed` and `Exhausted` every further call gives the same, after any other
    /// [`Error::BadTag`].
    pub fn open<'r>(&mut self, record: &'r [u8]) -> Result<Opened<'r>, Error> {
        let next = next(self.seq, self.closed)?;
        // Until the record has verified, the way back is closed.
        if core::mem::replace(&mut self.poisoned, true) {
            return Err(Error::BadTag);
        }
        let len = record.len();
        let Some((header, rest)) = record.split_first_chunk::<HEADER_LEN>() else {
            return Err(Error::Length { len });
        };
        if Self::len_of(*header)? != len {
            return Err(Error::Length { len });
        }
        let Some((payload, tag)) = rest.split_last_chunk::<TAG_LEN>() else {
            return Err(Error::Length { len });
        };
        let expected = self.key.tag_of(&prefix(self.seq, *header), payload);
        if !bool::from(expected.begins_with(tag)) {
            return Err(Error::BadTag);
        }
        self.poisoned = false;
        self.seq = next;
        if payload.is_empty() {
            self.closed = true;
            return Ok(Opened::Close);
        }
        Ok(Opened::Data(payload))
    }
}

/// What is in a record that has verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened<'r> {
    /// 1 to 16,384 octets.
    Data(&'r [u8]),
    /// The end of the direction.
    Close,
}

/// Why a record was not made or not released.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A record was altered, or is not the next one.
    BadTag,
    /// A record announces more than 16,384 octets.
    TooLong {
        /// The length announced, in octets.
        len: usize,
    },
    /// The stream ended before the end that the peer would have sent.
    Truncated,
    /// The direction has ended.
    Closed,
    /// All sequence numbers were used.
    Exhausted,
    /// A buffer that cannot be one whole record.
    Length {
        /// Its length in octets.
        len: usize,
    },
}

impl core::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadTag => f.write_str(
                "a record is not authentic: it was altered, or another was left out, repeated or \
                 moved before it; the connection is at its end",
            ),
            Self::TooLong { len } => write!(
                f,
                "a record announces {len} octets, and the most is {PAYLOAD_MAX}; the connection \
                 is at its end"
            ),
            Self::Truncated => f.write_str(
                "the stream ended without the end that the peer sends: it was cut, or the peer \
                 was dropped without being closed",
            ),
            Self::Closed => f.write_str("this direction of the connection was closed already"),
            Self::Exhausted => f.write_str("all sequence numbers of this connection were used"),
            Self::Length { len } => {
                write!(f, "a buffer of {len} octets cannot be one whole record")
            }
        }
    }
}

/// The sequence number behind `seq`; the last one of all is never used.
fn next(seq: u64, closed: bool) -> Result<u64, Error> {
    if closed {
        return Err(Error::Closed);
    }
    seq.checked_add(1).ok_or(Error::Exhausted)
}

/// `seq u64 | n u16`, what comes before the payload under the tag.
fn prefix(seq: u64, header: [u8; 2]) -> [u8; 10] {
    let mut octets = [0; 10];
    let mut len = 0;
    append(&mut octets, &mut len, &seq.to_be_bytes());
    append(&mut octets, &mut len, &header);
    octets
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A direction of which so many records were sent already, more than a test can send.
    fn direction_after(seq: u64) -> (Sealer, Opener) {
        let key = MacKey::new(b"the key of a direction");
        let (mut sealer, mut opener) = (Sealer::new(key.clone()), Opener::new(key));
        (sealer.seq, opener.seq) = (seq, seq);
        (sealer, opener)
    }

    #[test]
    fn the_last_sequence_number_is_never_used() -> Result<(), Error> {
        let (mut sealer, mut opener) = direction_after(u64::MAX - 2);
        let mut record = [b'x'; 1 + OVERHEAD];
        for _ in 0..2 {
            sealer.seal(&mut record)?;
            assert_eq!(opener.open(&record)?, Opened::Data(b"x"));
        }
        let sent = record;
        for _ in 0..2 {
            assert_eq!(sealer.seal(&mut record), Err(Error::Exhausted));
            assert_eq!(record, sent);
            assert_eq!(sealer.close(), Err(Error::Exhausted));
            assert_eq!(opener.open(&record), Err(Error::Exhausted));
        }
        Ok(())
    }

    #[test]
    fn a_record_of_the_last_sequence_number_is_not_opened_though_its_tag_is_right() {
        let (sealer, mut opener) = direction_after(u64::MAX);
        let header = [0, 0];
        let tag = sealer.key.tag_of(&prefix(u64::MAX, header), b"").disclose();
        let mut record = [0; OVERHEAD];
        for (to, from) in record.iter_mut().skip(HEADER_LEN).zip(tag) {
            *to = from;
        }
        assert_eq!(opener.open(&record), Err(Error::Exhausted));

        // The control: it is the number, and not the record.
        opener.seq -= 1;
        let (mut sealer, _) = direction_after(u64::MAX - 1);
        let closed = sealer
            .close()
            .map(|record| opener.open(&record) == Ok(Opened::Close));
        assert_eq!(closed, Ok(true));
    }

    #[test]
    fn a_close_may_have_the_last_number_that_is_used() -> Result<(), Error> {
        let (mut sealer, mut opener) = direction_after(u64::MAX - 1);
        assert_eq!(opener.open(&sealer.close()?)?, Opened::Close);
        assert_eq!(sealer.close(), Err(Error::Closed));
        assert_eq!(opener.open(&[]), Err(Error::Closed));
        Ok(())
    }
}
