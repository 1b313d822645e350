//! The tasks of the listener over tokio.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use countersign::tokio::{Authenticated, Client, Listener, Server, Source};
use countersign::{Key, ListenerOptions};
use shuttle::future::block_on;
use shuttle::sync::Arc;
use shuttle::thread;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::spawn;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{Reports, all_of, count, explore, key, reporting, strange_key, until};

type Streams = Listener<Authenticated<DuplexStream>>;

/// Connections inside this process.
struct Pipes(UnboundedReceiver<io::Result<DuplexStream>>);

impl Source for Pipes {
    type Stream = DuplexStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(DuplexStream, Option<SocketAddr>)>> {
        let accepted = ready!(self.0.poll_recv(cx));
        let none = Err(ErrorKind::NotConnected.into());
        Poll::Ready(accepted.unwrap_or(none).map(|stream| (stream, None)))
    }
}

/// Where clients connect to.
#[derive(Clone)]
struct Address(UnboundedSender<io::Result<DuplexStream>>);

impl Address {
    /// Returns a stream, which the listener has closed if it accepts no more.
    fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(1024);
        // What cannot be sent is dropped, which closes it.
        let _ = self.0.send(Ok(far));
        near
    }

    /// Returns the stream of a client if it has authenticated.
    async fn log_in(&self, key: Key) -> Option<DuplexStream> {
        let mut stream = self.connect();
        authenticates(&mut stream, key).await.then_some(stream)
    }

    /// Returns whether a client authenticates and is sent something by [`serve`].
    async fn serves(&self) -> bool {
        match self.log_in(key()).await {
            Some(stream) => drain(stream).await > 0,
            None => false,
        }
    }
}

async fn authenticates(stream: &mut DuplexStream, key: Key) -> bool {
    Client::new(key).authenticate(stream).await.is_ok()
}

/// Returns a listener, its address, and what it reports.
fn listen(options: ListenerOptions) -> (Streams, Address, Reports) {
    let (address, connections) = unbounded_channel();
    let (options, reports) = reporting(options);
    let server = Server::new(key());
    let listener = Listener::with_options(Pipes(connections), server, options).unwrap();
    (listener, Address(address), reports)
}

/// Takes streams until no further one comes. Returns how many there were.
async fn serve(listener: Arc<Streams>) -> usize {
    let mut taken = 0;
    while let Ok((mut stream, _)) = listener.accept().await {
        stream.write_all(b"!").await.unwrap();
        taken += 1;
    }
    taken
}

/// Reads until the peer has closed. Returns how many bytes came.
async fn drain(mut stream: DuplexStream) -> usize {
    stream.read_to_end(&mut Vec::new()).await.unwrap()
}

#[test]
fn a_shutdown_wakes_every_task_that_waits_for_a_stream() {
    explore(|| {
        block_on(async {
            let (listener, _address, reports) = listen(ListenerOptions::new());
            let listener = Arc::new(listener);
            let waiting = [(); 2].map(|()| {
                let listener = Arc::clone(&listener);
                spawn(async move { listener.accept().await.is_err() })
            });
            listener.shutdown();
            for waiting in waiting {
                assert!(waiting.await.unwrap());
            }
            drop(listener);
            assert!(all_of(reports).is_empty());
        });
    });
}

#[test]
fn a_shutdown_ends_an_acceptor_that_waits_for_room() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new().max_ready(1));
            assert!(address.log_in(key()).await.is_some());
            until(&listener, "ready: 1");
            listener.shutdown();
            assert!(listener.accept().await.is_ok());
            assert!(listener.accept().await.is_err());
            drop(listener);
            assert_eq!(all_of(reports), ["accepted"]);
        });
    });
}

#[test]
fn a_client_beside_a_shutdown_is_served_wholly_or_not_at_all() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new());
            let listener = Arc::new(listener);
            let client = address.clone();
            let client = spawn(async move { client.serves().await });
            let serving = spawn(serve(Arc::clone(&listener)));
            listener.shutdown();
            let (served, taken) = (client.await.unwrap(), serving.await.unwrap());
            drop(listener);
            let reports = all_of(reports);
            assert_eq!(taken, usize::from(served));
            assert_eq!(count(&reports, "accepted"), taken, "{reports:?}");
            assert_eq!(reports.len(), taken);
        });
    });
}

#[test]
fn a_listener_that_is_dropped_ends_every_handshake_once() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new().max_pending(1));
            let silent = [(); 2].map(|()| address.connect());
            drop(listener);
            let mut greeted = 0;
            for stream in silent {
                greeted += usize::from(drain(stream).await > 0);
            }
            let reports = all_of(reports);
            assert!((greeted..=2).contains(&reports.len()), "{reports:?}");
            let ended = count(&reports, "evicted") + count(&reports, "shut down");
            assert_eq!(reports.len(), ended, "{reports:?}");
        });
    });
}

#[test]
fn a_stream_that_is_taken_makes_room_for_the_next() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new().max_ready(1));
            let clients = [(); 2].map(|()| {
                let address = address.clone();
                spawn(async move { address.log_in(key()).await.is_some() })
            });
            for _ in 0..2 {
                listener.accept().await.unwrap();
            }
            for client in clients {
                assert!(client.await.unwrap());
            }
            drop(listener);
            assert_eq!(all_of(reports), ["accepted"; 2]);
        });
    });
}

#[test]
fn a_stream_that_is_taken_wakes_an_acceptor_that_has_just_found_no_room() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new().max_ready(1));
            let first = [(); 2].map(|()| address.connect());
            until(&listener, "pending: 2");
            let mut clients =
                Vec::from(first.map(|mut stream| {
                    spawn(async move { authenticates(&mut stream, key()).await })
                }));
            until(&listener, "ready: 2");
            // The acceptor may be about to accept one more, after which it looks for room.
            drop(address.connect());
            clients.push(spawn(async move { address.log_in(key()).await.is_some() }));
            for _ in 0..3 {
                listener.accept().await.unwrap();
            }
            for client in clients {
                assert!(client.await.unwrap());
            }
            drop(listener);
            assert_eq!(count(&all_of(reports), "accepted"), 3);
        });
    });
}

#[test]
fn a_stream_that_becomes_ready_wakes_a_task_that_has_just_found_none() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new());
            let client = address.clone();
            let client = spawn(async move { client.log_in(key()).await.is_some() });
            // The hook is called just before the stream is ready.
            while reports.lock().unwrap().is_empty() {
                thread::yield_now();
            }
            listener.accept().await.unwrap();
            assert!(client.await.unwrap());
            drop(listener);
            assert_eq!(all_of(reports), ["accepted"]);
        });
    });
}

#[test]
fn a_stream_is_not_lost_with_a_task_that_gives_up() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new());
            let listener = Arc::new(listener);
            let client = address.clone();
            let client = spawn(async move { client.log_in(key()).await.is_some() });
            let waiting = [(); 2].map(|()| {
                let listener = Arc::clone(&listener);
                spawn(async move { listener.accept().await.is_ok() })
            });
            let [given_up, waiting] = waiting;
            given_up.abort();
            if given_up.await.is_ok() {
                // It took the stream before.
                listener.shutdown();
                assert!(!waiting.await.unwrap());
            } else {
                assert!(waiting.await.unwrap());
            }
            assert!(client.await.unwrap());
            drop(listener);
            assert_eq!(all_of(reports), ["accepted"]);
        });
    });
}

#[test]
fn a_handshake_that_ends_while_it_is_evicted_counts_once() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new().max_pending(1));
            let listener = Arc::new(listener);
            let clients = [(); 2].map(|()| {
                let address = address.clone();
                spawn(async move { address.serves().await })
            });
            let serving = spawn(serve(Arc::clone(&listener)));
            let mut served = 0;
            for client in clients {
                served += usize::from(client.await.unwrap());
            }
            until(&listener, "pending: 0");
            listener.shutdown();
            let taken = serving.await.unwrap();
            drop(listener);
            let reports = all_of(reports);
            assert_eq!(count(&reports, "accepted"), taken, "{reports:?}");
            assert_eq!(count(&reports, "evicted"), 2 - taken, "{reports:?}");
            assert_eq!(reports.len(), 2);
            // What was evicted is not returned as a stream, even if the client has its verdict.
            assert_eq!(served, taken);
            // The last connection evicts nobody, and is evicted by nobody.
            assert!(taken > 0);
        });
    });
}

#[test]
fn a_handshake_that_fails_while_it_is_evicted_is_reported_once() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new().max_pending(1));
            drop(address.connect());
            let strangers = [(); 2].map(|()| {
                let address = address.clone();
                spawn(async move { address.log_in(strange_key()).await.is_none() })
            });
            for stranger in strangers {
                assert!(stranger.await.unwrap());
            }
            until(&listener, "pending: 0");
            drop(listener);
            let reports = all_of(reports);
            let counted = count(&reports, "refused") + count(&reports, "evicted");
            assert_eq!((reports.len(), counted), (3, 3), "{reports:?}");
        });
    });
}

#[test]
fn a_shortage_evicts_one_handshake_and_is_over_once_that_has_left() {
    explore(|| {
        block_on(async {
            let (listener, address, reports) = listen(ListenerOptions::new());
            let silent = address.connect();
            address.0.send(Err(ErrorKind::OutOfMemory.into())).unwrap();
            let client = address.clone();
            let client = spawn(async move { client.log_in(key()).await.is_some() });
            listener.accept().await.unwrap();
            assert!(client.await.unwrap());
            drop(silent);
            drop(listener);
            assert_eq!(all_of(reports), ["accepted", "evicted"]);
        });
    });
}
