//! Two ends of a socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use countersign::handshake::Refusal;
use countersign::{Client, Deadline, KeyLookup, Server};

use super::{F3_LEN, ID, Outcome, ours, tail};
use crate::failures::{is_denied, refusal};
use crate::support::{exported, key, tcp_pair};

/// Runs one handshake over the loopback interface. Returns the outcomes of the client and the
/// server.
fn over_tcp<K: KeyLookup + Send + Sync>(client: &Client, server: &Server<K>) -> (Outcome, Outcome) {
    let (near, far) = tcp_pair();
    thread::scope(|scope| {
        let server = scope.spawn(|| server.authenticate(&mut with_deadline(&far)));
        let client = client.authenticate(&mut with_deadline(&near));
        (client, server.join().unwrap())
    })
}

/// A deadline that a test reaches only if it would hang.
const LIMIT: Duration = Duration::from_secs(20);

fn with_deadline(socket: &TcpStream) -> Deadline<&TcpStream> {
    Deadline::new(socket, LIMIT)
}

#[test]
fn two_ends_of_a_socket_agree_on_the_session() {
    let client = Client::new(ours()).service("billing/2").unwrap();
    let server = Server::new(ours()).service("billing/2").unwrap();
    let (client, server) = over_tcp(&client, &server);
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.key_id(), ID);
    assert_eq!(server.key_id(), ID);
    assert_eq!(exported(&client), exported(&server));

    let again = over_tcp(&Client::new(ours()), &Server::new(ours()));
    assert_ne!(exported(&again.0.unwrap()), exported(&client));
}

#[test]
fn two_ends_of_a_socket_that_differ_get_no_session() {
    let billing = |key| Client::new(key).service("billing/2").unwrap();
    let rows = [
        (
            "another secret",
            billing(key("theirs").with_id(ID).unwrap()),
            Refusal::WrongProof,
        ),
        (
            "another service",
            Client::new(ours()).service("billing/3").unwrap(),
            Refusal::WrongProof,
        ),
        ("no service", Client::new(ours()), Refusal::WrongProof),
        (
            "another key id",
            billing(key("ours").with_id("worker-8").unwrap()),
            Refusal::UnknownKeyId,
        ),
    ];
    let server = Server::new(ours()).service("billing/2").unwrap();
    for (name, client, why) in rows {
        let (client, server) = over_tcp(&client, &server);
        let (client, server) = (client.unwrap_err(), server.unwrap_err());
        assert!(is_denied(&client), "{name}: {client:?}");
        assert_eq!(refusal(&server), Some(why), "{name}: {server:?}");
    }
}

/// A socket that holds its second message back until more is written behind it.
struct Corked {
    socket: TcpStream,
    held: Vec<u8>,
    flushes: usize,
}

impl Read for Corked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Corked {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.held.extend(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        if self.flushes == 2 {
            return Ok(());
        }
        self.socket.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }
}

#[test]
fn after_a_handshake_the_next_byte_read_from_a_socket_is_application_data() {
    let (near, far) = tcp_pair();
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
    }
    let tail = tail();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = Corked {
                socket: far,
                held: Vec::new(),
                flushes: 0,
            };
            let _ = Server::new(ours()).authenticate(&mut stream).unwrap();
            assert_eq!(stream.held.len(), F3_LEN);
            stream.write_all(&tail).unwrap();
            stream.flush().unwrap();
        });

        let mut stream = &near;
        let _ = Client::new(ours()).authenticate(&mut stream).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == tail, "{} bytes came", received.len());
    });
}
