//! Streams of records over blocking streams.

mod below;
#[cfg(feature = "net")]
mod socket;

use core::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use self::below::{Limits, Sending};
#[cfg(feature = "net")]
use super::timed::Timed;
use crate::handshake::Session;
#[cfg(feature = "encrypt")]
use crate::record::Encryption;
use crate::record::{Integrity, Protection, Records};
use crate::secured::{Incoming, Outgoing, buffers, halves_of_two_streams};

/// A stream after a handshake in mode 1: what is written to it arrives unaltered, in order and once,
/// or not at all. **It hides nothing:** anyone on the network can read the data.
///
/// It is returned by [`Client::protect`](crate::Client::protect),
/// [`Server::protect`](crate::Server::protect) and
/// [`Listener::new_protected`](crate::Listener::new_protected). [`Secured`] says how it works.
pub type Protected<S> = Secured<S, Integrity>;

/// A stream after a handshake in mode 2: what is written to it arrives unaltered, in order and once,
/// or not at all, and nobody else can read it. Its length and its time are visible.
///
/// It is returned by [`Client::encrypt`](crate::Client::encrypt) and
/// [`Server::encrypt`](crate::Server::encrypt). [`Secured`] says how it works.
#[cfg(feature = "encrypt")]
pub type Encrypted<S> = Secured<S, Encryption>;

/// A stream of [records](crate::record): [`Protected`] or, with feature `encrypt`, `Encrypted`.
///
/// **Writing.** What is written is sent at once, as on a socket. A `write` takes up to 32,768 bytes. It
/// makes one record of each 16,384 bytes, 18 more on the wire, and sends them in one write of the
/// stream below. If you write in small pieces, put a [`BufWriter`](std::io::BufWriter) around it.
/// `flush` only sends what a timeout has left over.
///
/// **Ends.** [`close`](Self::close) sends the end of this direction, which the peer reads as the end
/// of the data. The two directions end independently. If the stream below ends or is reset before the
/// peer's close, `read` fails with [`record::Error::Truncated`](crate::record::Error::Truncated), after
/// everything that has verified. A `Secured` that is dropped without being closed ends so for the
/// peer. A socket that is dropped while unread data is in it is reset by the system, and the reset can
/// destroy your own close on its way: read to the end before you drop it, or call `finish`.
///
/// **Errors** are [`io::Error`]s, of which [`record::Error::of`](crate::record::Error::of) says what was
/// wrong with a record: kind `InvalidData` for
/// a record that was altered, repeated, left out or moved, or that is no record at all, which ends the
/// connection for good in both directions; `UnexpectedEof` for a stream that was cut, with the stream's
/// own error as the source if there is one; `BrokenPipe` for a write after `close`. Other errors of the
/// stream below are returned unchanged, and end the direction if they occur while a record is sent.
///
/// **Timeouts** lose nothing: repeat the `read`, `flush` or `close`. A `write` whose record has no room
/// returns how much of the data it took, and the next call sends the rest first or returns the
/// timeout. Do not repeat a `write_all`: it does not tell how much was written. Over sockets,
/// `set_read_timeout` and `set_write_timeout` bound a call in total, however slowly bytes drip in.
///
/// **Memory.** An idle stream holds no buffer. While a part of a record is there, it holds one of 32
/// KiB in each direction, and so does a thread that waits in `read`. Each thread keeps up to four
/// of them for its streams, so nothing is allocated while bytes flow.
///
/// It owns the stream below and does not return it.
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
///     stream.finish(Duration::from_secs(5))
/// });
///
/// let mut stream = Client::new(key).protect_timeout(socket, Duration::from_secs(5))?;
/// stream.write_all(b"hello")?;
/// stream.close()?;
/// let mut received = String::new();
/// stream.read_to_string(&mut received)?;
/// assert_eq!(received, "hello");
/// # drop(stream);
/// # echo.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The buffers are private:
///
/// ```compile_fail,E0616
/// # fn run(protected: countersign::Protected<std::net::TcpStream>) {
/// let bare = protected.incoming;
/// # }
/// ```
///
/// ```
/// # fn run(protected: countersign::Protected<std::net::TcpStream>) {
/// let session = protected.session();
/// # }
/// ```
pub struct Secured<S, P> {
    shared: Shared<S>,
    incoming: Incoming<P>,
    outgoing: Outgoing<P>,
    limits: Limits<S>,
}

/// What both halves have.
struct Shared<S> {
    stream: S,
    session: Session,
}

impl<S, P> Secured<S, P> {
    pub(super) fn new(stream: S, session: Session, records: Records<P>) -> Self {
        let (incoming, outgoing) = buffers(records);
        Self {
            shared: Shared { stream, session },
            incoming,
            outgoing,
            limits: Limits::NONE,
        }
    }

    /// Like [`new`](Self::new), over a socket, which is half-closed after the close.
    #[cfg(feature = "net")]
    pub(super) fn over_socket(stream: S, session: Session, records: Records<P>) -> Self
    where
        for<'s> &'s S: Timed,
    {
        let mut secured = Self::new(stream, session, records);
        secured.limits.know_socket();
        secured
    }

    /// Splits the stream into halves, for reading and writing in two threads. Each half has the
    /// timeout of its direction. [`ReadHalf::reunite`] puts them together again.
    ///
    /// Dropping one half ends nothing. If both are dropped without [`close`](WriteHalf::close), the
    /// peer's read fails with [`record::Error::Truncated`](crate::record::Error::Truncated).
    ///
    /// After a write that timed out, call `flush` or `write` again: reading does not send the rest,
    /// as it does on the whole stream.
    ///
    /// ```
    /// # use std::{io::Write, net::TcpStream, thread};
    /// # fn run(protected: countersign::Protected<TcpStream>) -> std::io::Result<()> {
    /// let (mut reader, mut writer) = protected.into_split();
    /// let received = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    /// writer.write_all(b"hello")?;
    /// writer.close()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_split(self) -> (ReadHalf<S, P>, WriteHalf<S, P>)
    where
        for<'s> &'s S: Read + Write,
    {
        let shared = Arc::new(self.shared);
        let reader = ReadHalf {
            shared: Arc::clone(&shared),
            incoming: self.incoming,
            limits: self.limits,
        };
        let writer = WriteHalf {
            shared,
            outgoing: self.outgoing,
            limits: self.limits,
        };
        (reader, writer)
    }
}

impl<S: Read + Write, P: Protection> Read for Secured<S, P> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut stream = Sending {
            stream: self.limits.reading(&mut self.shared.stream),
            outgoing: &mut self.outgoing,
        };
        self.incoming.read(&mut stream, buf)
    }
}

/// The reading half of a [`Secured`].
pub struct ReadHalf<S, P> {
    shared: Arc<Shared<S>>,
    incoming: Incoming<P>,
    limits: Limits<S>,
}

impl<S, P> ReadHalf<S, P> {
    /// Puts the halves of one stream together again.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::InvalidInput`] for the halves of two streams. Both are then dropped.
    ///
    /// ```
    /// # use std::net::TcpStream;
    /// # fn run(protected: countersign::Protected<TcpStream>) -> std::io::Result<()> {
    /// let (reader, writer) = protected.into_split();
    /// let protected = reader.reunite(writer)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reunite(self, writer: WriteHalf<S, P>) -> io::Result<Secured<S, P>> {
        let is_one_stream = Arc::ptr_eq(&self.shared, &writer.shared);
        drop(self.shared);
        let shared = Arc::into_inner(writer.shared).filter(|_| is_one_stream);
        Ok(Secured {
            shared: shared.ok_or_else(halves_of_two_streams)?,
            incoming: self.incoming,
            outgoing: writer.outgoing,
            limits: self.limits.with_writer(writer.limits),
        })
    }
}

impl<S, P: Protection> Read for ReadHalf<S, P>
where
    for<'s> &'s S: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.limits.reading(&self.shared.stream);
        self.incoming.read(&mut stream, buf)
    }
}

/// The writing half of a [`Secured`].
pub struct WriteHalf<S, P> {
    shared: Arc<Shared<S>>,
    outgoing: Outgoing<P>,
    limits: Limits<S>,
}

/// What a stream and its writing half have.
macro_rules! writing {
    ($stream:ident, ($($stream_below:tt)+) where $($bound:tt)+) => {
        impl<S, P: Protection> $stream<S, P>
        where
            $($bound)+
        {
            /// Sends what a timeout has left over, then the end of this direction. Reading can go on.
            ///
            /// A stream that a verb with a timeout or a listener has made is known to be over a socket.
            /// Then that direction of the socket is ended too.
            ///
            /// Calling it again does nothing. Writing after it fails.
            ///
            /// # Errors
            ///
            /// Returns the errors of writing. After a timeout, repeat it.
            pub fn close(&mut self) -> io::Result<()> {
                let stream = $($stream_below)+ self.shared.stream;
                self.outgoing.close(&mut self.limits.writing(stream))?;
                self.limits.half_close(&self.shared.stream)
            }
        }

        impl<S, P: Protection> Write for $stream<S, P>
        where
            $($bound)+
        {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.write_vectored(&[IoSlice::new(buf)])
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                let stream = $($stream_below)+ self.shared.stream;
                let parts = bufs.iter().map(|buf| &**buf);
                self.outgoing.write(&mut self.limits.writing(stream), parts)
            }

            fn flush(&mut self) -> io::Result<()> {
                let stream = $($stream_below)+ self.shared.stream;
                self.outgoing.flush(&mut self.limits.writing(stream))
            }
        }
    };
}

writing!(Secured, (&mut) where S: Write);
writing!(WriteHalf, (&) where for<'s> &'s S: Write);

/// What a stream and both halves have.
macro_rules! of_the_stream {
    ($stream:ident) => {
        impl<S, P> $stream<S, P> {
            /// Returns the session of the handshake: who the client is, and the exporter.
            pub fn session(&self) -> &Session {
                &self.shared.session
            }

            /// Returns the stream below, for its address or its options. Do not read or write it:
            /// the records would be out of sequence, and the connection end.
            pub fn get_ref(&self) -> &S {
                &self.shared.stream
            }
        }

        impl<P> $stream<TcpStream, P> {
            /// Returns the peer's address.
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.shared.stream.peer_addr()
            }

            /// Returns the address of this end.
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.shared.stream.local_addr()
            }

            /// Sets whether small writes are sent at once (`TCP_NODELAY`).
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.shared.stream.set_nodelay(nodelay)
            }
        }
    };
}

of_the_stream!(Secured);
of_the_stream!(ReadHalf);
of_the_stream!(WriteHalf);

impl<S, P> fmt::Debug for Secured<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured")
            .field("session", self.session())
            .finish_non_exhaustive()
    }
}

opaque_debug!([S, P] ReadHalf<S, P> {});
opaque_debug!([S, P] WriteHalf<S, P> {});
