//! Key files that the crate writes.

use std::fs;
use std::io;
use std::path::Path;

use countersign::{Error, Key, KeyFileError, Rotation, generate_secret};

use super::{key, secret};
use crate::support::TempDir;

/// The names of all files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The fault of the file, which the error names.
#[track_caller]
fn fault<T>(outcome: Result<T, Error>, of: &Path) -> KeyFileError {
    let error = outcome.map(drop).unwrap_err();
    let kind = io::Error::from(match error {
        Error::KeyFile { path, error } => {
            assert_eq!(path, of);
            return error;
        }
        other => other,
    });
    panic!("{kind}");
}

#[test]
fn a_new_key_file_has_the_secret_and_never_replaces_another() {
    let directory = TempDir::new();
    let path = directory.path().join("worker-7.key");
    let secret = generate_secret().unwrap();
    secret.write_new(&path).unwrap();
    let expected = [secret.as_ref(), b"\n"].concat();
    assert_eq!(fs::read(&path).unwrap(), expected);
    Key::from_file(&path).unwrap();

    let again = generate_secret().unwrap().write_new(&path);
    assert!(matches!(fault(again, &path), KeyFileError::Exists));
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(names(directory.path()), ["worker-7.key"]);
}

#[test]
fn an_existing_file_and_an_unfit_step_have_kinds_of_their_own() {
    let directory = TempDir::new();
    let path = directory.key_file("worker-7.key", secret("old"));
    let kind = |error: Error| io::Error::from(error).kind();
    let exists = generate_secret().unwrap().write_new(&path);
    assert_eq!(kind(exists.unwrap_err()), io::ErrorKind::AlreadyExists);
    let unfit = Key::rotate_file(&path, Rotation::Drop);
    assert_eq!(kind(unfit.unwrap_err()), io::ErrorKind::InvalidInput);
}

#[test]
fn a_file_that_cannot_be_written_is_told_from_one_that_cannot_be_read() {
    let directory = TempDir::new();
    let path = directory.path().join("nowhere/worker-7.key");
    let written = generate_secret().unwrap().write_new(&path);
    assert!(matches!(fault(written, &path), KeyFileError::NotWritten(_)));
    let rotated = Key::rotate_file(&path, Rotation::Add);
    assert!(matches!(fault(rotated, &path), KeyFileError::Io(_)));
}

#[test]
fn a_rotation_returns_the_key_that_the_file_then_has() {
    let directory = TempDir::new();
    let path = directory.key_file("worker-7.key", secret("old"));
    let old = key("old").fingerprint();
    let rotate = |step| {
        let key = Key::rotate_file(&path, step).unwrap();
        let read = Key::from_file(&path).unwrap();
        let secrets = |key: &Key| (key.fingerprint(), key.accepted_fingerprint());
        assert_eq!(secrets(&key), secrets(&read), "{step:?}");
        secrets(&key)
    };
    let (first, new) = rotate(Rotation::Add);
    assert_eq!(first, old);
    let new = new.unwrap();
    assert_ne!(new, old);
    assert_eq!(rotate(Rotation::Promote), (new, Some(old)));
    assert_eq!(rotate(Rotation::Drop), (new, None));
    assert_eq!(names(directory.path()), ["worker-7.key"]);
}

#[test]
fn a_step_that_does_not_fit_changes_nothing() {
    let directory = TempDir::new();
    let path = directory.path().join("worker-7.key");
    let (one, two) = (
        secret("old"),
        format!("{}accept:{}", secret("old"), secret("new")),
    );
    for (content, step) in [
        (&one, Rotation::Promote),
        (&one, Rotation::Drop),
        (&two, Rotation::Add),
    ] {
        directory.key_file("worker-7.key", content);
        let fault = fault(Key::rotate_file(&path, step), &path);
        let has_two = matches!(fault, KeyFileError::TwoSecrets);
        assert!(has_two || matches!(fault, KeyFileError::OneSecret));
        assert_eq!(has_two, content == &two);
        assert_eq!(&fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(names(directory.path()), ["worker-7.key"]);
}

#[cfg(unix)]
#[test]
fn a_file_of_two_names_is_not_rotated() {
    let directory = TempDir::new();
    let path = directory.key_file("worker-7.key", secret("old"));
    let other = directory.path().join("other");
    for link in [std::os::unix::fs::symlink, fs::hard_link::<&Path, &Path>] {
        link(&path, &other).unwrap();
        let outcome = Key::rotate_file(&other, Rotation::Add);
        assert!(matches!(fault(outcome, &other), KeyFileError::Linked));
        fs::remove_file(&other).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), secret("old"));
    Key::rotate_file(&path, Rotation::Add).unwrap();
}
