//! Futures that are dropped before they are done.

use std::io::Write;
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use countersign::tokio as over_tokio;
use countersign::{Error, Keyring};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::clients::{F1_LEN, F3_LEN, challenged, log_in, response};
use super::running::{Running, SOON, options, ring, runtime, worker};
use crate::side::Side;
use crate::sockets::{LONG, assert_closed, until};
use crate::support::Driver;

fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match poll_once(pin!(future)) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

fn ends() -> (over_tokio::Client, over_tokio::Server<Keyring>) {
    (
        over_tokio::Client::new(worker(7)),
        over_tokio::Server::new(ring()),
    )
}

#[test]
fn an_end_that_is_dropped_after_any_byte_has_no_session() {
    let (client, server) = ends();

    // The server, with a client that stops after each number of bytes.
    let mut stop = 0;
    loop {
        let (mut near, mut far) = duplex(256);
        let mut serving = Box::pin(server.authenticate(&mut near));
        assert!(poll_once(serving.as_mut()).is_pending());
        let mut challenge = [0; F1_LEN];
        at_once(far.read_exact(&mut challenge)).unwrap();
        let response = response(&worker(7), &challenge, b"");
        at_once(far.write_all(&response[..stop])).unwrap();
        let outcome = poll_once(serving.as_mut());
        drop(serving);
        if stop == response.len() {
            assert!(matches!(outcome, Poll::Ready(Ok(_))), "{outcome:?}");
            break;
        }
        assert!(outcome.is_pending(), "after {stop} bytes: {outcome:?}");
        // Nothing but the challenge was sent.
        drop(near);
        let mut rest = Vec::new();
        at_once(far.read_to_end(&mut rest)).unwrap();
        assert_eq!(rest, b"");
        stop += 1;
    }

    // The client, with a server that stops after each number of bytes.
    for stop in 0..=F1_LEN + F3_LEN {
        let (mut near, mut far) = duplex(256);
        let (mut honest, mut to_honest) = duplex(256);
        let mut serving = Box::pin(server.authenticate(&mut to_honest));
        let mut calling = Box::pin(client.authenticate(&mut near));
        let mut passed = 0;
        // F1, then F2 in the other direction, then F3.
        for len in [F1_LEN, F3_LEN] {
            let _ = poll_once(serving.as_mut());
            let mut bytes = vec![0; len];
            at_once(honest.read_exact(&mut bytes)).unwrap();
            bytes.truncate(stop - passed);
            passed += bytes.len();
            at_once(far.write_all(&bytes)).unwrap();
            if len == F1_LEN && passed == F1_LEN {
                assert!(poll_once(calling.as_mut()).is_pending());
                let mut response = [0; 81];
                at_once(far.read_exact(&mut response)).unwrap();
                at_once(honest.write_all(&response)).unwrap();
            } else {
                break;
            }
        }
        let outcome = poll_once(calling.as_mut());
        let is_whole = stop == F1_LEN + F3_LEN;
        assert_eq!(
            outcome.is_ready(),
            is_whole,
            "after {stop} bytes: {outcome:?}"
        );
        if is_whole {
            assert!(matches!(outcome, Poll::Ready(Ok(_))), "{outcome:?}");
        }
    }
}

/// Polls both ends in turn over a stream that holds one byte, so that an end waits at each byte in
/// either direction. Drops one end after each number of polls, unless it is done.
#[test]
fn an_end_that_is_dropped_wherever_it_waits_closes_the_stream_for_its_peer() {
    let (client, server) = ends();
    for dropped in Side::BOTH {
        let mut polls = 0;
        loop {
            let (mut near, mut far) = duplex(1);
            let (stream, others) = (&mut near, &mut far);
            let mut calling = Box::pin(client.authenticate(stream));
            let mut serving = Box::pin(server.authenticate(others));
            let (mut client_end, mut server_end) = (Poll::Pending, Poll::Pending);
            for _ in 0..polls {
                if client_end.is_pending() {
                    client_end = poll_once(calling.as_mut());
                }
                if server_end.is_pending() {
                    server_end = poll_once(serving.as_mut());
                }
            }
            if client_end.is_ready() && server_end.is_ready() {
                assert!(matches!(client_end, Poll::Ready(Ok(_))), "{client_end:?}");
                assert!(matches!(server_end, Poll::Ready(Ok(_))), "{server_end:?}");
                break;
            }
            match dropped {
                Side::Server if server_end.is_pending() => {
                    drop(serving);
                    drop(far);
                    // A server that was not done has not sent its whole verdict.
                    for _ in 0..3 {
                        if client_end.is_pending() {
                            client_end = poll_once(calling.as_mut());
                        }
                    }
                    assert!(
                        matches!(client_end, Poll::Ready(Err(Error::Closed(_)))),
                        "after {polls} polls: {client_end:?}"
                    );
                }
                Side::Client if client_end.is_pending() => {
                    drop(calling);
                    drop(near);
                    for _ in 0..3 {
                        if server_end.is_pending() {
                            server_end = poll_once(serving.as_mut());
                        }
                    }
                    // The server cannot tell whether the client has the whole verdict.
                    assert!(
                        matches!(server_end, Poll::Ready(Ok(_) | Err(Error::Closed(_)))),
                        "after {polls} polls: {server_end:?}"
                    );
                }
                _ => {}
            }
            polls += 1;
            assert!(polls < 1000, "the handshake does not end");
        }
        assert!(polls > 100, "{polls} polls are not one for each byte");
    }
}

#[test]
fn handshakes_that_are_dropped_with_their_listener_have_no_sessions() {
    let running = Driver::Tokio.listen(options(), ring());
    let mut clients = Vec::new();
    let whole = 73 + worker(7).id().as_bytes().len();
    for stop in 0..whole {
        let (mut stream, challenge) = challenged(running.address);
        let response = response(&worker(7), &challenge, b"");
        assert_eq!(response.len(), whole);
        stream.write_all(&response[..stop]).unwrap();
        clients.push((stream, response, stop));
    }
    let events = Arc::clone(&running.events);
    assert_eq!(events.now().len(), 0);
    drop(running);
    for (mut stream, response, stop) in clients {
        assert_closed(&stream);
        // The rest comes too late.
        let _ = stream.write_all(&response[stop..]);
        assert_closed(&stream);
    }
    events.once(|seen| seen.len() == whole);
    assert_eq!(events.count("shut down"), whole);

    // The runtime still works.
    let running = Driver::Tokio.listen(options(), ring());
    let client = log_in(running.address, &worker(7)).unwrap();
    let _pair = running.accept_from(&client);
}

#[test]
fn a_future_of_accept_that_is_dropped_loses_no_stream() {
    let (address, listener) = runtime().block_on(async {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (_, server) = ends();
        let listener = over_tokio::Listener::with_options(socket, server, options()).unwrap();
        (address, Arc::new(listener))
    });
    let running = Running::new(address, Arc::default(), listener.clone());

    // Dropped before a stream is ready, and after.
    for ready_before_the_drop in [false, true] {
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(accept.as_mut()).is_pending());
        let mut another = Box::pin(listener.accept());
        assert!(poll_once(another.as_mut()).is_pending());
        if ready_before_the_drop {
            let client = log_in(address, &worker(1)).unwrap();
            running.once_ready(1);
            drop((accept, another));
            let _pair = running.accept_from(&client);
        } else {
            drop((accept, another));
            let client = log_in(address, &worker(1)).unwrap();
            let _pair = running.accept_from(&client);
        }
    }

    // Dropped again and again while a stream becomes ready.
    let (go, told) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for nth in told {
                log_in(address, &worker(nth)).map(drop).unwrap();
            }
        });
        for nth in 0..100 {
            let poll = || poll_once(Box::pin(listener.accept()).as_mut());
            assert!(poll().is_pending());
            go.send(nth).unwrap();
            let mut accepted = None;
            until(|| match poll() {
                Poll::Ready(pair) => accepted.replace(pair).is_none(),
                Poll::Pending => false,
            });
            let (_, session) = accepted.unwrap().unwrap();
            assert_eq!(session.key_id(), worker(nth).id());
        }
        drop(go);
    });
}

/// A handshake that the runtime cannot start any more must not wait for the thread that starts it.
#[test]
fn a_runtime_that_is_shut_down_in_a_flood_ends() {
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (address, listener) = runtime.block_on(async {
            let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let (_, server) = ends();
            (address, over_tokio::Listener::new(socket, server).unwrap())
        });
        // If the runtime waits for the listener, this test must see that and not wait for it too.
        let listener = ManuallyDrop::new(listener);
        let (connected, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (ended, end) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let connect = || TcpStream::connect_timeout(&address, SOON);
                    while !stop.load(Ordering::Relaxed) && connect().is_ok() {
                        connected.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            until(|| connected.load(Ordering::Relaxed) > 50);
            thread::spawn(move || {
                drop(runtime);
                ended.send(())
            });
            let in_time = end.recv_timeout(LONG);
            stop.store(true, Ordering::Relaxed);
            in_time.expect("the runtime ends");
        });
        drop(ManuallyDrop::into_inner(listener));
    }
}
