//! Loads a key file or a directory and says what came of it, for tests that run it as another user.
#![allow(clippy::panic, reason = "a test that calls it wrongly has failed")]

use std::env;

use countersign::{Error, Key, KeyFileError, Keyring};

fn main() {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [how, path] = &*arguments else {
        panic!("usage: load_key file|shared-file|dir|shared-dir PATH");
    };
    let loaded = match how.to_str() {
        Some("file") => Key::from_file(path).map(|_| "loaded".to_owned()),
        Some("shared-file") => Key::from_shared_file(path).map(|_| "loaded".to_owned()),
        Some("dir") => Keyring::from_dir(path).map(|ring| format!("loaded {:?}", ring.ids())),
        Some("shared-dir") => {
            Keyring::from_shared_dir(path).map(|ring| format!("loaded {:?}", ring.ids()))
        }
        _ => panic!("{} is unknown", how.display()),
    };
    let word = match &loaded {
        Ok(loaded) => loaded,
        Err(Error::KeyFile { error, .. }) => match error {
            KeyFileError::Io(_) => "io",
            KeyFileError::Writable { .. } => "writable",
            KeyFileError::Readable { .. } => "readable",
            KeyFileError::Owner { .. } => "owner",
            _ => "other",
        },
        Err(_) => "other",
    };
    println!("{word}");
    if let Err(error) = &loaded {
        println!("{error}");
    }
}
