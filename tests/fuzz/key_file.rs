//! Arbitrary bytes as a key file.

use std::fs::{self, File};
use std::io::Write as _;
use std::{env, process};

use countersign::{Error, Found, InvalidInput, Key, KeyFileError, Malformed};

/// What section 3 of PROTOCOL.md says of a content.
#[derive(Debug, PartialEq)]
enum Fate<'f> {
    Secrets(&'f [u8], Option<&'f [u8]>),
    Malformed(Malformed),
    TooShort,
    Constant,
}

/// The input is the content of the file.
pub fn body(content: &[u8]) {
    let path = env::temp_dir().join(format!("countersign-fuzz-{}.key", process::id()));
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).unwrap();
    file.write_all(content).unwrap();
    drop(file);
    let loaded = Key::from_file(&path);
    fs::remove_file(&path).unwrap();

    let fate = fate(content);
    match loaded {
        Ok(key) => {
            let Fate::Secrets(first, accept) = fate else {
                panic!("a key instead of {fate:?}");
            };
            let fingerprint = |secret| Key::new(secret).unwrap().fingerprint();
            assert_eq!(key.fingerprint(), fingerprint(first));
            assert_eq!(key.accepted_fingerprint(), accept.map(fingerprint));
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.chars().all(|char| !char.is_control()), "{text}");
            let Error::KeyFile { error, .. } = error else {
                panic!("{error}");
            };
            match (error, fate) {
                (KeyFileError::Content(malformed), Fate::Malformed(expected)) => {
                    assert_eq!(malformed, expected);
                }
                (KeyFileError::Secret(InvalidInput::SecretTooShort { .. }), Fate::TooShort)
                | (KeyFileError::Secret(InvalidInput::SecretConstant { .. }), Fate::Constant) => {}
                (error, fate) => panic!("{error:?} instead of {fate:?}"),
            }
        }
    }
}

fn fate(content: &[u8]) -> Fate<'_> {
    let malformed = |at, found| Fate::Malformed(Malformed { at, found });
    match content {
        [0xef, 0xbb, 0xbf, ..] => return malformed(0, Found::ByteOrderMark),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return malformed(0, Found::Utf16),
        _ if content.starts_with(b"-----BEGIN") => return malformed(0, Found::Pem),
        _ => {}
    }
    let (first, second_at) = line(content, 0);
    if let Some(at) = (0..first.len()).find(|&at| first[at..].starts_with(b"accept:")) {
        return malformed(at, Found::AcceptFirst);
    }
    if let Err((at, found)) = visible(first) {
        return malformed(at, found);
    }
    let mut accept = None;
    if second_at < content.len() {
        let (second, third_at) = line(content, second_at);
        if second.is_empty() {
            return malformed(second_at, Found::EmptyLine);
        }
        let Some(secret) = second.strip_prefix(b"accept:") else {
            return malformed(second_at, Found::SecondLine);
        };
        if let Err((at, found)) = visible(secret) {
            return malformed(second_at + 7 + at, found);
        }
        if third_at < content.len() {
            return malformed(third_at, Found::ThirdLine);
        }
        accept = Some(secret);
    }
    for secret in [Some(first), accept].into_iter().flatten() {
        if secret.len() < 16 {
            return Fate::TooShort;
        }
        if secret.iter().all(|byte| *byte == secret[0]) {
            return Fate::Constant;
        }
    }
    Fate::Secrets(first, accept)
}

/// Returns the line that begins at `start`, and where the next one would begin.
fn line(content: &[u8], start: usize) -> (&[u8], usize) {
    let Some(len) = content[start..].iter().position(|byte| *byte == b'\n') else {
        return (&content[start..], content.len());
    };
    let end = start + len;
    let is_crlf = len > 0 && content[end - 1] == b'\r';
    (&content[start..end - usize::from(is_crlf)], end + 1)
}

fn visible(secret: &[u8]) -> Result<(), (usize, Found)> {
    if secret.is_empty() {
        return Err((0, Found::Nothing));
    }
    for (at, byte) in secret.iter().enumerate() {
        let found = match byte {
            b'!'..=b'~' => continue,
            0 => Found::Nul,
            b' ' | b'\t' => Found::Space,
            0x80.. => Found::NotAscii,
            _ => Found::Control,
        };
        return Err((at, found));
    }
    match secret {
        [b'"' | b'\''] | [b'"', .., b'"'] | [b'\'', .., b'\''] => Err((0, Found::Quoted)),
        _ => Ok(()),
    }
}
