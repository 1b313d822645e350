//! Secrets that this crate generates or derives.

use core::fmt;
use core::hint::black_box;

use rand::TryCryptoRng;
use zeroize::Zeroizing;

use crate::random::{NoRandomness, fill};

/// A secret of 64 lower-case hexadecimal digits, which carry 256 bits. Wiped when dropped, with the
/// limits that [`Key`](crate::Key) states.
///
/// The digits are the secret and are never decoded, so that they survive text files, environment
/// variables and secret managers. `Debug` does not show them; [`as_ref`](AsRef::as_ref) does.
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
    /// Generates a secret from 32 bytes of `rng`.
    ///
    /// With feature `std`, [`generate_secret`](crate::generate_secret) uses the operating system's
    /// generator.
    ///
    /// # Errors
    ///
    /// Returns [`NoRandomness`] if the generator fails.
    pub fn generate<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill(rng, &mut *bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut digits = Zeroizing::new([0; 64]);
        let (pairs, _) = digits.as_chunks_mut();
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = hex(*byte);
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

/// Returns two lower-case hexadecimal digits without a branch or a table, because the byte is
/// secret.
fn hex(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0x0f].map(|nibble| {
        // Without the barrier, an optimiser for size makes a branch of the multiplication.
        // checks/constant_time finds out whether the barrier holds with a compiler.
        let is_letter = black_box(9_u8.wrapping_sub(nibble) >> 7);
        b'0' + nibble + is_letter * (b'a' - b'0' - 10)
    })
}
