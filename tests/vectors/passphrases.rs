//! Keys from passphrases.

use countersign::{InvalidInput, Key};

use super::file::{Fields, run};
use crate::support::{Schedule, lv};

#[test]
fn every_passphrase_of_the_vectors_gives_its_key_or_its_error() {
    let seen = run("passphrases.txt", check);
    for kind in [
        None,
        Some(InvalidInput::PassphraseTooShort { len: 7 }),
        Some(InvalidInput::PassphraseNul),
        Some(InvalidInput::PassphraseIdEmpty),
        Some(InvalidInput::KeyIdTooLong { len: 65 }),
    ] {
        assert!(seen.contains(&kind), "no vector for {kind:?}");
    }
}

/// Compares a vector with the crate. Returns the error that the vector expects.
fn check(text: &str) -> Result<Option<InvalidInput>, String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    let expected = fields.text("expect")?;
    let (passphrase, id) = (fields.bytes("passphrase")?, fields.bytes("key-id")?);
    let derived = Key::from_passphrase(&passphrase, &id);
    let (len, id_len) = (passphrase.len(), id.len());
    let refusal = match expected {
        "accepted" => None,
        "passphrase too short" => Some(InvalidInput::PassphraseTooShort { len }),
        "passphrase with NUL" => Some(InvalidInput::PassphraseNul),
        "key id empty" => Some(InvalidInput::PassphraseIdEmpty),
        "key id too long" => Some(InvalidInput::KeyIdTooLong { len: id_len }),
        other => return Err(format!("expect: {other}")),
    };
    match (derived, refusal) {
        (Ok(key), None) => {
            assert_eq!(key.id().as_bytes(), id);
            let salt = [&b"countersign/1 passphrase"[..], &lv(&id)].concat();
            assert_eq!(fields.bytes("salt")?, salt);
            // Its digits are the secret, and not the bytes that they stand for.
            let secret = fields.text("passphrase-secret")?;
            let fingerprint = Schedule::of(secret.as_bytes()).fingerprint();
            assert_eq!(fields.text("fingerprint")?, fingerprint);
            assert_eq!(key.fingerprint().to_string(), fingerprint);
            assert_eq!(key.accepted_fingerprint(), None);
        }
        (Err(error), Some(expected)) => assert_eq!(error, expected),
        (derived, refusal) => return Err(format!("{derived:?} is not {refusal:?}")),
    }
    fields.none_left()?;
    Ok(refusal)
}
