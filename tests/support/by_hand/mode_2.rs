//! The keys and records of mode 2.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{expand_32, hmac};

/// What follows from X and Z.
#[derive(Clone)]
pub struct Exchanged {
    pub xe: [u8; 32],
    pub ke: [u8; 32],
}

impl Exchanged {
    pub fn of(x: &[u8; 32], z: &[u8; 32]) -> Self {
        let xe = hmac(x, z);
        Self {
            xe,
            ke: expand_32(&xe, b"countersign/1 encrypt export"),
        }
    }

    /// S\[step\] of this sender.
    pub fn state(&self, sender: &str, step: u64) -> [u8; 32] {
        let label = format!("countersign/1 encrypt {sender}");
        let first = expand_32(&self.xe, label.as_bytes());
        (0..step).fold(first, |state, _| {
            expand_32(&state, b"countersign/1 encrypt next")
        })
    }

    /// K\[step\] of this sender.
    pub fn key(&self, sender: &str, step: u64) -> [u8; 32] {
        expand_32(&self.state(sender, step), b"countersign/1 encrypt key")
    }

    /// A record of mode 2.
    pub fn record(&self, sender: &str, seq: u64, payload: &[u8]) -> Vec<u8> {
        encrypted_record(&self.key(sender, seq >> 16), seq, payload)
    }
}

/// A record of mode 2 under this key.
pub fn encrypted_record(key: &[u8; 32], seq: u64, payload: &[u8]) -> Vec<u8> {
    let n = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let nonce = [[0; 4].as_slice(), &seq.to_be_bytes()].concat();
    let sealed = aes_256_gcm(key, nonce.try_into().unwrap(), &n, payload);
    [&n[..], &sealed].concat()
}

/// The ciphertext and the tag.
pub fn aes_256_gcm(key: &[u8; 32], nonce: [u8; 12], associated: &[u8], payload: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let mut sealed = payload.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(associated), &mut sealed)
        .unwrap();
    sealed
}
