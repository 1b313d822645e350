//! Rings of keys: what they answer, what changes while servers use them, and what a directory
//! makes of them.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::{Fingerprint, InvalidInput, Prologue, Refusal};
use countersign::{Client, Error, Key, KeyFileProblem, Keyring, Keys, Server, keys_fn};

use crate::support::{Driver, HonestClient, HonestServer, Peer, TempDir, Wire, hmac, key, secret};

/// A time that is over only where a test would hang.
const LONG: Duration = Duration::from_secs(20);

fn key_of(name: &str, id: impl AsRef<[u8]>) -> Key {
    key(name).with_id(id).unwrap()
}

fn child(master: &Key, id: impl AsRef<[u8]>) -> Key {
    let secret = master.child_secret(&id).unwrap();
    Key::new(secret).unwrap().with_id(id).unwrap()
}

/// What is found for an id, which has to be a key under that id.
fn found(keys: &impl Keys, id: impl AsRef<[u8]>) -> Option<Fingerprint> {
    let key = keys.find(id.as_ref())?;
    assert_eq!(key.id().as_bytes(), id.as_ref());
    Some(key.fingerprint())
}

/// How a server takes a client with this key. Every driver has to agree.
fn admission<K: Keys + Clone>(server: &Server<K>, key: &Key) -> Result<(), Refusal> {
    let admissions: Vec<_> = (Driver::ALL.iter())
        .map(|driver| {
            let mut wire = Wire::to(HonestClient::new(key, Prologue::EMPTY, b""));
            match driver.server(&mut wire, server) {
                Ok(session) => {
                    assert_eq!(session.key_id(), key.id());
                    Ok(())
                }
                Err(Error::ClientNotAuthentic { key_id, refusal }) => {
                    assert_eq!(key_id, *key.id());
                    Err(refusal)
                }
                Err(other) => panic!("{other:?}"),
            }
        })
        .collect();
    let (first, others) = admissions.split_first().unwrap();
    assert!(others.iter().all(|other| other == first), "{admissions:?}");
    *first
}

#[test]
fn a_ring_without_keys_answers_nobody() {
    for ring in [Keyring::new(), Keyring::default()] {
        for id in ["", "worker-7"] {
            assert!(ring.find(id.as_bytes()).is_none());
            let admission = admission(&Server::new(ring.clone()), &key_of("ours", id));
            assert_eq!(admission, Err(Refusal::UnknownKeyId));
        }
    }
}

type Change = fn(&Keyring);

#[test]
fn a_change_through_any_clone_shows_in_all_of_them_and_at_the_next_handshake() {
    use Refusal::{UnknownKeyId, WrongProof};

    type Admissions = [Result<(), Refusal>; 3];

    // How the holders of two secrets under one id, and of a child, are taken after each change.
    let steps: [(&str, Change, Admissions); 13] = [
        ("nothing", |_| {}, [Err(UnknownKeyId); 3]),
        (
            "insert",
            |ring| ring.insert(key_of("old", "worker-7")),
            [Ok(()), Err(WrongProof), Err(UnknownKeyId)],
        ),
        (
            "insert in the place of another",
            |ring| ring.insert(key_of("new", "worker-7")),
            [Err(WrongProof), Ok(()), Err(UnknownKeyId)],
        ),
        (
            "insert a master",
            |ring| ring.insert_master("cron-", key("master")).unwrap(),
            [Err(WrongProof), Ok(()), Ok(())],
        ),
        (
            "insert a master in the place of another",
            |ring| ring.insert_master("cron-", key("another")).unwrap(),
            [Err(WrongProof), Ok(()), Err(WrongProof)],
        ),
        (
            "remove that master",
            |ring| assert!(ring.remove_master("cron-")),
            [Err(WrongProof), Ok(()), Err(UnknownKeyId)],
        ),
        (
            "remove it again",
            |ring| assert!(!ring.remove_master("cron-")),
            [Err(WrongProof), Ok(()), Err(UnknownKeyId)],
        ),
        (
            "replace",
            |ring| {
                let other = Keyring::new();
                other.insert(key_of("old", "worker-7"));
                other.insert_master("", key("master")).unwrap();
                ring.replace(&other);
            },
            [Ok(()), Err(WrongProof), Ok(())],
        ),
        (
            "remove what a master still answers for",
            |ring| assert!(ring.remove("worker-7")),
            [Err(WrongProof), Err(WrongProof), Ok(())],
        ),
        (
            "remove it again",
            |ring| assert!(!ring.remove("worker-7")),
            [Err(WrongProof), Err(WrongProof), Ok(())],
        ),
        (
            "revoke one",
            |ring| ring.revoke("cron-1").unwrap(),
            [Err(WrongProof), Err(WrongProof), Err(UnknownKeyId)],
        ),
        (
            "revoke the other",
            |ring| ring.revoke("worker-7").unwrap(),
            [Err(UnknownKeyId); 3],
        ),
        (
            "insert what is revoked",
            |ring| ring.insert(key_of("new", "worker-7")),
            [Err(UnknownKeyId); 3],
        ),
    ];
    let clients = [
        key_of("old", "worker-7"),
        key_of("new", "worker-7"),
        child(&key("master"), "cron-1"),
    ];

    let ring = Keyring::new();
    let server = Server::new(ring.clone());
    // Clones that were made before and after, and one by way of the server.
    let clones = [ring.clone(), ring.clone().clone(), ring];
    let servers = [server.clone(), Server::new(clones[1].clone()), server];
    for (nth, (step, change, expected)) in steps.into_iter().enumerate() {
        change(&clones[nth % clones.len()]);
        for server in &servers {
            let admissions = clients.each_ref().map(|key| admission(server, key));
            assert_eq!(admissions, expected, "after: {step}");
        }
        for clone in &clones {
            for (key, expected) in clients.iter().zip(expected) {
                let is_right = found(clone, key.id()) == Some(key.fingerprint());
                assert_eq!(is_right, expected.is_ok(), "after: {step}");
            }
        }
    }
}

#[test]
fn revoked_ids_come_first_then_keys_then_the_master_with_the_longest_prefix() {
    // The order in which things are added must not matter.
    let additions: [Change; 7] = [
        |ring| ring.insert(key_of("own", "worker-7")),
        |ring| ring.insert(key_of("own", "worker-eu-8")),
        |ring| ring.revoke("worker-eu-8").unwrap(),
        |ring| ring.revoke("worker-9").unwrap(),
        |ring| ring.insert_master("", key("all")).unwrap(),
        |ring| ring.insert_master("worker-eu-", key("europe")).unwrap(),
        |ring| ring.insert_master("worker-", key("workers")).unwrap(),
    ];
    let rows: [(&str, Option<&str>, Option<&str>); 13] = [
        // The id, the secret under it, the master whose child it has.
        ("worker-7", Some("own"), None),
        ("worker-eu-8", None, None),
        ("worker-9", None, None),
        ("worker-6", None, Some("workers")),
        ("worker-77", None, Some("workers")),
        ("worker-", None, Some("workers")),
        ("worker-eu", None, Some("workers")),
        ("worker-eu-", None, Some("europe")),
        ("worker-eu-7", None, Some("europe")),
        ("worker", None, Some("all")),
        ("Worker-7", None, Some("all")),
        ("cron-1", None, Some("all")),
        ("", None, None),
    ];
    for first in 0..additions.len() {
        let ring = Keyring::new();
        for nth in 0..additions.len() {
            additions[(first + nth) % additions.len()](&ring);
        }
        for (id, own, master) in rows {
            let expected = match (own, master) {
                (Some(name), _) => Some(key(name).fingerprint()),
                (None, Some(master)) => Some(child(&key(master), id).fingerprint()),
                (None, None) => None,
            };
            assert_eq!(found(&ring, id), expected, "{id:?}");
        }
    }
}

#[test]
fn the_empty_id_is_an_id_like_any_other_but_nobodys_child() {
    let ring = Keyring::new();
    ring.insert_master("", key("master")).unwrap();
    assert_eq!(found(&ring, ""), None);
    ring.insert(key("ours"));
    assert_eq!(found(&ring, ""), Some(key("ours").fingerprint()));
    ring.revoke("").unwrap();
    assert_eq!(found(&ring, ""), None);
    assert!(ring.remove(""));
    assert!(ring.remove_master(""));
}

#[test]
fn an_id_has_at_most_64_octets_in_a_ring_too() {
    let (longest, too_long) = ([b'x'; 64], [b'x'; 65]);
    let error = InvalidInput::KeyIdTooLong { len: 65 };
    let ring = Keyring::new();
    ring.insert(key_of("ours", "kept"));
    assert_eq!(ring.revoke(too_long).unwrap_err(), error);
    let refused = ring.insert_master(too_long, key("master"));
    assert_eq!(refused.unwrap_err(), error);
    assert!(!ring.remove(too_long));
    assert!(!ring.remove_master(too_long));

    // A prefix may be a whole id, and what the master itself is called does not matter.
    let master = key_of("master", "of its own");
    ring.insert_master(longest, master.clone()).unwrap();
    let expected = child(&master, longest).fingerprint();
    assert_eq!(found(&ring, longest), Some(expected));
    assert_eq!(found(&ring, too_long), None);
    assert_eq!(found(&ring, &longest[1..]), None);
    ring.revoke(longest).unwrap();
    assert_eq!(found(&ring, longest), None);
    assert!(ring.find(b"kept").is_some());
}

#[test]
fn masters_rotate_by_their_prefixes() {
    let (old, new) = (key("old master"), key("new master"));
    let of_old = child(&old, "worker.2026-11.7");
    let of_new = child(&new, "worker.2026-12.7");
    let mixed = child(&old, "worker.2026-12.7");
    let ring = Keyring::new();
    let server = Server::new(ring.clone());
    let admissions = || [&of_old, &of_new, &mixed].map(|key| admission(&server, key).is_ok());

    ring.insert_master("worker.2026-11.", old).unwrap();
    assert_eq!(admissions(), [true, false, false]);
    ring.insert_master("worker.2026-12.", new).unwrap();
    assert_eq!(admissions(), [true, true, false]);
    assert!(ring.remove_master("worker.2026-11."));
    assert_eq!(admissions(), [false, true, false]);
}

#[test]
fn a_ring_that_replaced_another_stays_a_ring_of_its_own() {
    let running = Keyring::new();
    running.insert(key_of("before", "before"));
    running.insert_master("before-", key("before")).unwrap();
    running.revoke("revoked before").unwrap();
    let next = Keyring::new();
    next.insert(key_of("next", "next"));
    next.insert_master("next-", key("next")).unwrap();
    next.revoke("next-9").unwrap();

    running.replace(&next);
    // Of what was there before nothing is left, revoked ids included.
    for id in ["before", "before-1"] {
        assert_eq!(found(&running, id), None);
    }
    running.insert(key_of("ours", "revoked before"));
    assert!(running.find(b"revoked before").is_some());
    for ring in [&running, &next] {
        assert!(ring.find(b"next").is_some());
        assert!(ring.find(b"next-1").is_some());
        assert!(ring.find(b"next-9").is_none());
    }

    let changes: [(Change, &str); 4] = [
        (|ring| ring.insert(key_of("later", "later")), "later"),
        (
            |ring| ring.insert_master("later-", key("later")).unwrap(),
            "later-1",
        ),
        (|ring| assert!(ring.remove("next")), "next"),
        (|ring| ring.revoke("next-1").unwrap(), "next-1"),
    ];
    for (changed, other) in [(&running, &next), (&next, &running)] {
        for (change, id) in changes {
            let before = [changed, other].map(|ring| found(ring, id));
            change(changed);
            assert_ne!(found(changed, id), before[0], "{id}");
            assert_eq!(found(other, id), before[1], "{id}");
        }
    }
}

#[test]
fn a_ring_may_be_replaced_by_itself_and_two_by_each_other_at_once() {
    let (one, other) = (Keyring::new(), Keyring::new());
    for ring in [&one, &other] {
        ring.insert(key_of("ours", "worker-7"));
        ring.replace(ring);
        ring.replace(&ring.clone());
    }
    thread::scope(|scope| {
        for (to, from) in [(&one, &other), (&other, &one)] {
            scope.spawn(|| (0..1000).for_each(|_| to.replace(from)));
        }
    });
    for ring in [one, other] {
        assert!(ring.find(b"worker-7").is_some());
    }
}

#[test]
fn a_ring_replaced_a_thousand_times_refuses_nobody_who_is_in_every_version() {
    const REPLACEMENTS: usize = 1000;
    const LOG_INS: usize = 100;

    let versions = [0, 1].map(|version| {
        let ring = Keyring::new();
        ring.insert(key_of("ours", "worker-7"));
        ring.insert_master("cron-", key("master")).unwrap();
        for other in 0..20 {
            let id = format!("other-{version}-{other}");
            ring.insert(key_of("other", &id));
            ring.revoke(format!("revoked-{id}")).unwrap();
        }
        ring
    });
    let ring = Keyring::new();
    ring.replace(&versions[0]);

    let clients = [key_of("ours", "worker-7"), child(&key("master"), "cron-1")];
    let log_ins = clients.each_ref().map(|_| AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (key, log_ins) in clients.iter().zip(&log_ins) {
            let (server, stop) = (Server::new(ring.clone()), &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(admission(&server, key), Ok(()));
                    log_ins.fetch_add(1, Ordering::Relaxed);
                }
            });
        }

        let began = Instant::now();
        let mut replaced = 0;
        let enough = |log_ins: &AtomicUsize| log_ins.load(Ordering::Relaxed) >= LOG_INS;
        while began.elapsed() < LONG && (replaced < REPLACEMENTS || !log_ins.iter().all(enough)) {
            replaced += 1;
            ring.replace(&versions[replaced % 2]);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(replaced >= REPLACEMENTS);
        assert!(log_ins.iter().all(enough), "{log_ins:?}");
    });
}

/// A server of somebody who holds this secret and accepts whoever comes.
struct Impostor {
    secret: Vec<u8>,
    said: usize,
}

impl Impostor {
    const F1: [u8; 40] = *b"CSIGN1S\0the nonce of some impostor's own";

    fn new(secret: impl AsRef<[u8]>) -> Self {
        Self {
            secret: secret.as_ref().to_vec(),
            said: 0,
        }
    }
}

impl Peer for Impostor {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let f2: Vec<u8> = written.drain(..).collect();
        self.said += 1;
        match self.said {
            1 => Self::F1.to_vec(),
            2 => {
                let prk = hmac(b"countersign/1", &self.secret);
                let of_server = hmac(&prk, b"countersign/1 server proof\x01");
                let covered = [&[0, 0][..], &Self::F1, &f2, b"A"].concat();
                [&b"A"[..], &hmac(&of_server, &covered)].concat()
            }
            _ => Vec::new(),
        }
    }
}

#[test]
fn the_holder_of_one_child_is_neither_another_child_nor_the_server() {
    let master = key("master");
    let ring = Keyring::new();
    ring.insert_master("worker-", master.clone()).unwrap();
    let server = Server::new(ring);
    let own = master.child_secret("worker-7").unwrap();
    let others = master.child_secret("worker-8").unwrap();

    let meets = |impostor: &dyn Fn() -> Impostor| {
        let outcomes: Vec<_> = (Driver::ALL.iter())
            .map(|driver| {
                let key = Key::new(&others).unwrap().with_id("worker-8").unwrap();
                driver.client(&mut Wire::to(impostor()), &Client::new(key))
            })
            .collect();
        outcomes
    };

    // The child itself, as the client and the server that it is.
    let itself = Key::new(&own).unwrap().with_id("worker-7").unwrap();
    assert_eq!(admission(&server, &itself), Ok(()));
    for driver in Driver::ALL {
        let mut wire = Wire::to(HonestServer::new(&itself, Prologue::EMPTY, b""));
        let session = driver.client(&mut wire, &Client::new(itself.clone()));
        assert_eq!(session.unwrap().key_id(), "worker-7");
    }

    // As others: under their id, under none, and as the master of some of them.
    for id in ["worker-8", "worker-77", "worker-"] {
        let posing = Key::new(&own).unwrap().with_id(id).unwrap();
        assert_eq!(admission(&server, &posing), Err(Refusal::WrongProof));
        let posing = child(&itself, id);
        assert_eq!(admission(&server, &posing), Err(Refusal::WrongProof));
    }
    let nameless = Key::new(&own).unwrap();
    assert_eq!(admission(&server, &nameless), Err(Refusal::UnknownKeyId));
    let masters = master.with_id("worker-7").unwrap();
    assert_eq!(admission(&server, &masters), Err(Refusal::WrongProof));

    // As the server of others.
    for outcome in meets(&|| Impostor::new(&own)) {
        assert!(
            matches!(outcome, Err(Error::ServerNotAuthentic)),
            "{outcome:?}"
        );
    }

    // The controls: who holds the secret of others can be them and their server, and who holds
    // the secret of a whole group can be everybody in it.
    for outcome in meets(&|| Impostor::new(&others)) {
        assert_eq!(outcome.unwrap().key_id(), "worker-8");
    }
    let group = Keyring::new();
    for id in ["worker-7", "worker-8"] {
        group.insert(key_of("group", id));
    }
    let posing = key_of("group", "worker-8");
    assert_eq!(admission(&Server::new(group), &posing), Ok(()));
    for driver in Driver::ALL {
        let mut wire = Wire::to(Impostor::new(secret("group")));
        let outcome = driver.client(&mut wire, &Client::new(posing.clone()));
        assert_eq!(outcome.unwrap().key_id(), "worker-8");
    }
}

#[test]
fn whatever_finds_keys_can_be_the_keys_of_a_server() {
    fn check<K: Keys + Clone>(keys: K) {
        let server = Server::new(keys);
        let rows = [
            (key_of("ours", "worker-7"), Ok(())),
            (key_of("theirs", "worker-7"), Err(Refusal::WrongProof)),
            (key_of("ours", "worker-8"), Err(Refusal::UnknownKeyId)),
            (key_of("ours", ""), Err(Refusal::UnknownKeyId)),
        ];
        for (key, expected) in rows {
            assert_eq!(admission(&server, &key), expected);
        }
    }

    let ours = key_of("ours", "worker-7");
    let ring = Keyring::new();
    ring.insert(ours.clone());
    let closure = keys_fn({
        let ours = ours.clone();
        move |id| (id == b"worker-7").then(|| ours.clone())
    });
    let any: Arc<dyn Keys + Send + Sync> = Arc::new(ring.clone());

    check(&ours);
    check(&ring);
    check(&&ring);
    check(&closure);
    check(any);
    check(Arc::new(ring.clone()));
    check(Arc::new(closure.clone()));
    check(ours);
    check(ring);
    check(closure);
}

#[test]
fn what_a_ring_shows_of_itself_are_numbers() {
    let ring = Keyring::new();
    ring.insert(key_of("ours", "worker-7"));
    ring.insert_master("cron-", key("master")).unwrap();
    ring.revoke("cron-1").unwrap();
    assert_eq!(
        format!("{ring:?}"),
        "Keyring { keys: 1, masters: 1, revoked: 1 }"
    );
}

/// Writes a file that only its owner can read.
fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).unwrap();
    file.write_all(content.as_ref()).unwrap();
}

type Load = fn(&Path) -> Result<Keyring, Error>;

/// The two ways to load a directory, which differ only in whose files they take.
const LOADS: [Load; 2] = [
    |path| Keyring::from_dir(path),
    |path| Keyring::from_shared_dir(path),
];

#[test]
fn a_key_moves_from_old_to_new_in_four_steps_and_nobody_is_refused_on_the_way() {
    struct Node {
        directory: TempDir,
        ring: Keyring,
        server: Server<Keyring>,
    }

    impl Node {
        fn start() -> Self {
            let directory = TempDir::new();
            write(directory.path().join("worker-7.2026-11"), secret("old"));
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
    let nobody_is_refused = |clients: &[&Key]| {
        for node in &nodes {
            for key in clients {
                assert_eq!(admission(&node.server, key), Ok(()));
            }
        }
    };

    nobody_is_refused(&clients);
    for node in &nodes {
        write(
            node.directory.path().join("worker-7.2026-12"),
            secret("new"),
        );
        nobody_is_refused(&clients);
        node.ring.reload().unwrap();
        nobody_is_refused(&clients);
    }
    for moved in 0..clients.len() {
        clients[moved] = &new;
        nobody_is_refused(&clients);
    }
    for node in &nodes {
        fs::remove_file(node.directory.path().join("worker-7.2026-11")).unwrap();
        nobody_is_refused(&clients);
        node.ring.reload().unwrap();
        nobody_is_refused(&clients);
        assert_eq!(admission(&node.server, &old), Err(Refusal::UnknownKeyId));
    }
}

#[test]
fn each_file_of_a_directory_is_a_key_under_its_name() {
    let directory = TempDir::new();
    let names = ["worker-7", "worker-7.key", "W", "with spaces ", "~", "a.b"];
    for name in names {
        write(directory.path().join(name), secret(name));
    }
    write(directory.path().join("x".repeat(64)), secret("longest"));
    // Whatever is hidden is no key, however it looks.
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
            assert_eq!(found(&ring, name), Some(key(name).fingerprint()));
        }
        let longest = found(&ring, "x".repeat(64));
        assert_eq!(longest, Some(key("longest").fingerprint()));
        for id in ["", ".hidden", "hidden", "worker-8", "with spaces"] {
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
fn a_file_name_of_any_octets_is_a_key_id_as_it_is() {
    use std::ffi::OsStr;
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
        write(directory.path().join(OsStr::from_bytes(name)), secret);
    }
    let ring = Keyring::from_dir(directory.path()).unwrap();
    for (nth, name) in names.iter().enumerate() {
        let key = key_of(&nth.to_string(), name);
        assert_eq!(found(&ring, name), Some(key.fingerprint()));
        assert_eq!(admission(&Server::new(ring.clone()), &key), Ok(()));
    }
}

#[test]
fn a_reload_takes_the_keys_of_the_directory_and_leaves_masters_and_revoked_ids() {
    let directory = TempDir::new();
    let file = |name| directory.path().join(name);
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
    // Nothing watches the directory.
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

    // What replaces the content of a ring does not change where it is loaded from.
    ring.replace(&Keyring::new());
    assert_eq!(found(&ring, "worker-10"), None);
    ring.reload().unwrap();
    for (id, expected) in [("worker-9", ours), ("worker-10", ours), ("cron-1", None)] {
        assert_eq!(found(&ring, id), expected, "{id}");
    }
}

#[test]
fn only_a_ring_that_came_from_a_directory_is_loaded_again() {
    let directory = TempDir::new();
    write(directory.path().join("worker-7"), secret("ours"));
    let from_directory = Keyring::from_dir(directory.path()).unwrap();
    let ring = Keyring::new();
    ring.replace(&from_directory);
    for ring in [ring, Keyring::new()] {
        let error = ring.reload().unwrap_err();
        assert!(
            matches!(error, Error::InvalidInput(InvalidInput::NoDirectory)),
            "{error:?}"
        );
    }
}

/// One thing that can be wrong with a directory.
struct Fault {
    what: &'static str,
    spoil: fn(&Path),
    /// The entry at fault, empty for the directory itself.
    at: &'static str,
    /// As [`told`] has it.
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
        what: "an empty directory",
        spoil: |path| {
            fs::remove_dir_all(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        at: "",
        problem: "NoKeys",
    },
    Fault {
        what: "nothing but what is hidden",
        spoil: |path| {
            fs::remove_dir_all(path).unwrap();
            fs::create_dir(path).unwrap();
            write(path.join(".newcomer"), secret("newcomer"));
        },
        at: "",
        problem: "NoKeys",
    },
    Fault {
        what: "an empty file",
        spoil: |path| write(path.join("bad"), ""),
        at: "bad",
        problem: "Secret(SecretTooShort { len: 0 })",
    },
    Fault {
        what: "a file that is half-written",
        spoil: |path| write(path.join("worker-7"), &secret("new")[..10]),
        at: "worker-7",
        problem: "Secret(SecretTooShort { len: 10 })",
    },
    Fault {
        what: "a file of zeros",
        spoil: |path| write(path.join("bad"), [0; 32]),
        at: "bad",
        problem: "Secret(SecretConstant { len: 32 })",
    },
    Fault {
        what: "a file that is no key file",
        spoil: |path| write(path.join("bad"), secret("newcomer").repeat(2049)),
        at: "bad",
        problem: "TooLarge",
    },
    Fault {
        what: "a name of 65 octets",
        spoil: |path| write(path.join(NAME_OF_65), secret("newcomer")),
        at: NAME_OF_65,
        problem: "Name(KeyIdTooLong { len: 65 })",
    },
    #[cfg(unix)]
    Fault {
        what: "a directory in the directory",
        spoil: |path| {
            let mut builder = fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(path.join("bad")).unwrap();
        },
        at: "bad",
        problem: "IsADirectory",
    },
    #[cfg(unix)]
    Fault {
        what: "a link to nowhere",
        spoil: |path| std::os::unix::fs::symlink(path.join("gone"), path.join("bad")).unwrap(),
        at: "bad",
        problem: "NotFound",
    },
];

/// A problem in the words of its table.
fn told(problem: &KeyFileProblem) -> String {
    match problem {
        KeyFileProblem::Io(error) => format!("{:?}", error.kind()),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_directory_with_one_fault_is_refused_by_its_path_and_a_running_ring_stays_as_it_was() {
    for Fault {
        what: fault,
        spoil,
        at,
        problem: expected_problem,
    } in FAULTS
    {
        for load in LOADS {
            let outer = TempDir::new();
            // As errors name it: without the links on the way.
            let path = fs::canonicalize(outer.path()).unwrap().join("keys");
            fs::create_dir(&path).unwrap();
            write(path.join("worker-7"), secret("ours"));
            write(path.join("worker-8"), secret("ours"));
            let ring = load(&path).unwrap();
            ring.insert_master("cron-", key("master")).unwrap();
            ring.revoke("cron-9").unwrap();

            // Good ones beside a bad one must not come through.
            write(path.join("newcomer"), secret("newcomer"));
            write(path.join("zz-newcomer"), secret("newcomer"));
            fs::remove_file(path.join("worker-8")).unwrap();
            spoil(&path);

            let expected: PathBuf = if at.is_empty() {
                path.clone()
            } else {
                path.join(at)
            };
            for error in [load(&path).unwrap_err(), ring.reload().unwrap_err()] {
                let sentence = error.to_string();
                assert!(
                    sentence.contains(expected.to_str().unwrap()),
                    "{fault}: {sentence}"
                );
                let Error::KeyFile {
                    path: named,
                    problem,
                } = error
                else {
                    panic!("{fault}: {error:?}");
                };
                assert_eq!(named, expected, "{fault}");
                assert_eq!(told(&problem), *expected_problem, "{fault}");
            }
            let ours = Some(key("ours").fingerprint());
            let of_master = Some(child(&key("master"), "cron-1").fingerprint());
            for (id, expected) in [
                ("worker-7", ours),
                ("worker-8", ours),
                ("newcomer", None),
                ("zz-newcomer", None),
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
mod mounted {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn an_exposed_file_is_refused_unless_the_directory_is_said_to_be_shared() {
        let directory = TempDir::new();
        let [good, exposed] = ["worker-7", "worker-8"].map(|name| directory.path().join(name));
        write(&good, secret("ours"));
        let rings = LOADS.map(|load| load(directory.path()).unwrap());
        write(&exposed, secret("ours"));
        for mode in [0o644, 0o640, 0o604, 0o660] {
            fs::set_permissions(&exposed, Permissions::from_mode(mode)).unwrap();
            let [by_owner, shared] = LOADS.map(|load| load(directory.path()));
            for error in [by_owner.unwrap_err(), rings[0].reload().unwrap_err()] {
                let Error::KeyFile { path, problem } = error else {
                    panic!("{error:?}");
                };
                assert_eq!(path, fs::canonicalize(&exposed).unwrap());
                assert!(
                    matches!(problem, KeyFileProblem::Exposed { mode: it } if it == mode),
                    "{problem:?}"
                );
            }
            assert!(rings[0].find(b"worker-8").is_none());
            assert!(rings[0].find(b"worker-7").is_some());

            // A ring is loaded again as it was loaded first.
            rings[1].reload().unwrap();
            for ring in [&rings[1], &shared.unwrap()] {
                assert!(ring.find(b"worker-8").is_some());
            }
        }
        fs::set_permissions(&exposed, Permissions::from_mode(0o400)).unwrap();
        rings[0].reload().unwrap();
        assert!(rings[0].find(b"worker-8").is_some());
    }

    /// A secret as Kubernetes mounts it: files in a directory of their version, a link `..data`
    /// to that, and for each file a link through `..data`.
    struct Mount(TempDir);

    impl Mount {
        fn new(version: &str, keys: &[(&str, &str)]) -> Self {
            let mount = Self(TempDir::new());
            mount.swap(version, keys);
            mount
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn swap(&self, version: &str, keys: &[(&str, &str)]) {
            self.swap_slowly(version, keys, || {});
        }

        /// Puts another version in place, in the order in which the kubelet does, and pauses
        /// while of the former one a single file is gone.
        fn swap_slowly(&self, version: &str, keys: &[(&str, &str)], pause: impl FnOnce()) {
            let in_place = |name: &str| self.path().join(name);
            fs::create_dir(in_place(version)).unwrap();
            for (name, content) in keys {
                write(in_place(version).join(name), secret(content));
            }
            let former = fs::read_link(in_place("..data")).map(|former| self.path().join(former));
            let first = former.as_ref().map(|former| former.join(keys[0].0));
            symlink(version, in_place("..data_tmp")).unwrap();
            fs::rename(in_place("..data_tmp"), in_place("..data")).unwrap();
            if let Ok(first) = first {
                fs::remove_file(first).unwrap();
            }
            pause();
            for (name, _) in keys {
                let link = in_place(name);
                if fs::symlink_metadata(&link).is_err() {
                    symlink(Path::new("..data").join(name), link).unwrap();
                }
            }
            if let Ok(former) = former {
                fs::remove_dir_all(former).unwrap();
            }
        }
    }

    #[test]
    fn a_swap_of_a_mounted_secret_is_picked_up_by_a_reload() {
        let mount = Mount::new("..2026_11", &[("worker-7", "old"), ("worker-8", "ours")]);
        let by_link = mount.path().join(".link");
        symlink(mount.path(), &by_link).unwrap();
        let rings = [
            Keyring::from_dir(mount.path()).unwrap(),
            Keyring::from_shared_dir(mount.path()).unwrap(),
            Keyring::from_dir(&by_link).unwrap(),
        ];
        let content = |expected: [(&str, Option<&str>); 3]| {
            for (ring, (id, name)) in rings.iter().flat_map(|ring| expected.map(|it| (ring, it))) {
                let fingerprint = name.map(|name| key(name).fingerprint());
                assert_eq!(found(ring, id), fingerprint, "{id}");
            }
        };
        let old = [
            ("worker-7", Some("old")),
            ("worker-8", Some("ours")),
            ("worker-9", None),
        ];
        content(old);

        // The link of `worker-8` stays behind and leads nowhere, as it does for a moment in a
        // real mount; it is not what is read.
        mount.swap("..2026_12", &[("worker-7", "new"), ("worker-9", "ours")]);
        content(old);
        for ring in &rings {
            ring.reload().unwrap();
        }
        let new = [
            ("worker-7", Some("new")),
            ("worker-8", None),
            ("worker-9", Some("ours")),
        ];
        content(new);

        // A version that is gone is an error, and the keys stay.
        fs::remove_dir_all(mount.path().join("..2026_12")).unwrap();
        for ring in &rings {
            let error = ring.reload().unwrap_err();
            assert!(
                matches!(&error, Error::KeyFile { problem: KeyFileProblem::Io(source), .. }
                    if source.kind() == ErrorKind::NotFound),
                "{error:?}"
            );
            assert!(error.to_string().contains(mount.path().to_str().unwrap()));
        }
        content(new);
    }

    #[test]
    fn all_files_come_from_where_the_data_link_leads() {
        let mount = Mount::new("..2026_11", &[("worker-7", "ours"), ("worker-8", "ours")]);
        // What lies outside is of another version, or of none.
        let elsewhere = TempDir::new();
        write(elsewhere.path().join("worker-7"), secret("elsewhere"));
        write(elsewhere.path().join("worker-9"), secret("elsewhere"));
        fs::remove_file(mount.path().join("worker-7")).unwrap();
        for name in ["worker-7", "worker-9"] {
            symlink(elsewhere.path().join(name), mount.path().join(name)).unwrap();
        }
        write(mount.path().join("beside"), secret("elsewhere"));
        write(mount.path().join("broken"), "");

        let ring = Keyring::from_dir(mount.path()).unwrap();
        for _ in 0..2 {
            let ours = Some(key("ours").fingerprint());
            for (id, expected) in [
                ("worker-7", ours),
                ("worker-8", ours),
                ("worker-9", None),
                ("beside", None),
            ] {
                assert_eq!(found(&ring, id), expected, "{id}");
            }
            ring.reload().unwrap();
        }
    }

    #[test]
    fn a_data_link_that_leads_nowhere_but_to_itself_is_an_error_and_no_plain_directory() {
        let directory = TempDir::new();
        write(directory.path().join("worker-7"), secret("ours"));
        assert!(Keyring::from_dir(directory.path()).is_ok());
        symlink("..data", directory.path().join("..data")).unwrap();
        let error = Keyring::from_dir(directory.path()).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::KeyFile {
                    problem: KeyFileProblem::Io(_),
                    ..
                }
            ),
            "{error:?}"
        );
    }

    #[test]
    fn swaps_during_loads_never_give_a_part_of_a_version() {
        const SWAPS: usize = 500;

        let odd = [("worker-7", "odd"), ("worker-8", "odd")];
        let even = [("worker-7", "even"), ("worker-8", "even")];
        let mount = Mount::new("..0", &even);
        let ring = Keyring::from_dir(mount.path()).unwrap();
        let (loads, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let loading = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // A load that fails leaves the ring as it is.
                    let _ = ring.reload();
                    assert!(ring.find(b"worker-7").is_some());
                    assert_eq!(found(&ring, "worker-7"), found(&ring, "worker-8"));
                    loads.fetch_add(1, Ordering::Relaxed);
                }
            });
            for swap in 1..=SWAPS {
                let version = if swap % 2 == 0 { &even } else { &odd };
                mount.swap_slowly(&format!("..{swap}"), version, || {
                    let before = loads.load(Ordering::Relaxed);
                    let is_over = || loads.load(Ordering::Relaxed) > before;
                    while !is_over() && !loading.is_finished() {
                        thread::yield_now();
                    }
                });
            }
            stop.store(true, Ordering::Relaxed);
        });
        ring.reload().unwrap();
        assert_eq!(found(&ring, "worker-8"), Some(key("even").fingerprint()));
    }
}
