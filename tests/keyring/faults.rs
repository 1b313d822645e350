//! Directories with a fault: the error names it, and no key suffers but the one at fault.

use std::fs;
use std::path::{Path, PathBuf};

use countersign::{Error, KeyFileError};

use super::directory::{LOADS, path_of, write};
use super::found;
use crate::identity::child;
use crate::support::{TempDir, key, secret};

/// One thing that can be wrong with a directory.
struct Fault {
    what: &'static str,
    spoil: fn(&Path),
    /// The entry at fault, empty for the directory itself.
    at: &'static str,
    /// As [`in_words`] names it.
    problem: &'static str,
}

const NAME_OF_65: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

const FAULTS: &[Fault] = &[
    Fault {
        what: "no directory",
        spoil: |path| fs::remove_dir_all(path).unwrap(),
        at: "",
        problem: "NotFound",
    },
    // Systems other than Unix have other words for this.
    #[cfg(unix)]
    Fault {
        what: "a file in place of the directory",
        spoil: |path| {
            fs::remove_dir_all(path).unwrap();
            write(path, secret("newcomer"));
        },
        at: "",
        problem: "NotADirectory",
    },
    Fault {
        what: "an empty file",
        spoil: |path| write(path_of(path, "bad"), ""),
        at: "bad",
        problem: "Content(Malformed { at: 0, found: Nothing })",
    },
    Fault {
        what: "a file that is half-written",
        spoil: |path| write(path_of(path, "worker-7"), &secret("new")[..10]),
        at: "worker-7",
        problem: "Secret(SecretTooShort { len: 10 })",
    },
    Fault {
        what: "a file of one character",
        spoil: |path| write(path_of(path, "bad"), [b'0'; 32]),
        at: "bad",
        problem: "Secret(SecretConstant { len: 32 })",
    },
    Fault {
        what: "a file that is no key file",
        spoil: |path| write(path_of(path, "bad"), secret("newcomer").repeat(2049)),
        at: "bad",
        problem: "TooLarge",
    },
    Fault {
        what: "a name of 65 bytes",
        spoil: |path| write(path_of(path, NAME_OF_65), secret("newcomer")),
        at: NAME_OF_65,
        problem: "Name(KeyIdTooLong { len: 65 })",
    },
    #[cfg(unix)]
    Fault {
        what: "a directory in the directory",
        spoil: |path| {
            let mut builder = fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(path_of(path, "bad")).unwrap();
        },
        at: "bad",
        problem: "InvalidInput",
    },
    #[cfg(unix)]
    Fault {
        what: "a link to nowhere",
        spoil: |path| std::os::unix::fs::symlink(path.join("gone"), path_of(path, "bad")).unwrap(),
        at: "bad",
        problem: "NotFound",
    },
];

/// The file that an error names, and what is wrong with it.
pub fn key_file(error: Error) -> (PathBuf, KeyFileError) {
    match error {
        Error::KeyFile { path, error } | Error::KeyDirectory { path, error } => (path, error),
        other => panic!("{other:?}"),
    }
}

/// A problem, in the words of the table.
pub fn in_words(problem: &KeyFileError) -> String {
    match problem {
        KeyFileError::Io(error) => format!("{:?}", error.kind()),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_fault_is_an_error_with_its_path_and_costs_no_other_key_of_the_ring() {
    for Fault {
        what: fault,
        spoil,
        at,
        problem: expected_problem,
    } in FAULTS
    {
        for load in LOADS {
            let outer = TempDir::new();
            // Errors name the path without the links on the way.
            let path = fs::canonicalize(outer.path()).unwrap().join("keys");
            fs::create_dir(&path).unwrap();
            write(path_of(&path, "worker-7"), secret("ours"));
            write(path_of(&path, "worker-8"), secret("ours"));
            let ring = load(&path).unwrap();
            ring.insert_master("cron-", key("master")).unwrap();
            ring.revoke("cron-9").unwrap();

            write(path_of(&path, "newcomer"), secret("newcomer"));
            write(path_of(&path, "zz-newcomer"), secret("newcomer"));
            fs::remove_file(path_of(&path, "worker-8")).unwrap();
            spoil(&path);

            let of_directory = at.is_empty();
            let expected: PathBuf = if of_directory {
                path.clone()
            } else {
                path_of(&path, at)
            };
            // A load fails. So does a reload if the directory itself is at fault.
            let reloaded = match ring.reload() {
                Err(error) => error,
                Ok(mut reloaded) => {
                    let kept = reloaded.kept.pop().map(|(_, error)| error);
                    assert!(!of_directory, "{fault}");
                    kept.or_else(|| reloaded.refused.pop()).unwrap()
                }
            };
            for error in [load(&path).unwrap_err(), reloaded] {
                let sentence = error.to_string();
                let what = if of_directory { "directory" } else { "file" };
                let named = format!("key {what} {}: ", expected.display());
                assert!(sentence.starts_with(&named), "{fault}: {sentence}");
                let (named, problem) = key_file(error);
                assert_eq!(named, expected, "{fault}");
                assert_eq!(in_words(&problem), *expected_problem, "{fault}");
            }
            let ours = Some(key("ours").fingerprint());
            let newcomer = Some(key("newcomer").fingerprint());
            let of_master = Some(child(&key("master"), "cron-1").fingerprint());
            for (id, expected) in [
                ("worker-7", ours),
                ("worker-8", ours.filter(|_| of_directory)),
                ("newcomer", newcomer.filter(|_| !of_directory)),
                ("zz-newcomer", newcomer.filter(|_| !of_directory)),
                (at, ours.filter(|_| *at == "worker-7")),
                ("cron-1", of_master),
                ("cron-9", None),
            ] {
                assert_eq!(found(&ring, id), expected, "{fault}: {id}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_an_error_unless_the_directory_is_shared() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    let directory = TempDir::new();
    let [good, exposed] = ["worker-7", "worker-8"].map(|id| path_of(directory.path(), id));
    write(&good, secret("ours"));
    let rings = LOADS.map(|load| load(directory.path()).unwrap());
    write(&exposed, secret("ours"));
    for mode in [0o644, 0o604] {
        fs::set_permissions(&exposed, Permissions::from_mode(mode)).unwrap();
        let [by_owner, shared] = LOADS.map(|load| load(directory.path()));
        let reloaded = rings[0].reload().unwrap().refused.pop();
        for error in [by_owner.unwrap_err(), reloaded.unwrap()] {
            let (path, problem) = key_file(error);
            assert_eq!(path, fs::canonicalize(&exposed).unwrap());
            assert!(
                matches!(problem, KeyFileError::Readable { mode: it, .. } if it == mode),
                "{problem:?}"
            );
        }
        assert!(found(&rings[0], "worker-8").is_none());
        assert!(found(&rings[0], "worker-7").is_some());

        // A reload follows the rule of the first load.
        rings[1].reload().unwrap();
        for ring in [&rings[1], &shared.unwrap()] {
            assert!(found(ring, "worker-8").is_some());
        }
    }
    fs::set_permissions(&exposed, Permissions::from_mode(0o400)).unwrap();
    rings[0].reload().unwrap();
    assert!(found(&rings[0], "worker-8").is_some());
}
