//! The native wire of PROTOCOL.md, computed without the crate: from HMAC alone, and in mode 2 from
//! X25519 and the AES-GCM of another library too.

mod mode_2;
mod x25519;

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use self::mode_2::*;
pub use self::x25519::*;

/// The prologue without a service and without a channel binding.
pub const NO_PROLOGUE: &[u8] = b"\0\0";

pub fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// HKDF-Expand of RFC 5869, section 2.3.
pub fn expand(prk: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let mut output: Vec<u8> = Vec::new();
    let mut block = Vec::new();
    for counter in 1..=u8::MAX {
        if output.len() < len {
            block = hmac(prk, &[&block, info, &[counter]].concat()).to_vec();
            output.extend(&block);
        }
    }
    output.truncate(len);
    output
}

pub fn expand_32(prk: &[u8], info: &[u8]) -> [u8; 32] {
    expand(prk, info, 32).try_into().unwrap()
}

/// Puts a byte with the length before `bytes`.
pub fn lv(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    })
}

/// The keys that are derived from a secret.
#[derive(Clone)]
pub struct Schedule {
    pub prk: [u8; 32],
    pub kc: [u8; 32],
    pub ks: [u8; 32],
    pub kx: [u8; 32],
}

impl Schedule {
    pub fn of(secret: &[u8]) -> Self {
        let prk = hmac(b"countersign/1", secret);
        let [kc, ks, kx] = ["client proof", "server proof", "session"]
            .map(|label| expand_32(&prk, format!("countersign/1 {label}").as_bytes()));
        Self { prk, kc, ks, kx }
    }

    pub fn child(&self, id: &[u8]) -> [u8; 32] {
        expand_32(&self.prk, &[b"countersign/1 child", &lv(id)[..]].concat())
    }

    pub fn fingerprint(&self) -> String {
        hex(&expand_32(&self.prk, b"countersign/1 fingerprint")[..4])
    }

    /// Tc, the proof of a client.
    pub fn client_proof(&self, prologue: &[u8], f1: &[u8], untagged_f2: &[u8]) -> [u8; 32] {
        hmac(&self.kc, &[prologue, f1, untagged_f2].concat())
    }

    /// F3 of a server that accepts. Its last 32 bytes are Ts, the proof of the server.
    pub fn acceptance(&self, prologue: &[u8], f1: &[u8], f2: &[u8]) -> Vec<u8> {
        self.acceptance_with(b"", prologue, f1, f2)
    }

    /// Like [`acceptance`](Self::acceptance), with the server's share of mode 2.
    pub fn acceptance_with(&self, share: &[u8], prologue: &[u8], f1: &[u8], f2: &[u8]) -> Vec<u8> {
        let ts = hmac(&self.ks, &[prologue, f1, f2, b"A", share].concat());
        [b"A", share, &ts].concat()
    }

    /// X, the secret of the session.
    #[cfg(all(feature = "encrypt", feature = "multiprocessing"))]
    pub fn session(&self, prologue: &[u8], f1: &[u8], f2: &[u8]) -> [u8; 32] {
        self.session_with(b"", prologue, f1, f2)
    }

    /// X, the secret of the session, with the server's share of mode 2.
    pub fn session_with(&self, share: &[u8], prologue: &[u8], f1: &[u8], f2: &[u8]) -> [u8; 32] {
        hmac(&self.kx, &[prologue, f1, f2, b"A", share].concat())
    }
}

pub fn f1(mode: u8, nonce: &[u8]) -> Vec<u8> {
    [b"CSIGN1S", &[mode][..], nonce].concat()
}

/// F2 without Tc.
pub fn untagged_f2(mode: u8, key_id: &[u8], nonce: &[u8]) -> Vec<u8> {
    [b"CSIGN1C", &[mode][..], &lv(key_id), nonce].concat()
}

/// What the session with this X exports.
pub fn export(x: &[u8], label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
    let [context_len, out_len] =
        [context.len(), len].map(|len| u16::try_from(len).unwrap().to_be_bytes());
    let info = [
        b"countersign/1 export",
        &lv(label)[..],
        &context_len,
        context,
        &out_len,
    ];
    expand(x, &info.concat(), len)
}

pub fn record_key(x: &[u8], sender: &str) -> [u8; 32] {
    expand_32(x, format!("countersign/1 record {sender}").as_bytes())
}

/// A record of mode 1 of the session with this X.
pub fn record(x: &[u8], sender: &str, seq: u64, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let covered = [&seq.to_be_bytes()[..], &len, payload].concat();
    let tag = hmac(&record_key(x, sender), &covered);
    [&len, payload, &tag[..16]].concat()
}
