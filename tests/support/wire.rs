//! A stream double that misbehaves on demand.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
#[cfg(feature = "tokio")]
use std::{
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Peer;

/// What a stream double does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Moves at most this many bytes.
    Move(usize),
    /// Fails with this kind.
    Fail(io::ErrorKind),
    /// Reports that nothing was moved. For a read this is the end of the stream.
    Nothing,
    /// Moves nothing and reports one byte more than the buffer has.
    Lie,
}

type Policy = Box<dyn FnMut(usize) -> Act + Send>;

/// A stream to a [`Peer`] in memory. Each of its calls can be made to misbehave.
///
/// If the peer sends nothing, a read fails with `WouldBlock`, like a read from a silent socket
/// after its timeout.
pub struct Wire {
    peer: Box<dyn Peer + Send>,
    incoming: VecDeque<u8>,
    to_peer: VecDeque<u8>,
    /// Everything that was written.
    pub written: Vec<u8>,
    /// How many bytes were read.
    pub read: usize,
    /// The size of each successful write, and of each buffer offered to a read.
    pub writes: Vec<usize>,
    pub offered: Vec<usize>,
    pub flushes: usize,
    /// What each read does, from the number of bytes read before it.
    pub on_read: Policy,
    /// What each write does, from the number of bytes written before it.
    pub on_write: Policy,
    /// What each flush does, from the number of flushes before it.
    pub on_flush: Policy,
}

/// Moves what is left up to `at`, then does `act` for ever.
fn until(at: usize, act: Act) -> Policy {
    Box::new(
        move |done| {
            if done < at { Act::Move(at - done) } else { act }
        },
    )
}

impl Wire {
    pub fn to(peer: impl Peer + Send + 'static) -> Self {
        Self {
            peer: Box::new(peer),
            incoming: VecDeque::new(),
            to_peer: VecDeque::new(),
            written: Vec::new(),
            read: 0,
            writes: Vec::new(),
            offered: Vec::new(),
            flushes: 0,
            on_read: Box::new(|_| Act::Move(usize::MAX)),
            on_write: Box::new(|_| Act::Move(usize::MAX)),
            on_flush: Box::new(|_| Act::Move(usize::MAX)),
        }
    }

    /// Moves at most `piece` bytes a read.
    pub fn dripping(mut self, piece: usize) -> Self {
        self.on_read = Box::new(move |_| Act::Move(piece));
        self
    }

    /// Gives `at` bytes, then does `act` for ever.
    pub fn read_until(mut self, at: usize, act: Act) -> Self {
        self.on_read = until(at, act);
        self
    }

    /// Takes `at` bytes, then does `act` for ever.
    pub fn write_until(mut self, at: usize, act: Act) -> Self {
        self.on_write = until(at, act);
        self
    }

    /// Flushes `at` times, then does `act` for ever.
    pub fn flush_until(mut self, at: usize, act: Act) -> Self {
        self.on_flush = until(at, act);
        self
    }

    /// Has the peer send these bytes.
    pub fn say(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    /// Returns everything that a driver would read next.
    pub fn rest(&mut self) -> Vec<u8> {
        self.pump();
        self.incoming.drain(..).collect()
    }

    fn pump(&mut self) {
        let answer = self.peer.answer(&mut self.to_peer);
        self.incoming.extend(answer);
    }

    pub fn do_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.offered.push(buf.len());
        let most = match (self.on_read)(self.read) {
            Act::Move(most) => most,
            Act::Fail(kind) => return Err(kind.into()),
            Act::Nothing => return Ok(0),
            Act::Lie => return Ok(buf.len() + 1),
        };
        if self.incoming.is_empty() {
            self.pump();
        }
        let n = buf.len().min(self.incoming.len()).min(most);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (to, from) in buf.iter_mut().zip(self.incoming.drain(..n)) {
            *to = from;
        }
        self.read += n;
        Ok(n)
    }

    pub fn do_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let most = match (self.on_write)(self.written.len()) {
            Act::Move(most) => most,
            Act::Fail(kind) => return Err(kind.into()),
            Act::Nothing => return Ok(0),
            Act::Lie => return Ok(buf.len() + 1),
        };
        let n = buf.len().min(most);
        self.written.extend(&buf[..n]);
        self.to_peer.extend(&buf[..n]);
        self.writes.push(n);
        Ok(n)
    }

    pub fn do_flush(&mut self) -> io::Result<()> {
        let act = (self.on_flush)(self.flushes);
        self.flushes += 1;
        match act {
            Act::Fail(kind) => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.do_read(buf)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.do_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.do_flush()
    }
}

/// The double never returns `Pending`. Over tokio too it fails with `WouldBlock`.
#[cfg(feature = "tokio")]
impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.do_read(buf.initialize_unfilled())?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio")]
impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.do_write(buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.do_flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
