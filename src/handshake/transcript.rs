//! The transcript of a handshake, and every proof made or verified over it.
//!
//! One buffer holds the prologue and the messages one behind the other, as they were sent or
//! received. Each tag covers everything before it, so nothing is encoded a second time to be
//! authenticated:
//!
//! ```text
//! LV(service) | LV(binding) | F1 | F2 without Tc | Tc | "A" | gs in mode 2
//! └──────────── Tc covers ─────────────────────┘                        │
//! └──────────── Ts and X cover ─────────────────────────────────────────┘
//! ```

use core::fmt;

use super::message::{
    ACCEPTED_MAX_LEN, CHALLENGE_LEN, NONCE_LEN, RESPONSE_MAX_LEN, response_header,
};
use super::prologue::Prologue;
use crate::buffer::{Buffer, StreamError};
#[cfg(feature = "encrypt")]
use crate::exchange::Shared;
use crate::key::{Derived, Key};
use crate::mac::{Choice, MacKey, TAG_LEN, Tag};

/// The bytes of one handshake, about 500. Its states hold it or borrow it.
///
/// None of the bytes is secret. A transcript can be used again: starting a handshake in it forgets
/// the previous one.
pub struct Transcript(Buffer<MAX_LEN>);

const MAX_LEN: usize = Prologue::MAX_LEN + CHALLENGE_LEN + RESPONSE_MAX_LEN + ACCEPTED_MAX_LEN;

impl Transcript {
    /// Makes an empty transcript.
    #[must_use]
    pub const fn new() -> Self {
        Self(Buffer::EMPTY)
    }

    /// Forgets everything and begins with `P`.
    #[inline]
    pub(super) fn start(&mut self, prologue: &Prologue) -> Result<(), StreamError> {
        self.0.clear();
        let [service, binding] = prologue.encoded();
        self.0.append(service)?;
        self.0.append(binding)
    }

    /// Appends what this end sends. What comes after it is the next message.
    #[inline]
    pub(super) fn append(&mut self, message: &[u8]) -> Result<(), StreamError> {
        self.0.append(message)
    }

    /// Opens space for a message of `len` bytes.
    #[inline]
    pub(super) fn expect(&mut self, len: usize) -> Result<(), StreamError> {
        self.0.expect(len)
    }

    /// Where to read the rest of the message, and no more than that.
    #[inline]
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.0.space()
    }

    /// Records that `n` bytes were read into [`space`](Self::space).
    #[inline]
    pub(super) fn advance(&mut self, n: usize) -> Result<(), StreamError> {
        self.0.advance(n)
    }

    /// What has been received of the message.
    #[inline]
    pub(super) fn received(&self) -> &[u8] {
        self.0.received()
    }

    /// Whether the message is complete.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.0.is_complete()
    }

    /// Appends F2, with `Tc = H(Kc, P | F1 | F2 without Tc)`, and returns its offset.
    pub(super) fn respond(
        &mut self,
        mode: u8,
        key: &Key,
        nonce: &[u8; NONCE_LEN],
    ) -> Result<usize, StreamError> {
        let start = self.0.len();
        self.append(&response_header(mode))?;
        self.0.append_lv(key.id().as_bytes())?;
        self.append(nonce)?;
        let tag = key.first().client.tag(self.0.as_slice()).disclose();
        self.append(&tag)?;
        Ok(start)
    }

    /// What was appended from this offset on.
    #[inline]
    pub(super) fn since(&self, offset: usize) -> &[u8] {
        self.0.since(offset)
    }

    /// Returns whether `Tc` at the end of the transcript was made with a secret. Without one the dummy
    /// is used, and the answer is no.
    pub(super) fn is_proved(&self, derived: Option<&Derived>, dummy: &MacKey) -> bool {
        let Some((covered, received)) = self.0.as_slice().split_last_chunk() else {
            return false;
        };
        let known = Choice::from(u8::from(derived.is_some()));
        let tag = derived
            .map_or(dummy, |derived| &derived.client)
            .tag(covered);
        bool::from(tag.matches(received) & known)
    }

    /// Makes `Ts = H(Ks, P | F1 | F2 | accepted)`, to be sent, and `X`. `Tc` was made with the same
    /// secret.
    pub(super) fn accept_client(
        &mut self,
        derived: &Derived,
        accepted: &[u8],
    ) -> Result<([u8; TAG_LEN], SessionSecret), StreamError> {
        self.append(accepted)?;
        let covered = self.0.as_slice();
        let tag = derived.server.tag(covered).disclose();
        Ok((tag, SessionSecret(derived.session.tag(covered))))
    }

    /// Verifies `Ts = H(Ks, P | F1 | F2 | accepted)`. Then, and only then, makes `X`.
    pub(super) fn verify_server(
        &mut self,
        key: &Key,
        accepted: &[u8],
        received: &[u8; TAG_LEN],
    ) -> Option<SessionSecret> {
        self.append(accepted).ok()?;
        let covered = self.0.as_slice();
        let verified = bool::from(key.first().server.tag(covered).matches(received));
        verified.then(|| SessionSecret(key.first().session.tag(covered)))
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of bytes.
impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transcript({} bytes)", self.0.as_slice().len())
    }
}

/// Which secret of a key id a client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matched {
    /// The first, or the only one.
    First,
    /// The second, which is accepted while the secret is rotated ([`Key::accepting`]).
    Accepted,
}

/// `X = H(Kx, P | F1 | F2 | accepted)` and, in mode 2, `Ke`, which follows from it. Only this file
/// makes it, behind a verified proof: where there is a `SessionSecret`, the peer is authentic.
pub(super) struct SessionSecret(Tag);

impl SessionSecret {
    pub(super) fn as_bytes(&self) -> &[u8; TAG_LEN] {
        self.0.as_secret()
    }

    /// Returns `Ke = Expand(Xe, "countersign/1 encrypt export", 32)` and `Xe = H(X, Z)`, which is
    /// HKDF-Extract with the salt `X`.
    #[cfg(feature = "encrypt")]
    pub(super) fn after_exchange(self, agreed: &Shared) -> (Self, MacKey) {
        let xe = MacKey::extract(self.as_bytes(), agreed.as_bytes());
        (
            Self(xe.expand_block(&[b"countersign/1 encrypt export"])),
            xe,
        )
    }
}
