//! What a key file may say.

use countersign::{Error, Found, InvalidInput, Key, KeyFileError, Malformed, compat};

use super::key;
use crate::support::TempDir;

#[test]
fn what_is_no_line_of_visible_ascii_is_named_with_its_place_and_never_shown() {
    let marker = "DoNotShowThis";
    let cases: [(String, usize, Found); 14] = [
        (format!("{marker}0123456789\n\n"), 24, Found::EmptyLine),
        (format!("{marker}0123456789 \n"), 23, Found::Space),
        (
            format!("\u{feff}{marker}0123456789\n"),
            0,
            Found::ByteOrderMark,
        ),
        (format!("{marker}\x0001234567890\n"), 13, Found::Nul),
        (format!("KEY=\"{marker} 0123456789\"\n"), 18, Found::Space),
        (format!("\"{marker}0123456789\"\n"), 0, Found::Quoted),
        (
            format!("{marker}0123456789\naccept:'{marker}'\n"),
            31,
            Found::Quoted,
        ),
        (format!("-----BEGIN KEY-----\n{marker}\n"), 0, Found::Pem),
        (
            format!("{marker}0123456789\n{marker}\n"),
            24,
            Found::SecondLine,
        ),
        (format!("{marker}0123456789\r"), 23, Found::Control),
        (format!("{marker}\u{e9}0123456789"), 13, Found::NotAscii),
        (
            format!("{marker}0123456789\naccept:{marker}0123456789\n\n"),
            55,
            Found::ThirdLine,
        ),
        (
            format!("accept:{marker}0123456789\n"),
            0,
            Found::AcceptFirst,
        ),
        (format!("{marker}0123456789\naccept:\n"), 31, Found::Nothing),
    ];
    let directory = TempDir::new();
    for (content, at, found) in cases {
        let path = directory.key_file("secret.key", &content);
        let error = Key::from_file(&path).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains(marker), "{text}");
        match error {
            Error::KeyFile {
                error: KeyFileError::Content(malformed),
                ..
            } => {
                assert_eq!(malformed, Malformed { at, found }, "{content:?}");
            }
            other => panic!("{content:?}: {other}"),
        }
        assert!(text.contains(&format!("at byte {at} ")), "{text}");
    }
}

#[test]
fn raw_bytes_that_end_in_a_line_feed_lose_nothing_silently() {
    let directory = TempDir::new();
    let mut raw = [0xa7; 32];
    raw[31] = b'\n';
    let path = directory.key_file("raw.key", raw);
    assert!(matches!(
        Key::from_file(path),
        Err(Error::KeyFile {
            error: KeyFileError::Content(Malformed { at: 0, .. }),
            ..
        })
    ));
}

#[test]
fn a_weak_secret_is_refused_on_either_line() {
    let directory = TempDir::new();
    for content in ["peekaboo\n", "0123456789abcdef\naccept:peekaboo\n"] {
        let error = Key::from_file(directory.key_file("weak.key", content)).unwrap_err();
        let too_short = InvalidInput::SecretTooShort { len: 8 };
        assert!(
            matches!(&error, Error::KeyFile { error: KeyFileError::Secret(e), .. } if *e == too_short),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("generate_secret") && text.contains("from_passphrase"),
            "{text}"
        );
    }
}

#[test]
fn an_accept_line_is_the_second_secret() {
    let directory = TempDir::new();
    let (new, old) = (super::secret("new"), super::secret("old"));
    let path = directory.key_file("both.key", format!("{new}accept:{old}"));
    let loaded = Key::from_file(path).unwrap();
    assert_eq!(loaded.fingerprint(), key("new").fingerprint());
    assert_eq!(
        loaded.accepted_fingerprint(),
        Some(key("old").fingerprint())
    );
}

#[test]
fn the_secret_of_a_compatibility_protocol_may_be_any_bytes() {
    let directory = TempDir::new();
    for (content, expected) in [
        (&b"peekaboo\n"[..], &b"peekaboo"[..]),
        (b"\xff\x00 a b\r\n", b"\xff\x00 a b"),
        (b"\n", b""),
    ] {
        let path = directory.key_file("authkey", content);
        assert_eq!(&*compat::secret_from_file(path).unwrap(), expected);
    }
}

#[test]
fn two_secrets_of_a_rotation_are_not_one_of_a_compatibility_protocol() {
    let directory = TempDir::new();
    for (content, at) in [
        (&b"peekaboo\naccept:hide"[..], Some(9)),
        (b"peekaboo\r\naccept:hide\n", Some(10)),
        (b"\naccept:", Some(1)),
        (b"accept:peekaboo\n", None),
        (b"peekaboo\nhide\naccept:seek\n", None),
        (b"peekaboo\n accept:hide\n", None),
    ] {
        let path = directory.key_file("authkey", content);
        let shown = content.escape_ascii();
        for read in [
            compat::secret_from_file(&path),
            compat::secret_from_shared_file(&path),
        ] {
            match (read, at) {
                (Ok(_), None) => {}
                (Err(Error::KeyFile { error, .. }), Some(at)) => {
                    let KeyFileError::Content(malformed) = error else {
                        panic!("{shown}: {error}");
                    };
                    let found = Found::AcceptLine;
                    assert_eq!(malformed, Malformed { at, found }, "{shown}");
                }
                (outcome, _) => panic!("{shown}: {outcome:?}"),
            }
        }
    }
}
