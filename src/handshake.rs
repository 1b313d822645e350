//! The handshake itself: no I/O, no allocation, no clock, no look-up, `no_std`, and randomness as
//! a parameter.
//!
//! Most programs use the functions at the crate root. This module is for programs with their own
//! transport or event loop, and for those that have to *await* the look-up of a key.
//!
//! One type is one state. A step takes the state by value and returns the next one, so a failed
//! step leaves nothing to call again, and a [`Session`] exists only behind the last proof:
//!
//! ```text
//!  client::start(…)                                 server::start(…)
//!    │                                                │
//!    ▼                                                ▼
//!  AwaitChallenge  ◀────────── F1 ─────────────────  (Challenge, AwaitResponse)
//!    │                                                │
//!    ▼                                                ▼
//!  AwaitVerdict  ───────────── F2 ─────────────────▶ Identified
//!    │                                                │ verify(Option<&Key>, …)
//!    ▼                                                ▼
//!  Session  ◀───────────────── F3 ─────────────────  (Verdict, Result<Session, Error>)
//! ```
//!
//! [`client`] and [`server`] have the states of each end. A handshake appends its messages to a
//! [`Transcript`]. A server also needs a [`Dummy`](server::Dummy), the same for all handshakes: with it,
//! an unknown key id costs what a wrong proof costs.
//!
//! The states that wait for a message are [`Receive`]. Over a blocking stream,
//! [`read`](Receive::read) is the whole loop. A whole handshake in memory:
//!
//! ```
//! use countersign::handshake::server::{self, Dummy};
//! use countersign::handshake::{Authenticate, Prologue, Receive, Transcript, client};
//! use countersign::Key;
//! use rand::rngs::SysRng;
//! use std::io::{self, Read};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Key::new(countersign::generate_secret()?)?.with_id("worker-7")?;
//! let (prologue, dummy) = (Prologue::new("billing/2")?, Dummy::new());
//! let (mut ours, mut theirs) = (Transcript::new(), Transcript::new());
//!
//! let client = client::start(&mut ours, &key, &prologue, Authenticate, &mut SysRng)?;
//! let (challenge, server) =
//!     server::start(&mut theirs, &dummy, &prologue, Authenticate, &mut SysRng)?;
//! let mut wire = challenge.as_ref();
//! let client = client.read::<io::Error>(|space| wire.read(space))?;
//! let mut wire = client.response();
//! let identified = server.read::<io::Error>(|space| wire.read(space))?;
//!
//! let found = (identified.key_id() == "worker-7").then_some(&key);
//! let (verdict, outcome) = identified.verify(found, &mut SysRng)?;
//! let mut wire = verdict.as_ref();
//! let session = client.read::<io::Error>(|space| wire.read(space))?;
//! assert_eq!(session.key_id(), outcome?.key_id());
//! # Ok(())
//! # }
//! ```
//!
//! A state cannot be used twice:
//!
//! ```compile_fail,E0382
//! # use countersign::Key;
//! # use countersign::handshake::{Authenticate, Prologue, Receive, Transcript, client};
//! # let key = Key::new(countersign::generate_secret()?)?;
//! # let (prologue, rng) = (Prologue::EMPTY, &mut rand::rngs::SysRng);
//! let state = client::start(Transcript::new(), &key, &prologue, Authenticate, rng)?;
//! let first = state.advance(0);
//! let second = state.advance(0);
//! # Ok::<(), countersign::Error>(())
//! ```
//!
//! It can be used once:
//!
//! ```
//! # use countersign::Key;
//! # use countersign::handshake::{Authenticate, Prologue, Receive, Transcript, client};
//! # let key = Key::new(countersign::generate_secret()?)?;
//! # let (prologue, rng) = (Prologue::EMPTY, &mut rand::rngs::SysRng);
//! let state = client::start(Transcript::new(), &key, &prologue, Authenticate, rng)?;
//! let first = state.advance(0);
//! # Ok::<(), countersign::Error>(())
//! ```

pub mod client;
mod error;
mod exchange;
mod message;
mod mode;
mod prologue;
pub mod server;
mod session;
mod transcript;

/// The traits of the random number generator that a handshake is given, from [`rand`].
pub use rand::{TryCryptoRng, TryRng};

pub use self::error::{Error, Incompatible, Message, Refusal};
pub use self::message::{Challenge, Verdict};
#[cfg(feature = "encrypt")]
pub use self::mode::Encrypt;
pub use self::mode::{Authenticate, Mode, Protect};
pub use self::prologue::{Binding, Prologue};
pub use self::session::Session;
pub use self::transcript::{Matched, Transcript};
pub use crate::buffer::StreamError;

/// A state that waits for a message: [`client::AwaitChallenge`], [`client::AwaitVerdict`],
/// [`server::AwaitResponse`].
///
/// It is sealed: these three are all there are.
pub trait Receive: Sealed + Sized {
    /// What follows a complete and acceptable message.
    type Next;

    /// Why a message is refused.
    type Error: From<StreamError>;

    /// Returns the name of the message it waits for.
    fn message(&self) -> Message;

    /// Returns where to put what is read. It is never empty: it has as many bytes as the message is
    /// now known to still have. Reading no more leaves the bytes behind it to the application.
    fn space(&mut self) -> &mut [u8];

    /// Records that `n` bytes were read into the start of [`space`](Self::space).
    ///
    /// # Errors
    ///
    /// The first byte that cannot belong to the message ends the handshake, even if more of the
    /// message is still to come. An `n` larger than the space is [`StreamError::Overrun`].
    fn advance(self, n: usize) -> Result<Progress<Self>, Self::Error>;

    /// Reads the whole message with a callback, which is called with [`space`](Self::space) and
    /// returns how many bytes it read, as [`std::io::Read::read`] does.
    ///
    /// # Errors
    ///
    /// Returns the callback's error, [`StreamError::Ended`] if it reads 0 bytes, and the errors of
    /// [`advance`](Self::advance). Any error ends the handshake, so the callback must itself repeat a
    /// read that was interrupted ([`std::io::ErrorKind::Interrupted`]).
    #[inline]
    fn read<E: From<Self::Error>>(
        mut self,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Self::Next, E> {
        loop {
            let n = read(self.space())?;
            if n == 0 {
                return Err(Self::Error::from(StreamError::Ended).into());
            }
            match self.advance(n)? {
                Progress::More(same) => self = same,
                Progress::Done(next) => return Ok(next),
            }
        }
    }
}

/// The state after a part of a message.
#[derive(Debug)]
pub enum Progress<S: Receive> {
    /// More of the message is to come.
    More(S),
    /// The message is complete.
    Done(S::Next),
}

mod sealed {
    /// Keeps the traits of the core to this crate.
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;
