//! What a listener hands over: authenticated streams, each once, in front of the application data.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use countersign::Keyring;

use super::clients::{F3_LEN, challenged, log_in, response};
use super::running::{assert_connected, options, ring, worker};
use crate::failures::is_denied;
use crate::identity::{child, key_of};
use crate::sockets::LONG;
use crate::support::{Driver, exported, key};

#[test]
fn clients_are_handed_over_with_their_key_ids() {
    for &driver in Driver::ALL {
        let ring = ring();
        ring.insert(key("nameless"));
        ring.insert(key_of("ours", "cron-1"));
        let running = driver.listen(options(), ring);
        for key in [key("nameless"), key_of("ours", "cron-1"), worker(7)] {
            let client = log_in(running.address, &key).unwrap();
            let (stream, session) = running.accept_from(&client);
            assert_eq!(session.key_id(), key.id());

            let address = client.0.local_addr().unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
            let event = running.events.of(address);
            assert_eq!(event.outcome, format!("accepted {}", key.id()));
        }
    }
}

#[test]
fn bytes_behind_the_handshake_stay_in_the_stream() {
    for &driver in Driver::ALL {
        let running = driver.listen(options(), ring());

        // Behind F3: a client that sends before its stream is accepted.
        let mut client = log_in(running.address, &worker(7)).unwrap();
        client.0.write_all(b"early").unwrap();
        running.once_ready(1);
        let mut read = Vec::new();
        let (stream, _session) = running.accept().unwrap();
        client.0.shutdown(Shutdown::Write).unwrap();
        (&stream).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"early");

        // Behind F2: a client that sends before it has the verdict.
        let (mut stream, challenge) = challenged(running.address);
        let response = response(&worker(8), &challenge, b"hasty");
        stream.write_all(&response).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let (mut accepted, session) = running.accept().unwrap();
        assert_eq!(session.key_id(), "worker-8");
        read.clear();
        accepted.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"hasty");
        accepted.write_all(b"answer").unwrap();
        drop(accepted);
        read.clear();
        stream.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), F3_LEN + b"answer".len());
        assert_eq!(&read[F3_LEN..], b"answer");
    }
}

#[test]
fn many_clients_log_in_at_once_and_each_is_handed_over_once() {
    const CLIENTS: usize = 50;

    for &driver in Driver::ALL {
        let running = driver.listen(options(), ring());
        let address = running.address;
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|nth| scope.spawn(move || log_in(address, &worker(nth))))
                .collect();
            let mut accepted = BTreeMap::new();
            for _ in 0..CLIENTS {
                let pair = running.accept().unwrap();
                let twice = accepted.insert(pair.1.key_id().to_string(), pair);
                assert!(twice.is_none(), "{twice:?}");
            }
            for (nth, client) in clients.into_iter().enumerate() {
                let client = client.join().unwrap().unwrap();
                assert_connected(&client, &accepted[&format!("worker-{nth}")]);
            }
        });
        assert_eq!(running.events.now().len(), CLIENTS);
    }
}

#[test]
fn of_many_threads_in_accept_exactly_one_is_given_each_stream() {
    const CLIENTS: usize = 40;

    for &driver in Driver::ALL {
        let running = driver.listen(options(), ring());
        let accepted = running.accept_all(4);
        let address = running.address;
        thread::scope(|scope| {
            for nth in 0..CLIENTS {
                scope.spawn(move || log_in(address, &worker(nth)).map(drop).unwrap());
            }
        });
        running.events.once(|seen| seen.len() == CLIENTS);
        running.shutdown();
        let mut ids: Vec<String> = (accepted.iter())
            .flat_map(|ids| ids.recv_timeout(LONG).unwrap())
            .collect();
        ids.sort();
        let mut expected: Vec<_> = (0..CLIENTS).map(|nth| format!("worker-{nth}")).collect();
        expected.sort();
        assert_eq!(ids, expected);
    }
}

#[test]
fn a_change_of_the_keys_holds_from_the_next_handshake_and_ends_no_session() {
    for &driver in Driver::ALL {
        let ring = Keyring::new();
        ring.insert(key_of("ours", "worker-7"));
        ring.insert_master("cron-", key("master")).unwrap();
        let running = driver.listen(options(), ring.clone());

        let clients = [
            key_of("ours", "worker-7"),
            child(&key("master"), "cron-1"),
            child(&key("master"), "cron-2"),
        ];
        let sessions = clients.each_ref().map(|key| {
            let near = log_in(running.address, key).unwrap();
            let far = running.accept().unwrap();
            (near, far)
        });
        let before = sessions.each_ref().map(|((_, near), _)| exported(near));

        ring.remove("worker-7");
        ring.revoke("cron-1").unwrap();
        ring.remove_master("cron-");
        for key in &clients {
            let error = log_in(running.address, key).unwrap_err();
            assert!(is_denied(&error), "{error:?}");
        }
        for ((near, far), before) in sessions.iter().zip(before) {
            assert_eq!(exported(&near.1), before);
            assert_connected(near, far);
        }

        ring.insert(key_of("ours", "worker-7"));
        let client = log_in(running.address, &clients[0]).unwrap();
        let _pair = running.accept_from(&client);
    }
}
