//! Rings that are loaded from a directory, and loaded again.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use countersign::handshake::Refusal;
use countersign::{Error, Key, Keyring, Server};

use super::{admission, found};
use crate::identity::{child, key_of};
use crate::support::{TempDir, key, secret};

/// The path of the file that holds the key under this id.
pub fn path_of(directory: &Path, id: impl AsRef<OsStr>) -> PathBuf {
    let mut name = id.as_ref().to_owned();
    name.push(".key");
    directory.join(name)
}

/// Writes a file that only its owner can read.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).unwrap();
    file.write_all(content.as_ref()).unwrap();
}

type Load = fn(&Path) -> Result<Keyring, Error>;

/// The two ways to load a directory: with and without the rule on who can read its files.
pub const LOADS: [Load; 2] = [
    |path| Keyring::from_dir(path),
    |path| Keyring::from_shared_dir(path),
];

#[test]
fn a_rotation_from_an_old_key_to_a_new_one_refuses_no_client_at_any_step() {
    struct Node {
        directory: TempDir,
        ring: Keyring,
        server: Server<Keyring>,
    }

    impl Node {
        fn start() -> Self {
            let directory = TempDir::new();
            write(path_of(directory.path(), "worker-7.2026-11"), secret("old"));
            let ring = Keyring::from_dir(directory.path()).unwrap();
            Self {
                directory,
                server: Server::new(ring.clone()),
                ring,
            }
        }
    }

    let nodes = [Node::start(), Node::start(), Node::start()];
    let (old, new) = (
        key_of("old", "worker-7.2026-11"),
        key_of("new", "worker-7.2026-12"),
    );
    let mut clients = [&old, &old, &old, &old];
    let assert_no_client_is_refused = |clients: &[&Key]| {
        for node in &nodes {
            for key in clients {
                assert_eq!(admission(&node.server, key), Ok(()));
            }
        }
    };

    assert_no_client_is_refused(&clients);
    for node in &nodes {
        write(
            path_of(node.directory.path(), "worker-7.2026-12"),
            secret("new"),
        );
        assert_no_client_is_refused(&clients);
        node.ring.reload().unwrap();
        assert_no_client_is_refused(&clients);
    }
    for moved in 0..clients.len() {
        clients[moved] = &new;
        assert_no_client_is_refused(&clients);
    }
    for node in &nodes {
        fs::remove_file(path_of(node.directory.path(), "worker-7.2026-11")).unwrap();
        assert_no_client_is_refused(&clients);
        node.ring.reload().unwrap();
        assert_no_client_is_refused(&clients);
        assert_eq!(admission(&node.server, &old), Err(Refusal::UnknownKeyId));
    }
}

#[test]
fn each_key_file_of_a_directory_is_a_key_with_its_name_as_its_id() {
    let directory = TempDir::new();
    let names = ["worker-7", "worker-7.key", "W", "with spaces ", "~", "a.b"];
    // The suffix of a file is not part of its id.
    // A secret has no spaces, whatever the id has.
    let without_spaces = |name: &str| name.replace(' ', "_");
    for name in names {
        write(
            path_of(directory.path(), name),
            secret(&without_spaces(name)),
        );
    }
    write(path_of(directory.path(), "x".repeat(64)), secret("longest"));
    // A hidden file is no key, whatever it contains.
    write(directory.path().join(".hidden"), secret("hidden"));
    write(directory.path().join(".short"), "short");
    write(directory.path().join(format!(".{}", "x".repeat(99))), "");
    fs::create_dir(directory.path().join(".git")).unwrap();

    for load in LOADS {
        let ring = load(directory.path()).unwrap();
        assert_eq!(
            format!("{ring:?}"),
            "Keyring { keys: 7, masters: 0, revoked: 0 }"
        );
        for name in names {
            assert_eq!(
                found(&ring, name),
                Some(key(&without_spaces(name)).fingerprint())
            );
        }
        let longest = found(&ring, "x".repeat(64));
        assert_eq!(longest, Some(key("longest").fingerprint()));
        for id in ["", ".hidden", "hidden", "worker-8", "with spaces", "W.key"] {
            assert_eq!(found(&ring, id), None, "{id:?}");
        }
        let server = Server::new(ring);
        assert_eq!(admission(&server, &key_of("W", "W")), Ok(()));
        let other = key_of("W", "worker-7");
        assert_eq!(admission(&server, &other), Err(Refusal::WrongProof));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_name_of_any_bytes_is_a_key_id_as_it_is() {
    use std::os::unix::ffi::OsStrExt;

    let directory = TempDir::new();
    let names: [&[u8]; 6] = [
        b"a space",
        b"two\nlines\n",
        "m\u{fc}nchen".as_bytes(),
        b"\xff\xfe no Unicode",
        b"\x01\x1b[2J\x7f",
        &[0xfe; 64],
    ];
    for (nth, name) in names.iter().enumerate() {
        let secret = secret(&nth.to_string());
        write(path_of(directory.path(), OsStr::from_bytes(name)), secret);
    }
    let ring = Keyring::from_dir(directory.path()).unwrap();
    for (nth, name) in names.iter().enumerate() {
        let key = key_of(&nth.to_string(), name);
        assert_eq!(found(&ring, name), Some(key.fingerprint()));
        assert_eq!(admission(&Server::new(ring.clone()), &key), Ok(()));
    }
}

#[test]
fn a_reload_replaces_the_keys_and_leaves_masters_and_revoked_ids() {
    let directory = TempDir::new();
    let file = |id| path_of(directory.path(), id);
    write(file("worker-7"), secret("old"));
    write(file("worker-8"), secret("ours"));
    let ring = Keyring::from_dir(directory.path()).unwrap();
    ring.insert_master("cron-", key("master")).unwrap();
    ring.revoke("cron-9").unwrap();
    ring.revoke("worker-9").unwrap();
    ring.insert(key_of("ours", "inserted"));

    write(file("worker-7"), secret("new"));
    write(file("worker-9"), secret("ours"));
    write(file("worker-10"), secret("ours"));
    fs::remove_file(file("worker-8")).unwrap();
    // Without a reload, nothing changes.
    assert_eq!(found(&ring, "worker-7"), Some(key("old").fingerprint()));
    assert_eq!(found(&ring, "worker-10"), None);

    ring.clone().reload().unwrap();
    let ours = Some(key("ours").fingerprint());
    let rows = [
        ("worker-7", Some(key("new").fingerprint())),
        ("worker-8", None),
        ("worker-9", None),
        ("worker-10", ours),
        ("inserted", None),
        (
            "cron-1",
            Some(child(&key("master"), "cron-1").fingerprint()),
        ),
        ("cron-9", None),
    ];
    for (id, expected) in rows {
        assert_eq!(found(&ring, id), expected, "{id}");
    }

    // A ring whose content is replaced is still loaded from its own directory.
    ring.replace(&Keyring::new());
    assert_eq!(found(&ring, "worker-10"), None);
    ring.reload().unwrap();
    for (id, expected) in [("worker-9", ours), ("worker-10", ours), ("cron-1", None)] {
        assert_eq!(found(&ring, id), expected, "{id}");
    }
}

#[test]
fn only_a_ring_from_a_directory_can_be_reloaded() {
    let directory = TempDir::new();
    write(path_of(directory.path(), "worker-7"), secret("ours"));
    let from_directory = Keyring::from_dir(directory.path()).unwrap();
    let ring = Keyring::new();
    ring.replace(&from_directory);
    for ring in [ring, Keyring::new()] {
        let error = ring.reload().unwrap_err();
        assert!(matches!(error, Error::NoDirectory), "{error:?}");
    }
}
