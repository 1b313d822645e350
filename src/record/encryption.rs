//! The protection of records in mode 2: the one file that uses `aes-gcm`.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{self, AeadInOut, KeyInit};

use super::sealed::Sealed;
use super::{Error, Header, Protection, RecordTag};
use crate::buffer::join;
use crate::mac::MacKey;
use crate::stack;

/// AES-256-GCM (NIST SP 800-38D), under a key that is replaced after every 65,536 records. It
/// protects from alteration and hides the payload, but not its length.
///
/// A key that is replaced is wiped. Whoever takes a key, or the state that the next keys are derived
/// from, opens no record of an earlier step.
pub struct Encryption {
    /// `S[i]`, from which the key of this step and the next state are derived.
    state: MacKey,
    /// The cipher under `K[i]`.
    cipher: Cipher,
}

/// `log2` of the number of records of a step.
const STEP_BITS: u32 = 16;

impl Encryption {
    /// Makes step 0 of a direction, of `S[0]`.
    pub(crate) fn new(state: MacKey) -> Self {
        let key = state.expand_block(&[b"countersign/1 encrypt key"]);
        let cipher = Cipher::new(key.as_secret());
        Self { state, cipher }
    }
}

impl Sealed for Encryption {}

impl Protection for Encryption {
    fn seal(&self, seq: u64, header: Header, payload: &mut [u8]) -> Result<RecordTag, Error> {
        let len = payload.len();
        // The length is in the bounds of the cipher wherever it is in the bounds of a record.
        (self.cipher.seal(&nonce(seq), &header, payload)).map_err(|_| Error::Length { len })
    }

    fn open(
        &self,
        seq: u64,
        header: Header,
        payload: &mut [u8],
        tag: &RecordTag,
    ) -> Result<(), Error> {
        (self.cipher.open(&nonce(seq), &header, payload, tag)).map_err(|_| Error::BadTag)
    }

    fn advance(&mut self, seq: u64) {
        if seq.trailing_zeros() >= STEP_BITS {
            let state = self.state.expand_key(b"countersign/1 encrypt next");
            stack::wipe();
            *self = Self::new(state);
            stack::wipe();
        }
    }
}

/// Four zero bytes, then `u64 seq`.
fn nonce(seq: u64) -> Nonce {
    join(&[0; 4], &seq.to_be_bytes())
}

type Nonce = [u8; 12];

/// AES-256-GCM under one key, in place.
struct Cipher(Aes256Gcm);

impl Cipher {
    fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    fn seal(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        payload: &mut [u8],
    ) -> Result<RecordTag, aead::Error> {
        let payload = InOutBuf::from(payload);
        let tag = (self.0).encrypt_inout_detached(nonce.into(), associated, payload)?;
        Ok(tag.into())
    }

    fn open(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        payload: &mut [u8],
        tag: &RecordTag,
    ) -> Result<(), aead::Error> {
        let payload = InOutBuf::from(payload);
        (self.0).decrypt_inout_detached(nonce.into(), associated, payload, tag.into())
    }
}

opaque_debug!(Encryption {});

#[cfg(all(test, feature = "std"))]
mod tests;
