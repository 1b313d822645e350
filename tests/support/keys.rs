//! Keys whose secrets a test knows.

use countersign::Key;

/// A key with the [`secret`] of this name and an empty key id.
pub fn key(name: &str) -> Key {
    Key::new(secret(name)).unwrap()
}

/// A secret that is a function of `name`.
pub fn secret(name: &str) -> Vec<u8> {
    format!("{name:*<32}").into_bytes()
}
