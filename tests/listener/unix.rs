//! Listeners on Unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::{sync::mpsc, thread};

use super::clients::{F1_LEN, authenticate};
use super::events::Events;
#[cfg(feature = "tokio")]
use super::running::runtime;
use super::running::{options, worker};
use crate::sockets::{LONG, until};
use crate::support::{Driver, TempDir};

#[test]
fn a_listener_on_a_unix_socket_behaves_like_one_on_a_port() {
    let directory = TempDir::new();
    for &driver in Driver::ALL {
        let path = directory.path().join(format!("{driver:?}.socket"));
        let events = Arc::new(Events::default());
        let hook = Arc::clone(&events);
        let options = options().max_pending(1).on_event(move |event| {
            if cfg!(target_os = "linux") {
                let process = event.process.unwrap();
                assert_eq!(process.pid.unsigned_abs(), std::process::id());
                assert!(event.to_string().starts_with(&process.to_string()));
            }
            hook.record(event);
        });
        let stranger = || {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream.read_exact(&mut [0; F1_LEN]).unwrap();
            stream
        };
        let assert_closed = |mut stream: UnixStream| {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        };

        let socket = UnixListener::bind(&path).unwrap();
        let listener = driver.listen_on_unix(socket, options);
        let evicted = stranger();
        let accepted = [1, 2].map(|nth| {
            let mut stream = UnixStream::connect(&path).unwrap();
            let client = authenticate(&stream, &worker(nth)).unwrap();
            let (accepted, session) = listener.accept().unwrap();
            assert_eq!(session.key_id(), client.key_id());
            stream.write_all(b"hello").unwrap();
            accepted
        });
        assert_closed(evicted);
        // A thread of the blocking listener reports it, and after the drop it would report a shutdown.
        until(|| events.count("evicted") == 1);
        let pending = stranger();
        drop(listener);
        assert_closed(pending);

        for mut stream in accepted {
            let mut read = Vec::new();
            stream.read_to_end(&mut read).unwrap();
            assert_eq!(read, b"hello");
        }
        until(|| UnixStream::connect(&path).is_err());
        let seen = events.once(|seen| seen.len() == 4);
        assert!(seen.iter().all(|seen| seen.peer.is_none()));
        assert_eq!(events.accepted(), 2);
        assert_eq!(events.count("evicted"), 1);
        assert_eq!(events.count("shut down"), 1);
    }
}

/// Needs tokio for the socket: std does not let the length of the queue be chosen.
#[cfg(feature = "tokio")]
#[test]
fn a_listener_whose_queue_is_full_can_be_dropped() {
    let directory = TempDir::new();
    let path = directory.path().join("short.socket");
    let socket = {
        let _runtime = runtime().enter();
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        socket.listen(1).unwrap().into_std().unwrap()
    };
    socket.set_nonblocking(false).unwrap();
    let listener = Driver::Blocking.listen_on_unix(socket, options().max_ready(1));
    // Both are accepted before one is ready. After that it does not accept any more.
    let streams = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
    until(|| format!("{listener:?}").contains("pending: 2,"));
    let mut nth = 0;
    let ready = streams.map(|stream| {
        nth += 1;
        let session = authenticate(&stream, &worker(nth)).unwrap();
        (stream, session)
    });
    until(|| format!("{listener:?}").contains("ready: 2,"));

    let (connected, connections) = mpsc::channel();
    for _ in 0..8 {
        let (path, connected) = (path.clone(), connected.clone());
        // Most of these wait until the listener is dropped.
        thread::spawn(move || connected.send(UnixStream::connect(path)));
    }
    let _queued = [(); 2].map(|()| connections.recv_timeout(LONG).unwrap().unwrap());
    let (dropped, is_dropped) = mpsc::channel();
    thread::spawn(move || {
        drop(listener);
        dropped.send(())
    });
    let in_time = is_dropped.recv_timeout(LONG);
    in_time.expect("the listener is dropped in time");
    drop(ready);
}
