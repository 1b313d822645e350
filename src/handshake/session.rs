//! What a successful handshake leaves.

use core::fmt;

use super::error::InvalidInput;
use super::key::KeyId;
use super::mac::MacKey;
use super::message::Mode;
use super::transcript::SessionSecret;
use crate::record::{Opener, Sealer};

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
/// It authenticates the peer at the moment of the handshake. What follows on the stream is
/// neither encrypted nor, in mode 0, protected from whoever sits on the line. Its secret is wiped
/// when it is dropped, with the limits that [`Key`](crate::Key) states.
#[must_use = "a handshake whose session is dropped unseen authenticates nobody"]
pub struct Session {
    key_id: KeyId,
    secret: SessionSecret,
    /// This end's role, until the records that follow in mode 1 were asked for.
    records: Option<Role>,
}

/// Which end of a handshake a session is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Session {
    pub(super) fn new(key_id: KeyId, secret: SessionSecret, role: Role, mode: Mode) -> Self {
        Self {
            key_id,
            secret,
            records: (mode == Mode::Protect).then_some(role),
        }
    }

    /// What seals this end's records and opens the peer's, after a handshake in mode 1.
    ///
    /// `None` after one in mode 0, and the second time: two sealers would use every sequence
    /// number twice.
    ///
    /// `Krc = Expand(X, "countersign/1 record client", 32)` and `Krs = Expand(X, "countersign/1
    /// record server", 32)` are the keys of the two directions. The documentation of
    /// [`record`](crate::record) shows it at work.
    pub fn records(&mut self) -> Option<(Sealer, Opener)> {
        let role = self.records.take()?;
        let x = MacKey::new(self.secret.as_bytes());
        let client = x.expand_key(b"countersign/1 record client");
        let server = x.expand_key(b"countersign/1 record server");
        Some(match role {
            Role::Client => (Sealer::new(client), Opener::new(server)),
            Role::Server => (Sealer::new(server), Opener::new(client)),
        })
    }

    /// The key id under which the client authenticated.
    ///
    /// It names *who* the client is where each has a secret of its own, and else "some holder
    /// of the secret". Where two key ids have the same secret, its holder may claim either.
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
    /// assert_eq!(server.key_id(), "worker-7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// `Export(label, context, L) = Expand(X, "countersign/1 export" | LV(label) |
    /// u16 len(context) | context | u16 L, L)`: key material that only the two ends of this
    /// session hold.
    ///
    /// Fills `out`, of 1 to 8160 octets. The label has 1 to 255 octets and should name the
    /// protocol that uses the output; the context has at most 65,535. Outputs for other labels,
    /// contexts or lengths are independent of each other, and so are those of other sessions.
    ///
    /// There is no forward secrecy: whoever learns the secret later and has recorded the
    /// handshake can compute the same octets.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] for a length out of these bounds; `out` is then unchanged.
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
        let Ok(out_len @ 1..=8160) = u16::try_from(out.len()) else {
            return Err(InvalidInput::ExportLength { len: out.len() });
        };
        let info = [
            b"countersign/1 export",
            &[label_len][..],
            label,
            &context_len.to_be_bytes(),
            context,
            &out_len.to_be_bytes(),
        ];
        MacKey::new(self.secret.as_bytes()).expand(&info, out);
        Ok(())
    }
}

/// The key id, and nothing of the session secret.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
