//! Strangers who connect, and hooks and look-ups that panic: other connections are not affected.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::Message;
use countersign::{Error, KeyLookup, Phase};

use super::clients::{STRANGERS, is_denied, log_in, silent};
use super::running::{options, ring, worker};
use crate::sockets::{LONG, assert_closed, until};
use crate::support::{Driver, key};

#[test]
fn each_connection_is_exactly_one_event() {
    for &driver in Driver::ALL {
        let running = driver.listen(options(), ring());
        let mut connections = 0;
        for &(who, stranger, expected) in STRANGERS {
            let peer = stranger(running.address, 7);
            let event = running.events.of(peer);
            assert_eq!(event.outcome, expected, "{driver:?}: {who}");
            connections += 1;
            assert_eq!(running.events.now().len(), connections, "{driver:?}: {who}");
        }
        let client = log_in(running.address, &worker(7)).unwrap();
        let _pair = running.accept_from(&client);
        let event = running.events.of(client.0.local_addr().unwrap());
        assert_eq!(event.outcome, "accepted worker-7");
        drop(client);
        running.assert_nothing_is_ready();
        assert_eq!(running.events.now().len(), connections + 1);
    }
}

#[test]
fn two_thousand_strangers_keep_no_client_out() {
    const CONNECTIONS: usize = 2000;

    for &driver in Driver::ALL {
        let running = driver.listen(options(), ring());
        let address = running.address;
        let accepted = running.accept_all(1);
        let next = AtomicUsize::new(0);
        // The system may use a port again, so one address can have several connections.
        let expected: Mutex<BTreeMap<SocketAddr, Vec<String>>> = Mutex::default();
        let expect = |peer, outcome: &str| {
            let mut expected = expected.lock().unwrap();
            expected.entry(peer).or_default().push(outcome.into());
        };
        let (honest, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= CONNECTIONS {
                            return;
                        }
                        // This stride meets every row, in another order each time.
                        let row = (nth * 7 + nth / STRANGERS.len()) % STRANGERS.len();
                        let (_, stranger, outcome) = STRANGERS[row];
                        expect(stranger(address, nth as u64), outcome);
                        over.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for client in 0..2 {
                let (over, honest, expect) = (&over, &honest, &expect);
                scope.spawn(move || {
                    let began = Instant::now();
                    while over.load(Ordering::Relaxed) < CONNECTIONS {
                        assert!(began.elapsed() < LONG, "the strangers do not end");
                        let key = worker(format_args!("honest-{client}"));
                        let (stream, _session) = log_in(address, &key).unwrap();
                        let outcome = format!("accepted {}", key.id());
                        expect(stream.local_addr().unwrap(), &outcome);
                        honest.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });

        let honest = honest.into_inner();
        assert!(honest > 10, "{honest} honest logins");
        let total = CONNECTIONS + honest;
        running.events.once(|seen| seen.len() >= total);
        running.shutdown();
        let accepted: usize = accepted.iter().map(|ids| ids.recv().unwrap().len()).sum();
        assert_eq!(accepted, honest);

        let mut seen: BTreeMap<SocketAddr, Vec<String>> = BTreeMap::new();
        for event in running.events.now() {
            seen.entry(event.peer.unwrap())
                .or_default()
                .push(event.outcome);
        }
        let mut expected = expected.into_inner().unwrap();
        for outcomes in seen.values_mut().chain(expected.values_mut()) {
            outcomes.sort();
        }
        assert!(seen == expected, "{driver:?}: a connection ended otherwise");
    }
}

#[test]
fn a_hook_or_a_look_up_that_panics_ends_only_its_own_connection() {
    for &driver in Driver::ALL {
        let ring = ring();
        let keys = move |id: &[u8]| {
            assert_ne!(id, b"worker-look-up-panics", "as this test wants it");
            ring.find(id).map(Cow::into_owned)
        };
        let options = options().max_pending(2);
        let running = driver.listen_hooked(options, keys, |outcome| {
            let panics = match outcome.strip_prefix("accepted ") {
                Some(key_id) => key_id == "worker-hook-panics",
                None => true,
            };
            assert!(!panics, "as this test wants it");
        });
        let address = running.address;

        for round in 0..3 {
            // The stream ends, whether the hook panicked or the look-up.
            let (stream, _session) = log_in(address, &worker("hook-panics")).unwrap();
            assert_closed(&stream);
            let outcome = log_in(address, &worker("look-up-panics"));
            assert!(
                matches!(
                    outcome,
                    Err(Error::Closed(Phase::Awaiting(Message::VERDICT)))
                ),
                "{outcome:?}"
            );
            for &(_, stranger, outcome) in STRANGERS {
                let peer = stranger(address, round);
                assert_eq!(running.events.of(peer).outcome, outcome);
            }
            // The third of these evicts the first.
            let pending = [(); 3].map(|()| silent(address));
            assert_closed(&pending[0]);
            let evicted = running.events.of(pending[0].local_addr().unwrap());
            assert_eq!(evicted.outcome, "evicted");
            drop(pending);
            until(|| running.shows("pending", 0));

            let client = log_in(address, &worker(round)).unwrap();
            let _pair = running.accept_from(&client);
        }
        assert_eq!(running.events.accepted(), 6);
        running.assert_nothing_is_ready();
    }
}

#[test]
fn a_hook_that_blocks_delays_only_the_connection_that_it_is_about() {
    const BLOCKED: Duration = Duration::from_millis(300);
    /// Far less than all that the hook takes.
    const NO_DELAY: Duration = Duration::from_secs(3);

    for &driver in Driver::ALL {
        let running = driver.listen_hooked(options().max_pending(1), ring(), |outcome| {
            if outcome == "evicted" {
                thread::sleep(BLOCKED);
            }
        });
        let began = Instant::now();
        let _strangers: Vec<_> = (0..20).map(|_| silent(running.address)).collect();
        let client = log_in(running.address, &worker(1)).unwrap();
        let _pair = running.accept_from(&client);
        assert!(
            began.elapsed() < NO_DELAY,
            "{driver:?}: {:?}",
            began.elapsed()
        );
    }
}

/// The documentation promises this much stack. The default of a thread is eight times as much.
#[test]
fn a_hook_and_a_look_up_have_256_kib_of_stack() {
    #[allow(
        clippy::large_stack_arrays,
        reason = "the test is about a large array on the stack"
    )]
    #[inline(never)]
    fn use_200_kib() -> usize {
        let mut array = [0_u8; 200 * 1024];
        black_box(&mut array).fill(1);
        array.iter().map(|byte| usize::from(*byte)).sum()
    }

    let ring = ring();
    let keys = move |id: &[u8]| {
        assert_eq!(use_200_kib(), 200 * 1024);
        ring.find(id).map(Cow::into_owned)
    };
    let running = Driver::Blocking.listen_hooked(options(), keys, |_| {
        assert_eq!(use_200_kib(), 200 * 1024);
    });
    for nth in 0..3 {
        let client = log_in(running.address, &worker(nth)).unwrap();
        let _pair = running.accept_from(&client);
        let peer = is_denied(running.address, &key("stranger"));
        assert_eq!(running.events.of(peer).outcome, "UnknownKeyId");
    }
}
