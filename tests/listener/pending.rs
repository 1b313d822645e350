//! How many handshakes and streams may be pending, for how long, and what comes after that.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use countersign::Phase;
use countersign::handshake::Message;

use super::clients::{F3_LEN, authenticate, challenged, log_in, response, silent};
use super::events::Seen;
use super::running::{WATCH, options, ring, worker};
use crate::sockets::{LONG, assert_closed, connect};
use crate::support::Driver;

#[test]
fn silent_connections_delay_no_client() {
    /// Far less than the deadline of the silent connections.
    const NO_DELAY: Duration = Duration::from_secs(2);

    for &driver in Driver::ALL {
        let running = driver.listen(options(), ring());
        let strangers: Vec<_> = (0..100).map(|_| silent(running.address)).collect();
        for nth in 0..10 {
            let began = Instant::now();
            let client = log_in(running.address, &worker(nth)).unwrap();
            let _pair = running.accept_from(&client);
            assert!(began.elapsed() < NO_DELAY, "{:?}", began.elapsed());
        }
        assert_eq!(running.events.now().len(), 10);
        drop(strangers);
        let ended = |seen: &[Seen]| seen.iter().filter(|seen| seen.outcome == "closed").count();
        running.events.once(|seen| ended(seen) == 100);
    }
}

#[test]
fn silent_and_slow_connections_end_at_the_deadline() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    const DRIP: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(1);

    for &driver in Driver::ALL {
        let running = driver.listen(options().deadline(TIMEOUT), ring());
        let (mut dripping, challenge) = challenged(running.address);
        let silent = silent(running.address);
        let peers = [&silent, &dripping].map(|stream| stream.local_addr().unwrap());

        // Each byte is right, and the response would be complete too late.
        let mut dripped = 0;
        for byte in response(&worker(7), &challenge, b"") {
            let enough = |seen: &[Seen]| seen.len() == peers.len();
            if dripping.write_all(&[byte]).is_err() || enough(&running.events.now()) {
                break;
            }
            dripped += 1;
            thread::sleep(DRIP);
        }
        assert!((2..=40).contains(&dripped), "{dripped} bytes");

        let seen = running.events.once(|seen| seen.len() == peers.len());
        for peer in peers {
            let event = running.events.of(peer);
            let expected = format!("timed out {}", Phase::Awaiting(Message::RESPONSE));
            assert_eq!(event.outcome, expected);
            let range = TIMEOUT..TIMEOUT + LATE;
            assert!(range.contains(&event.duration), "{:?}", event.duration);
        }
        assert_closed(&silent);
        assert_closed(&dripping);
        running.assert_nothing_is_ready();
        assert_eq!(running.events.now().len(), seen.len());
    }
}

#[test]
fn one_handshake_too_many_evicts_the_oldest_and_no_stream_that_is_ready() {
    for &driver in Driver::ALL {
        // With this limit, the one that is evicted is the oldest.
        let running = driver.listen(options().max_pending(2), ring());
        let clients = [1, 2, 3, 4].map(|nth| {
            let client = log_in(running.address, &worker(nth)).unwrap();
            running.once_ready(nth);
            client
        });

        let mut pending: VecDeque<_> = (0..2).map(|_| challenged(running.address)).collect();
        assert_eq!(running.events.now().len(), 4);
        for evicted in 1..=5 {
            pending.push_back(challenged(running.address));
            let (oldest, _) = pending.pop_front().unwrap();
            assert_closed(&oldest);
            let event = running.events.of(oldest.local_addr().unwrap());
            assert_eq!(event.outcome, "evicted");
            assert_eq!(running.events.now().len(), 4 + evicted);
        }

        // The others can still finish, and so can a new one, which evicts the oldest.
        let newest = log_in(running.address, &worker(5)).unwrap();
        running.once_ready(5);
        assert_closed(&pending.pop_front().unwrap().0);
        let (mut patient, challenge) = pending.pop_front().unwrap();
        let response = response(&worker(6), &challenge, b"");
        patient.write_all(&response).unwrap();
        let mut verdict = [0; F3_LEN];
        patient.read_exact(&mut verdict).unwrap();
        assert_eq!(verdict[0], b'A');

        for client in clients.iter().chain([&newest]) {
            let _pair = running.accept_from(client);
        }
        assert_eq!(running.accept().unwrap().1.key_id(), "worker-6");
        assert_eq!(running.events.count("evicted"), 6);
    }
}

#[test]
fn limits_of_zero_still_allow_one_pending_handshake_and_one_ready_stream() {
    for &driver in Driver::ALL {
        let options = options().max_pending(0).max_ready(0);
        let running = driver.listen(options, ring());
        for nth in 0..3 {
            let stranger = silent(running.address);
            let client = log_in(running.address, &worker(nth)).unwrap();
            assert_closed(&stranger);
            let _pair = running.accept_from(&client);
        }
    }
}

#[test]
fn accepting_pauses_while_too_many_streams_are_ready_and_loses_no_client() {
    for &driver in Driver::ALL {
        let running = driver.listen(options().max_ready(2), ring());
        let address = running.address;
        // The listener was awaiting the third connection already when the second became ready.
        let clients: Vec<_> = (1..=3)
            .map(|nth| {
                let client = log_in(address, &worker(nth)).unwrap();
                running.once_ready(nth);
                client
            })
            .collect();

        let stalled = connect(address);
        stalled.set_read_timeout(Some(WATCH)).unwrap();
        let challenge = (&stalled).read(&mut [0]);
        assert!(challenge.is_err(), "it was challenged: {challenge:?}");
        stalled.set_read_timeout(Some(LONG)).unwrap();

        thread::scope(|scope| {
            let others: Vec<_> = (4..=10)
                .map(|nth| scope.spawn(move || log_in(address, &worker(nth)).unwrap()))
                .collect();
            running.once_ready(3);
            assert_eq!(running.events.now().len(), 3);
            for client in &clients {
                let _pair = running.accept_from(client);
            }
            let ids: BTreeSet<_> = (0..others.len())
                .map(|_| running.accept().unwrap().1.key_id().to_string())
                .collect();
            let expected = (4..=10).map(|nth| format!("worker-{nth}")).collect();
            assert_eq!(ids, expected);
            for other in others {
                let _client = other.join().unwrap();
            }
        });
        let session = authenticate(&stalled, &worker(11)).unwrap();
        let _pair = running.accept_from(&(stalled, session));
    }
}
