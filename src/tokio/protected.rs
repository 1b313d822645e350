//! The stream of mode 1 over tokio.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;
use std::net::SocketAddr;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::TcpStream;

use crate::handshake::Session;
use crate::protected::{Incoming, Outgoing, Ready, buffers};

/// [`countersign::Protected`](crate::Protected) over tokio: [`AsyncRead`] and [`AsyncWrite`].
///
/// What is said there of records, of the end and of errors holds here too. `shutdown` sends the
/// end, as [`close`](Self::close) does, and then shuts the stream below down. Its calls are
/// cancel safe as those of tokio's own streams are: what a dropped write took is in the buffer
/// and goes out with the next.
///
/// ```
/// use countersign::{Key, generate_secret, tokio::{Client, Server}};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::new(generate_secret()?)?;
/// let (client, server) = (Client::new(key.clone()), Server::new(key));
/// let (near, far) = tokio::io::duplex(64);
/// let (mut near, mut far) = tokio::try_join!(client.protect(near), server.protect(far))?;
/// let (sent, received) = tokio::join!(
///     async {
///         near.write_all(b"hello").await?;
///         near.close().await
///     },
///     async {
///         let mut received = String::new();
///         far.read_to_string(&mut received).await.map(|_| received)
///     },
/// );
/// sent?;
/// assert_eq!(received?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct Protected<S> {
    stream: S,
    session: Session,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl<S> Protected<S> {
    pub(super) fn new(stream: S, mut session: Session) -> Self {
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
    /// # fn run(protected: countersign::tokio::Protected<tokio::net::TcpStream>) {
    /// println!("{} is one of ours", protected.session().key_id());
    /// # }
    /// ```
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Two halves, for reading and writing in two tasks. The session is gone then: take what you
    /// need of it before.
    ///
    /// ```
    /// # use tokio::{io::AsyncWriteExt, net::TcpStream};
    /// # async fn run(protected: countersign::tokio::Protected<TcpStream>) -> std::io::Result<()> {
    /// let (mut reader, mut writer) = protected.split();
    /// tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    /// writer.write_all(b"hello").await?;
    /// writer.close().await?;
    /// # Ok(())
    /// # }
    /// ```
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
    /// Sends what was written, then the end of this direction. Reading goes on.
    ///
    /// Calling it again does nothing; writing after it fails.
    ///
    /// # Errors
    ///
    /// Those of writing.
    ///
    /// ```
    /// # async fn run(
    /// #     mut protected: countersign::tokio::Protected<tokio::net::TcpStream>,
    /// # ) -> std::io::Result<()> {
    /// protected.close().await
    /// # }
    /// ```
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| close(Pin::new(&mut self.stream), &mut self.outgoing, cx)).await
    }
}

impl Protected<TcpStream> {
    /// The address at the other end.
    ///
    /// # Errors
    ///
    /// That of the socket.
    ///
    /// ```
    /// # fn run(stream: countersign::tokio::Protected<tokio::net::TcpStream>) -> std::io::Result<()> {
    /// println!("connected to {}", stream.peer_addr()?);
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
    /// # fn run(stream: countersign::tokio::Protected<tokio::net::TcpStream>) -> std::io::Result<()> {
    /// stream.set_nodelay(true)
    /// # }
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream.set_nodelay(nodelay)
    }
}

/// The reading half of a [`Protected`].
///
/// ```
/// # use tokio::{io::AsyncReadExt, net::TcpStream};
/// # async fn run(protected: countersign::tokio::Protected<TcpStream>) -> std::io::Result<()> {
/// let (mut reader, _writer) = protected.split();
/// let mut received = Vec::new();
/// reader.read_to_end(&mut received).await?;
/// # Ok(())
/// # }
/// ```
pub struct ReadHalf<S> {
    stream: ::tokio::io::ReadHalf<S>,
    incoming: Incoming,
}

/// The writing half of a [`Protected`].
///
/// ```
/// # use tokio::{io::AsyncWriteExt, net::TcpStream};
/// # async fn run(protected: countersign::tokio::Protected<TcpStream>) -> std::io::Result<()> {
/// let (_reader, mut writer) = protected.split();
/// writer.write_all(b"hello").await?;
/// writer.close().await?;
/// # Ok(())
/// # }
/// ```
pub struct WriteHalf<S> {
    stream: ::tokio::io::WriteHalf<S>,
    outgoing: Outgoing,
}

impl<S: AsyncWrite> WriteHalf<S> {
    /// [`Protected::close`]
    ///
    /// # Errors
    ///
    /// Those of writing.
    ///
    /// ```
    /// # use tokio::net::TcpStream;
    /// # async fn run(protected: countersign::tokio::Protected<TcpStream>) -> std::io::Result<()> {
    /// let (_reader, mut writer) = protected.split();
    /// writer.close().await
    /// # }
    /// ```
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| close(Pin::new(&mut self.stream), &mut self.outgoing, cx)).await
    }
}

fn read<S>(
    mut stream: Pin<&mut S>,
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>>
where
    S: AsyncRead + ?Sized,
{
    if buf.remaining() == 0 {
        return Poll::Ready(Ok(()));
    }
    loop {
        match incoming.ready()? {
            Ready::Payload => {
                let n = incoming.take(buf.initialize_unfilled());
                buf.advance(n);
                return Poll::Ready(Ok(()));
            }
            Ready::End => return Poll::Ready(Ok(())),
            Ready::Nothing => {
                let mut space = ReadBuf::new(incoming.space());
                ready!(stream.as_mut().poll_read(cx, &mut space))?;
                let n = space.filled().len();
                incoming.advance(n)?;
            }
        }
    }
}

fn write<S>(
    mut stream: Pin<&mut S>,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
    buf: &[u8],
) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + ?Sized,
{
    if buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    loop {
        ready!(drain(stream.as_mut(), outgoing, cx))?;
        match outgoing.fill(buf)? {
            0 => outgoing.seal()?,
            n => return Poll::Ready(Ok(n)),
        }
    }
}

fn flush<S>(
    mut stream: Pin<&mut S>,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: AsyncWrite + ?Sized,
{
    ready!(send(stream.as_mut(), outgoing, cx))?;
    stream.poll_flush(cx)
}

fn close<S>(
    mut stream: Pin<&mut S>,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: AsyncWrite + ?Sized,
{
    ready!(send(stream.as_mut(), outgoing, cx))?;
    outgoing.close()?;
    flush(stream, outgoing, cx)
}

fn shutdown<S>(
    mut stream: Pin<&mut S>,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: AsyncWrite + ?Sized,
{
    // Also where nothing can be sent any more, the peer is to learn that this is the end.
    let closed = ready!(close(stream.as_mut(), outgoing, cx));
    let shut = ready!(stream.poll_shutdown(cx));
    Poll::Ready(closed.and(shut))
}

/// Sends what there is.
fn send<S>(
    mut stream: Pin<&mut S>,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: AsyncWrite + ?Sized,
{
    ready!(drain(stream.as_mut(), outgoing, cx))?;
    outgoing.seal()?;
    drain(stream, outgoing, cx)
}

/// Sends the rest of a record.
fn drain<S>(
    mut stream: Pin<&mut S>,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: AsyncWrite + ?Sized,
{
    loop {
        let unsent = outgoing.unsent()?;
        if unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match ready!(stream.as_mut().poll_write(cx, unsent))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => outgoing.sent(n)?,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Protected<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream, incoming, ..
        } = &mut *self;
        read(Pin::new(stream), incoming, cx, buf)
    }
}

impl<S: AsyncRead> AsyncRead for ReadHalf<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, incoming } = &mut *self;
        read(Pin::new(stream), incoming, cx, buf)
    }
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
                write(Pin::new(stream), outgoing, cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Self { stream, outgoing, .. } = &mut *self;
                flush(Pin::new(stream), outgoing, cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                let Self { stream, outgoing, .. } = &mut *self;
                shutdown(Pin::new(stream), outgoing, cx)
            }
        }
    };
}

async_write!(Protected: AsyncWrite + Unpin);
async_write!(WriteHalf: AsyncWrite);

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
