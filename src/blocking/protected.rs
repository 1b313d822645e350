//! Streams of protected records over blocking streams.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::handshake::Session;
use crate::record::Records;
use crate::secured::{Incoming, Outgoing, buffers};

/// A stream after a handshake in mode 1: what is written to it arrives unaltered, in order and once,
/// or not at all.
///
/// It is returned by [`Client::protect`](crate::Client::protect),
/// [`Server::protect`](crate::Server::protect) and
/// [`Listener::new_protected`](crate::Listener::new_protected). It owns the stream below and does
/// not return it, so nothing can be read past it by accident. **It hides nothing:** anyone on the
/// network can read the data.
///
/// Writes are gathered into records of up to 16,384 bytes, 18 more on the wire. `flush` sends what
/// was written. [`close`](Self::close) sends the end, which the peer reads as the end of the data.
/// If a stream ends without it, the peer's read fails with
/// [`record::Error::Truncated`](crate::record::Error::Truncated). A `Protected` that is dropped without
/// being closed ends so too, and what was not flushed is lost. The two directions end
/// independently.
///
/// A record that was altered, repeated, left out or moved, or that is no record at all, ends the
/// connection for good in both directions. Errors are [`io::Error`]s around
/// [`record::Error`](crate::record::Error): kind `InvalidData` for such a record, `UnexpectedEof` for
/// a stream that was cut, `BrokenPipe` for a write after `close`. Errors of the stream below are
/// passed on unchanged. After a timeout, repeat the `read`, `write`, `flush` or `close`. Do not
/// repeat a `write_all`: it does not tell how much was written.
///
/// It allocates 48 KiB for its buffers, once.
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
///     let mut stream = server.protect_timeout(socket, Duration::from_secs(5))?;
///     let mut received = Vec::new();
///     stream.read_to_end(&mut received)?;
///     stream.write_all(&received)?;
///     stream.close()
/// });
///
/// let mut stream = Client::new(key).protect_timeout(socket, Duration::from_secs(5))?;
/// stream.write_all(b"hello")?;
/// stream.close()?;
/// let mut received = String::new();
/// stream.read_to_string(&mut received)?;
/// assert_eq!(received, "hello");
/// # echo.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The stream below is private:
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
    pub(super) fn new(stream: S, session: Session, records: Records) -> Self {
        let (incoming, outgoing) = buffers(records);
        Self {
            stream,
            session,
            incoming,
            outgoing,
        }
    }

    /// Returns the session of the handshake: who the client is, and the exporter.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Splits the stream into halves, for reading and writing in two threads. The session is
    /// dropped: take what you need of it before.
    ///
    /// Dropping one half ends nothing. If both are dropped without [`close`](WriteHalf::close), the
    /// peer's read fails with [`record::Error::Truncated`](crate::record::Error::Truncated).
    ///
    /// ```
    /// # use std::{io::Write, net::TcpStream, thread};
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

impl<S: Write> Protected<S> {
    /// Sends what was written, then the end of this direction. Reading can go on.
    ///
    /// Calling it again does nothing. Writing after it fails.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing. After a timeout, repeat it.
    pub fn close(&mut self) -> io::Result<()> {
        self.outgoing.finish(&mut self.stream)
    }
}

impl<S: Read> Read for Protected<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(&mut self.stream, buf)
    }
}

impl<S: Write> Write for Protected<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.write(&mut self.stream, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outgoing.flush(&mut self.stream)
    }
}

impl Protected<TcpStream> {
    /// Returns the peer's address.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream.set_nodelay(nodelay)
    }

    /// Returns the timeout of a read of the socket.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.stream.read_timeout()
    }

    /// Sets the timeout of each read of the socket.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// Returns the timeout of a write of the socket.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.stream.write_timeout()
    }

    /// Sets the timeout of each write of the socket.
    ///
    /// # Errors
    ///
    /// Returns the socket's error.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }
}

/// The reading half of a [`Protected`].
pub struct ReadHalf<S> {
    stream: Arc<S>,
    incoming: Incoming,
}

impl<S> Read for ReadHalf<S>
where
    for<'s> &'s S: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(&mut &*self.stream, buf)
    }
}

/// The writing half of a [`Protected`].
pub struct WriteHalf<S> {
    stream: Arc<S>,
    outgoing: Outgoing,
}

impl<S> WriteHalf<S>
where
    for<'s> &'s S: Write,
{
    /// Does what [`Protected::close`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing. After a timeout, repeat it.
    pub fn close(&mut self) -> io::Result<()> {
        self.outgoing.finish(&mut &*self.stream)
    }
}

impl<S> Write for WriteHalf<S>
where
    for<'s> &'s S: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.write(&mut &*self.stream, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outgoing.flush(&mut &*self.stream)
    }
}

opaque_debug!([S] Protected<S> { session });
opaque_debug!([S] ReadHalf<S> {});
opaque_debug!([S] WriteHalf<S> {});
