//! Key files, key ids, child secrets and fingerprints.

use std::error::Error as _;
#[cfg(unix)]
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use countersign::handshake::{self, Refusal};
use countersign::{
    Error, Found, InvalidInput, Key, KeyFileError, KeyId, KeyLookup, Malformed, NoRandomness,
    compat, generate_secret,
};

use crate::support::{NoEntropy, TempDir, key, secret};

type Load = fn(&Path) -> Result<Key, Error>;

/// The two ways to load a key file. They differ only in the modes that they accept.
const LOADS: [Load; 2] = [
    |path| Key::from_file(path),
    |path| Key::from_shared_file(path),
];

/// What a file holds, the secret that a compatibility protocol reads from it, and what is refused in a
/// key file.
type Row = (&'static [u8], &'static [u8], Option<(usize, Found)>);

#[test]
fn one_line_end_is_not_part_of_the_secret_and_everything_else_is_or_is_refused() {
    let directory = TempDir::new();
    let s = "0123456789abcdef".len();
    let rows: [Row; 12] = [
        (b"0123456789abcdef\n", b"0123456789abcdef", None),
        (b"0123456789abcdef\r\n", b"0123456789abcdef", None),
        (b"0123456789abcdef", b"0123456789abcdef", None),
        (
            b"0123456789abcdef\n\n",
            b"0123456789abcdef\n",
            Some((s + 1, Found::EmptyLine)),
        ),
        (
            b"0123456789abcdef\r\n\r\n",
            b"0123456789abcdef\r\n",
            Some((s + 2, Found::EmptyLine)),
        ),
        (
            b"0123456789abcdef\n\r\n",
            b"0123456789abcdef\n",
            Some((s + 1, Found::EmptyLine)),
        ),
        (
            b"0123456789abcdef\r",
            b"0123456789abcdef\r",
            Some((s, Found::Control)),
        ),
        (
            b"0123456789abcdef\n\r",
            b"0123456789abcdef\n\r",
            Some((s + 1, Found::SecondLine)),
        ),
        (
            b"0123456789abcdef\r\r\n",
            b"0123456789abcdef\r",
            Some((s, Found::Control)),
        ),
        (
            b"  0123456789abcdef  \n",
            b"  0123456789abcdef  ",
            Some((0, Found::Space)),
        ),
        (
            b"\n0123456789abcdef\n",
            b"\n0123456789abcdef",
            Some((0, Found::Nothing)),
        ),
        (
            b"\xef\xbb\xbf0123456789\0\xff\xfe\n",
            b"\xef\xbb\xbf0123456789\0\xff\xfe",
            Some((0, Found::ByteOrderMark)),
        ),
    ];
    for (content, secret, refused) in rows {
        let path = directory.key_file("secret.key", content);
        let shown = content.escape_ascii();
        for read in [
            compat::secret_from_file(&path),
            compat::secret_from_shared_file(&path),
        ] {
            assert_eq!(*read.unwrap(), secret, "{shown}");
        }
        for load in LOADS {
            match (load(&path), refused) {
                (Ok(key), None) => {
                    let expected = Key::new(secret).unwrap().fingerprint();
                    assert_eq!(key.fingerprint(), expected, "{shown}");
                    assert_eq!(key.id(), "");
                }
                (
                    Err(Error::KeyFile {
                        error: KeyFileError::Content(malformed),
                        ..
                    }),
                    Some((at, found)),
                ) => assert_eq!(malformed, Malformed { at, found }, "{shown}"),
                (loaded, _) => panic!("{shown}: {loaded:?}"),
            }
        }
    }
}

#[test]
fn a_file_that_holds_no_secret_is_refused_by_its_length_and_not_shown() {
    let directory = TempDir::new();
    let malformed = |at, found| Err(Malformed { at, found });
    let nothing = malformed(0, Found::Nothing);
    let short = |len| Ok(InvalidInput::SecretTooShort { len });
    let constant = |len| Ok(InvalidInput::SecretConstant { len });
    let rows: [(&[u8], Result<InvalidInput, Malformed>, &str); 11] = [
        (b"", nothing, "no secret"),
        (b"\n", nothing, "no secret"),
        (b"\r\n", nothing, "no secret"),
        (b"\n\n", nothing, "no secret"),
        (b"p", short(1), "1 bytes"),
        (b"hunter2-hunter2\n", short(15), "15 bytes"),
        (b"hunter2-hunter2\r\n", short(15), "15 bytes"),
        (
            b"0123456789abcdef\naccept:hunter2-hunter2\n",
            short(15),
            "15 bytes",
        ),
        (b"qqqqqqqqqqqqqqqq\n", constant(16), "16 bytes"),
        (
            b"0123456789abcdef\naccept:qqqqqqqqqqqqqqqq\n",
            constant(16),
            "16 bytes",
        ),
        (&[0; 32], malformed(0, Found::Nul), "at byte 0"),
    ];
    for (content, expected, said) in rows {
        let path = directory.key_file("secret.key", content);
        for load in LOADS {
            let error = load(&path).unwrap_err();
            let Error::KeyFile {
                path: named,
                error: problem,
            } = &error
            else {
                panic!("{error:?}");
            };
            assert_eq!(*named, path);
            let is_right = match (problem, expected) {
                (KeyFileError::Secret(invalid), Ok(expected)) => *invalid == expected,
                (KeyFileError::Content(malformed), Err(expected)) => *malformed == expected,
                _ => false,
            };
            assert!(is_right, "{error:?}");
            let source = (error.source()).map(|source| source.downcast_ref::<InvalidInput>());
            assert_eq!(source, expected.as_ref().ok().map(Some));

            let sentence = error.to_string();
            assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
            assert!(sentence.contains(said), "{sentence}");
            for shown in [sentence, format!("{error:?}"), format!("{error:#?}")] {
                assert!(!shown.contains("hunter2"), "{shown}");
                assert!(!shown.contains("qqq"), "{shown}");
            }
        }
    }
}

#[test]
fn a_path_without_a_file_is_an_error_of_the_file_system() {
    let directory = TempDir::new();
    let rows = [
        (directory.path().join("missing.key"), ErrorKind::NotFound),
        (directory.path().to_path_buf(), ErrorKind::InvalidInput),
    ];
    for (path, kind) in rows {
        for load in LOADS {
            let error = load(&path).unwrap_err();
            assert!(
                matches!(&error, Error::KeyFile { path: named, error: KeyFileError::Io(_) }
                    if *named == path),
                "{error:?}"
            );
            let source = error.source().unwrap().downcast_ref::<io::Error>();
            assert_eq!(source.unwrap().kind(), kind);
            let sentence = error.to_string();
            assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
            assert_eq!(io::Error::from(error).kind(), kind);
        }
    }
}

#[test]
fn a_file_has_at_most_65536_bytes() {
    let directory = TempDir::new();
    let bytes = secret("long").repeat(2049);
    for load in LOADS {
        for (len, line_end) in [(65_536, ""), (65_535, "\n"), (65_534, "\r\n")] {
            let content = [&bytes[..len], line_end.as_bytes()].concat();
            let loaded = load(&directory.key_file("secret.key", content)).unwrap();
            let expected = Key::new(&bytes[..len]).unwrap();
            assert_eq!(loaded.fingerprint(), expected.fingerprint());
        }
        // A line end counts, because the limit is for the file and not for the secret.
        for content in [bytes[..65_537].to_vec(), [&bytes[..65_536], b"\n"].concat()] {
            let path = directory.key_file("secret.key", content);
            let error = load(&path).unwrap_err();
            assert!(
                matches!(&error, Error::KeyFile { path: named, error: KeyFileError::TooLarge }
                    if *named == path),
                "{error:?}"
            );
            let sentence = error.to_string();
            assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
            assert!(sentence.contains("65536 bytes"), "{sentence}");
            assert!(!sentence.contains("long"), "{sentence}");
        }
    }
}

#[cfg(unix)]
mod modes {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// Asserts that the file is refused, and that the error says what to do.
    fn is_refused_as(mode: u32, path: &Path, load: Load) {
        let error = load(path).unwrap_err();
        let Error::KeyFile {
            path: named,
            error: problem,
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(named, path);
        let owner = fs::metadata(path).unwrap().uid();
        let allowed = match *problem {
            KeyFileError::Writable {
                mode: of,
                owner: by,
                allowed,
            } => {
                assert_eq!((of, by), (mode, owner));
                assert_ne!(mode & 0o022, 0);
                allowed
            }
            KeyFileError::Readable {
                mode: of,
                owner: by,
                allowed,
            } => {
                assert_eq!((of, by), (mode, owner));
                assert_eq!(mode & 0o022, 0);
                allowed
            }
            _ => panic!("{error:?}"),
        };
        let sentence = error.to_string();
        let remedy = format!("chmod {allowed:04o} ");
        for part in [path.to_str().unwrap(), &format!("{mode:04o}"), &remedy] {
            assert!(sentence.contains(part), "no {part} in: {sentence}");
        }
        let for_readers = matches!(problem, KeyFileError::Readable { .. });
        assert_eq!(sentence.contains("from_shared_file"), for_readers);
        assert!(error.source().is_none());
        assert_eq!(io::Error::from(error).kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused_with_the_remedy() {
        let [alone, shared] = LOADS;
        let directory = TempDir::new();
        let path = directory.key_file("secret.key", secret("ours"));
        // The group of a file of root is the one that its platform gave it.
        let forbidden = match fs::metadata(&path).unwrap().uid() {
            0 => 0o004,
            _ => 0o044,
        };
        for mode in [
            0o600, 0o400, 0o644, 0o640, 0o604, 0o660, 0o602, 0o620, 0o444, 0o440,
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let is_loaded = |load: Load| {
                let loaded = load(&path).unwrap();
                assert_eq!(loaded.fingerprint(), key("ours").fingerprint(), "{mode:o}");
            };
            if mode & 0o022 != 0 {
                is_refused_as(mode, &path, alone);
                is_refused_as(mode, &path, shared);
            } else if mode & forbidden != 0 {
                is_refused_as(mode, &path, alone);
                is_loaded(shared);
            } else {
                is_loaded(alone);
                is_loaded(shared);
            }
        }
    }

    #[test]
    fn an_exposed_file_is_refused_whatever_it_holds() {
        let directory = TempDir::new();
        for content in [&b""[..], b"short\n", &vec![b'x'; 65_537]] {
            let path = directory.key_file("secret.key", content);
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            is_refused_as(0o644, &path, LOADS[0]);
        }
    }

    #[test]
    fn a_link_is_judged_by_the_mode_of_its_file() {
        let directory = TempDir::new();
        let path = directory.key_file("secret.key", secret("ours"));
        let link = directory.path().join("link.key");
        symlink(&path, &link).unwrap();

        let loaded = Key::from_file(&link).unwrap();
        assert_eq!(loaded.fingerprint(), key("ours").fingerprint());

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        is_refused_as(0o644, &link, LOADS[0]);
    }
}

#[test]
fn a_generated_secret_is_64_lower_case_digits_and_survives_a_file() {
    let directory = TempDir::new();
    let (one, another) = (generate_secret().unwrap(), generate_secret().unwrap());
    assert_ne!(one.as_ref(), another.as_ref());
    for secret in [one, another] {
        let digits = secret.as_ref();
        assert_eq!(digits.len(), 64);
        assert!(are_lower_case_digits(digits));

        let expected = Key::new(&secret).unwrap().fingerprint();
        for line_end in ["", "\n", "\r\n"] {
            let path = directory.key_file("secret.key", [digits, line_end.as_bytes()].concat());
            let loaded = Key::from_file(path).unwrap();
            assert_eq!(loaded.fingerprint(), expected);
        }
    }
}

fn are_lower_case_digits(bytes: &[u8]) -> bool {
    (bytes.iter()).all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn no_secret_is_generated_if_the_generator_fails() {
    let error = countersign::Secret::generate(&mut NoEntropy).unwrap_err();
    assert_eq!(error, NoRandomness);
}

#[test]
fn a_key_id_has_0_to_64_bytes_of_any_value() {
    for len in [0, 1, 63, 64] {
        let bytes = vec![0xfe; len];
        let id = KeyId::new(&bytes).unwrap();
        assert_eq!(id.as_bytes(), bytes);
        assert_eq!(id.as_ref(), bytes);
        assert_eq!(id.is_empty(), len == 0);
        assert_eq!(*key("ours").with_id(&bytes).unwrap().id(), id);
    }
    for len in [65, 66, 255, 256, 320] {
        let error = InvalidInput::KeyIdTooLong { len };
        assert_eq!(KeyId::new(vec![b'x'; len]).unwrap_err(), error);
        assert_eq!(key("ours").with_id(vec![b'x'; len]).unwrap_err(), error);
        assert!(error.to_string().contains(&len.to_string()), "{error}");
    }
}

#[test]
fn a_key_id_is_a_string_unless_it_is_not_utf_8() {
    let rows: [(&[u8], Option<&str>); 5] = [
        (b"", Some("")),
        (b"worker-7", Some("worker-7")),
        ("m\u{fc}nchen".as_bytes(), Some("m\u{fc}nchen")),
        // Unlike where it is shown, nothing is escaped.
        (b"a\nb\0", Some("a\nb\0")),
        (b"m\xfcnchen", None),
    ];
    for (bytes, string) in rows {
        assert_eq!(KeyId::new(bytes).unwrap().as_str(), string);
    }
}

#[test]
fn a_key_id_equals_the_string_of_its_bytes_from_either_side() {
    let id = KeyId::new("worker-7").unwrap();
    for (string, equal) in [("worker-7", true), ("worker-8", false), ("worker-", false)] {
        let answers = [id == *string, id == string, *string == id, string == id];
        assert_eq!(answers, [equal; 4], "{string}");
    }
}

#[test]
fn the_default_key_id_is_the_empty_one() {
    assert_eq!(KeyId::default(), KeyId::EMPTY);
    assert_eq!(KeyId::default(), KeyId::new("").unwrap());
    assert_eq!(*key("ours").id(), KeyId::EMPTY);
    assert!(KeyId::EMPTY.is_empty());
}

#[test]
fn a_key_id_is_escaped_wherever_it_is_shown() {
    let rows: [(&[u8], &str); 8] = [
        (b"", ""),
        (b"worker-7", "worker-7"),
        (b"a\nb\rc\td", r"a\nb\rc\td"),
        (br#"say "no""#, r#"say \"no\""#),
        (b"it's", r"it\'s"),
        (br"back\slash", r"back\\slash"),
        ("m\u{fc}nchen".as_bytes(), r"m\xc3\xbcnchen"),
        (b"\x1b[2J\0\x7f", r"\x1b[2J\x00\x7f"),
    ];
    for (bytes, escaped) in rows {
        let id = KeyId::new(bytes).unwrap();
        assert_eq!(id.to_string(), escaped);
        for text in [escaped, "worker-8", "worker-", ""] {
            assert_eq!(id == text, bytes == text.as_bytes(), "{escaped}, {text}");
            assert_eq!(id == *text, bytes == text.as_bytes(), "{escaped}, {text}");
        }
        assert_eq!(format!("{id:?}"), format!("\"{escaped}\""));

        // An id inside another value is escaped too.
        let error = Error::from(handshake::Error::ClientNotAuthentic {
            key_id: id,
            refusal: Refusal::UnknownKeyId,
        });
        let key = key("ours").with_id(bytes).unwrap();
        for shown in [error.to_string(), format!("{error:?}"), format!("{key:?}")] {
            assert!(shown.contains(&format!("\"{escaped}\"")), "{shown}");
            assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }
}

#[test]
fn a_key_answers_exactly_its_own_id() {
    let ids: [&[u8]; 7] = [
        b"",
        b"\0",
        b"worker",
        b"worker-7",
        b"worker-77",
        b"Worker-7",
        &[0; KeyId::MAX_LEN],
    ];
    for own in ids {
        let key = key("ours").with_id(own).unwrap();
        for asked in ids {
            let found = key.find(asked);
            assert_eq!(found.is_some(), own == asked, "{own:?}, {asked:?}");
            if let Some(found) = found {
                assert_eq!(found.id(), key.id());
                assert_eq!(found.fingerprint(), key.fingerprint());
            }
        }
        // No key has an id that is longer than the longest.
        assert!(key.find(&[0; KeyId::MAX_LEN + 1]).is_none());
    }
}

#[test]
fn a_child_has_its_own_secret() {
    let master = key("master");
    let ids: [&[u8]; 5] = [b"a", b"b", b"ab", b"a\0", &[b'a'; KeyId::MAX_LEN]];
    let mut fingerprints = vec![master.fingerprint()];
    for id in ids {
        let child = master.child_secret(id).unwrap();
        assert_eq!(child.as_ref().len(), 64);
        assert!(are_lower_case_digits(child.as_ref()));

        // It depends on the secret and the child's id alone.
        let renamed = master.clone().with_id("another").unwrap();
        assert_eq!(child.as_ref(), renamed.child_secret(id).unwrap().as_ref());
        let others = key("other").child_secret(id).unwrap();
        assert_ne!(child.as_ref(), others.as_ref());

        let fingerprint = Key::new(&child).unwrap().fingerprint();
        assert!(!fingerprints.contains(&fingerprint));
        fingerprints.push(fingerprint);
    }

    let empty = master.child_secret("").unwrap_err();
    assert_eq!(empty, InvalidInput::ChildIdEmpty);
    let too_long = master.child_secret([b'a'; KeyId::MAX_LEN + 1]).unwrap_err();
    assert_eq!(too_long, InvalidInput::KeyIdTooLong { len: 65 });
}

#[test]
fn a_second_secret_changes_neither_the_id_nor_the_fingerprint_nor_the_children_of_the_first() {
    let alone = key("new").with_id("worker-7").unwrap();
    assert_eq!(alone.accepted_fingerprint(), None);
    let both = alone.clone().accepting(secret("old")).unwrap();
    assert_eq!(both.id(), "worker-7");
    assert_eq!(both.fingerprint(), alone.fingerprint());
    assert_eq!(both.accepted_fingerprint(), Some(key("old").fingerprint()));
    let children = [&both, &alone].map(|key| key.child_secret("worker-8").unwrap());
    assert_eq!(children[0].as_ref(), children[1].as_ref());

    // The last one that is given counts.
    let other = both.accepting(secret("older")).unwrap();
    assert_eq!(
        other.accepted_fingerprint(),
        Some(key("older").fingerprint())
    );

    let short = InvalidInput::SecretTooShort { len: 8 };
    assert_eq!(key("new").accepting("peekaboo").unwrap_err(), short);
    let constant = InvalidInput::SecretConstant { len: 16 };
    assert_eq!(key("new").accepting([7; 16]).unwrap_err(), constant);
}

#[cfg(feature = "passphrase")]
#[test]
fn a_passphrase_needs_eight_bytes_without_nul_and_a_key_id() {
    for (passphrase, id, error) in [
        ("", "laptop-3", InvalidInput::PassphraseTooShort { len: 0 }),
        (
            "hunter2",
            "laptop-3",
            InvalidInput::PassphraseTooShort { len: 7 },
        ),
        ("hunter22\0", "laptop-3", InvalidInput::PassphraseNul),
        ("\0\0\0\0\0\0\0\0", "laptop-3", InvalidInput::PassphraseNul),
        ("hunter22", "", InvalidInput::PassphraseIdEmpty),
        (
            "hunter22",
            &"x".repeat(65),
            InvalidInput::KeyIdTooLong { len: 65 },
        ),
    ] {
        assert_eq!(Key::from_passphrase(passphrase, id).unwrap_err(), error);
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}

#[test]
fn a_fingerprint_is_eight_digits_that_depend_on_the_secret_and_not_on_the_id() {
    let fingerprint = key("ours").fingerprint();
    let shown = fingerprint.to_string();
    assert_eq!(shown.len(), 8);
    assert!(are_lower_case_digits(shown.as_bytes()));
    assert_eq!(format!("{fingerprint:?}"), shown);

    assert_eq!(key("ours").fingerprint(), fingerprint);
    let named = key("ours").with_id("worker-7").unwrap();
    assert_eq!(named.fingerprint(), fingerprint);
    for other in ["theirs", "our", "ours-", "Ours"] {
        assert_ne!(key(other).fingerprint(), fingerprint);
    }
}
