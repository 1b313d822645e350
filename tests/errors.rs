//! What errors say, word for word: `tests/expected/errors.txt` has the sentences of the native wire,
//! of key files and of records, for whoever wants to judge them side by side.

use std::io;

use countersign::handshake::{Flight, Hint, Incompatible, InvalidInput, Mode, Refusal};
use countersign::{Error, KeyFileProblem, KeyId, Phase, record};

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
    let flights = [Flight::Challenge, Flight::Response, Flight::Verdict];
    let phases = flights.map(|flight| [Phase::Awaiting(flight), Phase::Sending(flight)]);
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
