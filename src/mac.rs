//! HMAC-SHA-256 (RFC 2104, FIPS 180-4), HKDF (RFC 5869) and comparison in constant time.
//!
//! This is the one file that uses `hmac`, `sha2` and `subtle`. An audit of the cryptography starts
//! here, and replacing a primitive changes nothing else.

use hmac::KeyInit;
use hmac::block_api::HmacCore;
use hmac::digest::block_api::{Buffer, FixedOutputCore, UpdateCore};
use sha2::Sha256;
pub(crate) use subtle::Choice;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// The size of a tag and of every derived key, in bytes.
pub(crate) const TAG_LEN: usize = 32;

/// `H(k, …)`: an HMAC-SHA-256 state that has absorbed its key, and is wiped when dropped.
///
/// It is the core of the HMAC without its block buffer, which a key at rest does not use. That makes
/// a key little more than half as large, and a tag cheaper.
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
    /// It takes one contiguous message because an update for each field costs measurably more.
    pub(crate) fn tag(&self, message: &[u8]) -> Tag {
        self.tag_of([message])
    }

    /// `H(k, parts)`, for parts that are not contiguous in memory.
    pub(crate) fn tag_of<const N: usize>(&self, parts: [&[u8]; N]) -> Tag {
        let mut mac = Absorbing::new(self);
        for part in parts {
            mac.update(part);
        }
        mac.finalize()
    }

    /// `HKDF-Expand(k, info, 32)` of RFC 5869, section 2.3: its first block.
    pub(crate) fn expand_block(&self, info: &[&[u8]]) -> Tag {
        self.block(None, info, 1)
    }

    /// `HKDF-Expand(k, label, 32)`, as a key.
    pub(crate) fn expand_key(&self, label: &[u8]) -> Self {
        Self::new(&self.expand_block(&[label]).0)
    }

    /// `HKDF-Expand(k, info, L)` of RFC 5869, section 2.3, or `None`, and `okm` unchanged, if L
    /// exceeds 8160 bytes.
    ///
    /// `info` is the concatenation of its parts.
    pub(crate) fn expand(&self, info: &[&[u8]], okm: &mut [u8]) -> Option<()> {
        if okm.len() > Self::MAX_EXPANDED {
            return None;
        }
        let mut previous: Option<Tag> = None;
        for (counter, bytes) in (1..=u8::MAX).zip(okm.chunks_mut(TAG_LEN)) {
            let tag = self.block(previous.as_ref(), info, counter);
            for (to, from) in bytes.iter_mut().zip(&tag.0) {
                *to = *from;
            }
            previous = Some(tag);
        }
        Some(())
    }

    const MAX_EXPANDED: usize = u8::MAX as usize * TAG_LEN;

    /// `T(counter)` of RFC 5869, section 2.3.
    fn block(&self, previous: Option<&Tag>, info: &[&[u8]], counter: u8) -> Tag {
        let mut mac = Absorbing::new(self);
        if let Some(previous) = previous {
            mac.update(&previous.0);
        }
        for part in info {
            mac.update(part);
        }
        mac.update(&[counter]);
        mac.finalize()
    }
}

/// HMAC-SHA-384, for a compatibility protocol.
#[cfg(feature = "multiprocessing")]
pub(crate) fn hmac_sha384(key: &[u8], message: &[u8]) -> [u8; 48] {
    hmac::<hmac::Hmac<sha2::Sha384>>(key, message).into()
}

/// HMAC-MD5, for peers of a compatibility protocol that know nothing else.
#[cfg(feature = "multiprocessing-md5")]
pub(crate) fn hmac_md5(key: &[u8], message: &[u8]) -> [u8; 16] {
    hmac::<hmac::Hmac<md5::Md5>>(key, message).into()
}

#[cfg(feature = "multiprocessing")]
fn hmac<M: hmac::Mac + KeyInit>(key: &[u8], message: &[u8]) -> hmac::digest::Output<M> {
    let mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.chain_update(message).finalize().into_bytes()
}

/// Compares two digests in constant time. Only their lengths are public.
#[cfg(feature = "multiprocessing")]
pub(crate) fn digests_equal(expected: &[u8], received: &[u8]) -> Choice {
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

    fn update(&mut self, bytes: &[u8]) {
        let Self { core, buffer } = self;
        buffer.digest_blocks(bytes, |blocks| core.update_blocks(blocks));
    }

    fn finalize(&mut self) -> Tag {
        let mut tag = Tag([0; TAG_LEN]);
        (self.core).finalize_fixed_core(&mut self.buffer, (&mut tag.0).into());
        tag
    }
}

/// A tag that this end computed: a secret until it is disclosed, and wiped when dropped.
///
/// A received tag is an array of bytes. The two types keep an expected tag from being sent, or
/// compared with `==`, by accident.
pub(crate) struct Tag([u8; TAG_LEN]);

impl Tag {
    /// Compares all bytes in constant time. The answer stays a [`Choice`] until the verdict.
    pub(crate) fn matches(&self, received: &[u8; TAG_LEN]) -> Choice {
        let (ours, _) = self.0.as_chunks();
        let (theirs, _) = received.as_chunks();
        // In two words: byte by byte, the comparison takes as long as half a tag.
        (ours.iter().zip(theirs)).fold(Choice::from(1), |equal, (ours, theirs)| {
            equal & u128::from_ne_bytes(*ours).ct_eq(&u128::from_ne_bytes(*theirs))
        })
    }

    /// Compares the first half of the tag, which is what a record carries, in constant time.
    pub(crate) fn begins_with(&self, received: &[u8; TAG_LEN / 2]) -> Choice {
        let (ours, _) = self.0.as_chunks();
        let theirs = u128::from_ne_bytes(*received);
        ours.first().map_or(Choice::from(0), |ours| {
            u128::from_ne_bytes(*ours).ct_eq(&theirs)
        })
    }

    /// Returns the bytes to send.
    pub(crate) fn disclose(self) -> [u8; TAG_LEN] {
        self.0
    }

    /// Returns the first half of the bytes, to send in a record.
    pub(crate) fn disclose_half(self) -> [u8; TAG_LEN / 2] {
        let mut half = [0; TAG_LEN / 2];
        for (to, from) in half.iter_mut().zip(&self.0) {
            *to = *from;
        }
        half
    }

    /// Returns key material, which is as secret as the tag.
    pub(crate) fn as_secret(&self) -> &[u8; TAG_LEN] {
        &self.0
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        // A slice is wiped in a few wide stores, an array byte by byte.
        self.0.as_mut_slice().zeroize();
    }
}

#[cfg(all(test, feature = "std"))]
pub(crate) mod tests;
