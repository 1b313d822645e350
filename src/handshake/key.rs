//! Secrets, the keys derived from them, and their names.

use core::borrow::Borrow;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::hint::black_box;

use rand::TryCryptoRng;
use zeroize::Zeroizing;

use super::error::{Error, InvalidInput};
use super::mac::MacKey;
use super::message::append;

/// `PRK`, `Kc`, `Ks` and `Kx`: the keys that both ends derive from one secret, with the key id
/// under which a server knows it.
///
/// The secret itself is forgotten: a `Key` holds four keyed HMAC states (about 400 octets), no
/// heap memory, and is wiped when dropped. Wiping reaches the place where a value is dropped;
/// *moving* a value or computing with it may leave a copy behind that nothing wipes, and so may
/// swapping and core dumps. Where that matters, keep keys behind a reference.
///
/// Two keys cannot be compared: whether two ends hold the same secret is what the handshake
/// finds out, in constant time. To compare two ends by eye there is [`Key::fingerprint`].
///
/// Derivation is HKDF (RFC 5869) with the secret as the input keying material, so that no peer
/// that makes HMACs *under* the same secret can be used to forge these keys.
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
    prk: MacKey,
    client: MacKey,
    server: MacKey,
    session: MacKey,
}

impl Key {
    /// The least number of octets of a secret: 16, for 128 bits (RFC 9257, section 6).
    pub const MIN_SECRET_LEN: usize = 16;

    /// `PRK = HKDF-Extract("countersign/1", secret)`, then `Kc`, `Ks` and `Kx` by expansion.
    ///
    /// The secret is used as given: nothing is decoded or trimmed, and hexadecimal digits are
    /// the secret themselves. It should come from a random generator, as that of
    /// [`generate_secret`](crate::generate_secret) does: whoever sees one handshake can try
    /// guesses offline, so a passphrase will not do, whatever its length. The key has the empty
    /// key id until [`with_id`](Self::with_id) gives it another.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::SecretTooShort`] under 16 octets, [`InvalidInput::SecretConstant`] where
    /// all octets are equal.
    ///
    /// ```
    /// use countersign::{Key, handshake::InvalidInput};
    ///
    /// let error = Key::new(b"peekaboo").unwrap_err();
    /// assert_eq!(error, InvalidInput::SecretTooShort { len: 8 });
    /// ```
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let secret = secret.as_ref();
        let len = secret.len();
        if len < Self::MIN_SECRET_LEN {
            return Err(InvalidInput::SecretTooShort { len });
        }
        if all_equal(secret) {
            return Err(InvalidInput::SecretConstant { len });
        }
        let prk = MacKey::extract(b"countersign/1", secret);
        Ok(Self {
            id: KeyId::EMPTY,
            client: prk.expand_key(b"countersign/1 client proof"),
            server: prk.expand_key(b"countersign/1 server proof"),
            session: prk.expand_key(b"countersign/1 session"),
            prk,
        })
    }

    /// The same key under another key id, of 0 to 64 octets.
    ///
    /// A client sends its key's id in the clear; a server looks the key up by it. The empty id
    /// is an id like any other.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::KeyIdTooLong`] over 64 octets.
    ///
    /// ```
    /// # use countersign::{Key, generate_secret};
    /// # let key = Key::new(generate_secret()?)?;
    /// assert!(key.with_id([0xff; 65]).is_err());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn with_id(self, id: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Ok(Self {
            id: KeyId::new(id)?,
            ..self
        })
    }

    /// The key id.
    ///
    /// ```
    /// # use countersign::{Key, generate_secret};
    /// # let key = Key::new(generate_secret()?)?;
    /// assert_eq!(key.id(), "");
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// `child(id) = hex(Expand(PRK, "countersign/1 child" | LV(id), 32))`: a secret for one
    /// client, 64 hexadecimal digits, derived from this one.
    ///
    /// A holder of this key can derive every child again and needs to store none; a holder of a
    /// child can derive neither this secret nor a sibling. Give it to the client that sends
    /// `id` as its key id, and to no other; `id` has 1 to 64 octets.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ChildIdEmpty`] and [`InvalidInput::KeyIdTooLong`].
    ///
    /// ```
    /// # use countersign::{Key, generate_secret};
    /// let master = Key::new(generate_secret()?)?;
    /// let worker = Key::new(master.child_secret("worker-7")?)?.with_id("worker-7")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn child_secret(&self, id: impl AsRef<[u8]>) -> Result<Secret, InvalidInput> {
        let id = KeyId::new(id)?;
        if id.is_empty() {
            return Err(InvalidInput::ChildIdEmpty);
        }
        let mut octets = Zeroizing::new([0; 32]);
        let info = [b"countersign/1 child", &[id.len_octet()][..], id.as_bytes()];
        self.prk.expand(&info, &mut *octets);
        Ok(Secret::from_octets(&octets))
    }

    /// The first 4 octets of `Expand(PRK, "countersign/1 fingerprint", 32)`, to compare two
    /// ends by eye.
    ///
    /// A fingerprint lets a guess at a *weak* secret be checked offline, so this crate never
    /// prints one: showing it is a decision. Four octets tell two keys of a fleet apart; they
    /// prove nothing.
    ///
    /// ```
    /// # use countersign::Key;
    /// let key = Key::new("0123456789abcdef0123456789abcdef")?;
    /// assert_eq!(key.fingerprint().to_string().len(), 8);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut octets = Zeroizing::new([0; 32]);
        self.prk
            .expand(&[b"countersign/1 fingerprint"], &mut *octets);
        let [a, b, c, d, ..] = *octets;
        Fingerprint([a, b, c, d])
    }

    /// `Kc`
    pub(super) fn client(&self) -> &MacKey {
        &self.client
    }

    /// `Ks`
    pub(super) fn server(&self) -> &MacKey {
        &self.server
    }

    /// `Kx`
    pub(super) fn session(&self) -> &MacKey {
        &self.session
    }
}

/// The key id, and nothing of the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The name of a key: 0 to 64 octets, sent in the clear.
///
/// The octets are the peer's choice and may be anything. `Display` and `Debug` escape them
/// (ASCII, as [`u8::escape_ascii`]), so that a log line stays one line; never use the raw octets
/// as a path.
///
/// ```
/// use countersign::KeyId;
///
/// let id = KeyId::new("worker-7\n")?;
/// assert_eq!(id.to_string(), r"worker-7\n");
/// assert_eq!(id, "worker-7\n");
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId {
    len: u8,
    octets: [u8; Self::MAX_LEN],
}

impl KeyId {
    /// The most octets of a key id: 64.
    pub const MAX_LEN: usize = 64;

    pub(crate) const EMPTY: Self = Self {
        len: 0,
        octets: [0; Self::MAX_LEN],
    };

    /// A key id of 0 to 64 octets.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::KeyIdTooLong`] over 64 octets.
    ///
    /// ```
    /// use countersign::{KeyId, handshake::InvalidInput};
    ///
    /// let error = KeyId::new([b'x'; 65]).unwrap_err();
    /// assert_eq!(error, InvalidInput::KeyIdTooLong { len: 65 });
    /// ```
    pub fn new(id: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let id = id.as_ref();
        if id.len() > Self::MAX_LEN {
            return Err(InvalidInput::KeyIdTooLong { len: id.len() });
        }
        Ok(Self::bounded(id))
    }

    /// The octets.
    ///
    /// ```
    /// assert_eq!(countersign::KeyId::new("a")?.as_bytes(), b"a");
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether there are no octets.
    ///
    /// ```
    /// assert!(countersign::KeyId::new("")?.is_empty());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// An id whose length was bounded before.
    pub(super) fn bounded(id: &[u8]) -> Self {
        let mut key_id = Self::EMPTY;
        let mut len = 0;
        append(&mut key_id.octets, &mut len, id);
        Self {
            len: u8::try_from(len).unwrap_or(0),
            ..key_id
        }
    }

    pub(super) fn len_octet(&self) -> u8 {
        self.len
    }
}

impl AsRef<[u8]> for KeyId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// As the octets hash, so that a map of key ids can be searched for octets.
impl Hash for KeyId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for KeyId {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq<str> for KeyId {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for KeyId {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// 64 lower-case hexadecimal digits that carry 256 bits, wiped when dropped, with the limits that
/// [`Key`] states.
///
/// The digits are the secret; they are never decoded. So they survive text files, environment
/// variables and secret managers. `Debug` does not show them; writing
/// [`as_ref`](AsRef::as_ref) somewhere is a decision.
///
/// ```
/// use countersign::{Key, generate_secret};
///
/// let secret = generate_secret()?;
/// assert_eq!(secret.as_ref().len(), 64);
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// let key = Key::new(&secret)?;
/// # Ok::<(), countersign::Error>(())
/// ```
pub struct Secret(Zeroizing<[u8; 64]>);

impl Secret {
    /// Draws 32 octets from `rng`, as hexadecimal.
    ///
    /// With feature `std`, [`generate_secret`](crate::generate_secret) takes the operating
    /// system's generator.
    ///
    /// # Errors
    ///
    /// [`Error::NoRandomness`] if the generator fails.
    ///
    /// ```
    /// use countersign::Secret;
    /// use rand::rngs::SysRng;
    ///
    /// let secret = Secret::generate(&mut SysRng)?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn generate<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, Error> {
        let mut octets = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *octets)
            .map_err(|_| Error::NoRandomness)?;
        Ok(Self::from_octets(&octets))
    }

    fn from_octets(octets: &[u8; 32]) -> Self {
        let mut digits = Zeroizing::new([0; 64]);
        for (pair, octet) in digits.chunks_exact_mut(2).zip(octets) {
            pair.copy_from_slice(&hex(*octet));
        }
        Self(digits)
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &*self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Four octets to compare two keys by eye; [`Key::fingerprint`] says what showing them costs.
///
/// `Display` and `Debug` give eight lower-case hexadecimal digits.
///
/// ```
/// # use countersign::{Key, generate_secret};
/// # let key = Key::new(generate_secret()?)?;
/// assert_eq!(key.fingerprint(), key.clone().fingerprint());
/// # Ok::<(), countersign::Error>(())
/// ```
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

/// Looks at every octet, so that the time tells the answer and nothing else.
fn all_equal(secret: &[u8]) -> bool {
    let first = secret.first().copied().unwrap_or_default();
    secret
        .iter()
        .fold(0, |differs, octet| differs | (octet ^ first))
        == 0
}

/// Two lower-case hexadecimal digits, without a branch or a table: the octet is secret.
fn hex(octet: u8) -> [u8; 2] {
    [octet >> 4, octet & 0x0f].map(|nibble| {
        // Without the barrier, an optimiser for size makes a branch of the multiplication; whether
        // it holds with a compiler is what checks/constant_time finds out.
        let is_letter = black_box(9_u8.wrapping_sub(nibble) >> 7);
        b'0' + nibble + is_letter * (b'a' - b'0' - 10)
    })
}
