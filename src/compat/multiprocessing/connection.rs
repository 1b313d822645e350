//! Messages after the handshake, framed as CPython frames them.

use core::fmt;
use std::io::{self, Read, Write};
use std::vec::Vec;

use super::KnowsAuthkey;

/// A stream of messages, as Python's `Connection` with `send_bytes` and `recv_bytes`.
///
/// Python's `send` and `recv` are these two around `pickle`, which this crate does not have and
/// which nobody should read from a peer that is not trusted with everything.
///
/// Nothing protects the messages from whoever sits on the line.
///
/// ```no_run
/// # use countersign::compat::multiprocessing::{self, Connection};
/// # let mut stream = std::net::TcpStream::connect("127.0.0.1:6000")?;
/// let knows = multiprocessing::client_authenticate(&mut stream, b"secret password")?;
/// let mut connection = Connection::new(stream, knows);
/// while let Some(message) = connection.recv_bytes(1 << 20)? {
///     connection.send_bytes(&message)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection<S> {
    stream: S,
}

impl<S> Connection<S> {
    /// A connection over a stream whose peer has authenticated.
    ///
    /// The stream is to be the one on which it did so; it stands at the first message.
    ///
    /// ```no_run
    /// # use countersign::compat::multiprocessing::{Connection, client_authenticate};
    /// # let mut stream = std::net::TcpStream::connect("127.0.0.1:6000")?;
    /// let knows = client_authenticate(&mut stream, b"secret password")?;
    /// let connection = Connection::new(stream, knows);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(stream: S, _: KnowsAuthkey) -> Self {
        Self { stream }
    }

    /// The stream below, for its timeouts or to shut it down.
    ///
    /// ```no_run
    /// # use countersign::compat::multiprocessing::{Connection, client_authenticate};
    /// # let mut stream = std::net::TcpStream::connect("127.0.0.1:6000")?;
    /// # let knows = client_authenticate(&mut stream, b"secret password")?;
    /// # let connection = Connection::new(stream, knows);
    /// connection.get_ref().set_nodelay(true)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: Read + Write> Connection<S> {
    /// Sends a message of any length.
    ///
    /// # Errors
    ///
    /// That of the stream, which is then to be dropped.
    ///
    /// ```no_run
    /// # use countersign::compat::multiprocessing::Connection;
    /// # fn run(mut connection: Connection<std::net::TcpStream>) -> std::io::Result<()> {
    /// connection.send_bytes(b"hello")
    /// # }
    /// ```
    pub fn send_bytes(&mut self, message: &[u8]) -> io::Result<()> {
        let header = header(message.len());
        if message.len() <= AT_ONCE {
            // In one write: two small ones would wait for each other (Nagle).
            self.stream
                .write_all(&[header.as_ref(), message].concat())?;
        } else {
            self.stream.write_all(header.as_ref())?;
            self.stream.write_all(message)?;
        }
        self.stream.flush()
    }

    /// Receives a message of at most `max` octets; `None` at the end of the stream.
    ///
    /// Memory is taken as octets arrive, and not by what the peer announces.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] for a longer message or a length that cannot be,
    /// [`io::ErrorKind::UnexpectedEof`] where the stream ends within a message, and that of the
    /// stream. It is then to be dropped.
    ///
    /// ```no_run
    /// # use countersign::compat::multiprocessing::Connection;
    /// # fn run(mut connection: Connection<std::net::TcpStream>) -> std::io::Result<()> {
    /// let message = connection.recv_bytes(1 << 20)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_bytes(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut header = [0; 4];
        if read_or_end(&mut self.stream, &mut header)? == End::Clean {
            return Ok(None);
        }
        let len = match Header::parse(header) {
            Header::Short(len) => u64::from(len),
            Header::Long => {
                let mut header = [0; 8];
                self.stream.read_exact(&mut header)?;
                u64::from_be_bytes(header)
            }
            Header::Impossible(len) => return Err(impossible(len)),
        };
        let len = within(len, max)?;
        let mut message = Vec::new();
        (&mut self.stream).take(len).read_to_end(&mut message)?;
        whole(message, len).map(Some)
    }
}

/// Up to this length a message is sent with its header in one write, as CPython does.
pub(crate) const AT_ONCE: usize = 16_384;

/// How the stream stood when a header was awaited.
#[derive(PartialEq, Eq)]
enum End {
    NotYet,
    /// Between two messages.
    Clean,
}

fn read_or_end(stream: &mut impl Read, mut buf: &mut [u8]) -> io::Result<End> {
    let whole = buf.len();
    while !buf.is_empty() {
        match stream.read(buf) {
            Ok(0) if buf.len() == whole => return Ok(End::Clean),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => buf = buf.get_mut(n..).ok_or(io::ErrorKind::InvalidData)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(End::NotYet)
}

pub(crate) fn impossible(len: i32) -> io::Error {
    let reason = std::format!("a message cannot have {len} octets");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

pub(crate) fn within(len: u64, max: usize) -> io::Result<u64> {
    if usize::try_from(len).is_ok_and(|len| len <= max) {
        return Ok(len);
    }
    let reason = std::format!("a message of {len} octets came, and at most {max} were allowed");
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

pub(crate) fn whole(message: Vec<u8>, len: u64) -> io::Result<Vec<u8>> {
    if u64::try_from(message.len()).is_ok_and(|received| received == len) {
        return Ok(message);
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// The first four octets of a message.
pub(crate) enum Header {
    Short(u32),
    /// Eight octets more have the length.
    Long,
    Impossible(i32),
}

impl Header {
    pub(crate) fn parse(octets: [u8; 4]) -> Self {
        let len = i32::from_be_bytes(octets);
        match u32::try_from(len) {
            Ok(len) => Self::Short(len),
            Err(_) if len == -1 => Self::Long,
            Err(_) => Self::Impossible(len),
        }
    }
}

/// What comes before a message of this length.
pub(crate) fn header(len: usize) -> impl AsRef<[u8]> {
    let mut octets = [0xff; 12];
    if let Ok(len) = i32::try_from(len) {
        let (start, _) = octets.split_at_mut(4);
        start.copy_from_slice(&len.to_be_bytes());
        Octets { octets, len: 4 }
    } else {
        // The four octets that say so are those of -1, as they stand.
        let (_, end) = octets.split_at_mut(4);
        end.copy_from_slice(&(len as u64).to_be_bytes());
        Octets { octets, len: 12 }
    }
}

struct Octets {
    octets: [u8; 12],
    len: usize,
}

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl<S> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
