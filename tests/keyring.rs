//! Rings of keys: which key an id finds, and who is accepted with it.

mod directory;
mod faults;
#[cfg(unix)]
mod mounted;
mod replace;

use std::collections::VecDeque;
use std::sync::Arc;

use countersign::handshake::{Prologue, Refusal};
use countersign::{Client, Fingerprint, InvalidInput, Key, KeyLookup, Keyring, Server};

use crate::failures::{is_impostor, refusal_of};
use crate::identity::{child, key_of};
use crate::support::{Driver, HonestClient, HonestServer, Peer, Wire, hmac, key, secret};

/// The fingerprint of the key that is found for an id. The key has to bear that id.
fn found(keys: &impl KeyLookup, id: impl AsRef<[u8]>) -> Option<Fingerprint> {
    let key = keys.find(id.as_ref())?;
    assert_eq!(key.id().as_bytes(), id.as_ref());
    Some(key.fingerprint())
}

/// Whether a server accepts a client with this key, in every driver alike.
fn admission<K: KeyLookup>(server: &Server<K>, key: &Key) -> Result<(), Refusal> {
    let admissions: Vec<_> = (Driver::ALL.iter())
        .map(|driver| {
            let mut wire = Wire::to(HonestClient::new(key, Prologue::EMPTY, b""));
            match driver.server(&mut wire, server) {
                Ok(session) => {
                    assert_eq!(session.key_id(), key.id());
                    Ok(())
                }
                Err(error) => Err(refusal_of(&error, key.id())),
            }
        })
        .collect();
    let (first, others) = admissions.split_first().unwrap();
    assert!(others.iter().all(|other| other == first), "{admissions:?}");
    *first
}

#[test]
fn a_ring_without_keys_finds_none() {
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
fn a_change_through_any_clone_holds_in_all_of_them_from_the_next_handshake() {
    use Refusal::{UnknownKeyId, WrongProof};

    type Admissions = [Result<(), Refusal>; 3];

    // Who is accepted after each change: the holders of two secrets under one id, and of a child.
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
fn a_revoked_id_precedes_a_key_which_precedes_the_master_with_the_longest_prefix() {
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
fn the_empty_id_may_have_a_key_and_has_no_child() {
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
fn a_ring_refuses_ids_of_more_than_64_bytes() {
    let (longest, too_long) = ([b'x'; 64], [b'x'; 65]);
    let error = InvalidInput::KeyIdTooLong { len: 65 };
    let ring = Keyring::new();
    ring.insert(key_of("ours", "kept"));
    assert_eq!(ring.revoke(too_long).unwrap_err(), error);
    let refused = ring.insert_master(too_long, key("master"));
    assert_eq!(refused.unwrap_err(), error);
    assert!(!ring.remove(too_long));
    assert!(!ring.remove_master(too_long));

    // A prefix may have the length of a whole id, and the id of the master itself does not matter.
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

/// A server that holds this secret and accepts every client.
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

    // As itself, both as a client and as a server.
    let itself = Key::new(&own).unwrap().with_id("worker-7").unwrap();
    assert_eq!(admission(&server, &itself), Ok(()));
    for driver in Driver::ALL {
        let mut wire = Wire::to(HonestServer::new(&itself, Prologue::EMPTY, b""));
        let session = driver.client(&mut wire, &Client::new(itself.clone()));
        assert_eq!(session.unwrap().key_id(), "worker-7");
    }

    // As another: under another's id, under none, and as a master of others.
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

    // As the server of another client.
    for outcome in meets(&|| Impostor::new(&own)) {
        let error = outcome.unwrap_err();
        assert!(is_impostor(&error), "{error:?}");
    }

    // The controls: the holder of another's secret can act as that server, and the holder of a
    // secret that a group shares can act as any member of it, and as its server.
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
fn every_look_up_of_keys_can_serve() {
    fn check<K: KeyLookup>(keys: K) {
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
    let closure = {
        let ours = ours.clone();
        move |id: &[u8]| (id == b"worker-7").then(|| ours.clone())
    };
    let any: Arc<dyn KeyLookup + Send + Sync> = Arc::new(ring.clone());

    check(any);
    check(Arc::new(ring.clone()));
    check(Arc::new(closure.clone()));
    check(ours);
    check(ring);
    check(closure);
}

#[test]
fn a_ring_shows_only_numbers_of_itself() {
    let ring = Keyring::new();
    ring.insert(key_of("ours", "worker-7"));
    ring.insert_master("cron-", key("master")).unwrap();
    ring.revoke("cron-1").unwrap();
    assert_eq!(
        format!("{ring:?}"),
        "Keyring { keys: 1, masters: 1, revoked: 1 }"
    );
}
