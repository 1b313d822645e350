//! What is compared: each peer as two ends of a login, blocking over a socket and not blocking over
//! any stream.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use anyhow::{Result, anyhow, ensure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::memory;
use crate::sample::Sample;

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
            Self::Floor => "three messages of constants (the floor)",
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

    /// The row that is judged: this one, or the one that it stands beside, with the same
    /// configuration and more or fewer messages.
    fn judged(self) -> Self {
        match self {
            Self::NoiseBare | Self::NoiseTold => Self::Noise,
            Self::PskBare => Self::Psk,
            Self::PskDheBare => Self::PskDhe,
            Self::MutualBare => Self::Mutual,
            id => id,
        }
    }

    pub fn is_beside(self) -> bool {
        self.judged() != self
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
    let mut choices = BTreeMap::new();
    (Id::RUST.into_iter())
        .map(|id| {
            let judged = id.judged();
            let choice = choices
                .entry(judged)
                .or_insert_with(|| fastest(candidates(judged)));
            match choice {
                Ok(choice) => Entry {
                    id,
                    peer: (candidates(id).into_iter())
                        .find(|(name, _)| name == choice)
                        .map_or_else(|| Err(anyhow!("not configured")), |(_, peer)| peer),
                    choice: choice.clone(),
                },
                Err(error) => Entry {
                    id,
                    peer: Err(anyhow!("{error:#}")),
                    choice: String::new(),
                },
            }
        })
        .collect()
}

/// The configurations of a peer by their names, which are the same for those beside it.
type Candidates = Vec<(String, Result<Arc<dyn Peer>>)>;

fn candidates(id: Id) -> Candidates {
    match id {
        Id::Floor => only(Ok(floor::Constants)),
        Id::Native => only(native::Native::new()),
        Id::Cookbook => only(Ok(cookbook::Cookbook)),
        Id::Multiprocessing => only(Ok(multiprocessing::Multiprocessing)),
        Id::NoiseBare => noise::candidates(noise::Messages::Two),
        Id::Noise => noise::candidates(noise::Messages::Three),
        Id::NoiseTold => noise::candidates(noise::Messages::Four),
        Id::PskBare => psk::candidates(psk::Exchange::None, false),
        Id::Psk => psk::candidates(psk::Exchange::None, true),
        Id::PskDheBare => psk::candidates(psk::Exchange::Ephemeral, false),
        Id::PskDhe => psk::candidates(psk::Exchange::Ephemeral, true),
        Id::MutualBare => mutual::candidates(false),
        Id::Mutual => mutual::candidates(true),
        Id::Scram => only(scram::Scram::new(false)),
        Id::ScramCached => only(scram::Scram::new(true)),
        // They are not written in Rust.
        Id::PythonRecipe | Id::PythonMultiprocessing => Vec::new(),
    }
}

fn only<P: Peer + 'static>(peer: Result<P>) -> Candidates {
    vec![candidate(String::new(), peer)]
}

fn candidate<P: Peer + 'static>(name: String, peer: Result<P>) -> (String, Result<Arc<dyn Peer>>) {
    (name, peer.map(|peer| -> Arc<dyn Peer> { Arc::new(peer) }))
}

/// Of some configurations the name of the one whose login costs the least: they take turns, forth
/// in one round and back in the next, and the first rounds warm up.
fn fastest(candidates: Candidates) -> Result<String> {
    const WARM_UP: usize = 20;
    const ROUNDS: usize = 100;

    let mut lanes = Vec::new();
    let mut failure = anyhow!("there is no configuration to try");
    for (name, peer) in candidates {
        match peer {
            Ok(peer) => lanes.push((name, peer, Sample::default())),
            Err(error) => failure = error,
        }
    }
    for round in 0..WARM_UP + ROUNDS {
        lanes.retain_mut(|(_, peer, times)| match memory::second_login(&**peer) {
            Ok(costs) => {
                if round >= WARM_UP {
                    times.push_time(costs.times.iter().sum());
                }
                true
            }
            Err(error) => {
                failure = error;
                false
            }
        });
        lanes.reverse();
    }
    let fastest = (lanes.into_iter())
        .min_by(|(_, _, one), (_, _, other)| one.median().total_cmp(&other.median()));
    fastest.map_or(Err(failure), |(name, _, _)| Ok(name))
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

/// One call to write for each message, and one to read: none makes fewer.
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
                // A message is far smaller than what a socket holds, and nothing else is in there.
                match Pin::new(&mut *stream).poll_write(context, to_send)? {
                    Poll::Ready(written) if written == to_send.len() => outbox.clear(),
                    _ => {
                        return Poll::Ready(Err(anyhow!("the socket took only part of a message")));
                    }
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

/// More than any message has.
const CAPACITY: usize = 2048;

/// What a side wants to have sent.
pub struct Outbox {
    bytes: [u8; CAPACITY],
    len: usize,
}

impl Outbox {
    fn new() -> Self {
        Self {
            bytes: [0; CAPACITY],
            len: 0,
        }
    }

    /// Room for a message, to be [added](Self::add) once it is there.
    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    fn add(&mut self, len: usize) {
        self.len += len;
    }

    fn pending(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn clear(&mut self) {
        self.len = 0;
    }
}

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.room().write(bytes)?;
        self.add(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
