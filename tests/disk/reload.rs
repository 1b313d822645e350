//! What a reload changes, and what it says.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use countersign::{Error, Key, KeyLookup, Keyring};

use super::{accepts, ids, secret};
use crate::support::TempDir;

fn loaded(names: &[&str]) -> (TempDir, Keyring) {
    let directory = TempDir::new();
    for name in names {
        directory.key_file(&format!("{name}.key"), secret(name));
    }
    let ring = Keyring::from_dir(directory.path()).unwrap();
    (directory, ring)
}

#[test]
fn a_reload_says_in_one_line_what_was_added_changed_and_removed() {
    let (directory, ring) = loaded(&["a", "b", "c"]);
    directory.key_file("b.key", secret("other"));
    directory.key_file("d.key", secret("d"));
    fs::remove_file(directory.path().join("c.key")).unwrap();
    let reloaded = ring.reload().unwrap();
    assert_eq!(
        reloaded.to_string(),
        r#"added "d"; changed "b"; removed "c""#
    );
    assert!(reloaded.is_clean());
    assert_eq!(ids(&ring), ["a", "b", "d"]);
    assert!(accepts(&ring, "b", "other"));
}

#[test]
fn a_change_of_either_line_of_a_file_is_a_change_of_its_key() {
    let (a, b, c) = (secret("a"), secret("b"), secret("c"));
    let accepting = |first: &str, second: &str| format!("{first}accept:{second}");
    let (directory, ring) = loaded(&["a"]);
    for (step, content, changed) in [
        ("the same line", a.clone(), false),
        ("the same secret accepted too", accepting(&a, &a), true),
        ("another secret accepted", accepting(&a, &b), true),
        ("the same two", accepting(&a, &b), false),
        ("a third accepted", accepting(&a, &c), true),
        ("another first", accepting(&b, &c), true),
        ("in other places", accepting(&c, &b), true),
        ("the first alone", c.clone(), true),
    ] {
        directory.key_file("a.key", content);
        let said = ring.reload().unwrap().to_string();
        let expected = if changed {
            "changed \"a\""
        } else {
            "nothing changed"
        };
        assert_eq!(said, expected, "{step}");
    }
}

#[test]
fn a_removal_takes_effect_whatever_else_is_wrong() {
    type Spoil = fn(&Path);

    let neighbours: &[(&str, Spoil)] = &[
        ("an empty file", |path| fs::write(path, "").unwrap()),
        ("a short secret", |path| fs::write(path, "short").unwrap()),
        ("a README", |path| {
            fs::write(path, "Read me first, please.\n").unwrap();
        }),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        #[cfg(unix)]
        ("a file that others can read", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }),
        #[cfg(unix)]
        ("a file that others can write", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }),
        #[cfg(unix)]
        ("a dangling link", |path| {
            fs::remove_file(path).unwrap();
            symlink("nowhere", path).unwrap();
        }),
        #[cfg(unix)]
        ("a FIFO", |path| {
            fs::remove_file(path).unwrap();
            super::make_fifo(path);
        }),
    ];
    for (what, spoil) in neighbours {
        let (directory, ring) = loaded(&["worker-7", "neighbour", "other"]);
        fs::remove_file(directory.path().join("worker-7.key")).unwrap();
        spoil(&directory.path().join("neighbour.key"));
        directory.key_file("other.key", secret("renewed"));

        let reloaded = ring.reload().unwrap();
        assert!(!ring.contains("worker-7"), "{what}");
        assert_eq!(
            reloaded.removed,
            [countersign::KeyId::new("worker-7").unwrap()],
            "{what}"
        );
        assert!(
            accepts(&ring, "other", "renewed"),
            "{what}: good files are taken"
        );
        assert!(
            accepts(&ring, "neighbour", "neighbour"),
            "{what}: its own former key stays"
        );
        let [(id, Error::KeyFile { path, .. })] = &*reloaded.kept else {
            panic!("{what}: {reloaded}");
        };
        assert!(
            *id == "neighbour" && path.ends_with("neighbour.key"),
            "{what}: {reloaded}"
        );
        assert_eq!(ids(&ring), ["neighbour", "other"], "{what}");
        let line = reloaded.to_string();
        assert!(
            line.contains(r#"kept the former key of "neighbour""#),
            "{line}"
        );
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn a_bad_file_without_a_former_key_lets_nobody_in() {
    let (directory, ring) = loaded(&["a"]);
    directory.key_file("b.key", "short");
    let reloaded = ring.reload().unwrap();
    assert_eq!(reloaded.refused.len(), 1, "{reloaded}");
    assert_eq!(ids(&ring), ["a"]);
}

#[test]
fn a_file_at_fault_is_no_reason_to_accept_the_child_of_a_master_that_it_replaces() {
    let (directory, ring) = loaded(&["a"]);
    ring.insert_master("worker-", super::key("master")).unwrap();
    let master_answers = || ring.find(b"worker-7").is_some();
    assert!(master_answers());

    let path = directory.key_file("worker-7.key", "short");
    for _ in 0..2 {
        let reloaded = ring.reload().unwrap();
        assert!(!master_answers(), "{reloaded}");
        assert_eq!(reloaded.refused.len(), 1, "{reloaded}");
        let line = reloaded.to_string();
        assert!(line.contains("worker-7.key"), "{line}");
        assert!(
            line.ends_with("its id is refused until the file is mended"),
            "{line}"
        );
    }
    assert!(ring.find(b"worker-8").is_some(), "other ids have a child");

    directory.key_file("worker-7.key", secret("new"));
    ring.reload().unwrap();
    assert!(accepts(&ring, "worker-7", "new"));
    directory.key_file("worker-7.key", "short");
    ring.reload().unwrap();
    assert!(accepts(&ring, "worker-7", "new"), "its former key stays");

    fs::remove_file(path).unwrap();
    ring.reload().unwrap();
    assert!(master_answers(), "without a file the master answers again");
}

#[test]
fn an_empty_directory_means_nobody() {
    let (directory, ring) = loaded(&["a", "b"]);
    for name in ["a.key", "b.key"] {
        fs::remove_file(directory.path().join(name)).unwrap();
    }
    assert_eq!(ring.reload().unwrap().to_string(), r#"removed "a" "b""#);
    assert!(ids(&ring).is_empty());
    assert!(ids(&Keyring::from_dir(directory.path()).unwrap()).is_empty());
}

#[test]
fn a_directory_that_cannot_be_read_keeps_the_ring_and_is_named() {
    let (directory, ring) = loaded(&["a"]);
    let moved = directory.path().with_extension("moved");
    fs::rename(directory.path(), &moved).unwrap();
    let error = ring.reload().unwrap_err();
    let Error::KeyDirectory { path, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(path, directory.path());
    assert_eq!(ids(&ring), ["a"]);
    fs::rename(&moved, directory.path()).unwrap();
    assert_eq!(ring.reload().unwrap().to_string(), "nothing changed");
}

#[test]
fn masters_and_revoked_ids_outlast_a_reload() {
    let (_directory, ring) = loaded(&["a", "b"]);
    ring.insert_master("worker-", super::key("master")).unwrap();
    ring.revoke("b").unwrap();
    ring.reload().unwrap();
    assert_eq!(ids(&ring), ["a"]);
    assert!(!ring.contains("b") && !ring.contains("worker-7"));
    assert!(ring.find(b"worker-7").is_some());
}

#[test]
fn a_key_that_was_put_in_by_the_program_is_removed_by_a_reload_that_finds_no_file() {
    let (_directory, ring) = loaded(&["a"]);
    ring.insert(
        Key::new(secret("b").trim_end())
            .unwrap()
            .with_id("b")
            .unwrap(),
    );
    assert_eq!(ring.reload().unwrap().to_string(), r#"removed "b""#);
}

#[test]
fn a_ring_without_a_directory_says_so() {
    assert!(matches!(Keyring::new().reload(), Err(Error::NoDirectory)));
}

#[test]
fn a_ring_that_was_replaced_by_another_from_a_directory_reloads_at_once() {
    let (directory, live) = loaded(&["a", "b"]);
    let (_other, staging) = loaded(&["a", "b", "c"]);
    for _ in 0..20 {
        staging.reload().unwrap();
    }
    live.replace(&staging);
    assert!(live.contains("c"));
    fs::remove_file(directory.path().join("b.key")).unwrap();
    assert_eq!(live.reload().unwrap().to_string(), r#"removed "b" "c""#);
    assert_eq!(ids(&live), ["a"]);
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_moved_into_place_during_a_load_is_loaded_whole() {
    let parent = TempDir::new();
    let place = parent.path().join("keys");
    let make = |name: &str, content: &str| {
        let path = parent.path().join(name);
        fs::create_dir(&path).unwrap();
        for id in ["a", "b", "c", "d"] {
            parent.key_file(&format!("{name}/{id}.key"), secret(content));
        }
        path
    };
    let versions = [make("one", "one"), make("two", "two")];
    fs::rename(&versions[0], &place).unwrap();
    let ring = Keyring::from_dir(&place).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut present = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(&place, &versions[present]).unwrap();
                present = 1 - present;
                fs::rename(&versions[present], &place).unwrap();
                // Longer than a tick of the file system's clock. A directory that was moved away and
                // back within one tick looks untouched.
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_secs(1) {
            // In the gap there is no directory. The ring then stays.
            let _ = ring.reload();
            let whole = ["one", "two"].into_iter().any(|name| {
                ["a", "b", "c", "d"]
                    .iter()
                    .all(|id| accepts(&ring, id, name))
            });
            if !whole {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert!(whole, "the ring has {:?}", ids(&ring));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
