//! Arbitrary bytes as a secret, a key id and a service.

use std::fmt::Write as _;

use countersign::handshake::Prologue;
use countersign::{Key, KeyId};

use super::harness::{OneLine, without_allocating};

/// The input is a secret, a key id and a service at once.
pub fn body(bytes: &[u8]) {
    without_allocating(|| {
        let constant = bytes.windows(2).all(|pair| pair[0] == pair[1]);
        let key = Key::new(bytes);
        assert_eq!(key.is_ok(), bytes.len() >= 16 && !constant);
        assert_eq!(Prologue::new(bytes).is_ok(), bytes.len() <= 255);

        let id = KeyId::new(bytes);
        assert_eq!(id.is_ok(), bytes.len() <= 64);
        let Ok(id) = id else { return };
        assert_eq!(id.as_bytes(), bytes);
        write!(OneLine, "{id} {id:?}").unwrap();

        let Ok(key) = key else { return };
        let child = key.child_secret(bytes).unwrap();
        let digits = child.as_ref();
        assert_eq!(digits.len(), 64);
        assert!(
            digits
                .iter()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert_ne!(
            Key::new(digits).unwrap().fingerprint(),
            key.fingerprint(),
            "a child is another secret"
        );
        assert_eq!(*key.with_id(bytes).unwrap().id(), id);
    });
}
