//! The handshake itself, without I/O: `no_std`, no allocation, no clock, no look-up, and
//! randomness as a parameter.
//!
//! Most programs use the drivers at the crate root. This module is for those that bring their
//! own transport or runtime, or that have to *await* the look-up of a key.
//!
//! One type is one state, around a [`Transcript`] that the caller lends. A step takes the state by value and gives the next one, so a failed
//! step leaves nothing to call again, and a [`Session`] exists only behind the last proof:
//!
//! ```text
//!  client::start(…, key, rng)                       server::Config::start(…, rng)
//!    │                                                │
//!    ▼                                                ▼
//!  AwaitChallenge  ◀────────── F1 ─────────────────  (Challenge, AwaitResponse)
//!    │ advance(n)                                     │ advance(n)
//!    ▼                                                ▼
//!  (Response, AwaitVerdict) ── F2 ─────────────────▶ Identified
//!    │ advance(n)                                     │ verify(Option<&Key>)
//!    ▼                                                ▼
//!  Session  ◀───────────────── F3 ─────────────────  (Verdict, Result<Session, Error>)
//! ```
//!
//! The three states that wait for octets are [`Receive`]: a driver reads into
//! [`space`](Receive::space), which never reaches past the flight, reports how much came with
//! [`advance`](Receive::advance), and sends the messages it is given, each in one write. A whole
//! handshake in memory:
//!
//! ```
//! use countersign::Key;
//! use countersign::handshake::{
//!     Error, Mode, Progress, Prologue, Receive, Transcript, client, server,
//! };
//! use rand::rngs::SysRng;
//!
//! /// Delivers a flight, in pieces of at most seven octets for the sake of the example.
//! fn deliver<R: Receive>(mut state: R, mut flight: &[u8]) -> Result<R::Next, Error> {
//!     loop {
//!         let space = state.space();
//!         let n = space.len().min(flight.len()).min(7);
//!         let (piece, rest) = flight.split_at(n);
//!         space[..n].copy_from_slice(piece);
//!         flight = rest;
//!         match state.advance(n)? {
//!             Progress::More(same) => state = same,
//!             Progress::Done(next) => return Ok(next),
//!         }
//!     }
//! }
//!
//! let key = Key::new(countersign::generate_secret()?)?.with_id("worker-7")?;
//! let prologue = Prologue::new("billing/2")?;
//! let config = server::Config::new(prologue.clone());
//! let mode = Mode::Authenticate;
//!
//! let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
//! let await_challenge = client::start(&mut clients, &prologue, mode, &key, &mut SysRng)?;
//! let (challenge, await_response) = config.start(&mut servers, mode, &mut SysRng)?;
//! let (response, await_verdict) = deliver(await_challenge, challenge.as_ref())?;
//! let identified = deliver(await_response, response.as_ref())?;
//!
//! let found = (identified.key_id() == "worker-7").then_some(&key);
//! let (verdict, outcome) = identified.verify(found);
//! let servers_session = outcome?;
//! let clients_session = deliver(await_verdict, verdict.as_ref())?;
//! assert_eq!(servers_session.key_id(), clients_session.key_id());
//! # Ok::<(), countersign::Error>(())
//! ```
//!
//! A state cannot be used twice:
//!
//! ```compile_fail,E0382
//! # use countersign::Key;
//! # use countersign::handshake::{Mode, Prologue, Receive, Transcript, client};
//! # let key = Key::new(countersign::generate_secret()?)?;
//! # let (prologue, mode, rng) = (Prologue::EMPTY, Mode::Authenticate, &mut rand::rngs::SysRng);
//! # let mut transcript = Transcript::new();
//! let await_challenge = client::start(&mut transcript, &prologue, mode, &key, rng)?;
//! let first = await_challenge.advance(0);
//! let second = await_challenge.advance(0);
//! # Ok::<(), countersign::Error>(())
//! ```
//!
//! It can be used once:
//!
//! ```
//! # use countersign::Key;
//! # use countersign::handshake::{Mode, Prologue, Receive, Transcript, client};
//! # let key = Key::new(countersign::generate_secret()?)?;
//! # let (prologue, mode, rng) = (Prologue::EMPTY, Mode::Authenticate, &mut rand::rngs::SysRng);
//! # let mut transcript = Transcript::new();
//! let await_challenge = client::start(&mut transcript, &prologue, mode, &key, rng)?;
//! let first = await_challenge.advance(0);
//! # Ok::<(), countersign::Error>(())
//! ```

pub mod client;
mod error;
mod key;
pub(crate) mod mac;
mod message;
pub mod server;
mod session;
mod transcript;

/// The generator that the states are given, as [`rand`] names it.
pub use rand::{TryCryptoRng, TryRng};

pub use self::error::{Error, Hint, Incompatible, InvalidInput, Refusal};
pub use self::key::{Fingerprint, Key, KeyId, Secret};
pub use self::message::{Challenge, Flight, Mode, Response, Verdict};
pub use self::session::Session;
pub use self::transcript::{Binding, Prologue, Transcript};

#[cfg(feature = "std")]
pub(crate) use self::message::Filling;
pub(crate) use self::message::append;

/// A state that waits for a flight: [`client::AwaitChallenge`], [`client::AwaitVerdict`],
/// [`server::AwaitResponse`].
///
/// The [module documentation](self) shows it at work. It is sealed: these three are all there
/// are.
pub trait Receive: Sealed + Sized {
    /// The flight it waits for.
    const FLIGHT: Flight;

    /// What comes after a whole and acceptable flight.
    type Next;

    /// Where to put what is read, never empty: as many octets as the flight is now known to
    /// still have. Reading no more leaves the octets behind it to whoever they belong to.
    fn space(&mut self) -> &mut [u8];

    /// Goes on by `n` octets, which the caller has put at the start of [`space`](Self::space).
    ///
    /// # Errors
    ///
    /// The first octet that cannot belong to the flight ends the handshake, also where more of
    /// the flight is still to come; so does an `n` larger than the space
    /// ([`InvalidInput::Overrun`]). What a whole flight can be refused for is said at the states'
    /// errors: [`Error`].
    fn advance(self, n: usize) -> Result<Progress<Self>, Error>;
}

/// How far a flight has come.
#[derive(Debug)]
pub enum Progress<S: Receive> {
    /// More of the flight is to come.
    More(S),
    /// The flight is whole.
    Done(S::Next),
}

mod sealed {
    /// Keeps [`Receive`](super::Receive) to this crate.
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;

/// A nonce, drawn anew for each handshake: unpredictable, and not only unique.
pub(crate) fn draw<const N: usize, R>(rng: &mut R) -> Result<[u8; N], Error>
where
    R: TryCryptoRng + ?Sized,
{
    let mut nonce = [0; N];
    match rng.try_fill_bytes(&mut nonce) {
        Ok(()) => Ok(nonce),
        Err(_) => Err(Error::NoRandomness),
    }
}
