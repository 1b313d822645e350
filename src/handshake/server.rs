//! The server: [`Config`], [`AwaitResponse`], [`Identified`].

use core::fmt;

use rand::TryCryptoRng;

use super::error::{Error, InvalidInput, Refusal};
use super::key::{Key, KeyId};
use super::mac::MacKey;
use super::message::{Challenge, Flight, Mode, Response, Verdict};
use super::session::{Role, Session};
use super::transcript::{Binding, Prologue, Transcript};
use super::{Progress, Receive, Sealed, draw};

/// What a server brings to each of its handshakes; made once and used for many.
///
/// Beside the prologue it holds the dummy key under which the proof of an unknown client is
/// computed, already keyed, so that an unknown key id costs what a wrong proof costs.
///
/// ```
/// use countersign::handshake::{Prologue, server::Config};
///
/// let config = Config::new(Prologue::new("billing/2")?);
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone)]
pub struct Config {
    prologue: Prologue,
    dummy: MacKey,
}

impl Config {
    /// The service that the server is, and the channel that it is on.
    #[must_use]
    pub fn new(prologue: Prologue) -> Self {
        Self {
            prologue,
            dummy: MacKey::new(b"countersign/1 dummy"),
        }
    }

    /// The same channel binding or none, with another service of 0 to 255 octets.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ServiceTooLong`] over 255 octets.
    ///
    /// ```
    /// use countersign::handshake::{Prologue, server::Config};
    ///
    /// let config = Config::new(Prologue::EMPTY).service("billing/2")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn service(self, service: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Ok(Self {
            prologue: self.prologue.service(service)?,
            ..self
        })
    }

    /// The same service, bound to one channel.
    ///
    /// ```
    /// use countersign::{Binding, handshake::{Prologue, server::Config}};
    ///
    /// let exported = [7; 32]; // from the TLS connection
    /// let config = Config::new(Prologue::EMPTY).bound(&Binding::tls_exporter(&exported));
    /// ```
    #[must_use]
    pub fn bound(&self, binding: &Binding) -> Self {
        Self {
            prologue: self.prologue.bound(binding),
            dummy: self.dummy.clone(),
        }
    }

    /// Draws the server's nonce, once the connection exists; gives F1, to be sent, and awaits
    /// F2.
    ///
    /// # Errors
    ///
    /// [`Error::NoRandomness`]. Nothing is to be sent then.
    ///
    /// ```
    /// use countersign::handshake::{Mode, Prologue, Transcript, server::Config};
    /// use rand::rngs::SysRng;
    ///
    /// let config = Config::new(Prologue::EMPTY);
    /// let mut transcript = Transcript::new();
    /// let (challenge, await_response) =
    ///     config.start(&mut transcript, Mode::Authenticate, &mut SysRng)?;
    /// assert_eq!(challenge.as_ref().len(), 40);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn start<'h, R>(
        &'h self,
        transcript: &'h mut Transcript,
        mode: Mode,
        rng: &mut R,
    ) -> Result<(Challenge, AwaitResponse<'h>), Error>
    where
        R: TryCryptoRng + ?Sized,
    {
        let challenge = Challenge::new(mode, &draw(rng)?);
        transcript.start(&self.prologue);
        transcript.append(challenge.as_ref());
        let state = AwaitResponse {
            mode,
            dummy: &self.dummy,
            transcript,
        };
        Ok((challenge, state))
    }
}

/// F1 is sent; awaits F2. Goes on to [`Identified`].
pub struct AwaitResponse<'h> {
    mode: Mode,
    dummy: &'h MacKey,
    transcript: &'h mut Transcript,
}

impl AwaitResponse<'_> {
    fn flight_len(&self) -> usize {
        Response::len_of(self.transcript.flight())
    }
}

impl Sealed for AwaitResponse<'_> {}

impl<'h> Receive for AwaitResponse<'h> {
    const FLIGHT: Flight = Flight::Response;
    type Next = Identified<'h>;

    fn space(&mut self) -> &mut [u8] {
        self.transcript.space(self.flight_len())
    }

    fn advance(self, n: usize) -> Result<Progress<Self>, Error> {
        self.transcript.advance(n, self.flight_len())?;
        Response::check(self.transcript.flight(), self.mode)?;
        if self.transcript.flight().len() < self.flight_len() {
            return Ok(Progress::More(self));
        }
        Ok(Progress::Done(Identified {
            key_id: Response::key_id(self.transcript.flight()),
            mode: self.mode,
            dummy: self.dummy,
            transcript: self.transcript,
        }))
    }
}

/// The client has named a key id and proved nothing yet. Goes on to F3, to be sent, and the
/// outcome.
///
/// Between this state and the last step the caller looks the key up, wherever it is kept.
pub struct Identified<'h> {
    key_id: KeyId,
    mode: Mode,
    dummy: &'h MacKey,
    transcript: &'h mut Transcript,
}

impl Identified<'_> {
    /// The key id that the client *claims*.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Verifies the client's proof under the key for [`key_id`](Self::key_id), and gives F3, to
    /// be sent whatever the outcome is.
    ///
    /// `None` says that there is no such key: the same work is done under a dummy, and the
    /// denial is the same 33 octets. The id that `key` itself carries is not consulted.
    ///
    /// # Errors
    ///
    /// [`Error::ClientNotAuthentic`], beside the F3 that denies.
    #[must_use = "F3 is to be sent in either case"]
    pub fn verify(self, key: Option<&Key>) -> (Verdict, Result<Session, Error>) {
        let key_id = self.key_id;
        if let Some((tag, secret)) = self.transcript.verify_client(key, self.dummy) {
            let session = Session::new(key_id, secret, Role::Server, self.mode);
            return (Verdict::accepted(&tag), Ok(session));
        }
        let refusal = match key {
            Some(_) => Refusal::WrongProof,
            None => Refusal::UnknownKeyId,
        };
        let error = Error::ClientNotAuthentic { key_id, refusal };
        (Verdict::denied(), Err(error))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("prologue", &self.prologue)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AwaitResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitResponse")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Identified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identified")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
