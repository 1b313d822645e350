//! Streams of records over tokio's streams.

mod adapter;
mod line;
mod wakers;

use core::future::poll_fn;
use core::ops::DerefMut;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};
#[cfg(feature = "net")]
use std::net::Shutdown;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::TcpStream;

use self::adapter::poll_reading;
use self::line::Line;
use super::timeout::Timeout;
#[cfg(feature = "net")]
use crate::blocking::Timed;
use crate::handshake::Session;
#[cfg(feature = "encrypt")]
use crate::record::Encryption;
use crate::record::{Integrity, Protection, Records};
use crate::secured::{Incoming, buffers, halves_of_two_streams};

/// [`countersign::Protected`](crate::Protected) over tokio.
pub type Protected<S> = Secured<S, Integrity>;

/// [`countersign::Encrypted`](crate::Encrypted) over tokio.
#[cfg(feature = "encrypt")]
pub type Encrypted<S> = Secured<S, Encryption>;

/// [`countersign::Secured`](crate::Secured) over tokio: [`AsyncRead`] and [`AsyncWrite`].
///
/// Records, ends, errors and memory are as described there. `shutdown` of
/// [`AsyncWriteExt`](tokio::io::AsyncWriteExt) is [`close`](Self::close).
///
/// A write returns once its record is made. What the stream below does not take at once is sent by
/// the next write, `flush` or *read*, also by the other half: a task that writes a request and then
/// only reads does not wait in vain. A task that writes and then does neither should `flush`.
///
/// The calls are cancel safe, like the calls of tokio's own streams, so
/// [`tokio::time::timeout`](tokio::time::timeout) around a read or write loses nothing.
pub struct Secured<S, P> {
    session: Session,
    incoming: Incoming<P>,
    line: Line<S, P>,
}

impl<S, P> Secured<S, P> {
    pub(super) fn new(stream: S, session: Session, records: Records<P>) -> Self {
        let (incoming, outgoing) = buffers(records);
        Self {
            session,
            incoming,
            line: Line::new(stream, outgoing),
        }
    }

    /// Returns the stream below, for its address or its options.
    pub fn get_ref(&self) -> &S {
        &self.line.stream
    }

    /// Splits the stream into halves, for reading and writing in two tasks. [`ReadHalf::reunite`] puts
    /// them together again.
    ///
    /// Dropping one half ends nothing. If both are dropped without a close, the peer's read fails with
    /// [`record::Error::Truncated`](crate::record::Error::Truncated).
    pub fn into_split(self) -> (ReadHalf<S, P>, WriteHalf<S, P>) {
        let shared = Arc::new(Shared {
            session: self.session,
            line: Mutex::new(self.line),
        });
        let reader = ReadHalf {
            shared: Arc::clone(&shared),
            incoming: self.incoming,
        };
        (reader, WriteHalf { shared })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protection> Secured<S, P> {
    /// Closes the stream, and then reads and discards what comes until the peer has closed it too.
    /// Then nothing is left unread that would make the system reset the connection and destroy this
    /// end's close on its way.
    ///
    /// Call it where the peer has sent all that matters. Both ends may call it at once.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::TimedOut`] if the peer has not ended the connection after `timeout`,
    /// [`record::Error::Truncated`](crate::record::Error::Truncated) if it ended the connection without
    /// its close, and the errors of reading and writing.
    pub async fn finish(mut self, timeout: Duration) -> io::Result<()> {
        let both_closed = async {
            self.close().await?;
            poll_fn(|cx| {
                poll_reading(
                    |buf| self.line.poll_read(cx, buf),
                    |stream| self.incoming.read_out(stream),
                )
            })
            .await
        };
        Timeout::after(timeout, |timeout| timeout.limit(both_closed)).await
    }
}

/// What both halves have.
struct Shared<S, P> {
    session: Session,
    line: Mutex<Line<S, P>>,
}

impl<S, P> Shared<S, P> {
    fn line(&self) -> impl DerefMut<Target = Line<S, P>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading half of a [`Secured`].
pub struct ReadHalf<S, P> {
    shared: Arc<Shared<S, P>>,
    incoming: Incoming<P>,
}

impl<S, P> ReadHalf<S, P> {
    /// Puts the halves of one stream together again.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::InvalidInput`] for the halves of two streams. Both are then dropped.
    pub fn reunite(self, writer: WriteHalf<S, P>) -> io::Result<Secured<S, P>> {
        let is_one_stream = Arc::ptr_eq(&self.shared, &writer.shared);
        drop(self.shared);
        let shared = Arc::into_inner(writer.shared).filter(|_| is_one_stream);
        let shared = shared.ok_or_else(halves_of_two_streams)?;
        Ok(Secured {
            session: shared.session,
            incoming: self.incoming,
            line: (shared.line.into_inner()).unwrap_or_else(PoisonError::into_inner),
        })
    }
}

/// The writing half of a [`Secured`].
pub struct WriteHalf<S, P> {
    shared: Arc<Shared<S, P>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protection> AsyncRead for Secured<S, P> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { incoming, line, .. } = self.get_mut();
        poll_payload(incoming, |below| line.poll_read(cx, below), buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protection> AsyncRead for ReadHalf<S, P> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { incoming, shared } = self.get_mut();
        // The writer does not wait while a record is opened.
        poll_payload(incoming, |below| shared.line().poll_read(cx, below), buf)
    }
}

fn poll_payload<P: Protection>(
    incoming: &mut Incoming<P>,
    poll_read: impl FnMut(&mut [u8]) -> Poll<io::Result<usize>>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let out = buf.initialize_unfilled();
    let n = ready!(poll_reading(poll_read, |stream| incoming.read(stream, out)))?;
    buf.advance(n);
    Poll::Ready(Ok(()))
}

/// What a stream and its writing half have.
macro_rules! async_write {
    ($stream:ident, $($line:tt)+) => {
        impl<S: AsyncWrite + Unpin, P: Protection> $stream<S, P> {
            /// Sends what is left to send, then the end of this direction, and then shuts the writing
            /// side of the stream below down. Reading can go on.
            ///
            /// Calling it again does nothing. Writing after it fails.
            ///
            /// # Errors
            ///
            /// Returns the errors of writing.
            pub async fn close(&mut self) -> io::Result<()> {
                poll_fn(|cx| self.$($line)+.poll_close(cx)).await
            }
        }

        impl<S: AsyncWrite + Unpin, P: Protection> AsyncWrite for $stream<S, P> {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_vectored(cx, &[IoSlice::new(buf)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let parts = bufs.iter().map(|buf| &**buf);
                self.get_mut().$($line)+.poll_write(cx, parts)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.get_mut().$($line)+.poll_flush(cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.get_mut().$($line)+.poll_close(cx)
            }
        }
    };
}

async_write!(Secured, line);
async_write!(WriteHalf, shared.line());

/// What a stream and both halves have.
macro_rules! of_the_stream {
    ($stream:ident, $session:ident $(. $of_session:ident)?, $($line:tt)+) => {
        impl<S, P> $stream<S, P> {
            /// Returns the session of the handshake: who the client is, and the exporter.
            pub fn session(&self) -> &Session {
                &self.$session$(.$of_session)?
            }

            /// Ends both directions at once, without a close. A read that waits in another task
            /// returns [`record::Error::Truncated`](crate::record::Error::Truncated), and a write an
            /// error of the socket. The peer's read fails too.
            ///
            /// It is `shutdown` of the blocking streams. That name belongs to
            /// [`AsyncWriteExt::shutdown`](tokio::io::AsyncWriteExt::shutdown) here, which closes.
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            #[cfg(feature = "net")]
            pub fn abort(&self) -> io::Result<()>
            where
                S: Timed,
            {
                let line = &self.$($line)+;
                let done = line.stream.shut_down(Shutdown::Both);
                line.abort();
                done
            }
        }

        impl<P> $stream<TcpStream, P> {
            /// Returns the peer's address.
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.$($line)+.stream.peer_addr()
            }

            /// Returns the address of this end.
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.$($line)+.stream.local_addr()
            }

            /// Sets whether small writes are sent at once (`TCP_NODELAY`).
            ///
            /// # Errors
            ///
            /// Returns the socket's error.
            pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.$($line)+.stream.set_nodelay(nodelay)
            }
        }
    };
}

of_the_stream!(Secured, session, line);
of_the_stream!(ReadHalf, shared.session, shared.line());
of_the_stream!(WriteHalf, shared.session, shared.line());

opaque_debug!([S, P] Secured<S, P> { session });
opaque_debug!([S, P] ReadHalf<S, P> {});
opaque_debug!([S, P] WriteHalf<S, P> {});
