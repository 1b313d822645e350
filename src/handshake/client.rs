//! The client: [`start`], [`AwaitChallenge`], [`AwaitVerdict`].

use core::fmt;

use rand::TryCryptoRng;

use super::error::Error;
use super::key::Key;
use super::message::{
    CHALLENGE_LEN, Challenge, Filling, Flight, Mode, NONCE_LEN, Response, VERDICT_LEN, Verdict,
};
use super::session::{Role, Session};
use super::transcript::{Prologue, Transcript};
use super::{Progress, Receive, Sealed, draw};

/// Draws the client's nonce, once the connection exists, and awaits F1.
///
/// # Errors
///
/// [`Error::NoRandomness`]. Nothing is to be sent then.
///
/// ```
/// use countersign::{Key, generate_secret, handshake::{Mode, Prologue, Transcript, client}};
/// use rand::rngs::SysRng;
///
/// let key = Key::new(generate_secret()?)?;
/// let prologue = Prologue::new("billing/2")?;
/// let mut transcript = Transcript::new();
/// let rng = &mut SysRng;
/// let await_challenge = client::start(&mut transcript, &prologue, Mode::Authenticate, &key, rng)?;
/// # Ok::<(), countersign::Error>(())
/// ```
pub fn start<'h, R>(
    transcript: &'h mut Transcript,
    prologue: &Prologue,
    mode: Mode,
    key: &'h Key,
    rng: &mut R,
) -> Result<AwaitChallenge<'h>, Error>
where
    R: TryCryptoRng + ?Sized,
{
    let nonce = draw(rng)?;
    transcript.start(prologue);
    Ok(AwaitChallenge {
        key,
        mode,
        nonce,
        transcript,
    })
}

/// Awaits F1; nothing has been sent. Goes on to F2, to be sent, and [`AwaitVerdict`].
pub struct AwaitChallenge<'h> {
    key: &'h Key,
    mode: Mode,
    nonce: [u8; NONCE_LEN],
    transcript: &'h mut Transcript,
}

impl Sealed for AwaitChallenge<'_> {}

impl<'h> Receive for AwaitChallenge<'h> {
    const FLIGHT: Flight = Flight::Challenge;
    type Next = (Response<'h>, AwaitVerdict<'h>);

    fn space(&mut self) -> &mut [u8] {
        self.transcript.space(CHALLENGE_LEN)
    }

    fn advance(self, n: usize) -> Result<Progress<Self>, Error> {
        self.transcript.advance(n, CHALLENGE_LEN)?;
        Challenge::check(self.transcript.flight(), self.mode)?;
        if self.transcript.flight().len() < CHALLENGE_LEN {
            return Ok(Progress::More(self));
        }

        let Self {
            key,
            mode,
            nonce,
            transcript,
        } = self;
        let at = transcript.respond(mode, key, &nonce);
        let transcript: &'h Transcript = transcript;
        let state = AwaitVerdict {
            key,
            mode,
            transcript,
            verdict: Filling::EMPTY,
        };
        Ok(Progress::Done((transcript.response(at), state)))
    }
}

/// Awaits F3. Goes on to the [`Session`].
pub struct AwaitVerdict<'h> {
    key: &'h Key,
    mode: Mode,
    transcript: &'h Transcript,
    verdict: Filling<VERDICT_LEN>,
}

impl Sealed for AwaitVerdict<'_> {}

impl Receive for AwaitVerdict<'_> {
    const FLIGHT: Flight = Flight::Verdict;
    type Next = Session;

    fn space(&mut self) -> &mut [u8] {
        self.verdict.space()
    }

    fn advance(mut self, n: usize) -> Result<Progress<Self>, Error> {
        self.verdict.advance(n)?;
        Verdict::check(self.verdict.received())?;
        let Some(verdict) = self.verdict.whole() else {
            return Ok(Progress::More(self));
        };
        let proof = Verdict::proof(verdict).ok_or(Error::Denied)?;
        let secret = self.transcript.verify_server(self.key, proof);
        let secret = secret.ok_or(Error::ServerNotAuthentic)?;
        let session = Session::new(*self.key.id(), secret, Role::Client, self.mode);
        Ok(Progress::Done(session))
    }
}

impl fmt::Debug for AwaitChallenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitChallenge")
            .field("key", self.key)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AwaitVerdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitVerdict")
            .field("key", self.key)
            .finish_non_exhaustive()
    }
}
