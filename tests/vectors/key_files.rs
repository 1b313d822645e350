//! What key files hold, and what each is loaded as.

use std::collections::HashMap;

use countersign::{Error, Found, InvalidInput, Key, KeyFileError, Malformed};

use super::file::{Fields, run, vectors};
use crate::support::{Schedule, TempDir};

/// What the file of vectors calls that which a key file must not have.
const FOUND: [(&str, Found); 13] = [
    ("nothing", Found::Nothing),
    ("byte order mark", Found::ByteOrderMark),
    ("utf-16", Found::Utf16),
    ("pem", Found::Pem),
    ("nul", Found::Nul),
    ("space", Found::Space),
    ("control", Found::Control),
    ("not ascii", Found::NotAscii),
    ("quoted", Found::Quoted),
    ("empty line", Found::EmptyLine),
    ("second line", Found::SecondLine),
    ("third line", Found::ThirdLine),
    ("accept first", Found::AcceptFirst),
];

#[test]
fn every_key_file_of_the_vectors_gives_its_secrets_or_its_error() {
    let directory = TempDir::new();
    // A file that was just written is read again later, so all are written before the first is read.
    let files: HashMap<_, _> = (vectors("key-files.txt").into_iter().enumerate())
        .map(|(at, text)| {
            let content = Fields::parse(&text).unwrap().bytes("content").unwrap();
            let path = directory.key_file(&format!("{at}.key"), content);
            (text, path)
        })
        .collect();
    let seen = run("key-files.txt", |text| {
        check(text, Key::from_shared_file(&files[text]))?;
        check(text, Key::from_file(&files[text]))
    });
    let words = [
        "one secret",
        "two secrets",
        "secret too short",
        "secret constant",
    ];
    for word in words.iter().chain(FOUND.iter().map(|(word, _)| word)) {
        assert!(seen.iter().any(|it| it == word), "no vector for {word}");
    }
}

/// Compares what was loaded with a vector. Returns what the vector is about.
fn check(text: &str, loaded: Result<Key, Error>) -> Result<String, String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    fields.text("content")?;
    let expected = fields.text("expect")?;
    let loaded = match loaded {
        Ok(key) => Ok(key),
        Err(Error::KeyFile { error, .. }) => Err(error),
        Err(other) => return Err(other.to_string()),
    };
    let fingerprint = |secret: Vec<u8>| Schedule::of(&secret).fingerprint();
    let mut about = expected;
    let is_right = match (expected, &loaded) {
        ("one secret", Ok(key)) => {
            let first = fingerprint(fields.bytes("secret")?);
            key.fingerprint().to_string() == first && key.accepted_fingerprint().is_none()
        }
        ("two secrets", Ok(key)) => {
            let first = fingerprint(fields.bytes("secret")?);
            let accepted = fingerprint(fields.bytes("accept")?);
            let loaded = key.accepted_fingerprint().map(|it| it.to_string());
            key.fingerprint().to_string() == first && loaded == Some(accepted)
        }
        ("malformed", Err(KeyFileError::Content(malformed))) => {
            let (found, offset) = (fields.text("found")?, fields.text("offset")?);
            about = found;
            let (_, found) = (FOUND.into_iter())
                .find(|(word, _)| *word == found)
                .ok_or(format!("found: {found}"))?;
            let at = offset.parse().map_err(|_| format!("offset: {offset}"))?;
            *malformed == Malformed { at, found }
        }
        ("secret too short", Err(KeyFileError::Secret(invalid))) => {
            matches!(invalid, InvalidInput::SecretTooShort { .. })
        }
        ("secret constant", Err(KeyFileError::Secret(invalid))) => {
            matches!(invalid, InvalidInput::SecretConstant { .. })
        }
        _ => false,
    };
    fields.none_left()?;
    if is_right {
        Ok(about.to_owned())
    } else {
        Err(format!("{loaded:?} was loaded"))
    }
}
