//! Records of one length, with the same bytes as countersign's, made with nothing but the primitive
//! that protects them.

use std::io::{BufReader, ErrorKind, Read, Result, Write};

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use countersign::record::PAYLOAD_MAX;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A stream of records `n (2 bytes) | payload | tag (16)`. All payloads have the same length.
pub struct ByHand<S, P> {
    /// Reads many small records at once, and large ones directly to where they are opened.
    stream: BufReader<S>,
    primitive: P,
    header: [u8; HEADER_LEN],
    record: Vec<u8>,
    /// Of the next record.
    number: u64,
}

/// Protects payloads in place. The number and the header of the record are authenticated too.
pub trait Primitive: Send + 'static {
    fn seal(&self, number: u64, header: [u8; HEADER_LEN], payload: &mut [u8]) -> [u8; TAG_LEN];

    /// Returns whether the tag is the record's.
    fn open(
        &self,
        number: u64,
        header: [u8; HEADER_LEN],
        payload: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> bool;
}

const HEADER_LEN: usize = 2;
const TAG_LEN: usize = 16;

impl<S: Read, P> ByHand<S, P> {
    pub fn new(stream: S, primitive: P, payload_len: u16) -> Self {
        let header = payload_len.to_be_bytes();
        let mut record = vec![0; HEADER_LEN + usize::from(payload_len) + TAG_LEN];
        record[..HEADER_LEN].copy_from_slice(&header);
        Self {
            stream: BufReader::with_capacity(PAYLOAD_MAX, stream),
            primitive,
            header,
            record,
            number: 0,
        }
    }
}

impl<S: Write, P: Primitive> Write for ByHand<S, P> {
    fn write(&mut self, payload: &[u8]) -> Result<usize> {
        let (place, tag) = self.record[HEADER_LEN..].split_at_mut(payload.len());
        place.copy_from_slice(payload);
        tag.copy_from_slice(&self.primitive.seal(self.number, self.header, place));
        self.number += 1;
        self.stream.get_mut().write_all(&self.record)?;
        Ok(payload.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl<S: Read, P: Primitive> Read for ByHand<S, P> {
    fn read(&mut self, payload: &mut [u8]) -> Result<usize> {
        self.stream.read_exact(&mut self.record)?;
        let (header, rest) = self.record.split_at_mut(HEADER_LEN);
        let (place, tag) = rest.split_at_mut(payload.len());
        let tag = (&*tag).try_into().map_err(|_| ErrorKind::InvalidInput)?;
        if header != self.header || !(self.primitive).open(self.number, self.header, place, tag) {
            return Err(ErrorKind::InvalidData.into());
        }
        self.number += 1;
        payload.copy_from_slice(place);
        Ok(payload.len())
    }
}

/// HMAC-SHA-256, cut to 16 bytes.
pub struct Hashed(Hmac<Sha256>);

impl Hashed {
    pub fn new() -> Self {
        Self(Hmac::new_from_slice(&[7; 32]).unwrap_or_else(|_| unreachable!()))
    }

    fn tag(&self, number: u64, header: [u8; HEADER_LEN], payload: &[u8]) -> [u8; TAG_LEN] {
        let mut prefix = [0; 8 + HEADER_LEN];
        prefix[..8].copy_from_slice(&number.to_be_bytes());
        prefix[8..].copy_from_slice(&header);
        let mut mac = self.0.clone();
        mac.update(&prefix);
        mac.update(payload);
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        *tag.first_chunk().unwrap_or_else(|| unreachable!())
    }
}

impl Primitive for Hashed {
    fn seal(&self, number: u64, header: [u8; HEADER_LEN], payload: &mut [u8]) -> [u8; TAG_LEN] {
        self.tag(number, header, payload)
    }

    fn open(
        &self,
        number: u64,
        header: [u8; HEADER_LEN],
        payload: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> bool {
        self.tag(number, header, payload) == tag
    }
}

/// AES-256-GCM, with the number as the nonce.
pub struct Encrypted(Aes256Gcm);

impl Encrypted {
    pub fn new() -> Self {
        Self(Aes256Gcm::new(&[7; 32].into()))
    }
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}

impl Primitive for Encrypted {
    fn seal(&self, number: u64, header: [u8; HEADER_LEN], payload: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = nonce(number).into();
        let sealed = (self.0).encrypt_inout_detached(&nonce, &header, InOutBuf::from(payload));
        sealed.unwrap_or_else(|_| unreachable!()).into()
    }

    fn open(
        &self,
        number: u64,
        header: [u8; HEADER_LEN],
        payload: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> bool {
        let (nonce, tag) = (nonce(number).into(), tag.into());
        let opened =
            (self.0).decrypt_inout_detached(&nonce, &header, InOutBuf::from(payload), &tag);
        opened.is_ok()
    }
}
