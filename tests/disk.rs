//! Keys on disk: what operators and their tools leave in files and directories, and who gets in by it.

mod content;
mod names;
mod permissions;
mod races;
mod reload;
mod rotation;
mod writing;

use std::path::Path;

use countersign::{Key, KeyLookup, Keyring};

/// Content of a key file: a secret that is a function of `name`.
fn secret(name: &str) -> String {
    format!("{name:*<32}\n")
}

fn key(name: &str) -> Key {
    Key::new(secret(name).trim_end()).unwrap()
}

/// Whether the ring accepts the secret of `name` as the first one of an id.
fn accepts(ring: &Keyring, id: &str, name: &str) -> bool {
    let found = ring.find(id.as_bytes());
    found.is_some_and(|found| found.fingerprint() == key(name).fingerprint())
}

fn ids(ring: &Keyring) -> Vec<String> {
    ring.ids().iter().map(ToString::to_string).collect()
}

/// Makes a FIFO, which would keep whoever opens it waiting for a writer.
#[cfg(unix)]
fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo")
        .arg("-m600")
        .arg(path)
        .status();
    assert!(made.unwrap().success(), "mkfifo is part of every Unix");
}
