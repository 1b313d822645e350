//! Which entries of a directory are keys.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;
#[cfg(unix)]
use std::path::Path;

#[cfg(unix)]
use countersign::Key;
use countersign::{Error, KeyFileError, Keyring};

use super::{accepts, ids, secret};
use crate::support::TempDir;

#[test]
fn what_tools_and_people_leave_beside_a_key_is_not_looked_at() {
    let directory = TempDir::new();
    directory.key_file("worker-7.key", secret("new"));
    for name in [
        "worker-7.key~",
        "worker-7.key.bak",
        "worker-7.key.orig",
        "worker-7.key.swp",
        ".worker-7.key.swp",
        ".worker-7.key",
        "#worker-7.key#",
        "worker-7.key.revoked",
        "worker-7.key.tmp",
        "worker-7",
        #[cfg(not(windows))] // There it is `worker-7.key`.
        "worker-7.KEY",
        "4913",
        "README.txt",
        "key",
        ".key",
    ] {
        directory.key_file(name, secret("old"));
    }
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    let ring = Keyring::from_dir(directory.path()).unwrap();
    for _ in 0..2 {
        assert_eq!(ids(&ring), ["worker-7"]);
        assert!(accepts(&ring, "worker-7", "new"));
        let reloaded = ring.reload().unwrap();
        assert!(reloaded.is_clean());
        assert_eq!(reloaded.to_string(), "nothing changed");
    }
}

#[test]
fn the_key_id_is_the_name_before_the_suffix_whatever_it_has() {
    let directory = TempDir::new();
    let long = "x".repeat(64);
    for id in ["a", "a.key", "a b", "worker-7@node-3", "~", &long] {
        directory.key_file(&format!("{id}.key"), secret(id.get(..1).unwrap()));
    }
    let ring = Keyring::from_dir(directory.path()).unwrap();
    assert_eq!(
        ids(&ring),
        ["a", "a b", "a.key", "worker-7@node-3", &long, "~"]
    );
}

#[test]
fn a_name_that_is_too_long_for_a_key_id_is_an_error_that_shows_it() {
    let directory = TempDir::new();
    let name = format!("{}.key", "x".repeat(65));
    directory.key_file(&name, secret("any"));
    let error = Keyring::from_dir(directory.path()).unwrap_err();
    let Error::KeyFile {
        path,
        error: KeyFileError::Name(_),
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(path.file_name().unwrap().to_str(), Some(&*name));
    assert!(error.to_string().contains(&name));
}

#[cfg(unix)]
#[test]
fn a_line_feed_in_a_file_name_makes_no_second_line_in_a_log() {
    let directory = TempDir::new();
    directory.key_file("evil\nroot accepted.key", "too short");
    let error = Keyring::from_dir(directory.path()).unwrap_err().to_string();
    assert!(
        !error.contains('\n') && error.contains(r"evil\nroot accepted.key"),
        "{error}"
    );
    let file = directory.path().join("evil\nroot accepted.key");
    let error = Key::from_file(file).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_at_once_under_the_name_of_a_key() {
    type Make = fn(&Path);

    // A FIFO without a writer would keep `open` waiting for ever, and so the test.
    let kinds: [(&str, Make); 6] = [
        ("a FIFO", super::make_fifo),
        ("a link to a FIFO", |path| {
            let fifo = path.with_extension("fifo");
            super::make_fifo(&fifo);
            symlink(fifo, path).unwrap();
        }),
        ("a socket", |path| {
            std::os::unix::net::UnixListener::bind(path).unwrap();
        }),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a dangling link", |path| symlink("nowhere", path).unwrap()),
    ];
    for (what, make) in kinds {
        let directory = TempDir::new();
        directory.key_file("good.key", secret("good"));
        let ring = Keyring::from_dir(directory.path()).unwrap();
        let bad = directory.path().join("bad.key");
        make(&bad);

        let error = Key::from_file(&bad).unwrap_err();
        assert!(
            matches!(&error, Error::KeyFile { path, .. } if *path == bad),
            "{what}: {error}"
        );
        assert!(Keyring::from_dir(directory.path()).is_err(), "{what}");
        let reloaded = ring.reload().unwrap();
        let [Error::KeyFile { path, .. }] = &*reloaded.refused else {
            panic!("{what}: {reloaded}");
        };
        assert!(path.ends_with("bad.key"), "{what}: {reloaded}");
        assert!(accepts(&ring, "good", "good"), "{what}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_regular_file_is_followed() {
    let directory = TempDir::new();
    directory.key_file("stored", secret("ours"));
    symlink("stored", directory.path().join("worker-7.key")).unwrap();
    let ring = Keyring::from_dir(directory.path()).unwrap();
    assert!(accepts(&ring, "worker-7", "ours"));
}
