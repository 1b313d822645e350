//! The protection of records in mode 2: the one file that uses `aes-gcm`.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

use super::sealed::Sealed;
use super::{Error, Header, Protection, RecordTag};
use crate::buffer::join;
use crate::mac::MacKey;

/// AES-256-GCM (NIST SP 800-38D), under a key that is replaced after every 65,536 records. It
/// protects from alteration and hides the payload, but not its length.
///
/// A key that is replaced is wiped. Whoever takes a key, or the state that the next keys are derived
/// from, opens no record of an earlier step.
pub struct Encryption {
    /// `S[i]`, from which the key of this step and the next state are derived.
    state: MacKey,
    /// AES-256-GCM under `K[i]`.
    cipher: Aes256Gcm,
}

/// `log2` of the number of records of a step.
const STEP_BITS: u32 = 16;

impl Encryption {
    /// Makes step 0 of a direction, of `S[0]`.
    pub(crate) fn new(state: MacKey) -> Self {
        let key = state.expand_block(&[b"countersign/1 encrypt key"]);
        let cipher = Aes256Gcm::new(key.as_secret().into());
        Self { state, cipher }
    }
}

impl Sealed for Encryption {}

impl Protection for Encryption {
    fn seal(&self, seq: u64, header: Header, payload: &mut [u8]) -> Result<RecordTag, Error> {
        let len = payload.len();
        let sealed = (self.cipher).encrypt_inout_detached(
            &nonce(seq).into(),
            &header,
            InOutBuf::from(payload),
        );
        // The length is in the bounds of the cipher wherever it is in the bounds of a record.
        let tag = sealed.map_err(|_| Error::Length { len })?;
        Ok(tag.into())
    }

    fn open(
        &self,
        seq: u64,
        header: Header,
        payload: &mut [u8],
        tag: &RecordTag,
    ) -> Result<(), Error> {
        let opened = (self.cipher).decrypt_inout_detached(
            &nonce(seq).into(),
            &header,
            InOutBuf::from(payload),
            tag.into(),
        );
        opened.map_err(|_| Error::BadTag)
    }

    fn advance(&mut self, seq: u64) {
        if seq.trailing_zeros() >= STEP_BITS {
            *self = Self::new(self.state.expand_key(b"countersign/1 encrypt next"));
        }
    }
}

/// Four zero bytes, then `u64 seq`.
fn nonce(seq: u64) -> [u8; 12] {
    join(&[0; 4], &seq.to_be_bytes())
}

opaque_debug!(Encryption {});
