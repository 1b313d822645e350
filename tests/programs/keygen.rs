//! `keygen`.

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::process::Command;
use std::thread;

use countersign::Key;

use super::Files;
use super::process::{Ended, run};
#[cfg(unix)]
use super::process::{Running, program};
#[cfg(unix)]
use super::said::EXPOSED;

/// The master secret and a child of it, from the worked example of PROTOCOL.md.
const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const CHILD: &str = "eb2fc02b2d16370b2701cecfb83ba8021018ea4aaf813843c5adfe83135dabf5\n";

const FINGERPRINT_OF_MASTER: &str = "4bf4cb66";

/// Asserts that the program wrote its file and printed nothing but the fingerprint of what is in it, on
/// standard error.
#[track_caller]
fn wrote(ended: &Ended, path: &str) {
    let fingerprint = Key::from_file(path).unwrap().fingerprint();
    ended.succeeds("", &format!("fingerprint {fingerprint}"));
}

/// The names of all files beside this one.
fn beside(path: &str) -> Vec<String> {
    let directory = Path::new(path).parent().unwrap();
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn is_for_its_owner_only(path: &str) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// What it says where the file is there already, with the system's own words.
fn cannot_write(path: &str) -> String {
    let error = fs::hard_link(path, path).unwrap_err();
    format!("cannot write {path}: {error}")
}

#[test]
fn a_new_key_file_holds_64_hexadecimal_digits_for_its_owner_only() {
    let files = Files::new();
    let path = files.path("key");
    wrote(&run("keygen", [&path]), &path);
    let content = fs::read_to_string(&path).unwrap();
    let digits = content.strip_suffix('\n').unwrap();
    assert_eq!(digits.len(), 64);
    assert!(
        digits
            .bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    );
    is_for_its_owner_only(&path);

    run("keygen", [&path]).fails(&cannot_write(&path));
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
    assert_eq!(beside(&path), ["key"]);
}

#[test]
fn a_child_is_the_one_of_the_specification() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    let path = files.path("child");
    let args = ["--child-of", &master, "--key-id", "worker-8", &path];
    wrote(&run("keygen", args), &path);
    assert_eq!(fs::read_to_string(&path).unwrap(), CHILD);
    is_for_its_owner_only(&path);

    run("keygen", args).fails(&cannot_write(&path));
    assert_eq!(beside(&path), ["child", "master"]);
}

#[test]
fn the_fingerprint_of_each_line_of_a_key_file_is_printed() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    run("keygen", ["--fingerprint", &master]).prints(FINGERPRINT_OF_MASTER);

    let child = Key::new(CHILD.trim_end()).unwrap().fingerprint();
    let both = files.write("both", &format!("{CHILD}accept:{MASTER}"));
    run("keygen", ["--fingerprint", &both])
        .prints(&format!("{child}\n{FINGERPRINT_OF_MASTER} (accept:)"));

    let path = files.path("none");
    for (option, value) in [("--child-of", &*master), ("--key-id", "worker-8")] {
        run("keygen", ["--fingerprint", option, value, &path])
            .fails("--fingerprint goes with no other option");
    }
    run("keygen", ["--fingerprint"]).fails("no file: give the PATH *");
    run("keygen", ["--fingerprint", &path]).fails(&format!("key file {path}: *"));
    #[cfg(unix)]
    {
        let exposed = files.exposed("exposed");
        run("keygen", ["--fingerprint", &exposed]).fails(&format!("key file {exposed}: {EXPOSED}"));
    }
    let bad = files.write("bad", &MASTER.replacen('f', " ", 1));
    let ended = run("keygen", ["--fingerprint", &bad]);
    ended.fails(&format!("key file {bad}: at byte * it has a space *"));
    assert!(!ended.stderr.contains(&MASTER[..8]), "{ended:?}");
    assert!(!Path::new(&path).exists());
}

#[test]
fn keygen_leaves_no_file_where_it_fails() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    let path = files.path("nobody");

    run("keygen", [""; 0]).fails("no file: give the PATH *");
    for options in [["--child-of", &master], ["--key-id", "worker-8"]] {
        let [option, value] = options;
        run("keygen", [option, value, &path])
            .fails("--child-of MASTER and --key-id ID go together");
    }
    run("keygen", ["--child-of", &master, "--key-id", "", &path]).fails("*");
    #[cfg(unix)]
    {
        let exposed = files.exposed("exposed");
        let args = ["--child-of", &exposed, "--key-id", "worker-8", &path];
        run("keygen", args).fails(&format!("key file {exposed}: {EXPOSED}"));
        fs::remove_file(exposed).unwrap();
    }
    let nowhere = files.path("nowhere/key");
    run("keygen", [&nowhere]).fails(&format!("cannot write {nowhere}: *"));
    assert_eq!(beside(&path), ["master"]);
}

#[test]
fn only_one_of_many_at_once_makes_the_file() {
    let files = Files::new();
    let path = &files.path("key");
    let ended: Vec<Ended> = thread::scope(|scope| {
        let running: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| run("keygen", [path])))
            .collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (made, others): (Vec<_>, Vec<_>) = (ended.iter()).partition(|ended| ended.status.success());
    assert_eq!(made.len(), 1, "{ended:?}");
    wrote(made[0], path);
    for other in others {
        other.fails(&cannot_write(path));
    }
    assert_eq!(beside(path), ["key"]);
}

/// A limit on the size of files stands for a disk that is full, and for a program that is killed
/// after it has made its file.
#[cfg(unix)]
#[test]
fn a_key_file_that_cannot_be_written_whole_is_not_there() {
    let files = Files::new();
    let path = &files.path("key");
    let limited = |script: &str| {
        let keygen = program("keygen", [path]);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{script} exec \"$0\" \"$@\"")])
            .arg(keygen.get_program())
            .args(keygen.get_args());
        Running::start("keygen", &mut command).end()
    };
    limited("trap '' XFSZ; ulimit -f 0;").fails(&format!("cannot write {path}: *"));
    assert!(beside(path).is_empty());

    let killed = limited("ulimit -f 0;");
    assert_eq!(killed.status.code(), None, "{killed:?}");
    assert!(!Path::new(path).exists());
    // What it left is no key of a directory, and is in nobody's way.
    assert!(beside(path).iter().all(|name| name.starts_with('.')));
    wrote(&run("keygen", [path]), path);
}
