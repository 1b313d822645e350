//! What whoever knows a secret, or guesses one, can compute with no more than HMAC: the native
//! wire without names or bindings.

use crate::support::hmac;

/// The prologue without a name and without a binding.
const PROLOGUE: &[u8] = b"\0\0";

pub const CLIENT_PROOF: &[u8] = b"countersign/1 client proof";
const SERVER_PROOF: &[u8] = b"countersign/1 server proof";
const SESSION: &[u8] = b"countersign/1 session";

pub fn prk(secret: &[u8]) -> [u8; 32] {
    hmac(b"countersign/1", secret)
}

/// HKDF-Expand to 32 octets.
pub fn expand(prk: &[u8], info: &[u8]) -> [u8; 32] {
    hmac(prk, &[info, &[1]].concat())
}

/// F1 in mode 0 with this nonce.
pub fn f1(nonce: &[u8]) -> Vec<u8> {
    [b"CSIGN1S\0", nonce].concat()
}

/// F2 in mode 0 without a key id and without its tag.
pub fn untagged_f2(nonce: &[u8]) -> Vec<u8> {
    [b"CSIGN1C\0\0", nonce].concat()
}

/// Tc
pub fn client_proof(kc: &[u8], f1: &[u8], untagged_f2: &[u8]) -> [u8; 32] {
    hmac(kc, &[PROLOGUE, f1, untagged_f2].concat())
}

/// F3 of a server that knows this secret and accepts anybody.
pub fn acceptance(secret: &[u8], f1: &[u8], f2: &[u8]) -> Vec<u8> {
    let ks = expand(&prk(secret), SERVER_PROOF);
    let ts = hmac(&ks, &[PROLOGUE, f1, f2, b"A"].concat());
    [b"A", &ts[..]].concat()
}

/// X
pub fn session(secret: &[u8], f1: &[u8], f2: &[u8]) -> [u8; 32] {
    let kx = expand(&prk(secret), SESSION);
    hmac(&kx, &[PROLOGUE, f1, f2, b"A"].concat())
}

/// The first record of the client of the session X.
pub fn first_record(x: &[u8], request: &[u8]) -> Vec<u8> {
    let krc = expand(x, b"countersign/1 record client");
    let len = u16::try_from(request.len()).unwrap();
    let data = [&len.to_be_bytes(), request].concat();
    let tag = hmac(&krc, &[&[0; 8], &data[..]].concat());
    [&data[..], &tag[..16]].concat()
}
