//! A listener over tokio as a stream of its connections.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use countersign::tokio::{Listener, Server};
use futures_util::StreamExt;
use futures_util::stream::unfold;

use super::clients::log_in;
use super::running::{ring, runtime, worker};

#[test]
fn a_listener_is_a_stream_of_connections_that_ends_when_it_is_shut_down() {
    const CLIENTS: usize = 3;

    runtime().block_on(async {
        let listener = Listener::bind("127.0.0.1:0", Server::new(ring())).await;
        let listener = Arc::new(listener.unwrap());
        let address = listener.local_addr().unwrap();
        let clients = thread::spawn(move || {
            [1, 2, CLIENTS].map(|nth| log_in(address, &worker(nth)).unwrap())
        });
        let mut incoming = pin!(unfold(Arc::clone(&listener), |listener| async {
            let (stream, _session) = listener.accept().await.ok()?;
            Some((Ok::<_, io::Error>(stream), listener))
        }));
        let mut peers = Vec::new();
        for _ in 0..CLIENTS {
            let stream = incoming.next().await.unwrap().unwrap();
            peers.push(stream.peer_addr().unwrap());
        }
        let clients = clients.join().unwrap();
        let expected = clients.map(|(stream, _)| stream.local_addr().unwrap());
        assert_eq!(peers, expected);
        listener.shutdown();
        assert!(incoming.next().await.is_none());
    });
}
