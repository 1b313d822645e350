//! Records: what follows a handshake in modes 1 and 2, without I/O and without allocation.
//!
//! ```text
//! n (2 bytes) | payload (n, 0 to 16,384) | tag (16)
//! ```
//!
//! A payload has at most [`PAYLOAD_MAX`] bytes, and its length and its tag have [`OVERHEAD`] bytes.
//!
//! Each direction has its own key and sequence number, so a record that is altered, moved,
//! repeated, reflected or taken from another session has a wrong tag. An empty record ends its
//! direction; a stream that ends without one was cut. There are two kinds of [`Protection`]. Under
//! [`Integrity`], which is mode 1, **nothing is hidden:** anyone on the network can read records, but
//! not alter them unnoticed. Under `Encryption`, which is mode 2, the payload is encrypted, and its
//! length is visible.
//!
//! Most programs use the verbs `protect` and `encrypt` of [`Client`](crate::Client) and
//! [`Server`](crate::Server), which put a stream on top. A handshake in mode
//! [`Protect`](crate::handshake::Protect) or `Encrypt` yields [`Records`]:
//!
//! ```
//! use countersign::record::{Error, OVERHEAD, Opened, Protection, Records, len_of};
//!
//! /// `client` and `server` are the two ends of one handshake.
//! fn hello<P: Protection>(mut client: Records<P>, mut server: Records<P>) -> Result<(), Error> {
//!     let mut record = [0; 5 + OVERHEAD];
//!     record[2..7].copy_from_slice(b"hello");
//!     client.sealer.seal(&mut record)?;
//!
//!     assert_eq!(len_of([record[0], record[1]])?, record.len());
//!     assert_eq!(server.opener.open(&mut record)?, Opened::Data(b"hello"));
//!     Ok(())
//! }
//! # use countersign::handshake::{Prologue, Protect, Receive, Transcript, client, server};
//! # use countersign::{Key, generate_secret};
//! # use rand::rngs::SysRng;
//! # use std::io::{self, Read};
//! # let (key, p) = (Key::new(generate_secret()?)?, Prologue::EMPTY);
//! # let (f1, s) = server::start(Transcript::new(), server::Dummy::new(), &p, Protect, &mut SysRng)?;
//! # let c = client::start(Transcript::new(), &key, &p, Protect, &mut SysRng)?;
//! # let c = c.read::<io::Error>(|space| f1.as_ref().read(space))?;
//! # let (f3, s) = s.read::<io::Error>(|space| c.response().read(space))?.verify(Some(&key), &mut SysRng)?;
//! # let (_, client) = c.read::<io::Error>(|space| f3.as_ref().read(space))?;
//! # hello(client, s?.1)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "encrypt")]
mod encryption;
mod integrity;

use core::fmt;

#[cfg(feature = "encrypt")]
pub use self::encryption::Encryption;
pub use self::integrity::Integrity;

/// The longest payload of a record, in bytes.
pub const PAYLOAD_MAX: usize = 16_384;

/// How much longer a record is than its payload, in bytes.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

const HEADER_LEN: usize = 2;
const TAG_LEN: usize = 16;

/// What protects the records of one direction: [`Integrity`] in mode 1 or, with feature `encrypt`,
/// `Encryption` in mode 2.
///
/// It is sealed: these two are all there are.
pub trait Protection: Sealed + Send + Sync + Unpin + 'static {
    /// Protects the payload of a record in place, and returns the tag.
    #[doc(hidden)]
    fn seal(&self, seq: u64, header: Header, payload: &mut [u8]) -> Result<RecordTag, Error>;

    /// Verifies the tag, and then and only then restores the payload in place.
    #[doc(hidden)]
    fn open(
        &self,
        seq: u64,
        header: Header,
        payload: &mut [u8],
        tag: &RecordTag,
    ) -> Result<(), Error>;

    /// Prepares for the record with this number, which is not the first.
    #[doc(hidden)]
    fn advance(&mut self, seq: u64);
}

type Header = [u8; HEADER_LEN];
type RecordTag = [u8; TAG_LEN];

mod sealed {
    /// Keeps the protections to this crate.
    pub trait Sealed {}
}
use sealed::Sealed;

/// Returns the length of the whole record that begins with these two bytes: 18 to 16,402.
///
/// # Errors
///
/// Returns [`Error::TooLong`] before anything of the payload is read. The connection must then be
/// dropped.
///
/// ```
/// use countersign::record::{Error, len_of};
///
/// assert_eq!(len_of([0, 5]), Ok(23));
/// assert_eq!(len_of([0xff, 0xff]), Err(Error::TooLong { len: 65_535 }));
/// ```
pub fn len_of(header: [u8; 2]) -> Result<usize, Error> {
    let len = usize::from(u16::from_be_bytes(header));
    if len > PAYLOAD_MAX {
        return Err(Error::TooLong { len });
    }
    Ok(len + OVERHEAD)
}

/// The two directions of a session, as one end has them.
#[derive(Debug)]
pub struct Records<P> {
    /// Seals what this end sends.
    pub sealer: Sealer<P>,
    /// Opens what the peer sends.
    pub opener: Opener<P>,
}

impl<P: Protection> Records<P> {
    pub(crate) fn new(ours: P, theirs: P) -> Self {
        Self {
            sealer: Sealer::new(ours),
            opener: Opener::new(theirs),
        }
    }
}

/// Makes the records of one direction.
///
/// It cannot be cloned: two sealers of one key would use every sequence number twice.
///
/// ```compile_fail,E0599
/// # fn run<P>(sealer: countersign::record::Sealer<P>) {
/// let another = sealer.clone();
/// # }
/// ```
///
/// ```
/// # fn run<P>(sealer: countersign::record::Sealer<P>) {
/// let another = sealer;
/// # }
/// ```
pub struct Sealer<P> {
    protection: P,
    seq: u64,
    closed: bool,
}

impl<P: Protection> Sealer<P> {
    fn new(protection: P) -> Self {
        Self {
            protection,
            seq: 0,
            closed: false,
        }
    }

    /// Makes a record in place: `record` has two bytes, the payload of 1 to 16,384 bytes, and 16
    /// bytes. The first two and the last 16 are filled in.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Length`] for a payload of another length, [`Error::Closed`] after
    /// [`close`](Self::close), and [`Error::Exhausted`] once 2^64 - 1 records were made. `record`
    /// is then unchanged.
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), Error> {
        match record.len().checked_sub(OVERHEAD) {
            Some(1..=PAYLOAD_MAX) => self.seal_any(record),
            _ => Err(Error::Length { len: record.len() }),
        }
    }

    /// Makes the record that ends this direction.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Closed`] the second time, and [`Error::Exhausted`].
    pub fn close(&mut self) -> Result<[u8; OVERHEAD], Error> {
        let mut record = [0; OVERHEAD];
        self.seal_any(&mut record)?;
        self.closed = true;
        Ok(record)
    }

    fn seal_any(&mut self, record: &mut [u8]) -> Result<(), Error> {
        let next = next(self.seq, self.closed)?;
        let length = Error::Length { len: record.len() };
        let (rest, tag) = record.split_last_chunk_mut::<TAG_LEN>().ok_or(length)?;
        let (header, payload) = rest.split_first_chunk_mut::<HEADER_LEN>().ok_or(length)?;
        *header = (u16::try_from(payload.len()).map_err(|_| length)?).to_be_bytes();
        *tag = self.protection.seal(self.seq, *header, payload)?;
        self.protection.advance(next);
        self.seq = next;
        Ok(())
    }
}

/// Opens the records of one direction. The first that does not verify ends the direction for good.
pub struct Opener<P> {
    protection: P,
    seq: u64,
    closed: bool,
    poisoned: bool,
}

impl<P: Protection> Opener<P> {
    fn new(protection: P) -> Self {
        Self {
            protection,
            seq: 0,
            closed: false,
            poisoned: false,
        }
    }

    /// Verifies one whole record and returns its content, which is restored in place.
    ///
    /// # Errors
    ///
    /// Returns [`Error::BadTag`] for a record that was altered or is out of sequence,
    /// [`Error::TooLong`] or [`Error::Length`] for a record of the wrong length, [`Error::Closed`]
    /// after the end of the direction, and [`Error::Exhausted`] once 2^64 - 1 records were opened.
    /// After `Closed` and `Exhausted`, every further call returns the same error. After any other
    /// error, it returns [`Error::BadTag`].
    pub fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<Opened<'r>, Error> {
        let next = next(self.seq, self.closed)?;
        // Until the record has verified, the direction counts as ended.
        if core::mem::replace(&mut self.poisoned, true) {
            return Err(Error::BadTag);
        }
        let len = record.len();
        let Some((header, rest)) = record.split_first_chunk_mut::<HEADER_LEN>() else {
            return Err(Error::Length { len });
        };
        if len_of(*header)? != len {
            return Err(Error::Length { len });
        }
        let Some((payload, tag)) = rest.split_last_chunk_mut::<TAG_LEN>() else {
            return Err(Error::Length { len });
        };
        self.protection.open(self.seq, *header, payload, tag)?;
        self.protection.advance(next);
        self.poisoned = false;
        self.seq = next;
        if payload.is_empty() {
            self.closed = true;
            return Ok(Opened::Close);
        }
        Ok(Opened::Data(payload))
    }
}

/// The content of a record that has verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened<'r> {
    /// 1 to 16,384 bytes.
    Data(&'r [u8]),
    /// The end of the direction.
    Close,
}

/// An error of making or opening a record.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A record was altered, or is not the next one.
    BadTag,
    /// A record announces more than 16,384 bytes.
    TooLong {
        /// The announced length, in bytes.
        len: usize,
    },
    /// The stream ended without the record that ends the direction.
    Truncated,
    /// The direction has ended.
    Closed,
    /// All sequence numbers were used.
    Exhausted,
    /// A buffer that cannot be one whole record.
    Length {
        /// Its length in bytes.
        len: usize,
    },
}

impl core::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadTag => f.write_str(
                "a record is not authentic: it was altered, or another was left out, repeated or \
                 moved before it; drop the connection",
            ),
            Self::TooLong { len } => write!(
                f,
                "a record announces {len} bytes, and at most {PAYLOAD_MAX} are allowed; drop the \
                 connection"
            ),
            Self::Truncated => f.write_str(
                "the stream was truncated: it was cut, or the peer ended without closing it",
            ),
            Self::Closed => f.write_str("this direction of the connection was closed already"),
            Self::Exhausted => f.write_str("all sequence numbers of this connection were used"),
            Self::Length { len } => {
                write!(f, "a buffer of {len} bytes cannot be one whole record")
            }
        }
    }
}

/// Returns the next sequence number. The last of all numbers is never used.
fn next(seq: u64, closed: bool) -> Result<u64, Error> {
    if closed {
        return Err(Error::Closed);
    }
    seq.checked_add(1).ok_or(Error::Exhausted)
}

opaque_debug!([P] Sealer<P> { seq });
opaque_debug!([P] Opener<P> { seq });

#[cfg(test)]
mod tests;
