//! The protection of records in mode 1.

use super::sealed::Sealed;
use super::{Error, Header, Protection, RecordTag};
use crate::buffer::join;
use crate::mac::MacKey;

/// HMAC-SHA-256 of the sequence number, the length and the payload, cut to 16 bytes. It protects from
/// alteration and hides nothing.
pub struct Integrity(MacKey);

impl Integrity {
    pub(crate) fn new(key: MacKey) -> Self {
        Self(key)
    }
}

impl Sealed for Integrity {}

impl Protection for Integrity {
    fn seal(&self, seq: u64, header: Header, payload: &mut [u8]) -> Result<RecordTag, Error> {
        let tag = self.0.tag_of([&prefix(seq, header), payload]);
        Ok(tag.disclose_half())
    }

    fn open(
        &self,
        seq: u64,
        header: Header,
        payload: &mut [u8],
        tag: &RecordTag,
    ) -> Result<(), Error> {
        let expected = self.0.tag_of([&prefix(seq, header), payload]);
        if bool::from(expected.begins_with(tag)) {
            Ok(())
        } else {
            Err(Error::BadTag)
        }
    }

    fn advance(&mut self, _: u64) {}
}

/// `seq u64 | n u16`: what the tag covers before the payload.
fn prefix(seq: u64, header: Header) -> [u8; 10] {
    join(&seq.to_be_bytes(), &header)
}

opaque_debug!(Integrity {});
