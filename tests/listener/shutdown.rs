//! Listeners that are shut down or dropped: their ports, and the connections that they had.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{F3_LEN, challenged, log_in, response, silent};
use super::running::{SOON, options, ring, worker};
use crate::sockets::{assert_closed, connect, until};
use crate::support::Driver;

/// How long the port of a listener that has ended may still be taken.
const FREED: Duration = Duration::from_millis(100);

/// Waits until the address can be bound again.
fn wait_for_port(address: SocketAddr) {
    until(|| TcpListener::bind(address).is_ok());
}

/// Asserts that most rounds were in time. Not all of them: another process may take a port that is
/// free.
fn assert_most_in_time(driver: Driver, mut times: Vec<Duration>) {
    times.sort();
    assert!(times[times.len() / 2] <= FREED, "{driver:?}: {times:?}");
}

#[test]
fn a_listener_that_is_shut_down_hands_over_pending_streams_and_then_ends() {
    for &driver in Driver::ALL {
        let mut times = Vec::new();
        for round in 0..5 {
            let running = driver.listen(options(), ring());
            let ready = log_in(running.address, &worker(1)).unwrap();
            running.once_ready(1);
            let (mut slow, challenge) = challenged(running.address);
            let silent = silent(running.address);

            let began = Instant::now();
            running.shutdown();
            wait_for_port(running.address);
            times.push(began.elapsed());
            running.shutdown();

            let response = response(&worker(2), &challenge, b"");
            slow.write_all(&response).unwrap();
            let mut verdict = [0; F3_LEN];
            slow.read_exact(&mut verdict).unwrap();
            assert_eq!(verdict[0], b'A');
            let _pair = running.accept_from(&ready);
            assert_eq!(running.accept().unwrap().1.key_id(), "worker-2");

            // While a handshake is pending there may be another stream.
            if round == 0 {
                running.assert_nothing_is_ready();
            }
            drop(silent);
            for _ in 0..3 {
                let error = running.accept().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotConnected);
            }
            let outcomes = running.events.now().into_iter().map(|seen| seen.outcome);
            let expected = ["accepted worker-1", "accepted worker-2", "closed"];
            assert_eq!(outcomes.collect::<Vec<_>>(), expected);
        }
        assert_most_in_time(driver, times);
    }
}

#[test]
fn a_listener_without_pending_handshakes_ends_at_once() {
    for &driver in Driver::ALL {
        let mut times = Vec::new();
        for nth in 0..10 {
            let running = driver.listen(options(), ring());
            let address = running.address;
            // Half of them may not have begun to accept yet, the others have accepted a connection.
            if nth % 2 == 0 {
                drop(connect(address));
                running.events.once(|seen| seen.len() == 1);
            }
            let began = Instant::now();
            running.shutdown();
            assert!(running.accept().is_err());
            wait_for_port(address);
            times.push(began.elapsed());
        }
        assert_most_in_time(driver, times);
    }
}

#[test]
fn a_dropped_listener_frees_its_port_and_closes_its_connections() {
    for &driver in Driver::ALL {
        let mut times = Vec::new();
        for _ in 0..5 {
            let running = driver.listen(options(), ring());
            let address = running.address;
            let pending = [(); 20].map(|()| silent(address));
            let ready = log_in(address, &worker(1)).unwrap();
            running.once_ready(1);
            let events = Arc::clone(&running.events);

            let began = Instant::now();
            drop(running);
            wait_for_port(address);
            times.push(began.elapsed());
            for stream in pending.iter().chain([&ready.0]) {
                assert_closed(stream);
            }
            // Each of the pending connections is one event too.
            events.once(|seen| seen.len() == 21);
            assert_eq!(events.count("shut down"), 20);
        }
        assert_most_in_time(driver, times);
    }
}

#[test]
fn a_dropped_listener_closes_the_streams_that_waited_though_a_hook_blocks() {
    for &driver in Driver::ALL {
        let (unblock, blocks) = mpsc::channel::<()>();
        let blocks = Mutex::new(blocks);
        let running = driver.listen_hooked(options(), ring(), move |outcome| {
            if outcome == "accepted worker-2" {
                // Until the test drops the other end.
                assert!(blocks.lock().unwrap().recv().is_err());
            }
        });
        let ready = log_in(running.address, &worker(1)).unwrap();
        running.once_ready(1);
        let late = log_in(running.address, &worker(2)).unwrap();
        running.events.once(|seen| seen.len() == 2);

        drop(running);
        assert_closed(&ready.0);
        drop(unblock);
        assert_closed(&late.0);
    }
}

#[test]
fn a_listener_that_is_dropped_in_a_flood_frees_its_port() {
    for &driver in Driver::ALL {
        let mut times = Vec::new();
        for _ in 0..5 {
            let running = driver.listen(options().max_pending(16), ring());
            let address = running.address;
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let mut held = VecDeque::new();
                        while !stop.load(Ordering::Relaxed) {
                            // This fails once the listener is dropped.
                            if let Ok(stream) = TcpStream::connect_timeout(&address, SOON) {
                                held.push_back(stream);
                            }
                            if held.len() > 30 {
                                held.pop_front();
                            }
                        }
                    });
                }
                running.events.once(|seen| seen.len() > 50);
                let began = Instant::now();
                drop(running);
                wait_for_port(address);
                times.push(began.elapsed());
                stop.store(true, Ordering::Relaxed);
            });
        }
        assert_most_in_time(driver, times);
    }
}
