//! The client: [`start`], [`AwaitChallenge`], [`AwaitVerdict`].

use core::borrow::{Borrow, BorrowMut};

use rand::TryCryptoRng;

use super::error::{Error, Message};
use super::exchange::Exchange;
use super::message::{
    CHALLENGE_LEN, Challenge, NONCE_LEN, VERDICT_MAX_LEN, Verdict, response_header,
};
use super::mode::Mode;
use super::prologue::Prologue;
use super::session::{Role, Session};
use super::transcript::{Matched, Transcript};
use super::{Progress, Receive, Sealed};
use crate::buffer::Buffer;
use crate::key::Key;
use crate::random::random;

/// Generates the client's nonce or, in mode 2, its private key, and awaits F1. Call it once the
/// connection exists.
///
/// `transcript` and `key` are borrowed or owned: `&mut Transcript` and `&Key` where the whole
/// handshake is one function, `Box<Transcript>` and `Arc<Key>` where the states are kept in a
/// struct between messages. A type that borrows must give the same value each time.
///
/// # Errors
///
/// Returns [`Error::NoRandomness`] if the generator fails. Nothing must be sent then.
///
/// ```
/// use countersign::handshake::client::{self, AwaitChallenge};
/// use countersign::handshake::{Authenticate, Prologue, Transcript};
/// use countersign::{Key, generate_secret};
/// use rand::rngs::SysRng;
/// use std::sync::Arc;
///
/// /// Kept in an event loop between messages.
/// struct Connection {
///     state: AwaitChallenge<Box<Transcript>, Arc<Key>, Authenticate>,
/// }
///
/// let key = Arc::new(Key::new(generate_secret()?)?);
/// let prologue = Prologue::new("billing/2")?;
/// let transcript = Box::new(Transcript::new());
/// let state = client::start(transcript, key, &prologue, Authenticate, &mut SysRng)?;
/// let connection = Connection { state };
/// # Ok::<(), countersign::Error>(())
/// ```
pub fn start<T, K, M, R>(
    mut transcript: T,
    key: K,
    prologue: &Prologue,
    mode: M,
    rng: &mut R,
) -> Result<AwaitChallenge<T, K, M>, Error>
where
    T: BorrowMut<Transcript>,
    K: Borrow<Key>,
    M: Mode,
    R: TryCryptoRng + ?Sized,
{
    let (exchange, nonce) = M::Exchange::client(random(rng)?);
    let bytes = transcript.borrow_mut();
    bytes.start(prologue)?;
    bytes.expect(CHALLENGE_LEN)?;
    Ok(AwaitChallenge {
        transcript,
        key,
        mode,
        exchange,
        nonce,
    })
}

/// Returns the eight bytes with which F2 begins: `"CSIGN1C"` and the mode.
///
/// A client that refuses the mode or the version of F1 ([`Incompatible`](super::Incompatible)) sends
/// them before it drops the stream, so that the server can tell which mode the client wanted. The
/// drivers do this.
#[must_use]
pub fn header<M: Mode>(_: M) -> [u8; 8] {
    response_header(M::NUMBER)
}

/// Awaits F1; nothing has been sent. Continues with [`AwaitVerdict`], which has F2 to be sent.
pub struct AwaitChallenge<T, K, M: Mode> {
    transcript: T,
    key: K,
    mode: M,
    exchange: M::Exchange,
    nonce: [u8; NONCE_LEN],
}

impl<T, K, M: Mode> Sealed for AwaitChallenge<T, K, M> {}

impl<T: BorrowMut<Transcript>, K: Borrow<Key>, M: Mode> Receive for AwaitChallenge<T, K, M> {
    type Next = AwaitVerdict<T, K, M>;
    type Error = Error;

    fn message(&self) -> Message {
        Message::CHALLENGE
    }

    fn space(&mut self) -> &mut [u8] {
        self.transcript.borrow_mut().space()
    }

    #[inline]
    fn advance(mut self, n: usize) -> Result<Progress<Self>, Error> {
        let transcript = self.transcript.borrow_mut();
        transcript.advance(n)?;
        Challenge::check(transcript.received(), M::NUMBER)?;
        if !transcript.is_complete() {
            return Ok(Progress::More(self));
        }
        let response = transcript.respond(M::NUMBER, self.key.borrow(), &self.nonce)?;
        let mut verdict = Buffer::EMPTY;
        verdict.expect(Verdict::len(M::Exchange::SHARE_LEN))?;
        Ok(Progress::Done(AwaitVerdict {
            transcript: self.transcript,
            key: self.key,
            mode: self.mode,
            exchange: self.exchange,
            response,
            verdict,
        }))
    }
}

/// Has F2, to be sent, and awaits F3. Continues with what the mode yields: a [`Session`], and records
/// in modes 1 and 2.
#[must_use = "send its response, then read the verdict"]
pub struct AwaitVerdict<T, K, M: Mode> {
    transcript: T,
    key: K,
    mode: M,
    exchange: M::Exchange,
    /// Where F2 stands in the transcript.
    response: usize,
    verdict: Buffer<VERDICT_MAX_LEN>,
}

impl<T: BorrowMut<Transcript>, K, M: Mode> AwaitVerdict<T, K, M> {
    /// Returns F2, to be sent in one write: 73 bytes, and the bytes of the key id.
    #[must_use]
    pub fn response(&self) -> &[u8] {
        self.transcript.borrow().since(self.response)
    }
}

impl<T, K, M: Mode> Sealed for AwaitVerdict<T, K, M> {}

impl<T: BorrowMut<Transcript>, K: Borrow<Key>, M: Mode> Receive for AwaitVerdict<T, K, M> {
    type Next = M::Established;
    type Error = Error;

    fn message(&self) -> Message {
        Message::VERDICT
    }

    fn space(&mut self) -> &mut [u8] {
        self.verdict.space()
    }

    #[inline]
    fn advance(mut self, n: usize) -> Result<Progress<Self>, Error> {
        self.verdict.advance(n)?;
        Verdict::check(self.verdict.received())?;
        if !self.verdict.is_complete() {
            return Ok(Progress::More(self));
        }
        let (accepted, share, proof) =
            Verdict::parts(self.verdict.received()).ok_or(Error::Denied)?;
        let key = self.key.borrow();
        let transcript = self.transcript.borrow_mut();
        let secret = transcript.verify_server(key, accepted, proof);
        let secret = secret.ok_or(Error::ServerNotAuthentic)?;
        let agreed = self.exchange.agree(share).ok_or(Error::AllZeroSecret)?;
        let session = Session::new(*key.id(), secret, Matched::First);
        Ok(Progress::Done(M::establish(session, agreed, Role::Client)))
    }
}

opaque_debug!([T, K, M: Mode] AwaitChallenge<T, K, M> { mode });
opaque_debug!([T, K, M: Mode] AwaitVerdict<T, K, M> { mode });
