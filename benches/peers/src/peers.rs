//! What is compared: each peer as two ends of a login, blocking over a socket and not blocking over
//! any stream.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use anyhow::{Result, anyhow, bail, ensure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

mod cookbook;
mod floor;
mod framed;
mod multiprocessing;
pub mod mutual;
mod native;
mod noise;
#[cfg(feature = "openssl")]
pub mod psk;
#[cfg(not(feature = "openssl"))]
#[path = "peers/no_psk.rs"]
pub mod psk;
mod scram;

/// What both ends have in common, where they share one.
const SECRET: &[u8; 32] = b"what both ends of this one share";

/// One way to log in. Whatever outlives a login, such as keys, is made before.
pub trait Peer: Send + Sync {
    /// Returns once the client is satisfied.
    fn connect(&self, stream: &mut TcpStream) -> Result<()>;

    /// Returns once the server is satisfied.
    fn accept(&self, stream: &mut TcpStream) -> Result<()>;

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a>;

    fn accept_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a>;
}

pub type Login<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

pub trait AsyncStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> AsyncStream for S {}

/// Which of the peers it is: the goals and the pictures name some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    Floor,
    Native,
    Cookbook,
    Multiprocessing,
    NoiseBare,
    Noise,
    NoiseTold,
    PskBare,
    Psk,
    PskDheBare,
    PskDhe,
    MutualBare,
    Mutual,
    Scram,
    ScramCached,
    PythonRecipe,
    PythonMultiprocessing,
}

impl Id {
    pub const RUST: [Self; 15] = [
        Self::Floor,
        Self::Native,
        Self::Cookbook,
        Self::Multiprocessing,
        Self::NoiseBare,
        Self::Noise,
        Self::NoiseTold,
        Self::PskBare,
        Self::Psk,
        Self::PskDheBare,
        Self::PskDhe,
        Self::MutualBare,
        Self::Mutual,
        Self::ScramCached,
        Self::Scram,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "three flights of constants (the floor)",
            Self::Native => "countersign",
            Self::Cookbook => "countersign, wire of the recipe",
            Self::Multiprocessing => "countersign, wire of `multiprocessing`",
            Self::NoiseBare => "Noise NNpsk0, its two messages",
            Self::Noise => "Noise NNpsk0",
            Self::NoiseTold => "Noise NNpsk0, and the client told",
            Self::PskBare => "TLS 1.3 PSK, client not told",
            Self::Psk => "TLS 1.3 PSK (`psk_ke`)",
            Self::PskDheBare => "TLS 1.3 PSK with key exchange, client not told",
            Self::PskDhe => "TLS 1.3 PSK with key exchange (`psk_dhe_ke`)",
            Self::MutualBare => "mutual TLS 1.3, client not told",
            Self::Mutual => "mutual TLS 1.3",
            Self::Scram => "SCRAM-SHA-256",
            Self::ScramCached => "SCRAM-SHA-256, keys cached by the client",
            Self::PythonRecipe => "the recipe in CPython",
            Self::PythonMultiprocessing => "CPython's `multiprocessing`",
        }
    }

    /// Whether it stops before the client knows that it was accepted: a row beside the one that is
    /// judged.
    pub fn is_beside(self) -> bool {
        matches!(
            self,
            Self::NoiseBare | Self::NoiseTold | Self::PskBare | Self::PskDheBare | Self::MutualBare
        )
    }
}

/// A peer, or why it cannot run here.
pub struct Entry {
    pub id: Id,
    pub peer: Result<Arc<dyn Peer>>,
    /// Which of its configurations was the fastest, where there was a choice.
    pub choice: String,
}

impl Entry {
    pub fn peer(&self) -> Result<Arc<dyn Peer>> {
        match &self.peer {
            Ok(peer) => Ok(peer.clone()),
            Err(error) => Err(anyhow!("{error:#}")),
        }
    }
}

/// All that are written in Rust.
pub fn all() -> Vec<Entry> {
    (Id::RUST.into_iter())
        .map(|id| match make(id) {
            Ok((peer, choice)) => Entry {
                id,
                peer: Ok(peer),
                choice,
            },
            Err(error) => Entry {
                id,
                peer: Err(error),
                choice: String::new(),
            },
        })
        .collect()
}

fn make(id: Id) -> Result<(Arc<dyn Peer>, String)> {
    let only = |peer: Arc<dyn Peer>| Ok((peer, String::new()));
    match id {
        Id::Floor => only(Arc::new(floor::Constants)),
        Id::Native => only(Arc::new(native::Native::new()?)),
        Id::Cookbook => only(Arc::new(cookbook::Cookbook)),
        Id::Multiprocessing => only(Arc::new(multiprocessing::Multiprocessing)),
        Id::NoiseBare => noise::fastest(noise::Messages::Two),
        Id::Noise => noise::fastest(noise::Messages::Three),
        Id::NoiseTold => noise::fastest(noise::Messages::Four),
        Id::PskBare => psk::fastest(psk::Exchange::None, false),
        Id::Psk => psk::fastest(psk::Exchange::None, true),
        Id::PskDheBare => psk::fastest(psk::Exchange::Ephemeral, false),
        Id::PskDhe => psk::fastest(psk::Exchange::Ephemeral, true),
        Id::MutualBare => mutual::fastest(false),
        Id::Mutual => mutual::fastest(true),
        Id::Scram => only(Arc::new(scram::Scram::new(false)?)),
        Id::ScramCached => only(Arc::new(scram::Scram::new(true)?)),
        Id::PythonRecipe | Id::PythonMultiprocessing => bail!("it is not written in Rust"),
    }
}

/// Of some configurations the one whose login costs the least, and what it is called.
fn fastest_of(candidates: Vec<(String, Result<Arc<dyn Peer>>)>) -> Result<(Arc<dyn Peer>, String)> {
    let mut fastest = None;
    let mut failure = None;
    for (name, peer) in candidates {
        let cost = peer.and_then(|peer| Ok((crate::memory::median_time(&*peer, 60)?, peer)));
        match cost {
            Ok((time, peer)) => {
                if !matches!(&fastest, Some((least, _, _)) if *least <= time) {
                    fastest = Some((time, peer, name));
                }
            }
            Err(error) => failure = Some(error.context(name)),
        }
    }
    match (fastest, failure) {
        (Some((_, peer, name)), _) => Ok((peer, name)),
        (None, Some(error)) => Err(error),
        (None, None) => bail!("there is no configuration to try"),
    }
}

/// One end of a login as a state machine without a socket, which is how libraries without sockets
/// of their own are driven best.
pub trait Side: Send {
    /// Takes what has arrived, and adds what is to be sent. True once this end is satisfied.
    fn step(&mut self, received: &[u8], to_send: &mut Outbox) -> Result<bool>;
}

/// A peer that consists of two such ends, for each login anew.
pub trait Sides: Send + Sync {
    type Client: Side;
    type Server: Side;

    fn client(&self) -> Result<Self::Client>;
    fn server(&self) -> Result<Self::Server>;
}

impl<P: Sides> Peer for P {
    fn connect(&self, stream: &mut TcpStream) -> Result<()> {
        drive(self.client()?, stream)
    }

    fn accept(&self, stream: &mut TcpStream) -> Result<()> {
        drive(self.server()?, stream)
    }

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async { drive_async(self.client()?, stream).await })
    }

    fn accept_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async { drive_async(self.server()?, stream).await })
    }
}

/// One call to write for each flight, and one to read: none makes fewer.
fn drive(mut side: impl Side, stream: &mut TcpStream) -> Result<()> {
    let (mut received, mut outbox) = ([0; CAPACITY], Outbox::new());
    let mut len = 0;
    loop {
        let satisfied = side.step(&received[..len], &mut outbox)?;
        if !outbox.pending().is_empty() {
            stream.write_all(outbox.pending())?;
            outbox.clear();
        }
        if satisfied {
            return Ok(());
        }
        len = stream.read(&mut received)?;
        ensure!(len > 0, CLOSED);
    }
}

/// The same in one poll, so that a login that waits holds the side and no buffers.
async fn drive_async(mut side: impl Side, stream: &mut dyn AsyncStream) -> Result<()> {
    let mut begun = false;
    poll_fn(move |context| {
        let (mut received, mut outbox) = ([0; CAPACITY], Outbox::new());
        loop {
            let mut arrived = ReadBuf::new(&mut received);
            if begun {
                ready!(Pin::new(&mut *stream).poll_read(context, &mut arrived))?;
                if arrived.filled().is_empty() {
                    return Poll::Ready(Err(anyhow!(CLOSED)));
                }
            }
            begun = true;
            let satisfied = side.step(arrived.filled(), &mut outbox)?;
            let to_send = outbox.pending();
            if !to_send.is_empty() {
                // A flight is far smaller than what a socket holds, and nothing else is in there.
                match Pin::new(&mut *stream).poll_write(context, to_send)? {
                    Poll::Ready(written) if written == to_send.len() => outbox.clear(),
                    _ => return Poll::Ready(Err(anyhow!("the socket took only part of a flight"))),
                }
            }
            if satisfied {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

const CLOSED: &str = "closed in the middle of a login";

/// More than any flight has.
const CAPACITY: usize = 2048;

/// What a side wants to have sent.
pub struct Outbox {
    octets: [u8; CAPACITY],
    len: usize,
}

impl Outbox {
    fn new() -> Self {
        Self {
            octets: [0; CAPACITY],
            len: 0,
        }
    }

    /// Room for a message, to be [added](Self::add) once it is there.
    fn room(&mut self) -> &mut [u8] {
        &mut self.octets[self.len..]
    }

    fn add(&mut self, len: usize) {
        self.len += len;
    }

    fn pending(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    fn clear(&mut self) {
        self.len = 0;
    }
}

impl Write for Outbox {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.room().write(octets)?;
        self.add(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
