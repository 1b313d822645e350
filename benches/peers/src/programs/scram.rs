use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

fn main() {
    let mut nonce = [0; 18];
    getrandom::fill(&mut nonce).unwrap();
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(b"password", b"salt", 4096);
    let mut mac = Hmac::<Sha256>::new_from_slice(&salted).unwrap();
    mac.update(b"Client Key");
    println!("{} {:?}", STANDARD.encode(nonce), mac.finalize().into_bytes());
}
