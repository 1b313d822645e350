//! The transcript of a handshake, and every proof made or verified over it.
//!
//! One buffer holds the prologue and the flights one behind the other, as the octets that
//! were sent or received. Each tag covers all that stands before it, so that nothing is encoded
//! a second time to be authenticated:
//!
//! ```text
//! LV(service) | LV(binding) | F1 | F2 without Tc | Tc | "A"
//! └──────────── Tc covers ─────────────────────┘           │
//! └──────────── Ts and X cover ────────────────────────────┘
//! ```

use core::fmt;
use core::ops::Range;

use super::error::InvalidInput;
use super::key::Key;
use super::mac::{Choice, MacKey, TAG_LEN, Tag};
use super::message::{
    ACCEPTED, CHALLENGE_LEN, Mode, NONCE_LEN, RESPONSE_MAX_LEN, Response, append,
};

/// What both ends know without sending it: the service, and a channel binding where there is
/// one.
///
/// `P = LV(service) | LV(binding)`. Two ends that differ in it deny each other.
///
/// ```
/// use countersign::handshake::{InvalidInput, Prologue};
///
/// let prologue = Prologue::new("billing/2")?;
/// let error = Prologue::new([b'x'; 256]).unwrap_err();
/// assert_eq!(error, InvalidInput::ServiceTooLong { len: 256 });
/// # Ok::<(), InvalidInput>(())
/// ```
#[derive(Clone)]
pub struct Prologue {
    octets: [u8; Self::MAX_LEN],
    len: usize,
}

impl Prologue {
    const MAX_LEN: usize = 1 + 255 + 1 + Binding::LEN;

    /// The empty service without a channel binding.
    pub const EMPTY: Self = Self {
        octets: [0; Self::MAX_LEN],
        len: 2,
    };

    /// A prologue for a service of 0 to 255 octets, without a channel binding.
    ///
    /// The service is what the client means to reach and the server says it is, compared octet
    /// by octet. Where nodes are clients as well as servers, or where it matters which server
    /// answers, it must be unique to the node (`billing/2@node-7`); else two nodes can be joined
    /// against their will (Selfie, rerouting). The empty service gives none of this.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ServiceTooLong`] over 255 octets.
    pub fn new(service: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Self::EMPTY.service(service)
    }

    /// The same channel binding or none, with another service of 0 to 255 octets.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ServiceTooLong`] over 255 octets.
    ///
    /// ```
    /// # use countersign::handshake::Prologue;
    /// let prologue = Prologue::EMPTY.service("billing/2")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn service(&self, service: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let service = service.as_ref();
        let Ok(len) = u8::try_from(service.len()) else {
            return Err(InvalidInput::ServiceTooLong { len: service.len() });
        };
        let (_, binding) = self.parts();
        Ok(Self::of(&[&[len], service, binding]))
    }

    /// The same service, bound to one channel.
    ///
    /// ```
    /// use countersign::{Binding, handshake::Prologue};
    ///
    /// let exported = [7; 32]; // from the TLS connection
    /// let prologue = Prologue::EMPTY.bound(&Binding::tls_exporter(&exported));
    /// ```
    #[must_use]
    pub fn bound(&self, binding: &Binding) -> Self {
        let (service, _) = self.parts();
        let binding = binding.as_bytes();
        // A binding has far fewer than 256 octets.
        let len = u8::try_from(binding.len()).unwrap_or(u8::MAX);
        Self::of(&[service, &[len], binding])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut prologue = Self {
            octets: [0; Self::MAX_LEN],
            len: 0,
        };
        for part in parts {
            append(&mut prologue.octets, &mut prologue.len, part);
        }
        prologue
    }

    /// `LV(service)` and `LV(binding)`.
    fn parts(&self) -> (&[u8], &[u8]) {
        let octets = self.as_bytes();
        let service = 1 + octets.first().map_or(0, |&len| usize::from(len));
        octets.split_at_checked(service).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// The service, escaped, and whether there is a binding.
impl fmt::Debug for Prologue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, binding) = self.parts();
        let service = service.get(1..).unwrap_or_default();
        f.debug_struct("Prologue")
            .field("service", &format_args!("\"{}\"", service.escape_ascii()))
            .field("bound", &(binding.len() > 1))
            .finish()
    }
}

/// What ties a handshake to the one channel under it, so that it is worth nothing on another.
///
/// It has no empty form: a handshake is bound or it is not, never "if possible".
///
/// ```
/// use countersign::Binding;
///
/// let exported = [7; 32]; // from the TLS connection
/// let binding = Binding::tls_exporter(&exported);
/// assert_eq!(format!("{binding:?}"), "Binding(tls-exporter)");
/// ```
#[derive(Clone)]
pub struct Binding([u8; Self::LEN]);

impl Binding {
    const TYPE: &'static [u8; 13] = b"tls-exporter:";
    const LEN: usize = Self::TYPE.len() + 32;

    /// `"tls-exporter:" | exported`, the channel binding of RFC 9266.
    ///
    /// `exported` are 32 octets of the TLS exporter (RFC 8446, section 7.5) for the label
    /// `EXPORTER-Channel-Binding` and an empty context, under TLS 1.3, or 1.2 with the extended
    /// master secret.
    #[must_use]
    pub fn tls_exporter(exported: &[u8; 32]) -> Self {
        let mut octets = [0; Self::LEN];
        for (to, from) in octets.iter_mut().zip(Self::TYPE.iter().chain(exported)) {
            *to = *from;
        }
        Self(octets)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The type alone.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(tls-exporter)")
    }
}

/// The octets of one handshake: the buffer that its states borrow, in place of moving it from
/// one to the next.
///
/// About 500 octets. None of them is secret; what is left of one handshake is of no consequence
/// for another that is started in the same buffer.
///
/// ```
/// use countersign::{Key, generate_secret, handshake::{Mode, Prologue, Transcript, client}};
/// use rand::rngs::SysRng;
///
/// # let key = Key::new(generate_secret()?)?;
/// let mut transcript = Transcript::new();
/// let rng = &mut SysRng;
/// let state = client::start(&mut transcript, &Prologue::EMPTY, Mode::Authenticate, &key, rng)?;
/// # Ok::<(), countersign::Error>(())
/// ```
pub struct Transcript {
    octets: [u8; Self::MAX_LEN],
    len: usize,
    /// Where the flight begins that is being received.
    flight: usize,
}

impl Transcript {
    const MAX_LEN: usize = Prologue::MAX_LEN + CHALLENGE_LEN + RESPONSE_MAX_LEN + 1;

    /// An empty buffer.
    ///
    /// ```
    /// let transcript = countersign::handshake::Transcript::new();
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            octets: [0; Self::MAX_LEN],
            len: 0,
            flight: 0,
        }
    }

    /// Forgets everything and begins with `P`.
    pub(super) fn start(&mut self, prologue: &Prologue) {
        self.len = 0;
        self.append(prologue.as_bytes());
    }

    /// Appends what this end sends; what comes after it is the next flight.
    #[inline]
    pub(super) fn append(&mut self, octets: &[u8]) {
        append(&mut self.octets, &mut self.len, octets);
        self.flight = self.len;
    }

    /// Where to read the rest of a flight of `flight_len` octets, and no more than that.
    pub(super) fn space(&mut self, flight_len: usize) -> &mut [u8] {
        let end = self.flight + flight_len;
        self.octets.get_mut(self.len..end).unwrap_or_default()
    }

    /// Goes on by `n` octets that were read into [`space`](Self::space).
    pub(super) fn advance(&mut self, n: usize, flight_len: usize) -> Result<(), InvalidInput> {
        let room = self.space(flight_len).len();
        if n > room {
            return Err(InvalidInput::Overrun { room, len: n });
        }
        self.len += n;
        Ok(())
    }

    /// What has been received of the flight.
    pub(super) fn flight(&self) -> &[u8] {
        self.octets.get(self.flight..self.len).unwrap_or_default()
    }

    /// F2, with `Tc = H(Kc, P | F1 | F2 without Tc)`, to be sent. What `Ts` has to cover is then
    /// complete.
    pub(super) fn respond(
        &mut self,
        mode: Mode,
        key: &Key,
        nonce: &[u8; NONCE_LEN],
    ) -> Range<usize> {
        let start = self.len;
        self.append(&Response::header(mode));
        self.append(&[key.id().len_octet()]);
        self.append(key.id().as_bytes());
        self.append(nonce);
        let tag = key.client().tag(self.as_bytes()).disclose();
        self.append(&tag);
        let end = self.len;
        self.append(&[ACCEPTED]);
        start..end
    }

    /// F2, where [`respond`](Self::respond) has put it.
    pub(super) fn response(&self, at: Range<usize>) -> Response<'_> {
        Response::new(self.octets.get(at).unwrap_or_default())
    }

    /// Verifies `Tc` at the end of the transcript; then, and only then, makes
    /// `Ts = H(Ks, P | F1 | F2 | "A")`, to be sent, and `X`.
    ///
    /// Without a key the dummy does the same work for a result that is forced to be false.
    pub(super) fn verify_client(
        &mut self,
        key: Option<&Key>,
        dummy: &MacKey,
    ) -> Option<([u8; TAG_LEN], SessionSecret)> {
        let (covered, received) = self.as_bytes().split_last_chunk()?;
        let known = Choice::from(u8::from(key.is_some()));
        let tag = key.map_or(dummy, Key::client).tag(covered);
        let verified = bool::from(tag.matches(received) & known);
        let key = key.filter(|_| verified)?;

        self.append(&[ACCEPTED]);
        let accepted = self.as_bytes();
        let tag = key.server().tag(accepted).disclose();
        Some((tag, SessionSecret(key.session().tag(accepted))))
    }

    /// Verifies `Ts = H(Ks, P | F1 | F2 | "A")`; then, and only then, makes `X`.
    pub(super) fn verify_server(
        &self,
        key: &Key,
        received: &[u8; TAG_LEN],
    ) -> Option<SessionSecret> {
        let accepted = self.as_bytes();
        let verified = bool::from(key.server().tag(accepted).matches(received));
        verified.then(|| SessionSecret(key.session().tag(accepted)))
    }

    fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

/// How many octets there are.
impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transcript({} octets)", self.len)
    }
}

/// `X = H(Kx, P | F1 | F2 | "A")`. It is made in this file only, behind a verified proof: where
/// there is a `SessionSecret`, the peer is authentic.
pub(super) struct SessionSecret(Tag);

impl SessionSecret {
    pub(super) fn as_bytes(&self) -> &[u8; TAG_LEN] {
        self.0.as_secret()
    }
}
