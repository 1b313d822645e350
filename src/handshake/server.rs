//! The server: [`start`], [`AwaitResponse`], [`Identified`].

use core::borrow::{Borrow, BorrowMut};

use rand::TryCryptoRng;

use super::error::{Error, Message, Refusal};
use super::exchange::Exchange;
use super::message::{Challenge, Verdict, check_response, key_id, nonce, response_len};
use super::mode::Mode;
use super::prologue::Prologue;
use super::session::{Role, Session};
use super::transcript::{Matched, Transcript};
use super::{Progress, Receive, Sealed};
use crate::buffer::StreamError;
use crate::key::{Derived, Key, KeyId};
use crate::mac::MacKey;
use crate::random::random;

/// The key under which the proof of an unknown client is computed.
///
/// It is keyed once and serves every handshake, so that an unknown key id costs what a wrong proof
/// costs.
#[derive(Clone)]
pub struct Dummy(MacKey);

impl Dummy {
    /// Keys the dummy.
    #[must_use]
    pub fn new() -> Self {
        Self(MacKey::new(b"countersign/1 dummy"))
    }
}

impl Default for Dummy {
    fn default() -> Self {
        Self::new()
    }
}

/// Generates the server's nonce, and returns F1, to be sent, and the state that awaits F2. Call it
/// once the connection exists.
///
/// `transcript` and `dummy` are borrowed or owned, as at [`client::start`](super::client::start).
///
/// # Errors
///
/// Returns [`Error::NoRandomness`] if the generator fails. Nothing must be sent then.
///
/// ```
/// use countersign::handshake::server::{self, Dummy};
/// use countersign::handshake::{Authenticate, Prologue, Transcript};
/// use rand::rngs::SysRng;
///
/// let (prologue, dummy, mut transcript) = (Prologue::EMPTY, Dummy::new(), Transcript::new());
/// let (challenge, await_response) =
///     server::start(&mut transcript, &dummy, &prologue, Authenticate, &mut SysRng)?;
/// assert_eq!(challenge.as_ref().len(), 40);
/// # Ok::<(), countersign::Error>(())
/// ```
pub fn start<T, D, M, R>(
    mut transcript: T,
    dummy: D,
    prologue: &Prologue,
    mode: M,
    rng: &mut R,
) -> Result<(Challenge, AwaitResponse<T, D, M>), Error>
where
    T: BorrowMut<Transcript>,
    D: Borrow<Dummy>,
    M: Mode,
    R: TryCryptoRng + ?Sized,
{
    let challenge = Challenge::new(M::NUMBER, &random(rng)?);
    let bytes = transcript.borrow_mut();
    bytes.start(prologue)?;
    bytes.append(challenge.as_ref())?;
    bytes.expect(response_len(&[]))?;
    let state = AwaitResponse {
        transcript,
        dummy,
        mode,
    };
    Ok((challenge, state))
}

/// F1 is sent; awaits F2. Continues with [`Identified`].
pub struct AwaitResponse<T, D, M> {
    transcript: T,
    dummy: D,
    mode: M,
}

impl<T, D, M> Sealed for AwaitResponse<T, D, M> {}

impl<T: BorrowMut<Transcript>, D: Borrow<Dummy>, M: Mode> Receive for AwaitResponse<T, D, M> {
    type Next = Identified<T, D, M>;
    type Error = Error;

    fn message(&self) -> Message {
        Message::RESPONSE
    }

    fn space(&mut self) -> &mut [u8] {
        self.transcript.borrow_mut().space()
    }

    fn advance(mut self, n: usize) -> Result<Progress<Self>, Error> {
        let transcript = self.transcript.borrow_mut();
        transcript.advance(n)?;
        check_response(transcript.received(), M::NUMBER)?;
        transcript.expect(response_len(transcript.received()))?;
        if !transcript.is_complete() {
            return Ok(Progress::More(self));
        }
        let key_id = key_id(transcript.received()).ok_or(StreamError::Ended)?;
        Ok(Progress::Done(Identified {
            key_id,
            transcript: self.transcript,
            dummy: self.dummy,
            mode: self.mode,
        }))
    }
}

/// The client has named a key id and proved nothing yet. Continues with F3, to be sent, and the
/// outcome.
///
/// Between this state and the next the caller looks the key up, wherever it is stored.
pub struct Identified<T, D, M> {
    key_id: KeyId,
    transcript: T,
    dummy: D,
    mode: M,
}

impl<T: BorrowMut<Transcript>, D: Borrow<Dummy>, M: Mode> Identified<T, D, M> {
    /// Returns the key id that the client *claims*.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Verifies the client's proof under the key for [`key_id`](Self::key_id), and returns F3, to
    /// be sent whatever the outcome is, and the outcome.
    ///
    /// `None` says that there is no such key. Every denial has the same bytes and costs two
    /// verifications, with the dummy in the place of a secret that there is not. So neither an unknown
    /// key id nor a rotation under way shows. The id that `key` itself carries is not used.
    ///
    /// `rng` is used in mode 2 only, for the server's private key, and only once the client's proof
    /// has verified. A stranger costs a server what it costs in the other modes.
    ///
    /// # Errors
    ///
    /// The outcome is [`Error::ClientNotAuthentic`] if the F3 denies. Returns [`Error::NoRandomness`]
    /// in place of an F3 if the generator fails. Nothing must be sent then.
    pub fn verify<R>(mut self, key: Option<&Key>, rng: &mut R) -> Result<Decision<M>, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let (first, second) = (key.map(Key::first), key.and_then(Key::accepted));
        if let (true, Some(first)) = (self.is_proved(first), first) {
            return self.accept(first, Matched::First, rng);
        }
        if let (true, Some(second)) = (self.is_proved(second), second) {
            return self.accept(second, Matched::Accepted, rng);
        }
        self.deny(match key {
            Some(_) => Refusal::WrongProof,
            None => Refusal::UnknownKeyId,
        })
    }

    /// Returns whether the client's proof was made with a secret. If there is none, the dummy does the
    /// same work.
    fn is_proved(&self, derived: Option<&Derived>) -> bool {
        let Dummy(dummy) = self.dummy.borrow();
        self.transcript.borrow().is_proved(derived, dummy)
    }

    // Never inlined: a compiler that sees both calls at once may choose between their arguments
    // without a branch, and then every later use of the outcome depends on the proof.
    #[inline(never)]
    fn accept<R>(
        &mut self,
        derived: &Derived,
        matched: Matched,
        rng: &mut R,
    ) -> Result<Decision<M>, Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let transcript = self.transcript.borrow_mut();
        let nonce = nonce(transcript.received()).ok_or(StreamError::Ended)?;
        let (share, agreed) = M::Exchange::server(nonce, rng)?;
        let Some(agreed) = agreed else {
            return self.deny(Refusal::AllZeroSecret);
        };
        let verdict = Verdict::accepting(share.as_ref())?;
        let (tag, secret) = transcript.accept_client(derived, verdict.as_ref())?;
        let session = Session::new(self.key_id, secret, matched);
        let established = M::establish(session, agreed, Role::Server);
        Ok((verdict.with(&tag)?, Ok(established)))
    }

    fn deny(&self, refusal: Refusal) -> Result<Decision<M>, Error> {
        let no_share = <M::Exchange as Exchange>::Share::default();
        let error = Error::ClientNotAuthentic {
            key_id: self.key_id,
            refusal,
        };
        Ok((Verdict::denying(no_share.as_ref())?, Err(error)))
    }
}

/// F3, to be sent, and the outcome.
pub type Decision<M> = (Verdict, Result<<M as Mode>::Established, Error>);

opaque_debug!(Dummy {});
opaque_debug!([T, D, M: Mode] AwaitResponse<T, D, M> { mode });
opaque_debug!([T, D, M: Mode] Identified<T, D, M> { mode, key_id });
