//! What errors say and what they are as an [`io::Error`].
//!
//! `tests/expected/errors.txt` has the sentences of the native wire, of the recipe's wire, of key
//! files and of records word for word, so that a reviewer can compare them side by side.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use countersign::compat::cookbook;
#[cfg(feature = "multiprocessing")]
use countersign::compat::multiprocessing;
use countersign::handshake::{
    Error as Core, Incompatible, Message, Prologue, Refusal, StreamError,
};
use countersign::{
    Binding, Client, Denial, Error, Found, Hint, InvalidInput, KeyFileError, KeyId, Malformed,
    NoRandomness, Phase, record,
};

use crate::support::{Driver, HonestServer, MESSAGES, Wire, foreign, key};

const EXPECTED: &str = include_str!("expected/errors.txt");

#[test]
fn errors_say_what_was_wrong_in_these_words() {
    let said: Vec<String> = (sentences().into_iter())
        .map(|sentence| sentence + "\n")
        .collect();
    let said = said.concat();
    assert!(said == EXPECTED, "they are now:\n{said}");
}

pub(crate) fn sentences() -> Vec<String> {
    let phases = MESSAGES.map(|message| [Phase::Awaiting(message), Phase::Sending(message)]);
    let mut errors = Vec::new();
    let of_a_server = [Phase::Upgrading, Phase::LookingUp];
    for phase in phases.into_iter().flatten().chain(of_a_server) {
        errors.push(Error::Closed(phase));
        errors.push(Error::TimedOut(phase));
        let source = io::Error::other("as it says itself");
        errors.push(Error::Io { phase, source });
    }
    for kind in [
        ErrorKind::ConnectionRefused,
        ErrorKind::NotFound,
        ErrorKind::TimedOut,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::PermissionDenied,
        ErrorKind::InvalidInput,
        ErrorKind::Other,
    ] {
        errors.push(not_connected(kind));
    }
    errors.extend(incompatible().map(Error::from));
    errors.push(Core::Denied.into());
    errors.push(denied("", "", None));
    let binding = Binding::tls_exporter(&[7; 32]);
    errors.push(denied("worker-7", "billing\n", Some(&binding)));
    errors.push(Core::ServerNotAuthentic.into());
    errors.push(Core::AllZeroSecret.into());
    for key_id in ["", "worker-7", "\n"] {
        let key_id = KeyId::new(key_id).unwrap();
        for refusal in [
            Refusal::UnknownKeyId,
            Refusal::WrongProof,
            Refusal::AllZeroSecret,
        ] {
            errors.push(Core::ClientNotAuthentic { key_id, refusal }.into());
        }
    }
    errors.push(NoRandomness.into());
    errors.extend(streams().map(Error::from));
    errors.extend(
        [
            cookbook::Problem::Multiprocessing,
            cookbook::Problem::Native,
            cookbook::Problem::WrongDigest,
        ]
        .into_iter()
        .chain(streams().map(cookbook::Problem::Stream))
        .map(Error::from),
    );
    errors.extend(invalid().map(Error::InvalidInput));
    errors.push(Error::NoDirectory);
    let short = InvalidInput::SecretTooShort { len: 8 };
    let of_files = [
        KeyFileError::Io(io::Error::other("as it says itself")),
        KeyFileError::Io(ErrorKind::NotFound.into()),
        KeyFileError::Io(ErrorKind::PermissionDenied.into()),
        KeyFileError::NotWritten(io::Error::other("as it says itself")),
        KeyFileError::NotWritten(ErrorKind::NotFound.into()),
        KeyFileError::NotWritten(ErrorKind::PermissionDenied.into()),
        writable(),
        readable(0, 0o644),
        readable(1000, 0o640),
        strangers(),
        KeyFileError::NotKept(io::Error::other("as it says itself")),
        KeyFileError::NotKept(ErrorKind::PermissionDenied.into()),
        KeyFileError::Exists,
        KeyFileError::Linked,
        KeyFileError::TwoSecrets,
        KeyFileError::OneSecret,
        KeyFileError::Changing,
        KeyFileError::TooLarge,
        KeyFileError::Secret(short),
        KeyFileError::Name(InvalidInput::KeyIdTooLong { len: 65 }),
    ];
    let of_content = FOUND.map(|(at, found)| KeyFileError::Content(Malformed { at, found }));
    for error in of_files.into_iter().chain(of_content) {
        let path = "secret.key".into();
        errors.push(Error::KeyFile { path, error });
    }
    for path in ["a\nb.key", "-a.key"] {
        let (path, error) = (path.into(), writable());
        errors.push(Error::KeyFile { path, error });
    }
    let of_directories = [
        KeyFileError::Io(io::Error::other("as it says itself")),
        KeyFileError::Io(ErrorKind::NotFound.into()),
        KeyFileError::Io(ErrorKind::PermissionDenied.into()),
        KeyFileError::Writable {
            mode: 0o1777,
            owner: 0,
            allowed: 0o1755,
        },
        strangers(),
        KeyFileError::Changing,
    ];
    for error in of_directories {
        let path = "keys".into();
        errors.push(Error::KeyDirectory { path, error });
    }
    let of_records = [
        record::Error::BadTag,
        record::Error::TooLong { len: 16_385 },
        record::Error::Truncated,
        record::Error::Closed,
        record::Error::Exhausted,
        record::Error::Length { len: 17 },
    ];
    (errors.iter().map(ToString::to_string))
        .chain(of_records.iter().map(ToString::to_string))
        .collect()
}

/// What a key file must not have, each at a place where it can be.
const FOUND: [(usize, Found); 14] = [
    (0, Found::Nothing),
    (0, Found::ByteOrderMark),
    (0, Found::Utf16),
    (0, Found::Pem),
    (64, Found::Nul),
    (64, Found::Space),
    (64, Found::Control),
    (64, Found::NotAscii),
    (0, Found::Quoted),
    (65, Found::EmptyLine),
    (65, Found::SecondLine),
    (137, Found::ThirdLine),
    (0, Found::AcceptFirst),
    (65, Found::AcceptLine),
];

fn writable() -> KeyFileError {
    KeyFileError::Writable {
        mode: 0o666,
        owner: 1000,
        allowed: 0o600,
    }
}

fn readable(owner: u32, mode: u32) -> KeyFileError {
    let allowed = if owner == 0 { 0o640 } else { 0o600 };
    KeyFileError::Readable {
        mode,
        owner,
        allowed,
    }
}

fn strangers() -> KeyFileError {
    KeyFileError::Owner {
        mode: 0o600,
        owner: 1001,
        expected: 1000,
    }
}

fn not_connected(kind: ErrorKind) -> Error {
    Error::Connect {
        address: "127.0.0.1:7000".to_owned(),
        source: kind.into(),
    }
}

#[test]
fn a_main_that_returns_an_error_prints_its_sentence() {
    let error = denied("worker-7", "", None);
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn the_debug_text_of_a_message_names_it() {
    let text = format!("{:?}", Message::RESPONSE);
    assert_eq!(text, "Message(the client's response (F2))");
}

fn incompatible() -> impl Iterator<Item = Incompatible> {
    let foreign = [
        (Message::CHALLENGE, &b"HTTP/1.1 400 Bad Request"[..]),
        (Message::CHALLENGE, b"\x15\x03\x03\0\x02\x02\x28"),
        (Message::CHALLENGE, b"SSH-2.0-OpenSSH_9.6"),
        (Message::CHALLENGE, b"\0\0\0\x3b#CHALLENGE#"),
        (Message::CHALLENGE, b"\xb7\x1d\x4e\x90"),
        (Message::RESPONSE, b"PROXY TCP4"),
        (Message::RESPONSE, b"P"),
    ]
    .map(|(awaiting, received)| foreign(awaiting, received));
    foreign.into_iter().chain([
        Incompatible::Version(b'2'),
        Incompatible::Version(b'\n'),
        Incompatible::Role(b'S'),
        Incompatible::Role(b'C'),
        Incompatible::Role(b'X'),
        Incompatible::Mode { ours: 1, theirs: 0 },
        Incompatible::Mode { ours: 0, theirs: 1 },
        Incompatible::Mode { ours: 0, theirs: 2 },
        Incompatible::Mode { ours: 2, theirs: 3 },
        Incompatible::KeyIdLength(65),
        Incompatible::Verdict(b'a'),
    ])
}

/// The error of a client that was denied.
fn denied(key_id: &str, service: &str, binding: Option<&Binding>) -> Error {
    denied_over(Driver::Blocking, key_id, service, binding)
}

fn denied_over(driver: Driver, key_id: &str, service: &str, binding: Option<&Binding>) -> Error {
    let mut wire = Wire::to(HonestServer::new(&key("theirs"), Prologue::EMPTY, b""));
    let client = Client::new(key("ours").with_id(key_id).unwrap());
    let client = client.service(service).unwrap().bound(binding);
    driver.client(&mut wire, &client).unwrap_err()
}

pub(crate) fn streams() -> impl Iterator<Item = StreamError> {
    let overrun = StreamError::Overrun { room: 33, len: 34 };
    [StreamError::Ended, overrun].into_iter()
}

fn invalid() -> impl Iterator<Item = InvalidInput> {
    [
        InvalidInput::SecretTooShort { len: 0 },
        InvalidInput::SecretTooShort { len: 8 },
        InvalidInput::SecretConstant { len: 32 },
        InvalidInput::KeyIdTooLong { len: 65 },
        InvalidInput::ChildIdEmpty,
        InvalidInput::PassphraseTooShort { len: 7 },
        InvalidInput::PassphraseNul,
        InvalidInput::PassphraseIdEmpty,
        InvalidInput::ServiceTooLong { len: 256 },
        InvalidInput::ExportLabelLength { len: 0 },
        InvalidInput::ExportContextTooLong { len: 65_536 },
        InvalidInput::ExportLength { len: 8_161 },
    ]
    .into_iter()
}

#[test]
fn an_error_hints_at_no_protocol_whose_beginning_differs_a_little() {
    use Message as To;

    for (awaiting, received, expected) in [
        (To::CHALLENGE, [0, 0, 0, 31], Some(Hint::Multiprocessing)),
        (To::CHALLENGE, [0, 0, 0, 30], None),
        (To::CHALLENGE, [0, 0, 1, 31], None),
        // The first message of a client of PostgreSQL, and of a server of MySQL.
        (To::RESPONSE, [0, 0, 0, 42], None),
        (To::CHALLENGE, [b'G', 0, 0, 0], None),
        (To::RESPONSE, [0x16, 3, 4, 0x40], Some(Hint::Tls)),
        (To::RESPONSE, [0x16, 3, 5, 0], None),
        (To::RESPONSE, [0x16, 2, 0, 0], None),
        (To::RESPONSE, [0x14, 3, 1, 0], None),
        (To::RESPONSE, [0x17, 3, 1, 0], None),
    ] {
        let error = Error::from(foreign(awaiting, &received));
        assert_eq!(error.hint(), expected, "{received:?}");
    }
    for (error, ..) in kinds() {
        assert_eq!(error.hint(), None, "{error}");
    }
}

#[test]
fn a_denied_client_learns_what_it_sent_itself() {
    let binding = Binding::tls_exporter(&[7; 32]);
    for (key_id, service, binding) in [
        ("", "", None),
        ("worker-7", "billing/2", None),
        ("worker-8", "", Some(&binding)),
        ("\n", "\n", Some(&binding)),
    ] {
        for driver in Driver::ALL {
            let error = denied_over(*driver, key_id, service, binding);
            let sentence = error.to_string();
            assert!(sentence.contains(&key_id.escape_default().to_string()));
            assert!(!sentence.contains('\n'), "{sentence}");
            let Error::Denied(denial) = error else {
                panic!("{error:?}");
            };
            let Denial {
                key_id: sent,
                service: asked_for,
                bound,
                ..
            } = *denial;
            assert_eq!(sent, *key_id);
            assert_eq!(asked_for, service.as_bytes());
            assert_eq!(bound, binding.is_some());
        }
    }
}

#[test]
fn a_stream_that_ends_or_is_silent_says_what_the_usual_cause_is() {
    let closed = Error::Closed(Phase::Awaiting(Message::RESPONSE)).to_string();
    assert!(closed.contains("F2"), "{closed}");
    assert!(closed.contains("port scans"), "{closed}");

    let silent = Error::TimedOut(Phase::Awaiting(Message::CHALLENGE)).to_string();
    assert!(silent.contains("F1"), "{silent}");
    assert!(silent.contains("a peer that is silent here"), "{silent}");
    assert!(silent.contains("another client"), "{silent}");
}

/// Every error, the kind it has as an [`io::Error`], and whether there is another below it.
fn kinds() -> Vec<(Error, ErrorKind, bool)> {
    let key_file = |error| Error::KeyFile {
        path: "secret.key".into(),
        error,
    };
    let not_authentic = |refusal| Core::ClientNotAuthentic {
        key_id: KeyId::new("worker-7").unwrap(),
        refusal,
    };
    let short = InvalidInput::SecretTooShort { len: 8 };
    let long = InvalidInput::KeyIdTooLong { len: 65 };
    let overrun = StreamError::Overrun { room: 33, len: 34 };
    let permission_denied = [
        Core::Denied.into(),
        denied("worker-7", "", None),
        Core::ServerNotAuthentic.into(),
        not_authentic(Refusal::WrongProof).into(),
        not_authentic(Refusal::UnknownKeyId).into(),
        cookbook::Problem::WrongDigest.into(),
        #[cfg(feature = "multiprocessing")]
        multiprocessing::Problem::Rejected.into(),
        #[cfg(feature = "multiprocessing")]
        multiprocessing::Problem::RejectedMd5.into(),
        #[cfg(feature = "multiprocessing")]
        multiprocessing::Problem::WrongDigest.into(),
        key_file(writable()),
        key_file(readable(0, 0o644)),
        key_file(readable(1000, 0o640)),
        key_file(strangers()),
    ];
    let invalid_data = [
        Incompatible::Version(b'2').into(),
        overrun.into(),
        cookbook::Problem::Native.into(),
        cookbook::Problem::Multiprocessing.into(),
        cookbook::Problem::Stream(overrun).into(),
        #[cfg(feature = "multiprocessing")]
        multiprocessing::Problem::NotAChallenge.into(),
        #[cfg(feature = "multiprocessing")]
        multiprocessing::Problem::Stream(overrun).into(),
    ];
    let invalid_input = [
        Error::InvalidInput(short),
        Error::NoDirectory,
        key_file(KeyFileError::TooLarge),
        key_file(KeyFileError::Content(Malformed {
            at: 64,
            found: Found::Space,
        })),
    ];
    let of = |kind| move |error| (error, kind, false);
    let mut kinds: Vec<_> = (permission_denied.into_iter())
        .map(of(ErrorKind::PermissionDenied))
        .chain(invalid_data.into_iter().map(of(ErrorKind::InvalidData)))
        .chain(invalid_input.into_iter().map(of(ErrorKind::InvalidInput)))
        .collect();
    let missing = || KeyFileError::Io(ErrorKind::NotFound.into());
    let not_written = KeyFileError::NotWritten(ErrorKind::StorageFull.into());
    let no_directory = Error::KeyDirectory {
        path: "keys".into(),
        error: missing(),
    };
    let secret = key_file(KeyFileError::Secret(short));
    let name = key_file(KeyFileError::Name(long));
    kinds.extend([
        (NoRandomness.into(), ErrorKind::Other, false),
        (StreamError::Ended.into(), ErrorKind::UnexpectedEof, false),
        (
            key_file(KeyFileError::Changing),
            ErrorKind::ResourceBusy,
            false,
        ),
        (key_file(missing()), ErrorKind::NotFound, true),
        (no_directory, ErrorKind::NotFound, true),
        (key_file(not_written), ErrorKind::StorageFull, true),
        (secret, ErrorKind::InvalidInput, true),
        (name, ErrorKind::InvalidInput, true),
        (
            not_connected(ErrorKind::TimedOut),
            ErrorKind::TimedOut,
            true,
        ),
    ]);
    for message in MESSAGES {
        for phase in [Phase::Sending(message), Phase::Awaiting(message)] {
            kinds.extend([
                (Error::Closed(phase), ErrorKind::UnexpectedEof, false),
                (Error::TimedOut(phase), ErrorKind::TimedOut, false),
            ]);
            for kind in [ErrorKind::NotConnected, ErrorKind::WriteZero] {
                let source = kind.into();
                kinds.push((Error::Io { phase, source }, kind, true));
            }
        }
    }
    kinds
}

#[test]
fn an_error_has_a_fitting_kind_and_a_source_if_there_is_one() {
    for (error, kind, has_source) in kinds() {
        let sentence = error.to_string();
        assert_eq!(error.source().is_some(), has_source, "{sentence}");

        let as_io = io::Error::from(error);
        assert_eq!(as_io.kind(), kind, "{sentence}");
        assert_eq!(as_io.to_string(), sentence);
        let inner = as_io.get_ref().and_then(|e| e.downcast_ref::<Error>());
        assert_eq!(inner.unwrap().to_string(), sentence);
    }
}
