//! Key files: both implementations and the crate read the same ones, and rotate secrets with them.

#[cfg(unix)]
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
#[cfg(unix)]
use std::path::Path;
#[cfg(unix)]
use std::process::Command;

use countersign::{Client, Key, Keyring, Matched, Server};

use super::ours::{End, Talk, Verb};
use super::process::text;
use super::{Ours, PYTHON, Peer, Theirs, is_installed, options};
use crate::failures::{is_denied, refusal};
use crate::support::{Driver, TempDir};

/// What the key files of a server and a client hold in each step of a rotation, and which secret of
/// the server's file the client then uses.
const ROTATION: [(&str, &str, Option<Matched>); 8] = [
    ("old", "old", Some(Matched::First)),
    ("old accept:new", "old", Some(Matched::First)),
    ("old accept:new", "new accept:old", Some(Matched::Accepted)),
    ("new accept:old", "old", Some(Matched::Accepted)),
    ("new accept:old", "old accept:new", Some(Matched::Accepted)),
    ("new accept:old", "new", Some(Matched::First)),
    ("new", "old", None),
    ("new", "new", Some(Matched::First)),
];

/// Writes a key file of these lines, with a secret in the place of each name.
fn rotated(temp: &TempDir, name: &str, lines: &str) -> String {
    let content = lines
        .replace(' ', "\n")
        .replace("old", "the-old-secret-of-this-test")
        .replace("new", "the-new-secret-of-this-test");
    let path = temp.key_file(name, content);
    path.to_str().unwrap().to_owned()
}

fn ours(end: &End) -> Ours<'_> {
    Ours {
        driver: Driver::Blocking,
        verb: Verb::Authenticate,
        end,
    }
}

#[test]
fn a_peers_server_accepts_our_client_through_a_rotation() {
    let temp = TempDir::new();
    for peer in Peer::all() {
        for (server, client, matched) in ROTATION {
            let file = rotated(&temp, "server.key", server);
            let theirs = Theirs {
                peer,
                verb: Verb::Authenticate,
                options: &options(&file),
            };
            let key = Key::from_file(rotated(&temp, "client.key", client)).unwrap();
            let client = Client::new(key.with_id("worker-7").unwrap());
            let end = End::Client(client.service("billing/2").unwrap());
            let (outcome, output) = theirs.meet_client(&ours(&end), Talk::Send(b"Hello World"));
            assert_eq!(output.status.success(), matched.is_some());
            let log = text(&output.stderr);
            match matched {
                None => {
                    assert!(is_denied(&outcome.unwrap_err().handshake()));
                    assert!(log.starts_with("refused: "), "{log}");
                    continue;
                }
                Some(Matched::First) => assert_eq!(log.trim(), "accepted worker-7"),
                Some(Matched::Accepted) => {
                    assert_eq!(log.trim(), "accepted worker-7 by its second secret");
                }
            }
            let got = outcome.unwrap();
            assert_eq!(got.matched, Matched::First);
            assert_eq!(got.received, b"Hello World");
        }
    }
}

#[test]
fn our_server_accepts_a_peers_client_through_a_rotation() {
    let temp = TempDir::new();
    for peer in Peer::all() {
        for (server, client, matched) in ROTATION {
            let file = rotated(&temp, "client.key", client);
            let theirs = Theirs {
                peer,
                verb: Verb::Authenticate,
                options: &options(&file),
            };
            let key = Key::from_file(rotated(&temp, "server.key", server)).unwrap();
            let server = Server::new(key.with_id("worker-7").unwrap());
            let end = End::Server(server.service("billing/2").unwrap());
            let (outcome, output) = theirs.meet_server(b"Hello World", &ours(&end), Talk::Echo);
            assert_eq!(output.status.success(), matched.is_some());
            if let Some(matched) = matched {
                let got = outcome.unwrap();
                assert_eq!(got.matched, matched);
                assert_eq!(&got.key_id, "worker-7");
                assert_eq!(text(&output.stdout), "Hello World\n");
            } else {
                assert!(refusal(&outcome.unwrap_err().handshake()).is_some());
                assert!(text(&output.stderr).contains("denied"));
            }
        }
    }
}

#[test]
fn a_peer_loads_the_files_that_the_crate_loads_and_shows_the_same_fingerprints() {
    let temp = TempDir::new();
    for peer in Peer::all() {
        for lines in ["old", "new accept:old"] {
            let path = rotated(&temp, "secret.key", lines);
            let key = Key::from_file(&path).unwrap();
            let mut expected = key.fingerprint().to_string();
            if let Some(accepted) = key.accepted_fingerprint() {
                expected = format!("{expected}\naccept:{accepted}");
            }
            let output = peer.run(&["fingerprint", &path]);
            assert!(output.status.success(), "{}", text(&output.stderr));
            let printed: Vec<_> = text(&output.stdout).lines().map(str::to_owned).collect();
            assert_eq!(printed.join("\n"), expected);
        }
        #[cfg(unix)]
        for mode in [0o600, 0o400, 0o640, 0o604, 0o620, 0o602] {
            let path = rotated(&temp, "secret.key", "new");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let output = peer.run(&["fingerprint", &path]);
            let loaded = Key::from_file(&path);
            assert_eq!(output.status.success(), loaded.is_ok(), "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn a_python_server_and_ours_read_the_same_directory_of_keys() {
    if !is_installed(PYTHON.command[0]) {
        return;
    }
    let temp = TempDir::new();
    rotated(&temp, "worker-7.key", "new accept:old");
    rotated(&temp, "worker-8.key.bak", "old");
    let keys = temp.path().to_str().unwrap();
    let ring = Keyring::from_dir(keys).unwrap();
    let ids = ["worker-7", "worker-8"];
    assert_eq!(ids.map(|id| ring.contains(id)), [true, false]);
    for id in ids {
        let theirs = Theirs {
            peer: &PYTHON,
            verb: Verb::Authenticate,
            options: &["--key-dir", keys, "--service", "billing/2"],
        };
        let key = Key::new("the-old-secret-of-this-test").unwrap();
        let client = Client::new(key.with_id(id).unwrap());
        let end = End::Client(client.service("billing/2").unwrap());
        let (outcome, output) = theirs.meet_client(&ours(&end), Talk::Send(b""));
        assert_eq!(outcome.is_ok(), ring.contains(id));
        assert_eq!(output.status.success(), ring.contains(id));
    }
}

/// A user that needs no entry in the list of users.
#[cfg(unix)]
const ANOTHER: u32 = 54_321;

/// Loads a directory of keys with the module for Python, and returns what these commands print.
#[cfg(unix)]
fn python_with_ring(keys: &Path, then: &str) -> String {
    let script = format!(
        "import os, sys\nsys.path.insert(0, sys.argv[1])\nfrom countersign import *\n\
         ring = Keyring(sys.argv[2])\n{then}"
    );
    let mut command = Command::new(PYTHON.command[0]);
    command.args(["-B", "-c", &script]);
    command.arg(Path::new(PYTHON.command[2]).parent().unwrap());
    let output = command.arg(keys).output().unwrap();
    [text(&output.stdout), text(&output.stderr)].concat()
}

#[cfg(unix)]
#[test]
fn a_python_server_keeps_the_keys_of_files_that_it_can_no_longer_look_at() {
    if !is_installed(PYTHON.command[0]) {
        return;
    }
    let temp = TempDir::new();
    let file = temp.key_file("worker-7.key", "the-secret-of-this-test");
    let then = "os.chmod(sys.argv[2], 0o400)\n";
    // Root may look at everything.
    let become_another = if fs::metadata(temp.path()).unwrap().uid() == 0 {
        for path in [temp.path(), &*file] {
            lchown(path, Some(ANOTHER), Some(ANOTHER)).unwrap();
        }
        format!("os.setgid({ANOTHER}); os.setuid({ANOTHER})\n")
    } else {
        String::new()
    };
    let then = format!("{then}{become_another}print(len(ring.reload()), ring.ids())");
    let printed = python_with_ring(temp.path(), &then);
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(printed, "1 [b'worker-7']\n");
}

#[cfg(unix)]
#[test]
fn a_python_server_and_ours_refuse_a_mount_that_the_link_of_a_stranger_leads_to() {
    if !is_installed(PYTHON.command[0]) {
        return;
    }
    let temp = TempDir::new();
    let is_root = fs::metadata(temp.path()).unwrap().uid() == 0;
    let mount = temp.path().join("mount");
    fs::create_dir_all(temp.path().join("other")).unwrap();
    fs::set_permissions(temp.path().join("other"), fs::Permissions::from_mode(0o700)).unwrap();
    rotated(&temp, "other/admin.key", "new");
    fs::create_dir(&mount).unwrap();
    fs::set_permissions(&mount, fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("between", mount.join("..data")).unwrap();
    symlink("../other", mount.join("between")).unwrap();
    let python = || python_with_ring(&mount, "print(ring.ids())");
    assert!(Keyring::from_dir(&mount).unwrap().contains("admin"));
    assert_eq!(python(), "[b'admin']\n");
    if is_root {
        lchown(mount.join("between"), Some(ANOTHER), Some(ANOTHER)).unwrap();
        assert!(Keyring::from_dir(&mount).is_err());
        assert!(
            python().contains("it belongs to user 54321"),
            "{}",
            python()
        );
    }
}

/// Sets the time of a file back, reads it as a key, and prints for how many milliseconds that took.
#[cfg(unix)]
const HOW_LONG: [&[&str]; 2] = [
    &[
        "python3",
        "-B",
        "-c",
        "import os, sys, time\nsys.path.insert(0, sys.argv[1] + '/python')\nfrom countersign import Key\n\
         os.utime(sys.argv[2], (0, 0)); began = time.monotonic(); Key.from_file(sys.argv[2])\n\
         print(int(1000 * (time.monotonic() - began)))",
    ],
    &[
        "node",
        "--input-type=module",
        "-e",
        "import fs from 'node:fs'; const [peers, file] = process.argv.slice(1);\n\
         const { Key } = await import(`${peers}/node/countersign.mjs`);\n\
         fs.utimesSync(file, 0, 0); const began = performance.now(); Key.fromFile(file);\n\
         console.log(Math.floor(performance.now() - began));",
    ],
];

#[cfg(unix)]
#[test]
fn a_peer_waits_for_a_file_whose_time_its_writer_set_back() {
    let peers = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");
    let temp = TempDir::new();
    let file = rotated(&temp, "secret.key", "new");
    for command in HOW_LONG.iter().filter(|command| is_installed(command[0])) {
        let output = Command::new(command[0])
            .args(&command[1..])
            .args([peers, &file])
            .output()
            .unwrap();
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        let waited: u32 = out.trim().parse().unwrap_or_else(|_| panic!("{errors}"));
        // The time of the change may be a tick of at most 10 ms before.
        assert!(waited >= 9, "{} waited {waited} ms", command[0]);
    }
}
