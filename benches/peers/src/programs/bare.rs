use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

fn main() {
    let mut challenge = [0; 32];
    getrandom::fill(&mut challenge).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"peekaboo").unwrap();
    mac.update(&challenge);
    println!("{:?}", mac.finalize().into_bytes());
}
