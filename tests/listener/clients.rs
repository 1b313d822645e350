//! The clients of a listener, and strangers who connect to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use countersign::handshake::Prologue;
use countersign::{Client, Error, Key, Session, Timed};

use super::running::worker;
use crate::failures;
use crate::identity::key_of;
use crate::sockets::{LONG, assert_closed, connect};
use crate::support::{HonestClient, Peer};

pub const F1_LEN: usize = 40;
pub const F3_LEN: usize = 33;

/// A connection whose handshake is surely pending, since it has its challenge.
pub fn challenged(address: SocketAddr) -> (TcpStream, [u8; F1_LEN]) {
    let mut stream = connect(address);
    let mut challenge = [0; F1_LEN];
    stream.read_exact(&mut challenge).unwrap();
    (stream, challenge)
}

/// A connection whose handshake is pending, and which sends nothing.
pub fn silent(address: SocketAddr) -> TcpStream {
    challenged(address).0
}

pub fn log_in(address: SocketAddr, key: &Key) -> Result<(TcpStream, Session), Error> {
    let stream = connect(address);
    let session = authenticate(&stream, key)?;
    Ok((stream, session))
}

/// Authenticates over any socket that is connected already.
pub fn authenticate(stream: impl Timed + Read + Write, key: &Key) -> Result<Session, Error> {
    Client::new(key.clone()).authenticate_timeout(stream, LONG)
}

/// The response of an honest client, and what it sends behind it.
pub fn response(key: &Key, challenge: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut client = HonestClient::new(key, Prologue::EMPTY, tail);
    client.answer(&mut challenge.iter().copied().collect())
}

/// Makes a connection that is no client's, and returns its address once it has ended.
pub type Stranger = fn(SocketAddr, u64) -> SocketAddr;

/// Sends something else and waits until the listener closes the connection.
fn says(address: SocketAddr, bytes: &[u8]) -> SocketAddr {
    let mut stream = connect(address);
    let peer = stream.local_addr().unwrap();
    // If the first part is enough to be refused, the rest may be sent to a closed connection.
    let _ = stream.write_all(bytes);
    let mut read = [0; 256];
    while stream.read(&mut read).is_ok_and(|read| read > 0) {}
    peer
}

/// Tries to log in, and is denied.
pub fn is_denied(address: SocketAddr, key: &Key) -> SocketAddr {
    let stream = connect(address);
    let error = authenticate(&stream, key).unwrap_err();
    assert!(failures::is_denied(&error), "{error:?}");
    stream.local_addr().unwrap()
}

/// Bytes that belong to no known protocol, and differ from seed to seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = (0..200).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    });
    // No known protocol begins with this byte.
    [0xee].into_iter().chain(bytes).collect()
}

/// Each kind of stranger, and the outcome that the hook is called with.
pub const STRANGERS: &[(&str, Stranger, &str)] = &[
    (
        "a wrong secret",
        |address, _| is_denied(address, &key_of("theirs", "worker-7")),
        "WrongProof",
    ),
    (
        "an unknown key id",
        |address, nth| is_denied(address, &key_of("ours", format!("stranger-{nth}"))),
        "UnknownKeyId",
    ),
    (
        "a browser",
        |address, _| says(address, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
        "foreign Some(Http)",
    ),
    (
        "a TLS client",
        |address, _| {
            says(
                address,
                b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03and so on",
            )
        },
        "foreign Some(Tls)",
    ),
    (
        "an SSH client",
        |address, _| says(address, b"SSH-2.0-OpenSSH_9.6\r\n"),
        "foreign Some(Ssh)",
    ),
    (
        "noise",
        |address, nth| says(address, &noise(nth)),
        "foreign None",
    ),
    (
        "a port scan",
        |address, _| connect(address).local_addr().unwrap(),
        "closed",
    ),
    (
        "a port scan that reads the challenge",
        |address, _| silent(address).local_addr().unwrap(),
        "closed",
    ),
    (
        "a client that closes within its response",
        |address, nth| {
            let (mut stream, challenge) = challenged(address);
            let response = response(&worker(nth), &challenge, b"");
            stream.write_all(&response[..40]).unwrap();
            stream.local_addr().unwrap()
        },
        "closed",
    ),
    (
        "an echo",
        |address, _| {
            let (mut stream, challenge) = challenged(address);
            stream.write_all(&challenge).unwrap();
            assert_closed(&stream);
            stream.local_addr().unwrap()
        },
        "Role(83)",
    ),
];
