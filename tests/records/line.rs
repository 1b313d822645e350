//! The line between an end under test and the core.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
#[cfg(feature = "tokio")]
use std::{
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::client::AwaitVerdict;
use countersign::handshake::{Mode, Protect, Transcript};
use countersign::record::{Protection, Records};
use countersign::{Key, Session};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::via::{AnyRecords, Kind};
use crate::side::Side;
use crate::support::{Draws, OwnedClient, OwnedServer, Pair, Peer, Wire, deliver, key};

/// A wire that the test and the end under test share.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Wire>>);

impl Line {
    pub fn to(peer: impl Peer + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Wire::to(peer))))
    }

    pub fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap()
    }
}

impl Read for &Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.wire().do_read(buf)
    }
}

impl Write for &Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.wire().do_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire().do_flush()
    }
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

/// Turns an outcome of the wire into one of a poll. It wakes no task: the tests poll again.
#[cfg(feature = "tokio")]
fn polled<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

#[cfg(feature = "tokio")]
impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.wire().do_read(buf.initialize_unfilled());
        polled(read.map(|n| buf.advance(n)))
    }
}

#[cfg(feature = "tokio")]
impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        polled(self.wire().do_write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.wire().do_flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A line to the core, which runs the handshake in this mode, then passes its records on, and then is
/// silent.
pub(super) fn far(kind: Kind, near: Side) -> (Line, Receiver<AnyRecords>) {
    match kind {
        Kind::Protected => far_in(Protect, near),
        #[cfg(feature = "encrypt")]
        Kind::Encrypted => far_in(Encrypt, near),
    }
}

fn far_in<M, P>(mode: M, near: Side) -> (Line, Receiver<AnyRecords>)
where
    M: Mode<Established = (Session, Records<P>)>,
    P: Protection,
    Far<M>: Peer + Send,
{
    let stage = match near {
        Side::Client => Stage::Reader,
        Side::Server => Stage::Challenge(Pair::of(&key("ours")).client_in(mode)),
    };
    let (records, receiver) = channel();
    let far = Far {
        mode,
        stage: Some(stage),
        records,
    };
    (Line::to(far), receiver)
}

struct Far<M: Mode> {
    mode: M,
    stage: Option<Stage<M>>,
    records: Sender<AnyRecords>,
}

/// What the far end waits for.
enum Stage<M: Mode> {
    /// A read, to which it sends the challenge.
    Reader,
    Challenge(OwnedClient<M>),
    Response(OwnedServer<M>),
    Verdict(AwaitVerdict<Box<Transcript>, Key, M>),
}

impl<M, P> Peer for Far<M>
where
    M: Mode<Established = (Session, Records<P>)>,
    P: Protection,
{
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let Some(awaited) = self.stage.take() else {
            return Vec::new();
        };
        let written: Vec<u8> = written.drain(..).collect();
        match awaited {
            Stage::Reader => {
                let (f1, next) = Pair::of(&key("ours")).server_in(self.mode);
                self.stage = Some(Stage::Response(next));
                f1.as_ref().to_vec()
            }
            Stage::Challenge(state) => {
                let next = deliver(state, written).unwrap();
                let f2 = next.response().to_vec();
                self.stage = Some(Stage::Verdict(next));
                f2
            }
            Stage::Response(state) => {
                let identified = deliver(state, written).unwrap();
                let rng = &mut Draws::from(0x5e);
                let (f3, outcome) = identified.verify(Some(&key("ours")), rng).unwrap();
                let (_, records) = outcome.unwrap();
                self.records.send(records.into()).unwrap();
                f3.as_ref().to_vec()
            }
            Stage::Verdict(state) => {
                let (_, records) = deliver(state, written).unwrap();
                self.records.send(records.into()).unwrap();
                Vec::new()
            }
        }
    }
}
