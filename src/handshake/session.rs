//! What a successful handshake yields.

use super::transcript::{Matched, SessionSecret};
#[cfg(feature = "encrypt")]
use crate::exchange::Shared;
use crate::invalid_input::InvalidInput;
use crate::key::KeyId;
use crate::mac::MacKey;

/// Proof that the peer holds the same secret, and what can be derived from it.
///
/// A `Session` exists only after the last proof verified; there is no other way to get one:
///
/// ```compile_fail,E0451
/// # use countersign::Session;
/// fn another(session: Session) -> Session {
///     Session { ..session }
/// }
/// ```
///
/// ```
/// # use countersign::Session;
/// fn another(session: Session) -> Session {
///     session
/// }
/// ```
///
/// It authenticates the peer at the moment of the handshake. What follows on the stream is encrypted
/// in mode 2 only, and in mode 0 it is not protected from anyone who controls the network. Its secret
/// is wiped when it is dropped, with the limits that [`Key`](crate::Key) states.
pub struct Session {
    key_id: KeyId,
    secret: SessionSecret,
    matched: Matched,
}

/// Which end of a handshake this is.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    Client,
    Server,
}

impl Role {
    /// Orders the keys of the client's and the server's direction for this end.
    pub(super) fn ours_and_theirs(self, [client, server]: [MacKey; 2]) -> (MacKey, MacKey) {
        match self {
            Self::Client => (client, server),
            Self::Server => (server, client),
        }
    }
}

impl Session {
    pub(super) fn new(key_id: KeyId, secret: SessionSecret, matched: Matched) -> Self {
        Self {
            key_id,
            secret,
            matched,
        }
    }

    /// Derives the keys of the two directions of mode 1, the client's first:
    /// `Krc = Expand(X, "countersign/1 record client", 32)` and
    /// `Krs = Expand(X, "countersign/1 record server", 32)`.
    ///
    /// It must be called once for a session: two sealers would use every sequence number twice.
    pub(super) fn integrity(&self) -> [MacKey; 2] {
        let x = MacKey::new(self.secret.as_bytes());
        [
            x.expand_key(b"countersign/1 record client"),
            x.expand_key(b"countersign/1 record server"),
        ]
    }

    /// Derives the states of the two directions of mode 2, the client's first, from `Xe = H(X, Z)`:
    /// `S[0] = Expand(Xe, "countersign/1 encrypt client", 32)` and
    /// `S[0] = Expand(Xe, "countersign/1 encrypt server", 32)`. The session keeps `Ke` in the place of
    /// `X`. `X` and `Xe` are wiped, so that nothing from which these could be derived again is left.
    #[cfg(feature = "encrypt")]
    pub(super) fn encryption(self, agreed: &Shared) -> (Self, [MacKey; 2]) {
        let (secret, xe) = self.secret.after_exchange(agreed);
        let directions = [
            xe.expand_key(b"countersign/1 encrypt client"),
            xe.expand_key(b"countersign/1 encrypt server"),
        ];
        (Self { secret, ..self }, directions)
    }

    /// Returns the key id under which the client authenticated.
    ///
    /// It names *who* the client is, provided every client has its own secret. If two key ids share
    /// a secret, its holder can use either id.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Returns which secret of the key id the client used. At a client it is always the first.
    ///
    /// Once no session of a key id is [`Matched::Accepted`] any more, the `accept:` secret can go.
    #[must_use]
    pub fn matched(&self) -> Matched {
        self.matched
    }

    /// Fills `out` with key material that only the two ends of this session hold.
    ///
    /// `Export(label, context, L) = Expand(X, "countersign/1 export" | LV(label) |
    /// u16 len(context) | context | u16 L, L)`. `out` has 1 to 8160 bytes. The label has 1 to 255
    /// bytes and should name the protocol that uses the output. The context has at most 65,535
    /// bytes. Outputs for other labels, contexts, lengths or sessions are independent of each
    /// other.
    ///
    /// In modes 0 and 1 there is no forward secrecy: anyone who later obtains the secret and has
    /// recorded the handshake can compute the same bytes. In mode 2 there is: `Ke` has the place of
    /// `X`, and depends on the key exchange.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput`] for a length outside these bounds. `out` is then unchanged.
    ///
    /// ```
    /// # use countersign::{Key, client_authenticate, generate_secret, server_authenticate};
    /// # use std::{net::{TcpListener, TcpStream}, thread};
    /// # let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let server = thread::spawn({
    /// #     let key = key.clone();
    /// #     move || server_authenticate(&mut listener.accept().unwrap().0, &key).unwrap()
    /// # });
    /// # let client = client_authenticate(&mut stream, &key)?;
    /// # let server = server.join().unwrap();
    /// let (mut ours, mut theirs) = ([0; 16], [0; 16]);
    /// client.export("example.org cookie", b"", &mut ours)?;
    /// server.export("example.org cookie", b"", &mut theirs)?;
    /// assert_eq!(ours, theirs);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(
        &self,
        label: impl AsRef<[u8]>,
        context: &[u8],
        out: &mut [u8],
    ) -> Result<(), InvalidInput> {
        let label = label.as_ref();
        let Ok(label_len @ 1..) = u8::try_from(label.len()) else {
            return Err(InvalidInput::ExportLabelLength { len: label.len() });
        };
        let Ok(context_len) = u16::try_from(context.len()) else {
            return Err(InvalidInput::ExportContextTooLong { len: context.len() });
        };
        let len = out.len();
        let Ok(out_len @ 1..) = u16::try_from(len) else {
            return Err(InvalidInput::ExportLength { len });
        };
        let info = [
            b"countersign/1 export",
            &[label_len][..],
            label,
            &context_len.to_be_bytes(),
            context,
            &out_len.to_be_bytes(),
        ];
        let expanded = MacKey::new(self.secret.as_bytes()).expand(&info, out);
        expanded.ok_or(InvalidInput::ExportLength { len })
    }
}

opaque_debug!(Session { key_id, matched });
