//! Vectors, in both directions.

use std::fs;

use super::process::text;
use super::{PYTHON, Peer, Process, is_installed};
use crate::support::TempDir;
use crate::vectors::{ALL_FILES, KIT_FILES, check, count, made_by_the_crate, split};

/// The files that the Python peer makes.
const MADE: [&str; 3] = ["handshake", "key-files", "passphrases"];
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

#[test]
fn each_peer_agrees_with_every_vector() {
    for peer in Peer::all() {
        let modes = peer.speaks();
        for file in ALL_FILES {
            let spoken = count(file, &modes);
            let output = peer.run(&["check", &format!("{VECTORS}/{file}")]);
            let found = text(&output.stdout);
            // A file with nothing that is spoken proves nothing, and counts as a failure.
            assert_eq!(output.status.success(), spoken > 0, "{found}");
            assert!(
                found.ends_with(&format!("{spoken} passed, 0 failed\n")),
                "{found}"
            );
        }
    }
}

#[test]
fn each_peer_notices_a_case_of_the_kit_that_states_something_else() {
    let temp = TempDir::new();
    let path = temp.path().join("kit.txt");
    for peer in Peer::all() {
        for (file, field, states, instead) in [
            ("exchanges", "expect", "denied", "closed"),
            ("exchanges", "expect", "proof rejected", "unknown key id"),
            ("exchanges", "expect", "accepted", "server not authentic"),
            ("exchanges", "left", "5", "4"),
            ("exchanges", "matched", "second", "first"),
            ("records", "expect", "truncated", "close"),
            ("records", "expect", "bad tag", "bad length"),
            ("records", "delivers", "6669727374", "66697273"),
            ("inputs", "expect", "refused", "taken"),
            ("inputs", "expect", "taken", "refused"),
        ] {
            let kit = fs::read_to_string(format!("{VECTORS}/{file}.txt")).unwrap();
            let stated = format!("\n{field}: {states}\n");
            let instead = format!("\n{field}: {instead}\n");
            fs::write(&path, kit.replacen(&stated, &instead, 1)).unwrap();
            let output = peer.run(&["check", path.to_str().unwrap()]);
            let found = text(&output.stdout);
            assert!(found.ends_with(" passed, 1 failed\n"), "{stated}{found}");
            assert_eq!(output.status.code(), Some(1));
        }
    }
}

#[test]
fn the_python_peer_makes_the_same_files_of_vectors() {
    if !is_installed(PYTHON.command[0]) {
        return;
    }
    for kind in MADE {
        let made = PYTHON.run(&["vectors", kind]);
        let file = fs::read_to_string(format!("{VECTORS}/{kind}.txt")).unwrap();
        assert_eq!(text(&made.stdout), file);
    }
}

#[test]
fn the_files_of_the_kit_are_what_its_generator_makes() {
    if !is_installed(PYTHON.command[0]) {
        return;
    }
    let program = format!("{VECTORS}/kit/kit.py");
    for file in KIT_FILES {
        let made = Process::start("python3", &["-B", &program, "print", file]).output();
        let written = fs::read(format!("{VECTORS}/{file}.txt")).unwrap();
        let errors = text(&made.stderr);
        assert!(
            made.stdout == written,
            "run tests/vectors/kit/kit.py write\n{errors}"
        );
    }
}

#[test]
fn each_peer_agrees_with_vectors_that_the_crate_makes() {
    let temp = TempDir::new();
    let path = temp.path().join("vectors.txt");
    for peer in Peer::all() {
        let vectors = made_by_the_crate(peer.modes());
        let checked = |vectors: &str| {
            fs::write(&path, vectors).unwrap();
            peer.run(&["check", path.to_str().unwrap()])
        };
        let output = checked(&vectors);
        let count = vectors.matches("name: ").count();
        let expected = format!("{count} passed, 0 failed");
        assert_eq!(text(&output.stdout).trim(), expected);
        assert!(output.status.success());

        // The control: one digit of each output of the last vector, and of one alone.
        for field in [
            "ts",
            "f3",
            "record-client-0",
            "export-output",
            "child-secret",
        ] {
            let Some(at) = vectors.rfind(&format!("\n{field}: ")) else {
                panic!("no vector has {field}");
            };
            let at = at + field.len() + 3;
            let digit = if vectors[at..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            let output = checked(&[&vectors[..at], digit, &vectors[at + 1..]].concat());
            let expected = format!("{} passed, 1 failed", count - 1);
            assert!(
                text(&output.stdout).ends_with(&format!("{expected}\n")),
                "{field}"
            );
            assert_eq!(output.status.code(), Some(1));
        }
    }
}

#[test]
fn the_crate_agrees_with_vectors_that_the_javascript_peer_makes() {
    const COUNT: usize = 60;

    if !is_installed(super::NODE.command[0]) {
        return;
    }
    let run = super::NODE.run(&["vectors", &COUNT.to_string()]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let vectors = split(&text(&run.stdout));
    assert_eq!(vectors.len(), COUNT);
    let mut accepted = [0; 3];
    for text in vectors {
        let (mode, accepts) = check(&text).unwrap_or_else(|problem| panic!("{problem}: {text}"));
        accepted[usize::from(mode)] += usize::from(accepts);
    }
    assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
}
