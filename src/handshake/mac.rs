//! HMAC-SHA-256 (RFC 2104, FIPS 180-4), HKDF (RFC 5869) and comparison in constant time.
//!
//! The one file that touches `hmac`, `sha2` and `subtle`: whoever audits the cryptography
//! of this crate starts here, and whoever replaces a primitive stops here.

use hmac::KeyInit;
use hmac::block_api::HmacCore;
use hmac::digest::block_api::{Buffer, FixedOutputCore, UpdateCore};
use sha2::Sha256;
pub(crate) use subtle::Choice;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The size of a tag and of every derived key, in octets.
pub(crate) const TAG_LEN: usize = 32;

/// `H(k, …)`: an HMAC-SHA-256 state that has absorbed its key, and is wiped when dropped.
///
/// It is the core of the HMAC without its buffer of one block, which a key at rest has no use
/// for: that makes a key little more than half as large, and a tag cheaper.
#[derive(Clone)]
pub(crate) struct MacKey(HmacCore<Sha256>);

impl MacKey {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(HmacCore::new_from_slice(key).expect("HMAC takes keys of every length"))
    }

    /// `HKDF-Extract(salt, IKM)` of RFC 5869, section 2.2, as the key of an expansion.
    pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Self {
        Self::new(&Self::new(salt).tag(ikm).0)
    }

    /// `H(k, message)`
    ///
    /// One contiguous message, since an update for each field costs measurably more.
    pub(crate) fn tag(&self, message: &[u8]) -> Tag {
        let mut mac = Absorbing::new(self);
        mac.update(message);
        mac.finalize()
    }

    /// `H(k, prefix | payload)`, of a payload that stays where it is.
    pub(crate) fn tag_of(&self, prefix: &[u8], payload: &[u8]) -> Tag {
        let mut mac = Absorbing::new(self);
        mac.update(prefix);
        mac.update(payload);
        mac.finalize()
    }

    /// `HKDF-Expand(k, info, L)` of RFC 5869, section 2.3, for an L of at most 8160 octets.
    ///
    /// `info` is the concatenation of its parts. Octets past the 8160th are left as they are:
    /// callers bound the length, and name the bound in an error of their own.
    pub(crate) fn expand(&self, info: &[&[u8]], okm: &mut [u8]) {
        let mut previous: Option<Tag> = None;
        for (counter, block) in (1..=u8::MAX).zip(okm.chunks_mut(TAG_LEN)) {
            let mut mac = Absorbing::new(self);
            if let Some(previous) = &previous {
                mac.update(&previous.0);
            }
            for part in info {
                mac.update(part);
            }
            mac.update(&[counter]);
            let tag = mac.finalize();
            for (to, from) in block.iter_mut().zip(&tag.0) {
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

/// HMAC-SHA-384, for a wire that is not ours.
#[cfg(feature = "multiprocessing")]
pub(crate) fn hmac_sha384(key: &[u8], message: &[u8]) -> [u8; 48] {
    hmac::<hmac::Hmac<sha2::Sha384>>(key, message).into()
}

/// HMAC-MD5, for a wire that is not ours and peers that know nothing else.
#[cfg(feature = "multiprocessing-md5")]
pub(crate) fn hmac_md5(key: &[u8], message: &[u8]) -> [u8; 16] {
    hmac::<hmac::Hmac<md5::Md5>>(key, message).into()
}

#[cfg(feature = "multiprocessing")]
fn hmac<M: hmac::Mac + KeyInit>(key: &[u8], message: &[u8]) -> hmac::digest::Output<M> {
    let mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.chain_update(message).finalize().into_bytes()
}

/// Compares two digests, of which the lengths alone are public, in constant time.
#[cfg(feature = "multiprocessing")]
pub(crate) fn octets_equal(expected: &[u8], received: &[u8]) -> Choice {
    expected.ct_eq(received)
}

/// A message on its way into an HMAC.
struct Absorbing {
    core: HmacCore<Sha256>,
    buffer: Buffer<HmacCore<Sha256>>,
}

impl Absorbing {
    fn new(key: &MacKey) -> Self {
        Self {
            core: key.0.clone(),
            buffer: Buffer::<HmacCore<Sha256>>::default(),
        }
    }

    fn update(&mut self, octets: &[u8]) {
        let Self { core, buffer } = self;
        buffer.digest_blocks(octets, |blocks| core.update_blocks(blocks));
    }

    fn finalize(&mut self) -> Tag {
        let mut tag = Tag([0; TAG_LEN]);
        (self.core).finalize_fixed_core(&mut self.buffer, (&mut tag.0).into());
        tag
    }
}

/// A tag that this end computed: a secret until it is disclosed, and wiped when dropped.
///
/// What was received is an array of octets; the two types keep an expected tag from being
/// sent or compared by accident.
pub(crate) struct Tag([u8; TAG_LEN]);

impl Tag {
    /// Compares all octets in constant time; the answer stays a [`Choice`] until the verdict.
    pub(crate) fn matches(&self, received: &[u8; TAG_LEN]) -> Choice {
        let (ours, _) = self.0.as_chunks();
        let (theirs, _) = received.as_chunks();
        // In two words: octet by octet it takes as long as half a tag.
        (ours.iter().zip(theirs)).fold(Choice::from(1), |equal, (ours, theirs)| {
            equal & u128::from_ne_bytes(*ours).ct_eq(&u128::from_ne_bytes(*theirs))
        })
    }

    /// Compares the first half of the octets, as a record has them, in constant time.
    pub(crate) fn begins_with(&self, received: &[u8; TAG_LEN / 2]) -> Choice {
        let (ours, _) = self.0.as_chunks();
        let theirs = u128::from_ne_bytes(*received);
        ours.first().map_or(Choice::from(0), |ours| {
            u128::from_ne_bytes(*ours).ct_eq(&theirs)
        })
    }

    /// Crosses over to the octets that are sent.
    pub(crate) fn disclose(self) -> [u8; TAG_LEN] {
        self.0
    }

    /// Key material, which is as secret as the tag.
    pub(crate) fn as_secret(&self) -> &[u8; TAG_LEN] {
        &self.0
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        // A slice is wiped in a few wide stores, an array octet by octet.
        self.0.as_mut_slice().zeroize();
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
