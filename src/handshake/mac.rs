//! HMAC-SHA-256 (RFC 2104, FIPS 180-4), HKDF (RFC 5869) and comparison in constant time.
//!
//! The one file that touches `hmac`, `sha2` and `subtle`: whoever audits the cryptography
//! of this crate starts here, and whoever replaces a primitive stops here.

use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
pub(crate) use subtle::Choice;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The size of a tag and of every derived key, in octets.
pub(crate) const TAG_LEN: usize = 32;

/// `H(k, …)`: an HMAC-SHA-256 state that has absorbed its key, and is wiped when dropped.
#[derive(Clone)]
pub(crate) struct MacKey(Hmac<Sha256>);

impl MacKey {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of every length"))
    }

    /// `HKDF-Extract(salt, IKM)` of RFC 5869, section 2.2, as the key of an expansion.
    pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Self {
        Self::new(&*Self::new(salt).tag(ikm).0)
    }

    /// `H(k, message)`
    ///
    /// One contiguous message, since an update for each field costs measurably more.
    pub(crate) fn tag(&self, message: &[u8]) -> Tag {
        let mut mac = self.0.clone();
        mac.update(message);
        Tag::finalize(mac)
    }

    /// `HKDF-Expand(k, info, L)` of RFC 5869, section 2.3, for an L of at most 8160 octets.
    ///
    /// `info` is the concatenation of its parts. Octets past the 8160th are left as they are:
    /// callers bound the length, and name the bound in an error of their own.
    pub(crate) fn expand(&self, info: &[&[u8]], okm: &mut [u8]) {
        let mut previous: Option<Tag> = None;
        for (counter, block) in (1..=u8::MAX).zip(okm.chunks_mut(TAG_LEN)) {
            let mut mac = self.0.clone();
            if let Some(previous) = &previous {
                mac.update(&*previous.0);
            }
            for part in info {
                mac.update(part);
            }
            mac.update(&[counter]);
            let tag = Tag::finalize(mac);
            for (to, from) in block.iter_mut().zip(tag.0.iter()) {
                *to = *from;
            }
            previous = Some(tag);
        }
    }

    /// `Expand(k, label, 32)`, as a key.
    pub(crate) fn expand_key(&self, label: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; TAG_LEN]);
        self.expand(&[label], &mut *key);
        Self::new(&*key)
    }
}

/// A tag that this end computed: a secret until it is disclosed, and wiped when dropped.
///
/// What was received is an array of octets; the two types keep an expected tag from being
/// sent or compared by accident.
pub(crate) struct Tag(Zeroizing<[u8; TAG_LEN]>);

impl Tag {
    /// Compares all octets in constant time; the answer stays a [`Choice`] until the verdict.
    pub(crate) fn matches(&self, received: &[u8; TAG_LEN]) -> Choice {
        self.0.ct_eq(received)
    }

    /// Crosses over to the octets that are sent.
    pub(crate) fn disclose(self) -> [u8; TAG_LEN] {
        *self.0
    }

    /// Crosses over to key material, which is as secret as the tag was.
    pub(crate) fn into_secret(self) -> Zeroizing<[u8; TAG_LEN]> {
        self.0
    }

    fn finalize(mac: Hmac<Sha256>) -> Self {
        let mut tag = Zeroizing::new([0; TAG_LEN]);
        mac.finalize_into((&mut *tag).into());
        Self(tag)
    }
}
