//! Keys from passphrases.

use scrypt::{Params, scrypt};
use zeroize::Zeroizing;

use crate::buffer::Buffer;
use crate::invalid_input::InvalidInput;
use crate::key::{Key, KeyId, Secret};

/// `N = 2^16`, `r = 8`, `p = 2` (RFC 7914, section 2).
const LOG_N: u8 = 16;
const R: u32 = 8;
const P: u32 = 2;

/// The shortest passphrase, in bytes.
const MIN_LEN: usize = 8;

impl Key {
    /// Derives a key from a passphrase of at least 8 bytes, with scrypt (RFC 7914).
    ///
    /// `secret = hex(scrypt(passphrase, "countersign/1 passphrase" | LV(key id), N = 2^16, r = 8,
    /// p = 2, 32))` (PROTOCOL.md, section 3). Both ends must use the same key id, because it is the
    /// salt. The empty key id is refused: it would make the salt the same everywhere.
    ///
    /// This takes about half a second of one core and 64 MiB of memory, once. It slows guesses down
    /// and does not stop them: anyone who records one handshake can test guesses offline, each at
    /// this cost. A random key ([`generate_secret`](crate::generate_secret)) is better wherever nobody
    /// has to type it.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::PassphraseTooShort`], [`InvalidInput::PassphraseNul`],
    /// [`InvalidInput::PassphraseIdEmpty`] or [`InvalidInput::KeyIdTooLong`].
    ///
    /// ```no_run
    /// use countersign::Key;
    ///
    /// let key = Key::from_passphrase("correct horse battery staple", "laptop-3")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[expect(
        clippy::missing_panics_doc,
        reason = "scrypt refuses none of these constants"
    )]
    pub fn from_passphrase(
        passphrase: impl AsRef<[u8]>,
        key_id: impl AsRef<[u8]>,
    ) -> Result<Self, InvalidInput> {
        let passphrase = passphrase.as_ref();
        let len = passphrase.len();
        if len < MIN_LEN {
            return Err(InvalidInput::PassphraseTooShort { len });
        }
        // It becomes the key of an HMAC, which is filled up with NULs.
        if passphrase.contains(&0) {
            return Err(InvalidInput::PassphraseNul);
        }
        let id = KeyId::new(key_id)?;
        if id.is_empty() {
            return Err(InvalidInput::PassphraseIdEmpty);
        }
        let too_long = |_| InvalidInput::KeyIdTooLong {
            len: id.as_bytes().len(),
        };
        let mut salt = Buffer::<96>::EMPTY;
        salt.append(b"countersign/1 passphrase").map_err(too_long)?;
        salt.append_lv(id.as_bytes()).map_err(too_long)?;
        let params = Params::new(LOG_N, R, P).expect("these parameters are allowed");
        let mut bytes = Zeroizing::new([0; 32]);
        scrypt(passphrase, salt.as_slice(), &params, &mut *bytes)
            .expect("an output of 32 bytes is allowed");
        Self::new(Secret::from_bytes(&bytes))?.with_id(id)
    }
}
