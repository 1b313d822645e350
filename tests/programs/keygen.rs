//! `keygen`.

use std::fs::{self, File};
use std::path::Path;

use super::Files;
use super::process::run;
#[cfg(unix)]
use super::said::EXPOSED;

/// The master secret and a child of it, from the worked example of PROTOCOL.md.
const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const CHILD: &str = "eb2fc02b2d16370b2701cecfb83ba8021018ea4aaf813843c5adfe83135dabf5\n";

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
    let error = File::create_new(path).unwrap_err();
    format!("cannot write {path}: {error}")
}

#[test]
fn a_new_key_file_holds_64_hexadecimal_digits_for_its_owner_only() {
    let files = Files::new();
    let path = files.path("key");
    run("keygen", [&path]).prints("");
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
}

#[test]
fn a_child_is_the_one_of_the_specification() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    let path = files.path("child");
    let args = ["--child-of", &master, "--key-id", "worker-8", &path];
    run("keygen", args).prints("");
    assert_eq!(fs::read_to_string(&path).unwrap(), CHILD);
    is_for_its_owner_only(&path);

    run("keygen", args).fails(&cannot_write(&path));
}

#[test]
fn keygen_leaves_no_file_where_it_fails() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    let path = files.path("nobody");

    run("keygen", [""; 0]).fails("no file: give a PATH *");
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
    }
    assert!(!Path::new(&path).exists());
}
