//! Streams of protected records over tokio's streams.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::TcpStream;

use crate::handshake::Session;
use crate::record::{Integrity, Records};
use crate::secured::{Incoming, Outgoing, buffers};

/// [`countersign::Protected`](crate::Protected) over tokio: [`AsyncRead`] and [`AsyncWrite`].
///
/// Records, the end and errors are as described there. `shutdown` sends the end,
/// as [`close`](Self::close) does, and then shuts the stream below down. The calls are cancel safe,
/// like the calls of tokio's own streams: what a dropped write took is in the buffer and is sent with
/// the next.
pub struct Protected<S> {
    stream: S,
    session: Session,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl<S> Protected<S> {
    pub(super) fn new(stream: S, session: Session, records: Records<Integrity>) -> Self {
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

    /// Splits the stream into halves, for reading and writing in two tasks. The session is dropped:
    /// take what you need of it before.
    pub fn split(self) -> (ReadHalf<S>, WriteHalf<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let (reader, writer) = ::tokio::io::split(self.stream);
        let reader = ReadHalf {
            stream: reader,
            incoming: self.incoming,
        };
        let writer = WriteHalf {
            stream: writer,
            outgoing: self.outgoing,
        };
        (reader, writer)
    }
}

impl<S: AsyncWrite + Unpin> Protected<S> {
    /// Sends what was written, then the end of this direction. Reading can go on.
    ///
    /// Calling it again does nothing. Writing after it fails.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            poll(Pin::new(&mut self.stream), cx, |stream| {
                self.outgoing.finish(stream)
            })
        })
        .await
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
}

/// The reading half of a [`Protected`].
pub struct ReadHalf<S> {
    stream: ::tokio::io::ReadHalf<S>,
    incoming: Incoming,
}

/// The writing half of a [`Protected`].
pub struct WriteHalf<S> {
    stream: ::tokio::io::WriteHalf<S>,
    outgoing: Outgoing,
}

impl<S: AsyncWrite> WriteHalf<S> {
    /// Does what [`Protected::close`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            poll(Pin::new(&mut self.stream), cx, |stream| {
                self.outgoing.finish(stream)
            })
        })
        .await
    }
}

/// A stream of tokio as a std stream. It notes where the stream would have made its caller wait.
struct Adapter<'a, 'c, S: ?Sized> {
    stream: Pin<&'a mut S>,
    cx: &'a mut Context<'c>,
    pending: bool,
}

/// Runs blocking code over a stream of tokio. An `Err` after a `Pending` of the stream is that
/// `Pending`, because the code returns the first error it meets.
fn poll<S: ?Sized, T>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    code: impl FnOnce(&mut Adapter<'_, '_, S>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    let mut adapter = Adapter {
        stream,
        cx,
        pending: false,
    };
    match code(&mut adapter) {
        Err(_) if adapter.pending => Poll::Pending,
        done => Poll::Ready(done),
    }
}

impl<S: ?Sized> Adapter<'_, '_, S> {
    fn wait<T>(&mut self, poll: Poll<io::Result<T>>) -> io::Result<T> {
        match poll {
            Poll::Ready(done) => done,
            Poll::Pending => {
                self.pending = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl<S: AsyncRead + ?Sized> Read for Adapter<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        let read = self.stream.as_mut().poll_read(self.cx, &mut buf);
        self.wait(read)?;
        Ok(buf.filled().len())
    }
}

impl<S: AsyncWrite + ?Sized> Write for Adapter<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.stream.as_mut().poll_write(self.cx, buf);
        self.wait(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stream.as_mut().poll_flush(self.cx);
        self.wait(flushed)
    }
}

macro_rules! async_read {
    ($stream:ident: $($bound:tt)+) => {
        impl<S: $($bound)+> AsyncRead for $stream<S> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let Self { stream, incoming, .. } = &mut *self;
                let out = buf.initialize_unfilled();
                let n = ready!(poll(Pin::new(stream), cx, |stream| incoming.read(stream, out)))?;
                buf.advance(n);
                Poll::Ready(Ok(()))
            }
        }
    };
}

macro_rules! async_write {
    ($stream:ident: $($bound:tt)+) => {
        impl<S: $($bound)+> AsyncWrite for $stream<S> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let Self { stream, outgoing, .. } = &mut *self;
                poll(Pin::new(stream), cx, |stream| outgoing.write(stream, buf))
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Self { stream, outgoing, .. } = &mut *self;
                poll(Pin::new(stream), cx, |stream| outgoing.flush(stream))
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                let Self { stream, outgoing, .. } = &mut *self;
                let mut stream = Pin::new(stream);
                match ready!(poll(stream.as_mut(), cx, |stream| outgoing.finish(stream))) {
                    Ok(()) => stream.poll_shutdown(cx),
                    // The stream below is shut down all the same, but why it has no end says more.
                    Err(error) => {
                        let _ = stream.poll_shutdown(cx);
                        Poll::Ready(Err(error))
                    }
                }
            }
        }
    };
}

async_read!(Protected: AsyncRead + Unpin);
async_read!(ReadHalf: AsyncRead);
async_write!(Protected: AsyncWrite + Unpin);
async_write!(WriteHalf: AsyncWrite);

opaque_debug!([S] Protected<S> { session });
opaque_debug!([S] ReadHalf<S> {});
opaque_debug!([S] WriteHalf<S> {});
