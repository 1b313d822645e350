//! A handshake in memory, for the checks beside this crate.
//!
//! One of them is a program without `std`, an allocator or a path to a panic, so what it calls
//! here has none of these either.

#![no_std]

use core::convert::Infallible;
use core::hint::black_box;

use countersign::handshake::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{self, AwaitResponse};
use countersign::handshake::{
    Challenge, Error, Mode, Progress, Prologue, Receive, Response, Transcript, TryCryptoRng,
    TryRng, Verdict,
};
use countersign::{Key, Session};

/// What both ends have before a handshake begins.
#[derive(Debug)]
pub struct Ends {
    /// The key of the client.
    pub key: Key,
    /// The prologue of the client.
    pub prologue: Prologue,
    /// The server, with the same prologue.
    pub config: server::Config,
}

impl Ends {
    /// Returns both ends of a handshake with this key and this prologue.
    #[must_use]
    pub fn new(key: Key, prologue: Prologue) -> Self {
        Self {
            key,
            config: server::Config::new(prologue.clone()),
            prologue,
        }
    }

    /// Starts the client.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoRandomness`] if the generator fails.
    #[inline]
    pub fn client<'h, R: TryCryptoRng>(
        &'h self,
        transcript: &'h mut Transcript,
        mode: Mode,
        rng: &mut R,
    ) -> Result<AwaitChallenge<'h>, Error> {
        client::start(transcript, &self.prologue, mode, &self.key, rng)
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoRandomness`] if the generator fails.
    #[inline]
    pub fn server<'h, R: TryCryptoRng>(
        &'h self,
        transcript: &'h mut Transcript,
        mode: Mode,
        rng: &mut R,
    ) -> Result<(Challenge, AwaitResponse<'h>), Error> {
        self.config.start(transcript, mode, rng)
    }

    /// Starts both ends and delivers F1. The transcripts and the nonces are the client's and the
    /// server's, in this order.
    ///
    /// # Errors
    ///
    /// Returns the error of the client.
    pub fn half<'e: 'c + 's, 'c, 's>(
        &'e self,
        (clients, servers): (&'c mut Transcript, &'s mut Transcript),
        mode: Mode,
        [mut nc, mut ns]: [Known; 2],
    ) -> Result<Half<'c, 's>, Error> {
        let at_client = self.client(clients, mode, &mut nc)?;
        let (f1, at_server) = self.server(servers, mode, &mut ns)?;
        let (f2, at_client) = deliver(at_client, f1.as_ref())?;
        Ok(Half {
            f1,
            f2,
            at_client,
            at_server,
        })
    }
}

/// The first half of a handshake: F1 has arrived, and F2 has not.
#[derive(Debug)]
pub struct Half<'c, 's> {
    /// The server's challenge.
    pub f1: Challenge,
    /// The client's response.
    pub f2: Response<'c>,
    /// The client, which awaits F3.
    pub at_client: AwaitVerdict<'c>,
    /// The server, which awaits F2.
    pub at_server: AwaitResponse<'s>,
}

/// The messages of one handshake, with which each side can be run without the other.
///
/// The key has no key id, and the prologue is empty.
#[derive(Debug)]
pub struct Recorded {
    ends: Ends,
    f1: Challenge,
    f2: [u8; 73],
    f3: Verdict,
}

impl Recorded {
    const MODE: Mode = Mode::Authenticate;

    /// The secret of both sides.
    pub const SECRET: &str = "what both ends of this one share";

    /// Runs the handshake.
    ///
    /// # Errors
    ///
    /// Returns the error of the side that fails.
    pub fn new() -> Result<Self, Error> {
        let ends = Ends::new(Key::new(Self::SECRET)?, Prologue::EMPTY);
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let nonces = [Known::NC, Known::NS];
        let half = ends.half((&mut clients, &mut servers), Self::MODE, nonces)?;
        let mut f2 = [0; 73];
        f2.copy_from_slice(half.f2.as_ref());
        let (f3, outcome) = deliver(half.at_server, &f2)?.verify(Some(&ends.key));
        drop(outcome?);
        let f1 = half.f1;
        Ok(Self { ends, f1, f2, f3 })
    }

    /// Runs the client.
    ///
    /// # Errors
    ///
    /// Returns the error of the client.
    // Never inlined: callgrind counts the instructions of the function with this name.
    #[inline(never)]
    pub fn client_side(&self) -> Result<Session, Error> {
        let mut transcript = Transcript::new();
        let state = self
            .ends
            .client(&mut transcript, Self::MODE, &mut { Known::NC })?;
        let (f2, state) = deliver(state, black_box(self.f1.as_ref()))?;
        black_box(f2.as_ref());
        deliver(state, black_box(self.f3.as_ref()))
    }

    /// Runs the server.
    ///
    /// # Errors
    ///
    /// Returns the error of the server.
    // Never inlined, as above.
    #[inline(never)]
    pub fn server_side(&self) -> Result<Session, Error> {
        let mut transcript = Transcript::new();
        let (f1, state) = self
            .ends
            .server(&mut transcript, Self::MODE, &mut { Known::NS })?;
        black_box(f1.as_ref());
        let (f3, outcome) = deliver(state, black_box(&self.f2))?.verify(Some(&self.ends.key));
        black_box(f3.as_ref());
        outcome
    }
}

/// Delivers a whole message to a state.
///
/// # Errors
///
/// Returns the error of the state.
pub fn deliver<R: Receive>(state: R, mut message: &[u8]) -> Result<R::Next, Error> {
    deliver_by(state, |space| take(&mut message, space))
}

/// Delivers what `read` puts at the start of the space that it is given, until the message is
/// whole. `read` returns how many bytes it put there.
///
/// # Errors
///
/// Returns the error of the state.
pub fn deliver_by<R: Receive>(
    mut state: R,
    mut read: impl FnMut(&mut [u8]) -> usize,
) -> Result<R::Next, Error> {
    loop {
        let n = read(state.space());
        match state.advance(n)? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}

/// Moves as many bytes from the start of `message` as there is space for, and returns how many.
pub fn take(message: &mut &[u8], space: &mut [u8]) -> usize {
    let (piece, rest) = message.split_at(space.len().min(message.len()));
    if let Some(space) = space.get_mut(..piece.len()) {
        space.copy_from_slice(piece);
    }
    *message = rest;
    piece.len()
}

/// A generator that always returns these bytes.
#[derive(Clone, Copy, Debug)]
pub struct Known(pub [u8; 32]);

impl Known {
    /// The nonce of the client. Like [`NS`](Self::NS) it is text, which no value holds by chance.
    pub const NC: Self = Self(*b"the client draws these 32 bytes.");

    /// The nonce of the server.
    pub const NS: Self = Self(*b"the server draws these 32 bytes.");
}

impl TryRng for Known {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline]
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(self.0.len()) {
            for (to, from) in chunk.iter_mut().zip(&self.0) {
                *to = *from;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Known {}
