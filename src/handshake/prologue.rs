//! What both ends know without sending it.

use core::fmt;

use crate::buffer::{Buffer, join};
use crate::invalid_input::InvalidInput;

/// The values that both ends know without sending them: the service, and a channel binding if there
/// is one.
///
/// `P = LV(service) | LV(binding)`. Two ends whose prologues differ deny each other.
///
/// ```
/// use countersign::{InvalidInput, handshake::Prologue};
///
/// let prologue = Prologue::new("billing/2")?;
/// let error = Prologue::new([b'x'; 256]).unwrap_err();
/// assert_eq!(error, InvalidInput::ServiceTooLong { len: 256 });
/// # Ok::<(), InvalidInput>(())
/// ```
#[derive(Clone)]
pub struct Prologue {
    /// `LV(service)`, encoded once and not in each handshake.
    service: Buffer<{ 1 + SERVICE_MAX_LEN }>,
    binding: Option<Binding>,
}

const SERVICE_MAX_LEN: usize = 255;

impl Prologue {
    /// The size of the longest prologue, in bytes.
    pub(super) const MAX_LEN: usize = 1 + SERVICE_MAX_LEN + Binding::LEN;

    /// The empty service without a channel binding.
    pub const EMPTY: Self = Self {
        service: Buffer::zeros(1),
        binding: None,
    };

    /// Makes the prologue of a service of 0 to 255 bytes, without a channel binding.
    ///
    /// The service is what the client means to reach and what the server says it is, compared byte
    /// by byte. Where nodes are clients as well as servers, or where it matters which server
    /// answers, the service must be unique to the node (`billing/2@node-7`). Otherwise an attacker
    /// can connect two nodes that did not mean each other (Selfie and rerouting attacks). The empty
    /// service prevents none of this.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::ServiceTooLong`] for more than 255 bytes.
    pub fn new(service: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Self::EMPTY.service(service)
    }

    /// Replaces the service and keeps the channel binding.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::ServiceTooLong`] for more than 255 bytes.
    pub fn service(self, service: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let name = service.as_ref();
        let mut service = Buffer::EMPTY;
        match service.append_lv(name) {
            Ok(()) => Ok(Self { service, ..self }),
            Err(_) => Err(InvalidInput::ServiceTooLong { len: name.len() }),
        }
    }

    /// Replaces the channel binding and keeps the service.
    ///
    /// ```
    /// use countersign::{Binding, handshake::Prologue};
    ///
    /// let exported = [7; 32]; // from the TLS connection
    /// let prologue = Prologue::EMPTY.bound(Some(&Binding::tls_exporter(&exported)));
    /// ```
    #[must_use]
    pub fn bound(self, binding: Option<&Binding>) -> Self {
        Self {
            binding: binding.cloned(),
            ..self
        }
    }

    /// Returns the name of the service.
    #[must_use]
    pub fn service_name(&self) -> &[u8] {
        self.service.since(1)
    }

    /// Returns whether there is a channel binding.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.binding.is_some()
    }

    /// `LV(service)` and `LV(binding)`.
    pub(super) fn encoded(&self) -> [&[u8]; 2] {
        let binding = self.binding.as_ref();
        let binding = binding.map_or(&[0][..], |binding| &binding.0);
        [self.service.as_slice(), binding]
    }
}

/// The service, escaped, and whether there is a binding.
impl fmt::Debug for Prologue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.service_name().escape_ascii();
        f.debug_struct("Prologue")
            .field("service", &format_args!("\"{service}\""))
            .field("bound", &self.is_bound())
            .finish()
    }
}

/// The identity of the channel below a handshake. A handshake that is bound to it fails on another.
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
pub struct Binding(
    /// `LV(binding)`
    [u8; Self::LEN],
);

impl Binding {
    /// The length and the type, 13 bytes of the 45 that follow the length.
    const START: &'static [u8; 14] = b"\x2dtls-exporter:";
    const LEN: usize = Self::START.len() + 32;

    /// Binds to a TLS connection: `"tls-exporter:" | exported`, the channel binding of RFC 9266.
    ///
    /// `exported` are 32 bytes of the TLS exporter (RFC 8446, section 7.5) for the label
    /// `EXPORTER-Channel-Binding` and an empty context, under TLS 1.3, or under TLS 1.2 with the
    /// extended master secret.
    #[must_use]
    pub fn tls_exporter(exported: &[u8; 32]) -> Self {
        Self(join(Self::START, exported))
    }
}

/// The type alone.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(tls-exporter)")
    }
}
