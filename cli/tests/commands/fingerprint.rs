//! `countersign fingerprint`.

use countersign::Key;

use crate::{CHILD, FINGERPRINT_OF_MASTER, Files, MASTER, run};

#[test]
fn one_file_gives_a_line_for_each_secret() {
    let files = Files::new();
    let master = files.write("master", MASTER);
    run(["fingerprint", &master]).prints(&format!("{FINGERPRINT_OF_MASTER}\n"));

    let child = Key::new(CHILD).unwrap().fingerprint();
    let both = files.write("both", &format!("{CHILD}\naccept:{MASTER}\n"));
    let ended = run(["fingerprint", &both]);
    ended.prints(&format!("{child}\n{FINGERPRINT_OF_MASTER} (accept:)\n"));
    ended.keeps(MASTER);
    ended.keeps(CHILD);
}

#[test]
fn each_of_several_files_is_named_and_a_bad_one_ends_nothing() {
    let files = Files::new();
    let (first, second) = (files.write("1", MASTER), files.path("2"));
    let (third, fourth) = (
        files.write("3", &MASTER.replacen('f', " ", 1)),
        files.write("4\n", MASTER),
    );
    let ended = run(["fingerprint", &first, &second, &third, &fourth]);

    let fourth = fourth.replace('\n', "\\n");
    let lines = [first, fourth].map(|path| format!("{FINGERPRINT_OF_MASTER}  {path}\n"));
    assert_eq!(ended.stdout, lines.concat());
    let errors: Vec<_> = ended.stderr.lines().collect();
    let [of_second, of_third] = &*errors else {
        panic!("{ended:#?}");
    };
    assert!(of_second.starts_with(&format!("countersign: key file {second}: ")));
    assert!(of_third.starts_with(&format!("countersign: key file {third}: at byte ")));
    assert_eq!(ended.status, Some(1));
    ended.keeps(MASTER);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_read_has_no_fingerprint() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let files = Files::new();
    let path = files.write("a.key", MASTER);
    set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    run(["fingerprint", &path]).fails(1, &[&path, "(mode 0644)", "chmod "]);
}
