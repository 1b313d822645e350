//! What the tests share: keys, generators, whole handshakes in memory, and a stream double that
//! misbehaves on demand.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};
#[cfg(feature = "tokio")]
use std::{
    pin::Pin,
    task::{Context, Poll},
};

use countersign::compat::cookbook::{self, Answered, KnowsSecret};
#[cfg(feature = "multiprocessing")]
use countersign::compat::multiprocessing::{self, KnowsAuthkey};
use countersign::handshake::{
    self, Flight, Mode, Progress, Prologue, Receive, Transcript, Verdict, client, server,
};
use countersign::{Client, Error, Key, Keys, Server, Session};
use hmac::{Hmac, KeyInit, Mac};
use rand::{TryCryptoRng, TryRng};
use sha2::Sha256;
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A key with a secret that is a function of `name`, under the empty key id.
pub fn key(name: &str) -> Key {
    Key::new(format!("{name:*<32}")).unwrap()
}

/// The octets that [`key`] takes as the secret.
pub fn secret(name: &str) -> Vec<u8> {
    format!("{name:*<32}").into_bytes()
}

/// HMAC-SHA-256 as the standard has it, with nothing of the crate in between.
pub fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// A generator of known nonces. Each octet of the n-th draw is `first + n`.
#[derive(Clone, Debug)]
pub struct Draws {
    pub first: u8,
    pub count: usize,
}

impl Draws {
    pub fn from(first: u8) -> Self {
        Self { first, count: 0 }
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        assert_eq!(dst.len(), 32);
        dst.fill(self.first.wrapping_add(u8::try_from(self.count).unwrap()));
        self.count += 1;
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// A generator of this nonce.
#[derive(Clone, Debug)]
pub struct Nonce(pub [u8; 32]);

impl TryRng for Nonce {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Nonce {}

/// A generator that fails, as the operating system's may.
#[derive(Debug)]
pub struct NoEntropy;

impl TryRng for NoEntropy {
    type Error = fmt::Error;

    fn try_next_u32(&mut self) -> Result<u32, fmt::Error> {
        Err(fmt::Error)
    }

    fn try_next_u64(&mut self) -> Result<u64, fmt::Error> {
        Err(fmt::Error)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), fmt::Error> {
        dst.fill(0x55);
        Err(fmt::Error)
    }
}

impl TryCryptoRng for NoEntropy {}

/// A buffer for one handshake. It is leaked, so that a test can keep states as it likes.
pub fn transcript() -> &'static mut Transcript {
    Box::leak(Box::default())
}

/// How far a state came with the octets it was given.
#[derive(Debug)]
pub enum Fed<R: Receive> {
    /// It waits for more.
    Waiting(R),
    /// It went on, and left this many octets untouched.
    Done(R::Next, usize),
}

impl<R: Receive> Fed<R> {
    /// The next state; panics where the flight was not whole.
    pub fn done(self) -> R::Next {
        match self {
            Self::Done(next, _) => next,
            Self::Waiting(_) => panic!("{} is not whole", R::FLIGHT),
        }
    }
}

/// Feeds `octets` to a state, at most `piece` at a time.
pub fn feed<R: Receive>(
    mut state: R,
    mut octets: &[u8],
    piece: usize,
) -> Result<Fed<R>, handshake::Error> {
    loop {
        let space = state.space();
        assert!(!space.is_empty(), "a state that waits has room");
        let n = space.len().min(octets.len()).min(piece);
        if n == 0 {
            return Ok(Fed::Waiting(state));
        }
        space[..n].copy_from_slice(&octets[..n]);
        octets = &octets[n..];
        match state.advance(n)? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(Fed::Done(next, octets.len())),
        }
    }
}

/// Feeds a whole flight.
pub fn deliver<R: Receive>(
    state: R,
    octets: impl AsRef<[u8]>,
) -> Result<R::Next, handshake::Error> {
    feed(state, octets.as_ref(), usize::MAX).map(Fed::done)
}

/// How one end of a handshake in memory ended.
#[derive(Debug)]
pub enum End {
    Accepted(Session),
    Refused(handshake::Error),
    /// It still waits for this flight.
    Waiting(Flight),
    /// It was never reached.
    Unreached,
}

impl End {
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

/// One handshake between two cores, with somebody in the middle.
#[derive(Debug)]
pub struct Run {
    pub client: End,
    pub server: End,
    /// F1, F2, F3 as their senders sent them, as far as they were sent.
    pub sent: Vec<Vec<u8>>,
}

/// What the two ends of a handshake in memory are given.
pub struct Pair {
    pub client_key: Key,
    pub server_key: Option<Key>,
    pub client_prologue: Prologue,
    pub server_prologue: Prologue,
    pub client_mode: Mode,
    pub server_mode: Mode,
    pub client_draws: Draws,
    pub server_draws: Draws,
}

impl Pair {
    /// Two ends that agree in everything.
    pub fn of(key: &Key) -> Self {
        Self {
            client_key: key.clone(),
            server_key: Some(key.clone()),
            client_prologue: Prologue::EMPTY,
            server_prologue: Prologue::EMPTY,
            client_mode: Mode::Authenticate,
            server_mode: Mode::Authenticate,
            client_draws: Draws::from(0xc0),
            server_draws: Draws::from(0x50),
        }
    }

    /// Runs the handshake undisturbed.
    pub fn run(&self) -> Run {
        self.run_through(|_, _| {})
    }

    /// Runs the handshake through `middle`, which may alter each flight on its way.
    pub fn run_through(&self, mut middle: impl FnMut(Flight, &mut Vec<u8>)) -> Run {
        let mut run = Run {
            client: End::Unreached,
            server: End::Unreached,
            sent: Vec::new(),
        };
        let mut pass = |run: &mut Run, flight, octets: &[u8]| {
            run.sent.push(octets.to_vec());
            let mut octets = octets.to_vec();
            middle(flight, &mut octets);
            octets
        };

        let config = server::Config::new(self.server_prologue.clone());
        let (challenge, await_response) = (config.start(
            transcript(),
            self.server_mode,
            &mut self.server_draws.clone(),
        ))
        .unwrap();
        run.server = End::Waiting(Flight::Response);
        let f1 = pass(&mut run, Flight::Challenge, challenge.as_ref());

        let await_challenge = client::start(
            transcript(),
            &self.client_prologue,
            self.client_mode,
            &self.client_key,
            &mut self.client_draws.clone(),
        )
        .unwrap();
        let (response, await_verdict) = match feed(await_challenge, &f1, usize::MAX) {
            Ok(Fed::Done(next, _)) => next,
            Ok(Fed::Waiting(_)) => {
                run.client = End::Waiting(Flight::Challenge);
                return run;
            }
            Err(error) => {
                run.client = End::Refused(error);
                return run;
            }
        };
        run.client = End::Waiting(Flight::Verdict);
        let f2 = pass(&mut run, Flight::Response, response.as_ref());

        let identified = match feed(await_response, &f2, usize::MAX) {
            Ok(Fed::Done(next, _)) => next,
            Ok(Fed::Waiting(_)) => return run,
            Err(error) => {
                run.server = End::Refused(error);
                return run;
            }
        };
        let (verdict, outcome) = identified.verify(self.server_key.as_ref());
        run.server = match outcome {
            Ok(session) => End::Accepted(session),
            Err(error) => End::Refused(error),
        };
        let f3 = pass(&mut run, Flight::Verdict, verdict.as_ref());

        run.client = match feed(await_verdict, &f3, usize::MAX) {
            Ok(Fed::Done(session, _)) => End::Accepted(session),
            Ok(Fed::Waiting(_)) => End::Waiting(Flight::Verdict),
            Err(error) => End::Refused(error),
        };
        run
    }
}

/// What a stream double does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Moves at most this many octets.
    Move(usize),
    /// Fails with this kind.
    Fail(io::ErrorKind),
    /// Reports that nothing was moved, which for a read is the end of the stream.
    Nothing,
    /// Moves nothing and reports one octet more than the buffer has.
    Lie,
}

/// The program at the other end of a [`Wire`].
pub trait Peer {
    /// Takes what was written to the wire so far and not yet taken, and says what it answers.
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8>;
}

/// A peer that sends these octets at once and then is silent.
pub struct Says(pub Vec<u8>);

impl Peer for Says {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        written.clear();
        std::mem::take(&mut self.0)
    }
}

/// A peer that sends everything back.
pub struct Echoes;

impl Peer for Echoes {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        written.drain(..).collect()
    }
}

/// An honest server, and what it sends behind its verdict.
pub struct HonestServer {
    key: Key,
    prologue: Prologue,
    draws: Draws,
    challenge: Option<Vec<u8>>,
    tail: Vec<u8>,
    pub session: Option<Session>,
}

impl HonestServer {
    pub fn new(key: &Key, prologue: Prologue, tail: &[u8]) -> Self {
        Self {
            key: key.clone(),
            prologue,
            draws: Draws::from(0x50),
            challenge: None,
            tail: tail.to_vec(),
            session: None,
        }
    }
}

impl Peer for HonestServer {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        // The state borrows its configuration, so it is made anew with the same nonce.
        let config = server::Config::new(self.prologue.clone());
        let (challenge, state) = config
            .start(transcript(), Mode::Authenticate, &mut self.draws.clone())
            .unwrap();
        if self.challenge.is_none() {
            self.challenge = Some(challenge.as_ref().to_vec());
            return challenge.as_ref().to_vec();
        }
        if self.session.is_some() {
            return Vec::new();
        }
        let octets: Vec<u8> = written.iter().copied().collect();
        let Ok(Fed::Done(identified, rest)) = feed(state, &octets, usize::MAX) else {
            return Vec::new();
        };
        written.drain(..octets.len() - rest);
        let key = self.key.find(identified.key_id().as_bytes());
        let (verdict, outcome): (Verdict, _) = identified.verify(key.as_deref());
        self.session = outcome.ok();
        [verdict.as_ref(), &self.tail].concat()
    }
}

/// An honest client, and what it sends behind its response (which a real one would not, before
/// it has the verdict).
pub struct HonestClient {
    key: Key,
    prologue: Prologue,
    answered: bool,
    tail: Vec<u8>,
}

impl HonestClient {
    pub fn new(key: &Key, prologue: Prologue, tail: &[u8]) -> Self {
        Self {
            key: key.clone(),
            prologue,
            answered: false,
            tail: tail.to_vec(),
        }
    }
}

impl Peer for HonestClient {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let state = client::start(
            transcript(),
            &self.prologue,
            Mode::Authenticate,
            &self.key,
            &mut Draws::from(0xc0),
        )
        .unwrap();
        let octets: Vec<u8> = written.iter().copied().collect();
        match feed(state, &octets, usize::MAX) {
            Ok(Fed::Done((response, _), rest)) if !self.answered => {
                self.answered = true;
                written.drain(..octets.len() - rest);
                [response.as_ref(), &self.tail].concat()
            }
            _ => Vec::new(),
        }
    }
}

type Policy = Box<dyn FnMut(usize) -> Act + Send>;

/// A stream to a [`Peer`] in memory, whose every call can be made to misbehave.
///
/// Where the peer has nothing to say, a read fails with `WouldBlock`, as a silent socket does
/// once its timeout is over.
pub struct Wire {
    peer: Box<dyn Peer + Send>,
    incoming: VecDeque<u8>,
    to_peer: VecDeque<u8>,
    /// Everything that was written.
    pub written: Vec<u8>,
    /// How many octets were read.
    pub read: usize,
    /// The size of each successful write, and of each buffer offered to a read.
    pub writes: Vec<usize>,
    pub offered: Vec<usize>,
    pub flushes: usize,
    /// What each read does, from the number of octets read before it.
    pub on_read: Policy,
    /// What each write does, from the number of octets written before it.
    pub on_write: Policy,
    /// What each flush does, from the number of flushes before it.
    pub on_flush: Policy,
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

    /// Moves at most `piece` octets a read.
    pub fn dripping(mut self, piece: usize) -> Self {
        self.on_read = Box::new(move |_| Act::Move(piece));
        self
    }

    /// Gives `at` octets, then does `act` for ever.
    pub fn read_until(mut self, at: usize, act: Act) -> Self {
        self.on_read = Box::new(
            move |read| {
                if read < at { Act::Move(at - read) } else { act }
            },
        );
        self
    }

    /// Takes `at` octets, then does `act` for ever.
    pub fn write_until(mut self, at: usize, act: Act) -> Self {
        self.on_write = Box::new(move |written| {
            if written < at {
                Act::Move(at - written)
            } else {
                act
            }
        });
        self
    }

    /// Has the peer send these octets.
    pub fn say(&mut self, octets: &[u8]) {
        self.incoming.extend(octets);
    }

    /// What a driver would read next, all of it.
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

/// In tokio too the double answers at once: what a socket would be awaited for, it fails with.
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

/// The drivers over streams, so that one table of tests runs through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Driver {
    pub const ALL: &[Self] = &[
        Self::Blocking,
        #[cfg(feature = "tokio")]
        Self::Tokio,
    ];

    /// Whether a stream can report more octets than there was room for; tokio's buffers keep it
    /// from doing so.
    pub fn lets_reads_lie(self) -> bool {
        self == Self::Blocking
    }

    pub fn client(self, wire: &mut Wire, client: &Client) -> Result<Session, Error> {
        match self {
            Self::Blocking => client.authenticate(wire),
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                let client = countersign::tokio::Client::from(client.clone());
                block_on(client.authenticate(wire))
            }
        }
    }

    pub fn server<K: Keys + Clone>(
        self,
        wire: &mut Wire,
        server: &Server<K>,
    ) -> Result<Session, Error> {
        match self {
            Self::Blocking => server.authenticate(wire),
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                let server = countersign::tokio::Server::from(server.clone());
                block_on(server.authenticate(wire))
            }
        }
    }
}

/// The recipe's wire through each driver.
impl Driver {
    pub fn cookbook_client(self, wire: &mut Wire, secret: &[u8]) -> Result<Answered, Error> {
        match self {
            Self::Blocking => cookbook::client_authenticate(wire, secret),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(countersign::tokio::cookbook::client_authenticate(
                wire, secret,
            )),
        }
    }

    pub fn cookbook_server(self, wire: &mut Wire, secret: &[u8]) -> Result<KnowsSecret, Error> {
        match self {
            Self::Blocking => cookbook::server_authenticate(wire, secret),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(countersign::tokio::cookbook::server_authenticate(
                wire, secret,
            )),
        }
    }
}

/// The wire of Python's `multiprocessing` through each driver.
#[cfg(feature = "multiprocessing")]
impl Driver {
    pub fn multiprocessing_client(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        match self {
            Self::Blocking => multiprocessing::client_authenticate(wire, authkey),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(countersign::tokio::multiprocessing::client_authenticate(
                wire, authkey,
            )),
        }
    }

    pub fn multiprocessing_server(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        match self {
            Self::Blocking => multiprocessing::server_authenticate(wire, authkey),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(countersign::tokio::multiprocessing::server_authenticate(
                wire, authkey,
            )),
        }
    }

    #[cfg(feature = "multiprocessing-md5")]
    pub fn multiprocessing_client_md5(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        match self {
            Self::Blocking => multiprocessing::client_authenticate_md5(wire, authkey),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(
                countersign::tokio::multiprocessing::client_authenticate_md5(wire, authkey),
            ),
        }
    }

    #[cfg(feature = "multiprocessing-md5")]
    pub fn multiprocessing_server_md5(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        match self {
            Self::Blocking => multiprocessing::server_authenticate_md5(wire, authkey),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(
                countersign::tokio::multiprocessing::server_authenticate_md5(wire, authkey),
            ),
        }
    }

    pub fn send_bytes(
        self,
        wire: &mut Wire,
        knows: KnowsAuthkey,
        message: &[u8],
    ) -> io::Result<()> {
        match self {
            Self::Blocking => multiprocessing::Connection::new(wire, knows).send_bytes(message),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(
                countersign::tokio::multiprocessing::Connection::new(wire, knows)
                    .send_bytes(message),
            ),
        }
    }

    pub fn recv_bytes(
        self,
        wire: &mut Wire,
        knows: KnowsAuthkey,
        max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Blocking => multiprocessing::Connection::new(wire, knows).recv_bytes(max),
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(
                countersign::tokio::multiprocessing::Connection::new(wire, knows).recv_bytes(max),
            ),
        }
    }
}

/// Runs a future on a runtime of its own.
#[cfg(feature = "tokio")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// Two ends of a TCP connection over the loopback interface.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, peer) = listener.accept().unwrap();
    assert_eq!(peer, near.local_addr().unwrap());
    (near, far)
}

/// A directory of one test's own, for the time of the test.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);

        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        loop {
            let name = format!(
                "countersign-test-{}-{}",
                process::id(),
                COUNTER.fetch_add(1, Ordering::Relaxed)
            );
            let path = env::temp_dir().join(name);
            match builder.create(&path) {
                // Left behind by a test that was killed, in a process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => {
                    created.unwrap();
                    return Self(path);
                }
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A directory that stays behind fails no test.
        let _ = fs::remove_dir_all(&self.0);
    }
}
