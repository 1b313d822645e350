//! The streams under test, behind one interface.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
#[cfg(feature = "tokio")]
use std::{
    io::ErrorKind,
    pin::pin,
    task::{Context, Poll, Waker},
};

use countersign::record::Protection;
#[cfg(feature = "tokio")]
use countersign::tokio as over_tokio;
use countersign::{ReadHalf, Secured, WriteHalf};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::line::Line;
use super::via::Via;
#[cfg(feature = "tokio")]
use crate::listener::running::runtime;
#[cfg(feature = "tokio")]
use crate::sockets::LONG;

/// What an end under test can be made to do.
pub(super) trait Stream: Send {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    fn flush(&mut self) -> io::Result<()>;
    fn close(&mut self) -> io::Result<()>;

    fn write_all(&mut self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.write(buf)?;
            buf = &buf[n..];
        }
        Ok(())
    }

    /// Reads into buffers of `room` bytes, until the end or a failure.
    fn read_to_end(&mut self, room: usize) -> (Vec<u8>, io::Result<()>) {
        let mut received = Vec::new();
        let mut buf = vec![0; room];
        loop {
            match self.read(&mut buf) {
                Ok(0) => return (received, Ok(())),
                Ok(n) => received.extend(&buf[..n]),
                Err(error) => return (received, Err(error)),
            }
        }
    }
}

/// A stream over a socket.
pub(super) trait SocketStream: Stream {
    /// Ends both directions.
    fn shutdown(&self) -> io::Result<()>;

    /// Finishes the whole stream.
    fn finish(self: Box<Self>, timeout: Duration) -> io::Result<()>;
}

/// A secured stream, in one piece or in halves.
pub(super) trait IntoStream {
    type Stream: ?Sized;

    fn into_stream(self, via: Via) -> Box<Self::Stream>;
}

struct Whole<P>(P);

struct Halves<R, W>(R, W);

macro_rules! stream {
    ($stream:ty, $reader:tt, $writer:tt, $outcome:path) => {
        impl<P: Protection> Stream for $stream {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                $outcome(self.$reader.read(buf))
            }

            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                $outcome(self.$writer.write(buf))
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                $outcome(self.$writer.write_vectored(bufs))
            }

            fn flush(&mut self) -> io::Result<()> {
                $outcome(self.$writer.flush())
            }

            fn close(&mut self) -> io::Result<()> {
                $outcome(self.$writer.close())
            }
        }
    };
}

macro_rules! whole_and_halves {
    ($dyn:ident: $whole:ty, $reader:ty, $writer:ty, $outcome:path) => {
        stream!(Whole<$whole>, 0, 0, $outcome);
        stream!(Halves<$reader, $writer>, 0, 1, $outcome);

        impl<P: Protection> IntoStream for $whole {
            type Stream = dyn $dyn;

            fn into_stream(self, via: Via) -> Box<Self::Stream> {
                if via.is_halves() {
                    let (reader, writer) = self.into_split();
                    Box::new(Halves(reader, writer))
                } else {
                    Box::new(Whole(self))
                }
            }
        }
    };
}

macro_rules! over_sockets {
    ($shutdown:ident: $whole:ty, $reader:ty, $writer:ty, $outcome:path) => {
        whole_and_halves!(SocketStream: $whole, $reader, $writer, $outcome);

        impl<P: Protection> SocketStream for Whole<$whole> {
            fn shutdown(&self) -> io::Result<()> {
                self.0.$shutdown()
            }

            fn finish(self: Box<Self>, timeout: Duration) -> io::Result<()> {
                $outcome(self.0.finish(timeout))
            }
        }

        impl<P: Protection> SocketStream for Halves<$reader, $writer> {
            fn shutdown(&self) -> io::Result<()> {
                self.1.$shutdown()
            }

            fn finish(self: Box<Self>, timeout: Duration) -> io::Result<()> {
                let Self(reader, writer) = *self;
                $outcome(reader.reunite(writer)?.finish(timeout))
            }
        }
    };
}

whole_and_halves!(
    Stream: Secured<Line, P>,
    ReadHalf<Line, P>,
    WriteHalf<Line, P>,
    std::convert::identity
);
over_sockets!(
    shutdown: Secured<TcpStream, P>,
    ReadHalf<TcpStream, P>,
    WriteHalf<TcpStream, P>,
    std::convert::identity
);
#[cfg(feature = "tokio")]
whole_and_halves!(
    Stream: over_tokio::Secured<Line, P>,
    over_tokio::ReadHalf<Line, P>,
    over_tokio::WriteHalf<Line, P>,
    at_once
);
#[cfg(feature = "tokio")]
over_sockets!(
    abort: over_tokio::Secured<tokio::net::TcpStream, P>,
    over_tokio::ReadHalf<tokio::net::TcpStream, P>,
    over_tokio::WriteHalf<tokio::net::TcpStream, P>,
    blocking
);

/// Waits for a future, but fails after `LONG`.
#[cfg(feature = "tokio")]
fn blocking<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime().block_on(async { tokio::time::timeout(LONG, future).await? })
}

/// Polls a future once, and drops it. Fails with `WouldBlock` if it is pending.
#[cfg(feature = "tokio")]
pub(super) fn at_once<T, E: Into<io::Error>>(
    future: impl Future<Output = Result<T, E>>,
) -> io::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map_err(Into::into),
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
