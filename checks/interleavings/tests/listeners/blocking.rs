//! The threads of the blocking listener.

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use countersign::{Authenticated, Client, Key, Listener, ListenerOptions, Pause, Server, Source};
use shuttle::sync::Arc;
use shuttle::thread;

use crate::{NEVER, Reports, all_of, count, explore, key, reporting, strange_key, until};

type Streams = Listener<Authenticated<UnixStream>>;

/// Returns a listener, its address, and what it reports.
fn listen(options: ListenerOptions) -> (Streams, SocketAddr, Reports) {
    listen_after(|| Ok(true), options)
}

/// Calls `before` whenever the listener asks for a connection. If that returns `false`, there is none.
fn listen_after<F>(before: F, options: ListenerOptions) -> (Streams, SocketAddr, Reports)
where
    F: Fn() -> io::Result<bool> + Send + 'static,
{
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("countersign-{}-{number}", process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let socket = UnixListener::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (options, reports) = reporting(options);
    let source = After { before, socket };
    let listener = Listener::with_options(source, Server::new(key()), options).unwrap();
    (listener, address, reports)
}

struct After<F> {
    before: F,
    socket: UnixListener,
}

impl<F> Source for After<F>
where
    F: Fn() -> io::Result<bool> + Send + 'static,
{
    type Stream = UnixStream;

    fn accept(&self, pause: &Pause) -> io::Result<Option<(UnixStream, Option<net::SocketAddr>)>> {
        if !(self.before)()? {
            return Ok(None);
        }
        Source::accept(&self.socket, pause)
    }
}

/// Returns the stream of a client if it has authenticated.
fn log_in(address: &SocketAddr, key: Key) -> Option<UnixStream> {
    let stream = UnixStream::connect_addr(address).ok()?;
    let session = Client::new(key).authenticate_timeout(&stream, NEVER);
    session.is_ok().then_some(stream)
}

/// Returns whether a client authenticates and is sent something by [`serve`].
fn is_served(address: &SocketAddr) -> bool {
    log_in(address, key()).is_some_and(|stream| drain(&stream) > 0)
}

/// Takes streams until no further one comes. Returns how many there were.
fn serve(listener: &Streams) -> usize {
    let mut taken = 0;
    while let Ok((mut stream, _)) = listener.accept() {
        stream.write_all(b"!").unwrap();
        taken += 1;
    }
    taken
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

#[test]
fn a_shutdown_wakes_every_thread_that_waits_for_a_stream() {
    explore(|| {
        let (listener, _, reports) = listen(ListenerOptions::new());
        let listener = Arc::new(listener);
        let waiting = [(); 2].map(|()| {
            let listener = Arc::clone(&listener);
            thread::spawn(move || listener.accept().is_err())
        });
        listener.shutdown();
        for waiting in waiting {
            assert!(waiting.join().unwrap());
        }
        drop(listener);
        assert!(all_of(reports).is_empty());
    });
}

#[test]
fn a_shutdown_wakes_an_acceptor_that_waits_for_room_and_it_accepts_no_more() {
    explore(|| {
        let full = Arc::new(AtomicBool::new(false));
        let is_full = Arc::clone(&full);
        let calls = AtomicUsize::new(0);
        let before = move || match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(true),
            // It can have begun before the first stream was ready.
            1 => {
                while !is_full.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                Ok(false)
            }
            _ => panic!("the listener asks for a connection, but has no room"),
        };
        let (listener, address, reports) =
            listen_after(before, ListenerOptions::new().max_ready(1));
        assert!(log_in(&address, key()).is_some());
        until(&listener, "ready: 1");
        full.store(true, Ordering::Relaxed);
        listener.shutdown();
        assert!(listener.accept().is_ok());
        assert!(listener.accept().is_err());
        drop(listener);
        assert_eq!(all_of(reports), ["accepted"]);
    });
}

#[test]
fn a_shutdown_ends_the_pause_after_a_failure() {
    explore(|| {
        let before = || Err(ErrorKind::Other.into());
        let (listener, _, reports) = listen_after(before, ListenerOptions::new());
        listener.shutdown();
        assert!(listener.accept().is_err());
        drop(listener);
        let reports = all_of(reports);
        assert_eq!(count(&reports, "failed"), reports.len());
    });
}

#[test]
fn a_client_beside_a_shutdown_is_served_wholly_or_not_at_all() {
    explore(|| {
        let (listener, address, reports) = listen(ListenerOptions::new());
        let listener = Arc::new(listener);
        let client = thread::spawn(move || is_served(&address));
        let serving = Arc::clone(&listener);
        let serving = thread::spawn(move || serve(&serving));
        listener.shutdown();
        let (served, taken) = (client.join().unwrap(), serving.join().unwrap());
        drop(listener);
        let reports = all_of(reports);
        assert_eq!(taken, usize::from(served));
        assert_eq!(count(&reports, "accepted"), taken, "{reports:?}");
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
        assert!((greeted..=2).contains(&reports.len()), "{reports:?}");
        let ended = count(&reports, "evicted") + count(&reports, "shut down");
        assert_eq!(reports.len(), ended, "{reports:?}");
    });
}

#[test]
fn a_stream_that_is_taken_makes_room_for_the_next() {
    explore(|| {
        let (listener, address, reports) = listen(ListenerOptions::new().max_ready(1));
        let clients = [address.clone(), address]
            .map(|address| thread::spawn(move || log_in(&address, key()).is_some()));
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
        let clients =
            [address.clone(), address].map(|address| thread::spawn(move || is_served(&address)));
        let serving = Arc::clone(&listener);
        let serving = thread::spawn(move || serve(&serving));
        let served = clients.map(|client| client.join().unwrap());
        until(&listener, "pending: 0");
        listener.shutdown();
        let taken = serving.join().unwrap();
        drop(listener);
        let reports = all_of(reports);
        assert_eq!(count(&reports, "accepted"), taken, "{reports:?}");
        assert_eq!(count(&reports, "evicted"), 2 - taken, "{reports:?}");
        assert_eq!(reports.len(), 2);
        // What was evicted is not returned as a stream, even if the client has its verdict.
        assert_eq!(served.iter().filter(|served| **served).count(), taken);
        // The last connection evicts nobody, and is evicted by nobody.
        assert!(taken > 0);
    });
}

#[test]
fn a_handshake_that_fails_while_it_is_evicted_is_reported_once() {
    explore(|| {
        let (listener, address, reports) = listen(ListenerOptions::new().max_pending(1));
        drop(UnixStream::connect_addr(&address).unwrap());
        let strangers = [address.clone(), address]
            .map(|address| thread::spawn(move || log_in(&address, strange_key()).is_none()));
        for stranger in strangers {
            assert!(stranger.join().unwrap());
        }
        until(&listener, "pending: 0");
        drop(listener);
        let reports = all_of(reports);
        let counted = count(&reports, "refused") + count(&reports, "evicted");
        assert_eq!((reports.len(), counted), (3, 3), "{reports:?}");
    });
}

#[test]
fn a_shortage_evicts_one_handshake_and_is_over_once_that_has_left() {
    explore(|| {
        let calls = AtomicUsize::new(0);
        let before = move || match calls.fetch_add(1, Ordering::Relaxed) {
            1 => Err(ErrorKind::OutOfMemory.into()),
            _ => Ok(true),
        };
        let (listener, address, reports) = listen_after(before, ListenerOptions::new());
        let _silent = UnixStream::connect_addr(&address).unwrap();
        let client = thread::spawn(move || log_in(&address, key()).is_some());
        listener.accept().unwrap();
        assert!(client.join().unwrap());
        drop(listener);
        assert_eq!(all_of(reports), ["accepted", "evicted"]);
    });
}
