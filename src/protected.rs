//! A stream whose every octet is covered by a tag, both ways: mode 1 over blocking streams.

mod buffers;

use core::fmt;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::deadline::Timeouts;
use crate::handshake::Session;
use crate::record::{self, Opener, Sealer};

pub(crate) use self::buffers::{Dead, Incoming, Outgoing, Ready};

/// A stream after a handshake in mode 1: what is written to it arrives as it was written, in
/// order and once, or not at all.
///
/// It comes from [`Client::protect`](crate::Client::protect),
/// [`Server::protect`](crate::Server::protect) and
/// [`ProtectedListener`](crate::ProtectedListener), holds the stream below, and does not give it
/// back: nothing can be read past it by accident. **It hides nothing;** everybody on the line can
/// read along.
///
/// Writes are gathered into records of up to 16,384 octets, 18 more on the wire; `flush` sends
/// what there is. [`close`](Self::close) sends the end, which the peer reads as the end of the
/// data. A stream that ends without it was cut, and the peer's read fails with
/// [`record::Error::Truncated`]; so does one that is dropped without being closed, and what was
/// not flushed is lost. The two directions end independently.
///
/// A record that was altered, repeated, left out or moved, or is no record at all, ends the
/// connection for good in both directions. Errors are [`io::Error`]s around [`record::Error`]:
/// kind `InvalidData` for such a record, `UnexpectedEof` for a stream that was cut, `BrokenPipe`
/// for a write after `close`. Errors of the stream below are handed on as they are; after a
/// timeout a `read`, `write`, `flush` or `close` may be repeated. A `write_all` may not: how much
/// of it was taken is not known.
///
/// It takes 48 KiB for its buffers, once.
///
/// ```
/// use countersign::{Client, Key, Server, generate_secret};
/// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, thread, time::Duration};
///
/// let key = Key::new(generate_secret()?)?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let socket = TcpStream::connect(listener.local_addr()?)?;
/// let server = Server::new(key.clone());
/// let echo = thread::spawn(move || -> std::io::Result<()> {
///     let (socket, _) = listener.accept()?;
///     let mut stream = server.protect_within(socket, Duration::from_secs(5))?;
///     let mut received = Vec::new();
///     stream.read_to_end(&mut received)?;
///     stream.write_all(&received)?;
///     stream.close()
/// });
///
/// let mut stream = Client::new(key).protect_within(socket, Duration::from_secs(5))?;
/// stream.write_all(b"hello")?;
/// stream.close()?;
/// let mut received = String::new();
/// stream.read_to_string(&mut received)?;
/// assert_eq!(received, "hello");
/// # echo.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The bare stream is out of reach:
///
/// ```compile_fail,E0616
/// # fn run(protected: countersign::Protected<std::net::TcpStream>) {
/// let bare = protected.stream;
/// # }
/// ```
///
/// ```
/// # fn run(protected: countersign::Protected<std::net::TcpStream>) {
/// let session = protected.session();
/// # }
/// ```
pub struct Protected<S> {
    stream: S,
    session: Session,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl<S> Protected<S> {
    pub(crate) fn new(stream: S, mut session: Session) -> Self {
        let (incoming, outgoing) = buffers(session.records());
        Self {
            stream,
            session,
            incoming,
            outgoing,
        }
    }

    /// The session of the handshake: who the client is, and the exporter.
    ///
    /// ```
    /// # fn run(protected: countersign::Protected<std::net::TcpStream>) {
    /// println!("{} is one of ours", protected.session().key_id());
    /// # }
    /// ```
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Two halves, for reading and writing in two threads. The session is gone then: take what
    /// you need of it before.
    ///
    /// Dropping one half ends nothing; dropping both without [`close`](WriteHalf::close) is a
    /// truncation for the peer.
    ///
    /// ```
    /// # use std::{io::{Read, Write}, net::TcpStream, thread};
    /// # fn run(protected: countersign::Protected<TcpStream>) -> std::io::Result<()> {
    /// let (mut reader, mut writer) = protected.split();
    /// let received = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    /// writer.write_all(b"hello")?;
    /// writer.close()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self) -> (ReadHalf<S>, WriteHalf<S>)
    where
        for<'s> &'s S: Read + Write,
    {
        let stream = Arc::new(self.stream);
        let reader = ReadHalf {
            stream: Arc::clone(&stream),
            incoming: self.incoming,
        };
        let writer = WriteHalf {
            stream,
            outgoing: self.outgoing,
        };
        (reader, writer)
    }
}

/// The two directions of a session in mode 1.
///
/// A stream of either driver is made only of a session that its own handshake in mode 1 has just
/// returned, and nobody has asked that one for its records.
pub(crate) fn buffers(records: Option<(Sealer, Opener)>) -> (Incoming, Outgoing) {
    let (sealer, opener) = records.expect("a handshake in mode 1 has its records still");
    let dead = Dead::default();
    (
        Incoming::new(opener, dead.clone()),
        Outgoing::new(sealer, dead),
    )
}

impl<S: Write> Protected<S> {
    /// Sends what was written, then the end of this direction. Reading goes on.
    ///
    /// Calling it again does nothing; writing after it fails.
    ///
    /// # Errors
    ///
    /// Those of writing; after a timeout it may be repeated.
    ///
    /// ```
    /// # fn run(mut protected: countersign::Protected<std::net::TcpStream>) -> std::io::Result<()> {
    /// protected.close()
    /// # }
    /// ```
    pub fn close(&mut self) -> io::Result<()> {
        close(&mut self.stream, &mut self.outgoing)
    }
}

impl<S: Read> Read for Protected<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read(&mut self.stream, &mut self.incoming, buf)
    }
}

impl<S: Write> Write for Protected<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        write(&mut self.stream, &mut self.outgoing, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        flush(&mut self.stream, &mut self.outgoing)
    }
}

macro_rules! timeouts_of_the_stream_below {
    ($stream:ident) => {
        /// The timeouts of the stream below. A timeout loses nothing: a read, write, flush or
        /// close may be repeated.
        impl<S: Timeouts> Timeouts for $stream<S> {
            fn read_timeout(&self) -> io::Result<Option<Duration>> {
                self.stream.read_timeout()
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.stream.set_read_timeout(timeout)
            }

            fn write_timeout(&self) -> io::Result<Option<Duration>> {
                self.stream.write_timeout()
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.stream.set_write_timeout(timeout)
            }
        }
    };
}

timeouts_of_the_stream_below!(Protected);
timeouts_of_the_stream_below!(ReadHalf);
timeouts_of_the_stream_below!(WriteHalf);

impl Protected<TcpStream> {
    /// The address at the other end.
    ///
    /// # Errors
    ///
    /// That of the socket.
    ///
    /// ```
    /// # fn run(protected: countersign::Protected<std::net::TcpStream>) -> std::io::Result<()> {
    /// println!("connected to {}", protected.peer_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// That of the socket.
    ///
    /// ```
    /// # fn run(protected: countersign::Protected<std::net::TcpStream>) -> std::io::Result<()> {
    /// protected.set_nodelay(true)
    /// # }
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream.set_nodelay(nodelay)
    }
}

/// The reading half of a [`Protected`].
///
/// ```
/// # use std::io::Read;
/// # fn run(protected: countersign::Protected<std::net::TcpStream>) -> std::io::Result<()> {
/// let (mut reader, _writer) = protected.split();
/// let mut received = Vec::new();
/// reader.read_to_end(&mut received)?;
/// # Ok(())
/// # }
/// ```
pub struct ReadHalf<S> {
    stream: Arc<S>,
    incoming: Incoming,
}

impl<S> Read for ReadHalf<S>
where
    for<'s> &'s S: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read(&mut &*self.stream, &mut self.incoming, buf)
    }
}

/// The writing half of a [`Protected`].
///
/// ```
/// # use std::io::Write;
/// # fn run(protected: countersign::Protected<std::net::TcpStream>) -> std::io::Result<()> {
/// let (_reader, mut writer) = protected.split();
/// writer.write_all(b"hello")?;
/// writer.close()?;
/// # Ok(())
/// # }
/// ```
pub struct WriteHalf<S> {
    stream: Arc<S>,
    outgoing: Outgoing,
}

impl<S> WriteHalf<S>
where
    for<'s> &'s S: Write,
{
    /// [`Protected::close`]
    ///
    /// # Errors
    ///
    /// Those of writing; after a timeout it may be repeated.
    ///
    /// ```
    /// # fn run(protected: countersign::Protected<std::net::TcpStream>) -> std::io::Result<()> {
    /// let (_reader, mut writer) = protected.split();
    /// writer.close()
    /// # }
    /// ```
    pub fn close(&mut self) -> io::Result<()> {
        close(&mut &*self.stream, &mut self.outgoing)
    }
}

impl<S> Write for WriteHalf<S>
where
    for<'s> &'s S: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        write(&mut &*self.stream, &mut self.outgoing, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        flush(&mut &*self.stream, &mut self.outgoing)
    }
}

fn read(stream: &mut impl Read, incoming: &mut Incoming, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    loop {
        match incoming.ready()? {
            Ready::Payload => return Ok(incoming.take(buf)),
            Ready::End => return Ok(0),
            Ready::Nothing => {
                let n = stream.read(incoming.space())?;
                incoming.advance(n)?;
            }
        }
    }
}

fn write(stream: &mut impl Write, outgoing: &mut Outgoing, buf: &[u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    loop {
        drain(stream, outgoing)?;
        match outgoing.fill(buf)? {
            0 => outgoing.seal()?,
            n => return Ok(n),
        }
    }
}

fn flush(stream: &mut impl Write, outgoing: &mut Outgoing) -> io::Result<()> {
    send(stream, outgoing)?;
    loop {
        match stream.flush() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            flushed => return flushed,
        }
    }
}

fn close(stream: &mut impl Write, outgoing: &mut Outgoing) -> io::Result<()> {
    send(stream, outgoing)?;
    outgoing.close()?;
    flush(stream, outgoing)
}

/// Sends what there is.
fn send(stream: &mut impl Write, outgoing: &mut Outgoing) -> io::Result<()> {
    drain(stream, outgoing)?;
    outgoing.seal()?;
    drain(stream, outgoing)
}

/// Sends the rest of a record.
fn drain(stream: &mut impl Write, outgoing: &mut Outgoing) -> io::Result<()> {
    loop {
        let unsent = outgoing.unsent()?;
        if unsent.is_empty() {
            return Ok(());
        }
        match stream.write(unsent) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => outgoing.sent(n)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl From<record::Error> for io::Error {
    fn from(error: record::Error) -> Self {
        let kind = match error {
            record::Error::Truncated => io::ErrorKind::UnexpectedEof,
            record::Error::Closed => io::ErrorKind::BrokenPipe,
            record::Error::Exhausted => io::ErrorKind::Other,
            record::Error::BadTag
            | record::Error::TooLong { .. }
            | record::Error::Length { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl<S> fmt::Debug for Protected<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protected")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for ReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for WriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").finish_non_exhaustive()
    }
}
