//! What errors say and what they are as an [`io::Error`].
//!
//! `tests/expected/errors.txt` has the sentences of the native wire, of key files and of records
//! word for word, so that a reviewer can compare them side by side.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use countersign::handshake::{Flight, Hint, Incompatible, InvalidInput, Mode, Refusal};
use countersign::{Error, KeyFileProblem, KeyId, Phase, record};

use crate::support::MESSAGES;

const EXPECTED: &str = include_str!("expected/errors.txt");

#[test]
fn errors_say_what_was_wrong_in_these_words() {
    let said: Vec<String> = (sentences().into_iter())
        .map(|sentence| sentence + "\n")
        .collect();
    let said = said.concat();
    assert!(said == EXPECTED, "they are now:\n{said}");
}

fn sentences() -> Vec<String> {
    let phases = MESSAGES.map(|message| [Phase::Awaiting(message), Phase::Sending(message)]);
    let mut errors = Vec::new();
    for phase in phases.into_iter().flatten() {
        errors.push(Error::Closed(phase));
        errors.push(Error::TimedOut(phase));
        let source = io::Error::other("as it says itself");
        errors.push(Error::Io { phase, source });
    }
    errors.extend(incompatible().map(Error::Incompatible));
    errors.push(Error::Denied);
    errors.push(Error::ServerNotAuthentic);
    for key_id in ["", "worker-7", "\n"] {
        let key_id = KeyId::new(key_id).unwrap();
        for refusal in [
            Refusal::UnknownKeyId,
            Refusal::WrongProof,
            Refusal::WrongDigest,
        ] {
            errors.push(Error::ClientNotAuthentic { key_id, refusal });
        }
    }
    errors.push(Error::NoRandomness);
    errors.extend(invalid().map(Error::InvalidInput));
    let short = InvalidInput::SecretTooShort { len: 8 };
    for problem in [
        KeyFileProblem::Io(io::Error::other("as it says itself")),
        KeyFileProblem::Exposed { mode: 0o644 },
        KeyFileProblem::TooLarge,
        KeyFileProblem::Secret(short),
        KeyFileProblem::Name(InvalidInput::KeyIdTooLong { len: 65 }),
        KeyFileProblem::NoKeys,
    ] {
        let path = "secret.key".into();
        errors.push(Error::KeyFile { path, problem });
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

fn incompatible() -> impl Iterator<Item = Incompatible> {
    let hints = [
        Hint::Http,
        Hint::Tls,
        Hint::Ssh,
        Hint::Multiprocessing,
        Hint::Native,
        Hint::Echo,
    ];
    let awaiting = Flight::Challenge;
    let foreign = hints
        .map(Some)
        .into_iter()
        .chain([None])
        .map(move |hint| Incompatible::Foreign { awaiting, hint });
    let ours = Mode::Authenticate;
    foreign.chain([
        Incompatible::Version(b'2'),
        Incompatible::Version(b'\n'),
        Incompatible::Role(b'S'),
        Incompatible::Role(b'C'),
        Incompatible::Role(b'X'),
        Incompatible::Mode {
            ours: Mode::Protect,
            theirs: 0,
        },
        Incompatible::Mode { ours, theirs: 1 },
        Incompatible::Mode { ours, theirs: 2 },
        Incompatible::KeyIdLength(65),
    ])
}

fn invalid() -> impl Iterator<Item = InvalidInput> {
    [
        InvalidInput::SecretTooShort { len: 0 },
        InvalidInput::SecretTooShort { len: 8 },
        InvalidInput::SecretConstant { len: 32 },
        InvalidInput::KeyIdTooLong { len: 65 },
        InvalidInput::ChildIdEmpty,
        InvalidInput::ServiceTooLong { len: 256 },
        InvalidInput::ExportLabelLength { len: 0 },
        InvalidInput::ExportContextTooLong { len: 65_536 },
        InvalidInput::ExportLength { len: 8_161 },
        InvalidInput::NoDirectory,
        InvalidInput::Overrun { room: 33, len: 34 },
    ]
    .into_iter()
}

#[test]
fn a_stream_that_ends_or_is_silent_says_what_the_usual_cause_is() {
    let closed = Error::Closed(Phase::Awaiting(Flight::Response)).to_string();
    assert!(closed.contains("F2"), "{closed}");
    assert!(closed.contains("another mode or version"), "{closed}");

    let silent = Error::TimedOut(Phase::Awaiting(Flight::Challenge)).to_string();
    assert!(silent.contains("F1"), "{silent}");
    assert!(silent.contains("a peer that is silent here"), "{silent}");
    assert!(silent.contains("another client"), "{silent}");
}

/// Every error, the kind it has as an [`io::Error`], and whether there is another below it.
fn kinds() -> Vec<(Error, ErrorKind, bool)> {
    let key_file = |problem| Error::KeyFile {
        path: "secret.key".into(),
        problem,
    };
    let not_authentic = |refusal| Error::ClientNotAuthentic {
        key_id: KeyId::new("worker-7").unwrap(),
        refusal,
    };
    let short = InvalidInput::SecretTooShort { len: 8 };
    let mut kinds = vec![
        (
            Error::Incompatible(Incompatible::Version(b'2')),
            ErrorKind::InvalidData,
            false,
        ),
        (Error::Denied, ErrorKind::PermissionDenied, false),
        (
            Error::ServerNotAuthentic,
            ErrorKind::PermissionDenied,
            false,
        ),
        (
            not_authentic(Refusal::WrongProof),
            ErrorKind::PermissionDenied,
            false,
        ),
        (
            not_authentic(Refusal::UnknownKeyId),
            ErrorKind::PermissionDenied,
            false,
        ),
        (Error::NoRandomness, ErrorKind::Other, false),
        (Error::InvalidInput(short), ErrorKind::InvalidInput, false),
        (
            key_file(KeyFileProblem::Io(ErrorKind::NotFound.into())),
            ErrorKind::NotFound,
            true,
        ),
        (
            key_file(KeyFileProblem::Exposed { mode: 0o644 }),
            ErrorKind::PermissionDenied,
            false,
        ),
        (
            key_file(KeyFileProblem::TooLarge),
            ErrorKind::InvalidInput,
            false,
        ),
        (
            key_file(KeyFileProblem::Secret(short)),
            ErrorKind::InvalidInput,
            true,
        ),
        (
            key_file(KeyFileProblem::Name(InvalidInput::KeyIdTooLong { len: 65 })),
            ErrorKind::InvalidInput,
            true,
        ),
        (key_file(KeyFileProblem::NoKeys), ErrorKind::NotFound, false),
    ];
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
