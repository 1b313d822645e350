//! The listener's threads under many schedules: what one of them wakes, drops or evicts, while the
//! others go on.
//!
//! A schedule in which every thread waits for ever fails as a deadlock.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what it is for"
)]

use std::io::{ErrorKind, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::{Authenticated, Client, Error, Key, Listener, ListenerOptions, Outcome, Server};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

type Streams = Listener<Authenticated<UnixStream>>;

/// Longer than any schedule takes.
const NEVER: Duration = Duration::from_secs(600);

/// Runs a scenario under schedules that are random, and under schedules that change between threads
/// only a few times.
fn explore(scenario: fn()) {
    shuttle::check_random(scenario, 1_000);
    shuttle::check_pct(scenario, 1_000, 3);
}

fn key() -> Key {
    Key::new(b"a secret of many schedules").unwrap()
}

/// The words of what was reported, one for each connection.
type Reports = Arc<Mutex<Vec<&'static str>>>;

/// Returns a listener, its address, and what it reports.
fn listen(options: ListenerOptions) -> (Streams, SocketAddr, Reports) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("countersign-{}-{number}", process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let socket = UnixListener::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let reports = Reports::default();
    let reported = Arc::clone(&reports);
    let options = options.deadline(NEVER).on_event(move |event| {
        reported.lock().unwrap().push(match event.outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Evicted => "evicted",
            Outcome::ShutDown => "shut down",
            Outcome::Refused(Error::Closed(_)) => "closed",
            _ => "another",
        });
    });
    let listener = Listener::with_options(socket, Server::new(key()), options).unwrap();
    (listener, address, reports)
}

/// Returns whether a client authenticates.
fn authenticates(address: &SocketAddr) -> bool {
    let Ok(stream) = UnixStream::connect_addr(address) else {
        return false;
    };
    let client = Client::new(key());
    client.authenticate_timeout(&stream, NEVER).is_ok()
}

/// Reads until the peer has closed. Returns how many bytes came.
fn drain(mut stream: &UnixStream) -> usize {
    let mut len = 0;
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 64]) {
            Ok(0) => return len,
            Ok(n) => len += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(_) => return len,
        }
    }
}

/// Waits until no thread of the listener is left, and returns what was reported.
fn all_of(reports: Reports) -> Vec<&'static str> {
    let mut reports = reports;
    loop {
        match Arc::try_unwrap(reports) {
            Ok(reports) => return reports.into_inner().unwrap(),
            Err(shared) => reports = shared,
        }
        thread::yield_now();
    }
}

#[test]
fn a_shutdown_wakes_every_thread_that_waits_for_a_stream() {
    explore(|| {
        let (listener, _, reports) = listen(ListenerOptions::new());
        let listener = Arc::new(listener);
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let listener = Arc::clone(&listener);
                thread::spawn(move || listener.accept().is_err())
            })
            .collect();
        listener.shutdown();
        for waiting in waiting {
            assert!(waiting.join().unwrap());
        }
        drop(listener);
        assert!(all_of(reports).is_empty());
    });
}

#[test]
fn a_client_beside_a_shutdown_is_served_wholly_or_not_at_all() {
    explore(|| {
        let (listener, address, reports) = listen(ListenerOptions::new());
        let listener = Arc::new(listener);
        let client = thread::spawn(move || authenticates(&address));
        let accepting = Arc::clone(&listener);
        let accepting = thread::spawn(move || {
            let mut taken = 0;
            while accepting.accept().is_ok() {
                taken += 1;
            }
            taken
        });
        listener.shutdown();
        let (served, taken) = (client.join().unwrap(), accepting.join().unwrap());
        drop(listener);
        let reports = all_of(reports);
        assert_eq!(taken, usize::from(served));
        assert!(
            reports.iter().all(|report| *report == "accepted"),
            "{reports:?}"
        );
        assert_eq!(reports.len(), taken);
    });
}

#[test]
fn a_listener_that_is_dropped_ends_every_handshake_once() {
    explore(|| {
        let (listener, address, reports) = listen(ListenerOptions::new().max_pending(1));
        let silent = [(); 2].map(|()| UnixStream::connect_addr(&address).unwrap());
        drop(listener);
        let greeted = silent.iter().filter(|stream| drain(stream) > 0).count();
        let reports = all_of(reports);
        assert!(
            reports.len() <= 2 && reports.len() >= greeted,
            "{reports:?}"
        );
        let mut ways = ["evicted", "shut down"].iter();
        assert!(
            reports
                .iter()
                .all(|way| ways.clone().any(|known| known == way)),
            "{reports:?}"
        );
        assert!(ways.next().is_some());
    });
}

#[test]
fn a_stream_that_is_taken_makes_room_for_the_next() {
    explore(|| {
        let (listener, address, reports) = listen(ListenerOptions::new().max_ready(1));
        let other = address.clone();
        let clients = [
            thread::spawn(move || authenticates(&address)),
            thread::spawn(move || authenticates(&other)),
        ];
        for _ in 0..2 {
            listener.accept().unwrap();
        }
        for client in clients {
            assert!(client.join().unwrap());
        }
        drop(listener);
        assert_eq!(all_of(reports), ["accepted"; 2]);
    });
}

#[test]
fn a_handshake_that_ends_while_it_is_evicted_counts_once() {
    explore(|| {
        let (listener, address, reports) = listen(ListenerOptions::new().max_pending(1));
        let listener = Arc::new(listener);
        let other = address.clone();
        let clients = [
            thread::spawn(move || authenticates(&address)),
            thread::spawn(move || authenticates(&other)),
        ];
        let accepting = Arc::clone(&listener);
        let accepting = thread::spawn(move || {
            let mut taken = 0;
            while accepting.accept().is_ok() {
                taken += 1;
            }
            taken
        });
        let served = clients.map(|client| client.join().unwrap());
        listener.shutdown();
        let taken = accepting.join().unwrap();
        drop(listener);
        let reports = all_of(reports);
        let count = |word| reports.iter().filter(|report| **report == word).count();
        assert_eq!(reports.len(), 2);
        assert_eq!(count("accepted"), taken);
        assert_eq!(count("accepted") + count("evicted"), 2, "{reports:?}");
        // The last connection evicts nobody, and is evicted by nobody.
        assert!(taken > 0 && served.contains(&true));
    });
}
