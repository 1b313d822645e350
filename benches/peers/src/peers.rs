//! Defines the peers: each has two ends of a login, blocking over a socket and asynchronous over
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

use native::{Native, Verb, Verbs};

/// The secret that both ends share, if they share one.
const SECRET: &[u8; 32] = b"what both ends of this one share";

/// A way to log in. What outlives a login, such as a key, is created beforehand.
pub trait Peer: Send + Sync {
    /// Runs the client until it succeeds.
    fn connect(&self, stream: &mut TcpStream) -> Result<()>;

    /// Runs the server until it succeeds.
    fn accept(&self, stream: &mut TcpStream) -> Result<()>;

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a>;

    fn accept_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a>;
}

pub type Login<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

pub trait AsyncStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> AsyncStream for S {}

/// Identifies a peer, for goals and pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    Floor,
    Native,
    NativeTimeout,
    Encrypt,
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
    pub const RUST: [Self; 17] = [
        Self::Floor,
        Self::Native,
        Self::NativeTimeout,
        Self::Encrypt,
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
            Self::NativeTimeout => "countersign, with a timeout",
            Self::Encrypt => "countersign, `encrypt` (mode 2)",
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

    /// Returns the row that is judged: this peer, or the peer with the same configuration and
    /// another number of messages or a timeout.
    fn judged(self) -> Self {
        match self {
            Self::NativeTimeout => Self::Native,
            Self::NoiseBare | Self::NoiseTold => Self::Noise,
            Self::PskBare => Self::Psk,
            Self::PskDheBare => Self::PskDhe,
            Self::MutualBare => Self::Mutual,
            id => id,
        }
    }

    /// Returns whether this is countersign's own protocol.
    pub fn is_native(self) -> bool {
        matches!(self, Self::Native | Self::NativeTimeout | Self::Encrypt)
    }

    /// Returns whether this encrypts what follows the login, with forward secrecy.
    pub fn has_forward_secrecy(self) -> bool {
        matches!(self.judged(), Self::Noise | Self::PskDhe | Self::Mutual)
    }

    pub fn is_beside(self) -> bool {
        self.judged() != self
    }
}

/// A peer, or the reason why it cannot run here.
pub struct Entry {
    pub id: Id,
    pub peer: Result<Arc<dyn Peer>>,
    /// The name of its fastest configuration, if it has several.
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

/// Returns all peers that are written in Rust.
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

/// The configurations of a peer, by name. Peers that are judged together use the same
/// configuration.
type Candidates = Vec<(String, Result<Arc<dyn Peer>>)>;

fn candidates(id: Id) -> Candidates {
    match id {
        Id::Floor => only(Ok(floor::Constants)),
        Id::Native => only(Native::new()),
        Id::NativeTimeout => only(Verbs::new(Verb::AuthenticateTimeout)),
        Id::Encrypt => only(Verbs::new(Verb::Encrypt)),
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
        // Not written in Rust.
        Id::PythonRecipe | Id::PythonMultiprocessing => Vec::new(),
    }
}

fn only<P: Peer + 'static>(peer: Result<P>) -> Candidates {
    vec![candidate(String::new(), peer)]
}

fn candidate<P: Peer + 'static>(name: String, peer: Result<P>) -> (String, Result<Arc<dyn Peer>>) {
    (name, peer.map(|peer| -> Arc<dyn Peer> { Arc::new(peer) }))
}

/// Returns the name of the configuration with the cheapest login. They run in turn, in reverse
/// order in every other round, and the first rounds are not counted.
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

/// One end of a login as a state machine without I/O, for libraries without sockets of their own.
pub trait Side: Send {
    /// Takes what has arrived and appends what to send. Returns true once this end has succeeded.
    fn step(&mut self, received: &[u8], to_send: &mut Outbox) -> Result<bool>;
}

/// A peer that consists of two such ends, which are created for each login.
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

/// Makes one call to write and one to read for each message, which is the minimum.
fn drive(mut side: impl Side, stream: &mut TcpStream) -> Result<()> {
    let (mut received, mut outbox) = ([0; CAPACITY], Outbox::new());
    let mut len = 0;
    loop {
        let succeeded = side.step(&received[..len], &mut outbox)?;
        if !outbox.pending().is_empty() {
            stream.write_all(outbox.pending())?;
            outbox.clear();
        }
        if succeeded {
            return Ok(());
        }
        len = stream.read(&mut received)?;
        ensure!(len > 0, CLOSED);
    }
}

/// The same for a stream that is polled. A login that waits holds the side, but no buffers.
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
            let succeeded = side.step(arrived.filled(), &mut outbox)?;
            let to_send = outbox.pending();
            if !to_send.is_empty() {
                // A message is far smaller than an empty socket buffer.
                match Pin::new(&mut *stream).poll_write(context, to_send)? {
                    Poll::Ready(written) if written == to_send.len() => outbox.clear(),
                    _ => {
                        return Poll::Ready(Err(anyhow!("the socket took only part of a message")));
                    }
                }
            }
            if succeeded {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

const CLOSED: &str = "closed in the middle of a login";

/// More bytes than any message has.
const CAPACITY: usize = 2048;

/// The bytes that a side sends.
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

    /// Returns space for a message. Call [`add`](Self::add) once it is written.
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
