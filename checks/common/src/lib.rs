//! A handshake in memory, for the checks beside this crate.
//!
//! One of them is a program without `std`, an allocator or a path to a panic, so what it calls
//! here has none of these either.

#![no_std]

use core::convert::Infallible;
use core::hint::black_box;

use countersign::Key;
use countersign::handshake::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{self, AwaitResponse, Dummy};
use countersign::handshake::{
    Challenge, Error, Mode, Prologue, Receive, StreamError, Transcript, TryCryptoRng, TryRng,
    Verdict,
};

/// What both ends have before a handshake begins.
#[derive(Debug)]
pub struct Ends {
    /// The key of the client.
    pub key: Key,
    /// The prologue of both.
    pub prologue: Prologue,
    /// The dummy of the server.
    pub dummy: Dummy,
}

impl Ends {
    /// Returns both ends of a handshake with this key and this prologue.
    #[must_use]
    pub fn new(key: Key, prologue: Prologue) -> Self {
        Self {
            key,
            prologue,
            dummy: Dummy::new(),
        }
    }

    /// Starts the client.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoRandomness`] if the generator fails.
    #[inline]
    pub fn client<'h, M: Mode, R: TryCryptoRng + ?Sized>(
        &'h self,
        transcript: &'h mut Transcript,
        mode: M,
        rng: &mut R,
    ) -> Result<AwaitChallenge<&'h mut Transcript, &'h Key, M>, Error> {
        client::start(transcript, &self.key, &self.prologue, mode, rng)
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoRandomness`] if the generator fails.
    #[inline]
    pub fn server<'h, M: Mode, R: TryCryptoRng + ?Sized>(
        &'h self,
        transcript: &'h mut Transcript,
        mode: M,
        rng: &mut R,
    ) -> Result<(Challenge, AwaitResponse<&'h mut Transcript, &'h Dummy, M>), Error> {
        server::start(transcript, &self.dummy, &self.prologue, mode, rng)
    }

    /// Starts both ends and delivers F1. The transcripts and the nonces are the client's and the
    /// server's, in this order.
    ///
    /// # Errors
    ///
    /// Returns the error of the client.
    pub fn half<'e: 'c + 's, 'c, 's, M: Mode>(
        &'e self,
        (clients, servers): (&'c mut Transcript, &'s mut Transcript),
        mode: M,
        [mut nc, mut ns]: [Known; 2],
    ) -> Result<Half<'c, 's, M>, Error> {
        let at_client = self.client(clients, mode, &mut nc)?;
        let (f1, at_server) = self.server(servers, mode, &mut ns)?;
        let at_client = deliver(at_client, f1.as_ref())?;
        Ok(Half {
            f1,
            at_client,
            at_server,
        })
    }
}

/// The first half of a handshake: F1 has arrived, and F2 has not.
#[derive(Debug)]
pub struct Half<'c, 's, M: Mode> {
    /// The server's challenge.
    pub f1: Challenge,
    /// The client, which has F2 and awaits F3.
    pub at_client: AwaitVerdict<&'c mut Transcript, &'c Key, M>,
    /// The server, which awaits F2.
    pub at_server: AwaitResponse<&'s mut Transcript, &'s Dummy, M>,
}

/// The messages of one handshake, with which each side can be run without the other.
///
/// The prologue is empty.
#[derive(Debug)]
pub struct Recorded<M> {
    ends: Ends,
    mode: M,
    f1: Challenge,
    f2: [u8; 73],
    f3: Verdict,
}

impl<M: Mode> Recorded<M> {
    /// Runs the handshake in this mode, with a key that has no key id.
    ///
    /// # Errors
    ///
    /// Returns the error of the side that fails.
    pub fn new(key: Key, mode: M) -> Result<Self, Error> {
        let ends = Ends::new(key, Prologue::EMPTY);
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let half = ends.half((&mut clients, &mut servers), mode, [Known::EC, Known::NS])?;
        let f2 = *(half.at_client.response().first_chunk()).ok_or(StreamError::Ended)?;
        let identified = deliver(half.at_server, &f2)?;
        let (f3, outcome) = identified.verify(Some(&ends.key), &mut { Known::ES })?;
        drop(outcome?);
        let f1 = half.f1;
        Ok(Self {
            ends,
            mode,
            f1,
            f2,
            f3,
        })
    }

    /// Makes the client's proof wrong. The server then denies.
    #[must_use]
    pub fn with_wrong_proof(mut self) -> Self {
        if let Some(byte) = self.f2.last_mut() {
            *byte ^= 1;
        }
        self
    }

    /// Runs the client.
    ///
    /// # Errors
    ///
    /// Returns the error of the client.
    // Never inlined: callgrind counts the instructions of the function with this name.
    #[inline(never)]
    pub fn client_side(&self) -> Result<M::Established, Error> {
        let mut transcript = Transcript::new();
        let state = (self.ends).client(&mut transcript, self.mode, &mut { Known::EC })?;
        let state = deliver(state, black_box(self.f1.as_ref()))?;
        black_box(state.response());
        deliver(state, black_box(self.f3.as_ref()))
    }

    /// Runs the server.
    ///
    /// # Errors
    ///
    /// Returns the error of the server.
    // Never inlined, as above.
    #[inline(never)]
    pub fn server_side(&self) -> Result<M::Established, Error> {
        let mut transcript = Transcript::new();
        let (f1, state) = (self.ends).server(&mut transcript, self.mode, &mut { Known::NS })?;
        black_box(f1.as_ref());
        let identified = deliver(state, black_box(&self.f2))?;
        let (f3, outcome) = identified.verify(Some(&self.ends.key), &mut { Known::ES })?;
        black_box(f3.as_ref());
        outcome
    }
}

/// Delivers a whole message to a state.
///
/// # Errors
///
/// Returns the error of the state.
pub fn deliver<R: Receive>(state: R, mut message: &[u8]) -> Result<R::Next, R::Error> {
    state.read(|space| Ok(take(&mut message, space)))
}

/// Moves as many bytes from the start of `message` as there is space for, and returns how many.
#[inline]
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
    /// The nonce of the client. Like the others it is text, which no value holds by chance.
    pub const NC: Self = Self(*b"the client draws these 32 bytes.");

    /// The nonce of the server.
    pub const NS: Self = Self(*b"the server draws these 32 bytes.");

    /// The private key of the client, in mode 2.
    pub const EC: Self = Self(*b"only one end ever has this value");

    /// The private key of the server, in mode 2.
    pub const ES: Self = Self(*b"es exists while verify() runs..!");
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
