//! Loads key files or directories and says what came of each, in a line, for tests that run it as another user.
#![allow(clippy::panic, reason = "a test that calls it wrongly has failed")]

use std::env;
use std::ffi::OsStr;

use countersign::{Error, Key, KeyFileError, Keyring};

fn main() {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [how, paths @ ..] = &*arguments else {
        panic!("usage: load_key file|shared-file|dir|shared-dir PATH...");
    };
    for path in paths {
        println!("{}", load(how, path));
    }
}

/// Returns one word, a tab, and the text of an error.
fn load(how: &OsStr, path: &OsStr) -> String {
    let loaded = match how.to_str() {
        Some("file") => Key::from_file(path).map(|_| "loaded".to_owned()),
        Some("shared-file") => Key::from_shared_file(path).map(|_| "loaded".to_owned()),
        Some("dir") => Keyring::from_dir(path).map(|ring| format!("loaded {:?}", ring.ids())),
        Some("shared-dir") => {
            Keyring::from_shared_dir(path).map(|ring| format!("loaded {:?}", ring.ids()))
        }
        _ => panic!("{} is unknown", how.display()),
    };
    let error = match loaded {
        Ok(loaded) => return loaded + "\t",
        Err(error) => error,
    };
    let word = match &error {
        Error::KeyFile { error, .. } | Error::KeyDirectory { error, .. } => match error {
            KeyFileError::Io(_) => "io",
            KeyFileError::Writable { .. } => "writable",
            KeyFileError::Readable { .. } => "readable",
            KeyFileError::Owner { .. } => "owner",
            _ => "other",
        },
        _ => "other",
    };
    format!("{word}\t{error}")
}
