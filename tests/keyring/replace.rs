//! Rings that are replaced by others, also while servers use them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use countersign::{KeyLookup, Keyring, Server};

use super::{Change, admission, found};
use crate::identity::{child, key_of};
use crate::sockets::LONG;
use crate::support::key;

#[test]
fn replacing_a_ring_copies_its_content_once() {
    let running = Keyring::new();
    running.insert(key_of("before", "before"));
    running.insert_master("before-", key("before")).unwrap();
    running.revoke("revoked before").unwrap();
    let next = Keyring::new();
    next.insert(key_of("next", "next"));
    next.insert_master("next-", key("next")).unwrap();
    next.revoke("next-9").unwrap();

    running.replace(&next);
    // Nothing is left of the former content, not even revoked ids.
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
fn a_ring_may_be_replaced_by_itself_and_two_rings_by_each_other_at_once() {
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
fn a_thousand_replacements_refuse_no_client_that_is_in_every_version() {
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
