//! A secret's keys, their names and their fingerprints.

mod id;
mod secret;

use core::fmt;

use crate::invalid_input::InvalidInput;
#[cfg(feature = "std")]
use crate::mac::Choice;
use crate::mac::{MacKey, Tag};

pub use self::id::KeyId;
pub use self::secret::Secret;

/// The keys that both ends derive from one secret, with the key id under which a server finds
/// them.
///
/// The secret itself is not kept. A `Key` holds four keyed HMAC states of about 100 bytes, and has
/// room for the keys of a second secret. It holds no heap memory, and is wiped when dropped. Wiping
/// covers the place where a value is dropped: *moving* a value or computing with it may leave a
/// copy behind, and so may swapping and core dumps. Where that matters, keep keys behind a
/// reference.
///
/// Keys cannot be compared: the handshake finds out in constant time whether two ends hold the
/// same secret. To compare two ends by eye, use [`Key::fingerprint`].
///
/// Derivation is HKDF (RFC 5869) with the secret as the input keying material, so a peer that
/// computes HMACs *under* the same secret cannot be used to forge these keys.
///
/// ```
/// use countersign::{Key, generate_secret};
///
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// assert_eq!(key.id(), "worker-7");
/// # Ok::<(), countersign::Error>(())
/// ```
///
/// Keys have no equality; their ids do:
///
/// ```compile_fail,E0369
/// # use countersign::{Key, generate_secret};
/// # let (a, b) = (Key::new(generate_secret()?)?, Key::new(generate_secret()?)?);
/// let same = a == b;
/// # Ok::<(), countersign::Error>(())
/// ```
///
/// ```
/// # use countersign::{Key, generate_secret};
/// # let (a, b) = (Key::new(generate_secret()?)?, Key::new(generate_secret()?)?);
/// let same = a.id() == b.id();
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    first: Derived,
    /// The keys of the second secret or, without one, those of the first again. An `Option` would
    /// leave its memory as it was, and moving it would take old contents of the stack along.
    second: Derived,
    accepts_second: bool,
}

/// The keys of one secret.
#[derive(Clone)]
pub(crate) struct Derived {
    prk: MacKey,
    /// `Kc`
    pub(crate) client: MacKey,
    /// `Ks`
    pub(crate) server: MacKey,
    /// `Kx`
    pub(crate) session: MacKey,
}

impl Key {
    /// The shortest secret: 16 bytes, for 128 bits (RFC 9257, section 6).
    pub const MIN_SECRET_LEN: usize = 16;

    /// Derives the keys of a secret. The key id is empty until [`with_id`](Self::with_id) sets it.
    ///
    /// `PRK = HKDF-Extract("countersign/1", secret)`; `Kc`, `Ks` and `Kx` are expanded from it
    /// (PROTOCOL.md, section 3).
    ///
    /// The secret is used as given: nothing is decoded or trimmed, and hexadecimal digits are the
    /// secret themselves. It must come from a random generator, such as
    /// [`generate_secret`](crate::generate_secret): anyone who records one handshake can test
    /// guesses offline, so a passphrase is too weak, whatever its length.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::SecretTooShort`] for fewer than 16 bytes, and
    /// [`InvalidInput::SecretConstant`] if all bytes are equal.
    ///
    /// ```
    /// use countersign::{InvalidInput, Key};
    ///
    /// let error = Key::new(b"peekaboo").unwrap_err();
    /// assert_eq!(error, InvalidInput::SecretTooShort { len: 8 });
    /// ```
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let first = Derived::new(secret.as_ref())?;
        Ok(Self {
            id: KeyId::EMPTY,
            second: first.clone(),
            first,
            accepts_second: false,
        })
    }

    /// Accepts a second secret at a server while the secret of this key id is rotated.
    ///
    /// A client uses the first secret only. A server verifies the first secret and, if that fails,
    /// the second; [`Session::matched`](crate::Session::matched) says which one matched. So a new
    /// secret reaches every server before the first client uses it, and no client is refused.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`new`](Self::new).
    ///
    /// ```
    /// # use countersign::{Key, generate_secret};
    /// # let (old, new) = (generate_secret()?, generate_secret()?);
    /// let key = Key::new(&old)?.accepting(&new)?.with_id("worker-7")?; // on every server, first
    /// let key = Key::new(&new)?.accepting(&old)?.with_id("worker-7")?; // once all clients have it
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn accepting(self, secret: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Ok(Self {
            second: Derived::new(secret.as_ref())?,
            accepts_second: true,
            ..self
        })
    }

    /// Sets the key id, of 0 to 64 bytes.
    ///
    /// A client sends its key id in the clear, and a server looks the key up by it. The empty id is
    /// an id like any other.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::KeyIdTooLong`] for more than 64 bytes.
    pub fn with_id(self, id: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Ok(Self {
            id: KeyId::new(id)?,
            ..self
        })
    }

    /// Returns the key id.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Derives a secret for one client from this one, as 64 hexadecimal digits.
    ///
    /// `child(id) = hex(Expand(PRK, "countersign/1 child" | LV(id), 32))`. Whoever holds this key
    /// can derive every child again and needs to store none. Whoever holds a child can derive
    /// neither this secret nor a sibling. Give it only to the client that sends `id` as its key
    /// id, of 1 to 64 bytes.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::ChildIdEmpty`] or [`InvalidInput::KeyIdTooLong`].
    ///
    /// ```
    /// # use countersign::{Key, generate_secret};
    /// let master = Key::new(generate_secret()?)?;
    /// let worker = Key::new(master.child_secret("worker-7")?)?.with_id("worker-7")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn child_secret(&self, id: impl AsRef<[u8]>) -> Result<Secret, InvalidInput> {
        self.first.child_secret(&KeyId::new(id)?)
    }

    /// Returns the child with this id, which accepts two secrets if this key does.
    #[cfg(feature = "std")]
    pub(crate) fn child(&self, id: KeyId) -> Result<Self, InvalidInput> {
        let child = Self::new(self.first.child_secret(&id)?)?;
        let child = match self.accepted() {
            Some(accepted) => child.accepting(accepted.child_secret(&id)?)?,
            None => child,
        };
        Ok(Self { id, ..child })
    }

    /// Returns four bytes to compare two ends by eye: the first of
    /// `Expand(PRK, "countersign/1 fingerprint", 32)`.
    ///
    /// A fingerprint lets guesses at a *weak* secret be tested offline, so this crate never prints
    /// one by itself. Four bytes tell the keys of a fleet apart; they prove nothing.
    ///
    /// ```
    /// # use countersign::Key;
    /// let key = Key::new("0123456789abcdef0123456789abcdef")?;
    /// assert_eq!(key.fingerprint().to_string().len(), 8);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.first.fingerprint()
    }

    /// Returns the [`fingerprint`](Self::fingerprint) of the second secret, if there is one.
    #[must_use]
    pub fn accepted_fingerprint(&self) -> Option<Fingerprint> {
        self.accepted().map(Derived::fingerprint)
    }

    /// Returns whether two keys have the same secrets in the same places.
    #[cfg(feature = "std")]
    pub(crate) fn has_secrets_of(&self, other: &Self) -> bool {
        let same_places = Choice::from(u8::from(self.accepts_second == other.accepts_second));
        let same_secrets = self.first.is_same(&other.first) & self.second.is_same(&other.second);
        (same_places & same_secrets).into()
    }

    pub(crate) fn first(&self) -> &Derived {
        &self.first
    }

    pub(crate) fn accepted(&self) -> Option<&Derived> {
        self.accepts_second.then_some(&self.second)
    }
}

impl Derived {
    fn new(secret: &[u8]) -> Result<Self, InvalidInput> {
        let len = secret.len();
        if len < Key::MIN_SECRET_LEN {
            return Err(InvalidInput::SecretTooShort { len });
        }
        if all_equal(secret) {
            return Err(InvalidInput::SecretConstant { len });
        }
        let prk = MacKey::extract(b"countersign/1", secret);
        Ok(Self {
            client: prk.expand_key(b"countersign/1 client proof"),
            server: prk.expand_key(b"countersign/1 server proof"),
            session: prk.expand_key(b"countersign/1 session"),
            prk,
        })
    }

    fn child_secret(&self, id: &KeyId) -> Result<Secret, InvalidInput> {
        let Ok(len @ 1..) = u8::try_from(id.as_bytes().len()) else {
            return Err(InvalidInput::ChildIdEmpty);
        };
        let info = [b"countersign/1 child", &[len][..], id.as_bytes()];
        Ok(Secret::from_bytes(self.prk.expand_block(&info).as_secret()))
    }

    fn fingerprint(&self) -> Fingerprint {
        let block = self.fingerprint_block();
        let [a, b, c, d, ..] = *block.as_secret();
        Fingerprint([a, b, c, d])
    }

    fn fingerprint_block(&self) -> Tag {
        self.prk.expand_block(&[b"countersign/1 fingerprint"])
    }

    #[cfg(feature = "std")]
    fn is_same(&self, other: &Self) -> Choice {
        let theirs = other.fingerprint_block();
        self.fingerprint_block().matches(theirs.as_secret())
    }
}

opaque_debug!(Key { id });

/// Four bytes to compare two keys by eye; see [`Key::fingerprint`] for what showing them costs.
///
/// `Display` and `Debug` give eight lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 4]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Looks at every byte, so that the time depends on the answer only.
fn all_equal(secret: &[u8]) -> bool {
    let Some((first, rest)) = secret.split_first() else {
        return true;
    };
    rest.iter()
        .fold(0, |differs, byte| differs | (byte ^ first))
        == 0
}
