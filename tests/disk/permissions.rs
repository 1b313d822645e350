//! Who may read, write and own key files, tried as root and as another user.
#![cfg(unix)]

use std::env;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use countersign::{Error, Key, KeyFileError, Rotation};

use super::secret;
use crate::support::TempDir;

const ROOT: u32 = 0;
/// Users that need no entry in the list of users.
const SERVER: u32 = 54_321;
const STRANGER: u32 = 54_322;

const MODES: [u32; 12] = [
    0o000, 0o200, 0o400, 0o440, 0o460, 0o600, 0o640, 0o644, 0o660, 0o666, 0o444, 0o604,
];

/// A directory that everybody may enter, with a copy of the program that loads keys.
struct Stage {
    directory: TempDir,
    program: PathBuf,
}

impl Stage {
    /// Returns `None`, and says so, where the test cannot become another user.
    fn new() -> Option<Self> {
        let directory = TempDir::new();
        if fs::metadata(directory.path()).unwrap().uid() != ROOT {
            assert!(env::var_os("CI").is_none(), "on CI these tests run as root");
            // Not by a macro, whose output a test that passes does not show.
            let said =
                b"NOT TESTED: only root can try the permissions of key files as another user\n";
            std::io::Write::write_all(&mut std::io::stderr(), said).unwrap();
            return None;
        }
        mode(directory.path(), 0o755);
        let program = directory.path().join("load_key");
        fs::copy(env!("CARGO_BIN_EXE_load_key"), &program).unwrap();
        mode(&program, 0o755);
        Some(Self { directory, program })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn key_file(&self, name: &str, owner: u32, group: u32, permissions: u32) -> PathBuf {
        let path = self.directory.key_file(name, secret("ours"));
        chown(&path, Some(owner), Some(group)).unwrap();
        mode(&path, permissions);
        path
    }

    fn key_directory(&self, name: &str, owner: u32, permissions: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        mode(&path, permissions);
        path
    }

    /// What the program says as this user: one word, and the text of the error.
    fn load(&self, user: u32, how: &str, path: &Path) -> (String, String) {
        self.load_all(user, how, &[path.to_owned()]).remove(0)
    }

    fn load_all(&self, user: u32, how: &str, paths: &[PathBuf]) -> Vec<(String, String)> {
        let mut command = Command::new(&self.program);
        command.arg(how).args(paths).uid(user).gid(user);
        let began = Instant::now();
        let output = loop {
            match command.output() {
                // Another test started a program while the copy was open, which inherited it for a moment.
                Err(error)
                    if error.kind() == ErrorKind::ExecutableFileBusy
                        && began.elapsed() < Duration::from_secs(20) =>
                {
                    thread::yield_now();
                }
                output => break output.unwrap(),
            }
        };
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let said: Vec<_> = (said.lines())
            .map(|line| line.split_once('\t').unwrap())
            .map(|(word, text)| (word.to_owned(), text.to_owned()))
            .collect();
        assert_eq!(said.len(), paths.len());
        said
    }

    /// Loads each path and does what its error says, once. Returns what the program says then.
    fn load_as_advised(&self, user: u32, how: &str, paths: &[PathBuf]) -> Vec<(String, String)> {
        let mut commands = Vec::new();
        for (word, text) in self.load_all(user, how, paths) {
            if let Some((_, command)) = text.split_once("mend it with: ") {
                commands.push(command.to_owned());
            } else if let Some((_, mode)) = text.split_once(", with mode ") {
                let named = text.split_once(": ").unwrap().0.rsplit(' ').next().unwrap();
                commands.push(format!("chown {user} '{named}' && chmod {mode} '{named}'"));
            } else {
                assert!(word.starts_with("loaded"), "{text}");
            }
        }
        let commands = commands.join(" &&\n");
        let status = Command::new("sh").args(["-c", &commands]).status();
        assert!(status.unwrap().success(), "{commands}");
        self.load_all(user, how, paths)
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Whether the kernel lets a user, who is in the group of the same number, read a file.
fn may_open(user: u32, owner: u32, group: u32, mode: u32) -> bool {
    let bit = match () {
        () if user == ROOT => return true,
        () if user == owner => 0o400,
        () if user == group => 0o040,
        () => 0o004,
    };
    mode & bit != 0
}

#[test]
fn a_single_file_is_judged_by_its_writers_and_readers_whoever_owns_it() {
    let Some(stage) = Stage::new() else { return };
    for (owner, group) in [
        (ROOT, ROOT),
        (ROOT, SERVER),
        (SERVER, SERVER),
        (SERVER, STRANGER),
    ] {
        for permissions in MODES {
            let path = stage.key_file("secret.key", owner, group, permissions);
            for user in [ROOT, SERVER, STRANGER] {
                for how in ["file", "shared-file"] {
                    let readers = if owner == ROOT { 0o004 } else { 0o044 };
                    let expected = if !may_open(user, owner, group, permissions) {
                        "io"
                    } else if permissions & 0o022 != 0 {
                        "writable"
                    } else if how == "file" && permissions & readers != 0 {
                        "readable"
                    } else {
                        "loaded"
                    };
                    let case = format!("{how} of {owner}:{group} {permissions:04o} read by {user}");
                    let (word, text) = stage.load(user, how, &path);
                    assert_eq!(word, expected, "{case}: {text}");
                    if ["writable", "readable"].contains(&&*word) {
                        let octal = format!("{permissions:04o}");
                        let path = path.to_str().unwrap();
                        for part in [&*octal, path, &format!("user {owner}"), "chmod "] {
                            assert!(text.contains(part), "{case}: {text} lacks {part}");
                        }
                    }
                }
            }
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn doing_once_what_the_error_says_mends_a_file_of_every_mode() {
    let Some(stage) = Stage::new() else { return };
    let paths: Vec<_> = (0..=0o777)
        .map(|mode| stage.key_file(&format!("{mode:04o}.key"), ROOT, ROOT, mode))
        .collect();
    for owner in [ROOT, SERVER] {
        for user in [ROOT, SERVER, STRANGER] {
            for how in ["file", "shared-file"] {
                for (path, permissions) in paths.iter().zip(0..) {
                    chown(path, Some(owner), Some(SERVER)).unwrap();
                    mode(path, permissions);
                }
                let said = stage.load_as_advised(user, how, &paths);
                for ((word, text), (path, permissions)) in said.iter().zip(paths.iter().zip(0..)) {
                    let case = format!("{how} of {owner} {permissions:04o} read by {user}: {text}");
                    // Nobody but the owner could then read what was no secret before.
                    let is_lost = (user, how) == (STRANGER, "file") && permissions & 0o004 != 0;
                    assert_eq!(word, if is_lost { "io" } else { "loaded" }, "{case}");
                    let now = fs::metadata(path).unwrap().mode() & 0o777;
                    let is_left = now == permissions || now & 0o400 != 0;
                    assert!(is_left, "{case}: its owner can no longer read it");
                }
            }
        }
    }
}

#[test]
fn doing_once_what_the_error_says_mends_a_directory_of_every_mode() {
    let Some(stage) = Stage::new() else { return };
    for (owner, user) in [(ROOT, ROOT), (SERVER, ROOT), (SERVER, SERVER)] {
        for how in ["dir", "shared-dir"] {
            let name = |mode| format!("{owner}-{user}-{how}-{mode:04o}");
            let paths: Vec<_> = (0..=0o777)
                .map(|permissions| {
                    let path = stage.key_directory(&name(permissions), owner, 0o755);
                    stage.key_file(&(name(permissions) + "/a.key"), owner, owner, 0o600);
                    mode(&path, permissions);
                    path
                })
                .collect();
            for (path, (word, text)) in paths.iter().zip(stage.load_as_advised(user, how, &paths)) {
                assert_eq!(word, "loaded [\"a\"]", "{}: {text}", path.display());
            }
        }
    }
}

#[test]
fn credentials_of_systemd_and_kubernetes_are_accepted() {
    let Some(stage) = Stage::new() else { return };
    // `LoadCredential` grants access by a list, whose mask shows as the permission of the group;
    // `fsGroup` sets the group. In both cases the file belongs to root.
    for permissions in [0o440, 0o640, 0o400] {
        let path = stage.key_file("secret.key", ROOT, SERVER, permissions);
        let expected = if permissions == 0o400 { "io" } else { "loaded" };
        assert_eq!(
            stage.load(SERVER, "file", &path).0,
            expected,
            "{permissions:04o}"
        );
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused_whoever_asks() {
    let Some(stage) = Stage::new() else { return };
    for (name, permissions) in [("sticky", 0o1777), ("group", 0o775), ("others", 0o757)] {
        let keys = stage.key_directory(name, ROOT, permissions);
        fs::write(keys.join("worker-7.key"), secret("ours")).unwrap();
        mode(&keys.join("worker-7.key"), 0o600);
        for how in ["dir", "shared-dir"] {
            let (word, text) = stage.load(ROOT, how, &keys);
            assert_eq!(word, "writable", "{permissions:o}: {text}");
            let (path, allowed) = (keys.display(), permissions & !0o022);
            assert!(text.starts_with(&format!("key directory {path}: ")));
            assert!(text.ends_with(&format!("chmod {allowed:04o} '{path}'")));
        }
    }
    for permissions in [0o755, 0o700, 0o711] {
        let keys = stage.key_directory(&format!("{permissions:o}"), ROOT, permissions);
        assert_eq!(stage.load(ROOT, "dir", &keys).0, "loaded []");
    }
}

#[test]
fn a_file_of_a_directory_belongs_to_root_or_to_the_owner_of_the_directory() {
    let Some(stage) = Stage::new() else { return };
    for (index, directory_owner) in [ROOT, SERVER].into_iter().enumerate() {
        for (nth, owner) in [ROOT, SERVER, STRANGER].into_iter().enumerate() {
            let keys = stage.key_directory(&format!("{index}{nth}"), directory_owner, 0o755);
            let file = stage.key_file("admin", owner, owner, 0o600);
            fs::rename(file, keys.join("admin.key")).unwrap();
            let (word, text) = stage.load(ROOT, "dir", &keys);
            if owner == ROOT || owner == directory_owner {
                assert_eq!(word, "loaded [\"admin\"]", "{text}");
            } else {
                assert_eq!(word, "owner", "{text}");
                assert!(
                    text.contains(&format!("user {owner}")) && text.contains("remove it"),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn a_link_of_a_stranger_lets_nobody_in_even_to_a_file_of_root() {
    let Some(stage) = Stage::new() else { return };
    // Any key file of root will do for whoever knows its content.
    let known = stage.key_file("known", ROOT, ROOT, 0o600);
    for (name, owner, expected) in [
        ("ours", ROOT, "loaded [\"admin\"]"),
        ("theirs", STRANGER, "owner"),
    ] {
        let keys = stage.key_directory(name, ROOT, 0o755);
        let link = keys.join("admin.key");
        symlink(&known, &link).unwrap();
        lchown(&link, Some(owner), Some(owner)).unwrap();
        assert_eq!(stage.load(ROOT, "dir", &keys).0, expected);

        // A link on the way is a link like the first.
        let keys = stage.key_directory(&format!("{name} on the way"), ROOT, 0o755);
        let (way, link) = (stage.path(&format!("way {name}")), keys.join("admin.key"));
        symlink(&known, &way).unwrap();
        lchown(&way, Some(owner), Some(owner)).unwrap();
        symlink(&way, &link).unwrap();
        assert_eq!(stage.load(ROOT, "dir", &keys).0, expected);
    }
}

#[test]
fn a_mounted_secret_is_judged_by_the_directory_that_its_data_link_names() {
    let Some(stage) = Stage::new() else { return };
    let mount = |name: &str, link_owner: u32, version_owner: u32, version_mode: u32| {
        // As Kubernetes mounts it: anybody may write the mount, and the sticky bit protects its links.
        let keys = stage.key_directory(name, ROOT, 0o1777);
        let version = keys.join("..2026_11_26");
        fs::create_dir(&version).unwrap();
        let file = stage.key_file("file", version_owner, version_owner, 0o600);
        fs::rename(file, version.join("worker-7.key")).unwrap();
        chown(&version, Some(version_owner), Some(version_owner)).unwrap();
        mode(&version, version_mode);
        symlink("..2026_11_26", keys.join("..data")).unwrap();
        lchown(keys.join("..data"), Some(link_owner), Some(link_owner)).unwrap();
        symlink("..data/worker-7.key", keys.join("worker-7.key")).unwrap();
        // What a stranger may put there is no part of the version.
        let dropped = stage.key_file("file", STRANGER, STRANGER, 0o600);
        fs::rename(dropped, keys.join("admin.key")).unwrap();
        stage.load(ROOT, "dir", &keys)
    };
    assert_eq!(mount("ours", ROOT, ROOT, 0o755).0, "loaded [\"worker-7\"]");
    assert_eq!(mount("link", STRANGER, ROOT, 0o755).0, "owner");
    assert_eq!(mount("version", ROOT, STRANGER, 0o755).0, "owner");
    assert_eq!(mount("writable", ROOT, ROOT, 0o777).0, "writable");

    // Without the sticky bit anybody could put another version in place.
    mode(&stage.path("ours"), 0o777);
    let (word, text) = stage.load(ROOT, "dir", &stage.path("ours"));
    assert_eq!(word, "writable");
    assert!(text.contains("/ours: "), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_with_an_access_list_is_not_rotated_because_more_could_read_it_afterwards() {
    // A version, then a tag, permissions and an id for each entry: the owner, a user, the group,
    // the mask and others. The mask permits nothing, so that the mode of the file stays.
    let list = |user: u32| {
        let entries = [
            (0x01, 6, u32::MAX),
            (0x02, 4, user),
            (0x04, 0, u32::MAX),
            (0x10, 0, u32::MAX),
            (0x20, 0, u32::MAX),
        ];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            list.extend(u16::to_le_bytes(tag));
            list.extend(u16::to_le_bytes(permissions));
            list.extend(u32::to_le_bytes(id));
        }
        list
    };
    let directory = TempDir::new();
    let path = directory.key_file("f.key", secret("ours"));
    for (of, name) in [
        (&*path, "system.posix_acl_access"),
        (directory.path(), "system.posix_acl_default"),
    ] {
        let flags = rustix::fs::XattrFlags::empty();
        match rustix::fs::setxattr(of, name, &list(STRANGER), flags) {
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let said = b"NOT TESTED: the directory of temporary files knows no access lists\n";
                std::io::Write::write_all(&mut std::io::stderr(), said).unwrap();
                return;
            }
            set => set.unwrap(),
        }
        let error = Key::rotate_file(&path, Rotation::Add).unwrap_err();
        let Error::KeyFile { error: fault, .. } = &error else {
            panic!("{error}");
        };
        assert!(matches!(fault, KeyFileError::NotKept(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("access list") && text.ends_with("setfacl -k"),
            "{text}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), secret("ours"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        rustix::fs::removexattr(of, name).unwrap();
        mode(&path, 0o600);
        Key::rotate_file(&path, Rotation::Add).unwrap();
        Key::rotate_file(&path, Rotation::Drop).unwrap();
    }
}

#[test]
fn root_rotates_the_file_of_another_user_only_where_that_user_can_exchange_no_directory() {
    let Some(stage) = Stage::new() else { return };
    let place = |name: &str, owner: u32, permissions: u32| {
        let keys = stage.key_directory(name, owner, permissions);
        let inner = stage.key_directory(&format!("{name}/inner"), ROOT, 0o755);
        let link = stage.path(&format!("to {name}"));
        symlink(&inner, &link).unwrap();
        [keys, inner, link]
    };
    for (name, owner, permissions, kept) in [
        ("of root", ROOT, 0o755, true),
        ("sticky", ROOT, 0o1777, true),
        ("of all", ROOT, 0o777, false),
        ("of the owner", SERVER, 0o755, false),
    ] {
        for directory in place(name, owner, permissions) {
            for (user, kept) in [(SERVER, kept), (ROOT, true)] {
                let path = directory.join("f.key");
                fs::rename(stage.key_file("f", user, user, 0o600), &path).unwrap();
                let rotated = Key::rotate_file(&path, Rotation::Add);
                let content = fs::read_to_string(&path).unwrap();
                if kept {
                    rotated.unwrap();
                    assert_eq!(fs::metadata(&path).unwrap().uid(), user);
                } else {
                    let error = rotated.unwrap_err();
                    let Error::KeyFile { error: fault, .. } = &error else {
                        panic!("{error}");
                    };
                    assert!(matches!(fault, KeyFileError::NotKept(_)), "{error}");
                    assert_eq!(content, secret("ours"));
                }
                assert_eq!(content.contains("accept:"), kept, "{}", path.display());
                fs::remove_file(path).unwrap();
                let mut left = fs::read_dir(&directory).unwrap();
                assert!(left.all(|entry| entry.unwrap().file_name() == "inner"));
            }
        }
    }
}
