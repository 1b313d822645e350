//! `countersign rotate`.

use std::fs;
use std::thread;

use countersign::Key;

use crate::{CHILD, Ended, Files, MASTER, run};
#[cfg(unix)]
use crate::{DISK_IS_FULL, KILLED_MEANWHILE, run_after};

/// Returns the fingerprints of a success: before, after, and of what a drop has removed.
#[track_caller]
fn lines(ended: &Ended) -> [&str; 3] {
    assert_eq!((ended.status, &*ended.stderr), (Some(0), ""), "{ended:#?}");
    let mut lines = ended.stdout.lines();
    let before = lines.next().unwrap().strip_prefix("before ").unwrap();
    let after = lines.next().unwrap().strip_prefix("after  ").unwrap();
    let gone = lines
        .next()
        .map(|gone| gone.strip_prefix("gone   ").unwrap());
    assert_eq!(lines.next(), None, "{ended:#?}");
    [before, after, gone.unwrap_or_default()]
}

/// What the program prints about a file.
fn fingerprints(path: &str) -> String {
    let key = Key::from_file(path).unwrap();
    match key.accepted_fingerprint() {
        Some(accepted) => format!("{} accept:{accepted}", key.fingerprint()),
        None => key.fingerprint().to_string(),
    }
}

#[test]
fn a_secret_is_replaced_in_three_steps_with_fingerprints_before_and_after() {
    let files = Files::new();
    // Without a line feed and with CRLF, as editors leave it.
    for (name, end) in [("a.key", "\n"), ("b.key", ""), ("c.key", "\r\n")] {
        let path = files.write(name, &format!("{MASTER}{end}"));
        let rotate = |step| {
            let before = fingerprints(&path);
            let ended = run(["rotate", &path, step]);
            let second = before.split_once("accept:").map_or("", |(_, it)| it);
            let gone = if step == "drop" { second } else { "" };
            assert_eq!(lines(&ended), [&*before, &*fingerprints(&path), gone]);
            let content = fs::read_to_string(&path).unwrap();
            for line in content.lines() {
                ended.keeps(line.strip_prefix("accept:").unwrap_or(line));
            }
            content
        };
        let added = rotate("add");
        let new = added.strip_prefix(&format!("{MASTER}\naccept:")).unwrap();
        assert!(
            new.len() == 65 && !new.starts_with(MASTER),
            "64 digits and a line feed"
        );
        assert_eq!(rotate("promote"), format!("{new}accept:{MASTER}\n"));
        assert_eq!(rotate("drop"), new);
    }
    assert_eq!(files.names(), ["a.key", "b.key", "c.key"]);
}

#[test]
fn a_drop_takes_an_addition_back_and_a_second_promotion_the_first() {
    let files = Files::new();
    let path = files.write("a.key", MASTER);
    for (steps, left) in [
        (&["add", "drop"][..], format!("{MASTER}\n")),
        (
            &["add", "promote", "promote", "drop"],
            format!("{MASTER}\n"),
        ),
    ] {
        for step in steps {
            lines(&run(["rotate", &path, step]));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), left);
    }
}

/// Asserts that a rotation is refused and leaves everything as it was.
#[track_caller]
fn refused(files: &Files, path: &str, step: &str, parts: &[&str]) {
    let names = files.names();
    let before = fs::read(path).ok();
    let ended = run(["rotate", path, step]);
    ended.fails(1, &[&[path], parts].concat());
    assert_eq!(ended.stdout, "");
    ended.keeps(MASTER);
    assert_eq!(fs::read(path).ok(), before);
    assert_eq!(files.names(), names);
}

#[test]
fn a_step_that_does_not_fit_changes_nothing() {
    let files = Files::new();
    let one = files.write("one.key", MASTER);
    refused(
        &files,
        &one,
        "promote",
        &["no \"accept:\" line", "add a secret first"],
    );
    refused(
        &files,
        &one,
        "drop",
        &["no \"accept:\" line", "add a secret first"],
    );
    let two = files.write("two.key", &format!("{CHILD}\naccept:{MASTER}\n"));
    refused(
        &files,
        &two,
        "add",
        &["\"accept:\" line already", "drop that"],
    );
}

#[test]
fn a_file_that_the_loader_refuses_is_not_rotated() {
    let files = Files::new();
    refused(&files, &files.write("a.key", ""), "add", &["no secret"]);
    let space = MASTER.replacen('f', " ", 1);
    refused(
        &files,
        &files.write("b.key", &space),
        "add",
        &["a space or a tab"],
    );
    refused(
        &files,
        &files.write("c.key", "short"),
        "add",
        &["too short"],
    );
    let bad = format!("{MASTER}\naccept:short\n");
    refused(
        &files,
        &files.write("d.key", &bad),
        "promote",
        &["too short"],
    );
    refused(&files, &files.path("none.key"), "add", &[]);
    refused(
        &files,
        &files.directory("e.key"),
        "add",
        &["it is a directory"],
    );
}

#[cfg(unix)]
mod unix {
    use std::env;
    use std::fs::Permissions;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::os::unix::process::CommandExt;
    use std::path::PathBuf;
    use std::process::Command;

    use countersign::Keyring;

    use super::*;
    use crate::{end, program};

    const ROOT: u32 = 0;
    /// Users and groups that need no entry in a list.
    const OWNER: u32 = 54_321;
    const OTHER: u32 = 54_322;

    fn set_mode(path: &str, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_with_two_names_or_one_that_is_none_is_refused() {
        let files = Files::new();
        let path = files.write("a.key", MASTER);
        symlink(&path, files.path("link.key")).unwrap();
        refused(
            &files,
            &files.path("link.key"),
            "add",
            &["is a link or has several names"],
        );
        assert!(
            fs::symlink_metadata(files.path("link.key"))
                .unwrap()
                .is_symlink()
        );
        symlink(files.path("none"), files.path("dangling.key")).unwrap();
        refused(&files, &files.path("dangling.key"), "add", &["is a link"]);

        let second = files.path("b.key");
        fs::hard_link(&path, &second).unwrap();
        refused(&files, &path, "add", &["is a link or has several names"]);
        fs::remove_file(&second).unwrap();

        for mode in [0o644, 0o620, 0o602] {
            set_mode(&path, mode);
            refused(
                &files,
                &path,
                "add",
                &[&format!("(mode {mode:04o})"), "chmod "],
            );
        }
    }

    #[test]
    fn a_fifo_is_refused_at_once() {
        let files = Files::new();
        let path = files.path("a.key");
        let made = Command::new("mkfifo").args(["-m600", &path]).status();
        assert!(made.unwrap().success());
        run(["rotate", &path, "add"]).fails(1, &[&path, "no regular file"]);
    }

    /// A directory that everybody may enter, with a copy of the program.
    struct Stage {
        files: Files,
        program: PathBuf,
    }

    impl Stage {
        /// Returns `None`, and says so, where the test cannot become another user.
        fn new() -> Option<Self> {
            let files = Files::new();
            let own = fs::metadata(files.0.path()).unwrap().uid();
            if own != ROOT {
                assert!(env::var_os("CI").is_none(), "on CI these tests run as root");
                // Not by a macro, whose output a test that passes does not show.
                let said = b"NOT TESTED: only root can rotate key files as another user\n";
                std::io::stderr().write_all(said).unwrap();
                return None;
            }
            fs::set_permissions(files.0.path(), Permissions::from_mode(0o755)).unwrap();
            let copy = files.0.path().join("countersign");
            fs::copy(program().get_program(), &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
            Some(Self {
                files,
                program: copy,
            })
        }

        /// Writes a key file in a directory of this owner.
        fn key(&self, directory: u32, owner: u32, group: u32, mode: u32) -> String {
            let name = self
                .files
                .directory(&format!("{directory}-{owner}-{group}-{mode:o}"));
            let relative = name.rsplit('/').next().unwrap();
            let path = self.files.write(&format!("{relative}/a.key"), MASTER);
            chown(&path, Some(owner), Some(group)).unwrap();
            set_mode(&path, mode);
            chown(&name, Some(directory), Some(directory)).unwrap();
            set_mode(&name, 0o755);
            path
        }

        fn add_as(&self, user: u32, path: &str) -> Ended {
            let mut command = Command::new(&self.program);
            command.args(["rotate", path, "add"]).uid(user).gid(user);
            end(&mut command)
        }
    }

    fn beside(path: &str) -> usize {
        fs::read_dir(PathBuf::from(path).parent().unwrap())
            .unwrap()
            .count()
    }

    #[test]
    fn owner_group_and_mode_are_kept() {
        let Some(stage) = Stage::new() else { return };
        for (user, owner, group, mode) in [
            (ROOT, ROOT, ROOT, 0o600),
            (ROOT, ROOT, OTHER, 0o440),
            (ROOT, ROOT, OTHER, 0o640),
            (ROOT, OWNER, OTHER, 0o600),
            (ROOT, OWNER, OWNER, 0o400),
            (OWNER, OWNER, OWNER, 0o600),
            (OWNER, OWNER, OWNER, 0o500),
        ] {
            let path = stage.key(user, owner, group, mode);
            let before = fs::metadata(&path).unwrap();
            lines(&stage.add_as(user, &path));
            let after = fs::metadata(&path).unwrap();
            assert_eq!((after.uid(), after.gid()), (owner, group));
            assert_eq!(after.mode() & 0o7777, mode);
            assert_ne!(after.ino(), before.ino(), "another file took its place");
            assert_eq!(beside(&path), 1);
            fs::remove_dir_all(PathBuf::from(&path).parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_rotation_that_would_change_the_owner_or_the_group_is_refused() {
        let Some(stage) = Stage::new() else { return };
        for (owner, group, mode) in [(ROOT, OWNER, 0o440), (OWNER, OTHER, 0o600)] {
            let path = stage.key(OWNER, owner, group, mode);
            let ended = stage.add_as(OWNER, &path);
            ended.fails(
                1,
                &[
                    &path,
                    "permissions cannot be kept",
                    "as root in a directory of root",
                ],
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), MASTER);
            let after = fs::metadata(&path).unwrap();
            assert_eq!((after.uid(), after.gid()), (owner, group));
            assert_eq!(beside(&path), 1);
        }
    }

    #[test]
    fn in_a_directory_that_cannot_be_written_the_old_file_stays() {
        let Some(stage) = Stage::new() else { return };
        let path = stage.key(ROOT, OWNER, OWNER, 0o600);
        stage.add_as(OWNER, &path).fails(1, &[&path, "denied"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), MASTER);
    }

    #[test]
    fn an_interrupted_rotation_leaves_the_old_file_and_stops_no_later_one() {
        let files = Files::new();
        let path = files.write("a.key", MASTER);
        run_after(DISK_IS_FULL, ["rotate", &path, "add"]).fails(1, &[&path, "cannot be written"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), MASTER);
        assert_eq!(files.names(), ["a.key"]);

        let killed = run_after(KILLED_MEANWHILE, ["rotate", &path, "add"]);
        assert_eq!(killed.status, None, "{killed:#?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), MASTER);
        assert_eq!(
            files.names().len(),
            2,
            "it was killed after it had made its file"
        );
        // What it left is no key of a directory, and is in nobody's way.
        assert_eq!(Keyring::from_dir(files.0.path()).unwrap().ids(), ["a"]);
        lines(&run(["rotate", &path, "add"]));
    }

    #[test]
    fn a_file_that_is_locked_is_not_rotated() {
        let files = Files::new();
        let path = files.write("a.key", MASTER);
        let mut locked = Command::new("flock");
        locked
            .args(["--exclusive", &path])
            .arg(program().get_program());
        let ended = end(locked.args(["rotate", &path, "add"]));
        ended.fails(1, &[&path, "being rotated by another command"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), MASTER);
    }
}

#[test]
fn whoever_reads_meanwhile_finds_the_old_file_or_the_new_one() {
    let files = Files::new();
    let (one, two) = (
        format!("{MASTER}\naccept:{CHILD}\n"),
        format!("{CHILD}\naccept:{MASTER}\n"),
    );
    let path = files.write("a.key", &one);
    thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            for _ in 0..20 {
                lines(&run(["rotate", &path, "promote"]));
            }
        });
        while !rotating.is_finished() {
            let content = fs::read_to_string(&path).unwrap();
            assert!(content == one || content == two, "{content:?}");
        }
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), one);
}

#[test]
fn of_many_at_once_only_one_adds_a_secret() {
    let files = Files::new();
    let path = &files.write("a.key", MASTER);
    let ended: Vec<Ended> = thread::scope(|scope| {
        let running: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| run(["rotate", path, "add"])))
            .collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (added, others): (Vec<_>, Vec<_>) = ended.iter().partition(|ended| ended.status == Some(0));
    assert_eq!(added.len(), 1, "{ended:#?}");
    assert_eq!(lines(added[0])[1], fingerprints(path));
    for other in others {
        other.fails(1, &[path]);
    }
    assert_eq!(files.names(), ["a.key"]);
}
