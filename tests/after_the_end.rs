//! What still works after a deadline is over or a listener is dropped, and what does not.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use countersign::{Listener, Server};

use crate::support::key;

#[test]
fn a_socket_that_others_hold_too_still_accepts_after_the_listener_is_dropped() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let successor = socket.try_clone().unwrap();
    drop(Listener::new(socket, Server::new(key("ours"))).unwrap());

    let mut client = TcpStream::connect(address).unwrap();
    // The connection that woke the listener may be in the queue before this one.
    let own = client.local_addr().unwrap();
    let accepted = (0..2).any(|_| successor.accept().is_ok_and(|(_, peer)| peer == own));
    assert!(accepted);
    client.write_all(b"hello").unwrap();
}

#[cfg(feature = "tokio")]
mod tokio {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::sleep;
    use std::time::Duration;

    use countersign::handshake::{Message, Prologue};
    use countersign::tokio::{Client, Server};
    use countersign::{Error, Key, Phase};

    use crate::support::{HonestClient, Wire, block_on, key};

    #[test]
    fn nothing_is_sent_if_the_timeout_is_zero() {
        let mut wire = Wire::to(HonestClient::new(&key("ours"), Prologue::EMPTY, b""));
        let server = Server::new(key("ours"));
        let outcome = block_on(server.authenticate_timeout(&mut wire, Duration::ZERO));
        let phase = Phase::Sending(Message::CHALLENGE);
        assert!(matches!(outcome, Err(Error::TimedOut(p)) if p == phase));
        let client = Client::new(key("ours"));
        let outcome = block_on(client.authenticate_timeout(&mut wire, Duration::ZERO));
        let phase = Phase::Awaiting(Message::CHALLENGE);
        assert!(matches!(outcome, Err(Error::TimedOut(p)) if p == phase));
        assert!(wire.written.is_empty());
    }

    #[test]
    fn a_client_is_refused_if_the_key_look_up_outlasts_the_timeout() {
        // On a slow machine, too, the look-up begins before it is over.
        let timeout = Duration::from_millis(250);
        let looked_up = AtomicBool::new(false);
        let slow = |_: &[u8]| -> Option<Key> {
            sleep(timeout);
            looked_up.store(true, Ordering::Relaxed);
            Some(key("ours"))
        };
        let mut wire = Wire::to(HonestClient::new(&key("ours"), Prologue::EMPTY, b""));
        let outcome = block_on(Server::new(slow).authenticate_timeout(&mut wire, timeout));
        let phase = Phase::Sending(Message::VERDICT);
        assert!(matches!(outcome, Err(Error::TimedOut(p)) if p == phase));
        assert!(looked_up.into_inner());
    }
}
