//! X25519 (RFC 7748, section 5), for mode 2: the one file that uses `x25519-dalek`.

use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroize;

use crate::stack;

/// The size of a key share, of a private key and of a shared secret, in bytes.
pub(crate) const SHARE_LEN: usize = 32;

/// A private key, for one exchange. It is wiped when dropped.
pub(crate) struct PrivateKey(StaticSecret);

impl PrivateKey {
    /// Takes the bytes of the generator, and wipes them where they were.
    pub(crate) fn take(random: &mut [u8; SHARE_LEN]) -> Self {
        let key = StaticSecret::from(*random);
        random.zeroize();
        Self(key)
    }

    /// Returns the share to send: `X25519(key, 9)`.
    pub(crate) fn share(&self) -> [u8; SHARE_LEN] {
        let share = PublicKey::from(&self.0).to_bytes();
        stack::wipe();
        share
    }

    /// Returns `X25519(key, share)`, or `None` if it is all zeros. The share is used as it was sent.
    ///
    /// It takes the key, so that no key is used twice.
    pub(crate) fn agree(self, share: [u8; SHARE_LEN]) -> Option<Shared> {
        let shared = self.0.diffie_hellman(&PublicKey::from(share));
        stack::wipe();
        shared.was_contributory().then_some(Shared(shared))
    }
}

/// A shared secret that is not all zeros. It is wiped when dropped.
pub struct Shared(SharedSecret);

impl Shared {
    pub(crate) fn as_bytes(&self) -> &[u8; SHARE_LEN] {
        self.0.as_bytes()
    }
}

opaque_debug!(Shared {});

#[cfg(all(test, feature = "std"))]
mod tests;
