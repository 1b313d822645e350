//! What is over is over: a deadline, and a listener, but not the socket of somebody else.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use countersign::{Listener, Server};

use crate::support::key;

#[test]
fn a_socket_that_others_hold_too_goes_on_when_the_listener_is_dropped() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let successor = socket.try_clone().unwrap();
    drop(Listener::new(socket, Server::new(key("ours"))).unwrap());

    let mut client = TcpStream::connect(address).unwrap();
    // What woke the listener may be in the queue before it.
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

    use countersign::handshake::{Flight, Prologue};
    use countersign::tokio::{Client, Server};
    use countersign::{Error, Key, Phase, keys_fn};

    use crate::support::{HonestClient, Wire, block_on, key};

    #[test]
    fn nothing_is_sent_when_there_is_no_time_at_all() {
        let mut wire = Wire::to(HonestClient::new(&key("ours"), Prologue::EMPTY, b""));
        let server = Server::new(key("ours"));
        let outcome = block_on(server.authenticate_within(&mut wire, Duration::ZERO));
        let phase = Phase::Sending(Flight::Challenge);
        assert!(matches!(outcome, Err(Error::TimedOut(p)) if p == phase));
        let client = Client::new(key("ours"));
        let outcome = block_on(client.authenticate_within(&mut wire, Duration::ZERO));
        let phase = Phase::Awaiting(Flight::Challenge);
        assert!(matches!(outcome, Err(Error::TimedOut(p)) if p == phase));
        assert!(wire.written.is_empty());
    }

    #[test]
    fn a_client_is_not_accepted_once_a_slow_look_up_has_used_up_the_time() {
        let time = Duration::from_millis(20);
        let looked_up = AtomicBool::new(false);
        let slow = keys_fn(|_| -> Option<Key> {
            sleep(2 * time);
            looked_up.store(true, Ordering::Relaxed);
            Some(key("ours"))
        });
        let mut wire = Wire::to(HonestClient::new(&key("ours"), Prologue::EMPTY, b""));
        let outcome = block_on(Server::new(slow).authenticate_within(&mut wire, time));
        let phase = Phase::Sending(Flight::Verdict);
        assert!(matches!(outcome, Err(Error::TimedOut(p)) if p == phase));
        assert!(looked_up.into_inner());
    }
}
