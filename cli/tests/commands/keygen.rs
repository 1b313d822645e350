//! `countersign keygen`.

use std::fs;
use std::thread;

use countersign::{Key, KeyLookup, Keyring};

use crate::{CHILD, Ended, Files, MASTER, run};
#[cfg(unix)]
use crate::{DISK_IS_FULL, KILLED_MEANWHILE, run_after};

/// Asserts that the program wrote this file for its owner only, and printed nothing but the
/// fingerprint of what is in it, on standard error.
#[track_caller]
fn wrote(ended: &Ended, path: &str) {
    let fingerprint = Key::from_file(path).unwrap().fingerprint();
    assert_eq!(ended.stderr, format!("fingerprint {fingerprint}\n"));
    assert_eq!((ended.status, &*ended.stdout), (Some(0), ""));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_new_key_file_holds_64_hexadecimal_digits_and_is_never_replaced() {
    let files = Files::new();
    let path = files.path("a.key");
    wrote(&run(["keygen", &path]), &path);
    let content = fs::read_to_string(&path).unwrap();
    let digits = content.strip_suffix('\n').unwrap();
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(digits.len() == 64 && digits.bytes().all(is_digit));

    run(["keygen", &path]).fails(1, &[&path, "exists already"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
    assert_eq!(files.names(), ["a.key"]);
}

#[test]
fn two_new_secrets_differ() {
    let files = Files::new();
    let paths = ["a.key", "b.key"].map(|name| files.path(name));
    let [a, b] = paths.map(|path| {
        run(["keygen", &path]);
        fs::read_to_string(path).unwrap()
    });
    assert_ne!(a, b);
}

#[test]
fn a_child_is_the_one_of_the_specification() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    let path = files.path("child");
    let args = [
        "keygen",
        &path,
        "--child-of",
        &master,
        "--key-id",
        "worker-8",
    ];
    let ended = run(args);
    wrote(&ended, &path);
    ended.keeps(MASTER);
    ended.keeps(CHILD);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{CHILD}\n"));

    run(args).fails(1, &[&path, "exists already"]);
    assert_eq!(files.names(), ["child", "master"]);
}

#[test]
fn in_a_directory_the_file_is_named_after_the_key_id() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    let directory = files.directory("keys");
    for (id, options) in [
        ("worker-7", &[][..]),
        ("worker-8", &["--child-of", &master]),
    ] {
        let args = ["keygen", "--key-id", id, &directory];
        let path = files.path(&format!("keys/{id}.key"));
        wrote(&run(args.into_iter().chain(options.iter().copied())), &path);

        let ring = Keyring::from_dir(&directory).unwrap();
        let found = ring.find(id.as_bytes()).unwrap().fingerprint();
        assert_eq!(found, Key::from_file(path).unwrap().fingerprint());
        run(args).fails(1, &[id, "exists already"]);
    }
    for id in ["", ".hidden", "..", "a/b", "/etc/a"] {
        run(["keygen", "--key-id", id, &directory]).fails(1, &["cannot name a file"]);
    }
    run(["keygen", &directory]).fails(1, &[&directory, "is a directory", "--key-id"]);
    let none = files.path("none");
    run(["keygen", "--key-id", "worker-7", &none]).fails(1, &[&none, "make the directory"]);
    assert_eq!(Keyring::from_dir(&directory).unwrap().ids().len(), 2);
    assert_eq!(files.names(), ["keys", "master"]);
}

#[test]
fn keygen_leaves_no_file_where_it_fails() {
    let files = Files::new();
    let bad = files.write("bad", &MASTER.replacen('f', " ", 1));
    let (path, missing) = (files.path("a.key"), files.path("missing"));
    for (master, id) in [(&bad, "worker-8"), (&missing, "worker-8")] {
        let ended = run(["keygen", &path, "--child-of", master, "--key-id", id]);
        ended.fails(1, &["key file ", master]);
        ended.keeps(MASTER);
    }
    let nowhere = files.path("nowhere/a.key");
    run(["keygen", &nowhere]).fails(1, &["key file ", &nowhere, "make its directory first"]);
    run(["keygen", &files.path("..")]).fails(1, &["is a directory"]);
    run(["keygen", &files.path("none/..")]).fails(1, &["no name of a file"]);
    assert_eq!(files.names(), ["bad"]);
}

#[test]
fn a_file_without_a_directory_in_its_path_goes_where_the_program_runs() {
    let files = Files::new();
    let ended = crate::end(
        crate::program()
            .args(["keygen", "a.key"])
            .current_dir(files.0.path()),
    );
    wrote(&ended, &files.path("a.key"));
}

#[test]
fn only_one_of_many_at_once_makes_the_file() {
    let files = Files::new();
    let path = &files.path("a.key");
    let ended: Vec<Ended> = thread::scope(|scope| {
        let running: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| run(["keygen", path])))
            .collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (made, others): (Vec<_>, Vec<_>) = ended.iter().partition(|ended| ended.status == Some(0));
    assert_eq!(made.len(), 1, "{ended:#?}");
    wrote(made[0], path);
    for other in others {
        other.fails(1, &[path, "exists already"]);
    }
    assert_eq!(files.names(), ["a.key"]);
}

#[cfg(unix)]
#[test]
fn a_key_file_that_cannot_be_written_whole_is_not_there() {
    let files = Files::new();
    let path = &files.path("a.key");
    run_after(DISK_IS_FULL, ["keygen", path]).fails(1, &[path, "cannot be written"]);
    assert!(files.names().is_empty());

    let killed = run_after(KILLED_MEANWHILE, ["keygen", path]);
    assert_eq!(killed.status, None, "{killed:#?}");
    assert_eq!(
        files.names().len(),
        1,
        "it was killed after it had made its file"
    );
    // What it left is no key of a directory, and is in nobody's way.
    assert!(Keyring::from_dir(files.0.path()).unwrap().ids().is_empty());
    wrote(&run(["keygen", path]), path);
}
