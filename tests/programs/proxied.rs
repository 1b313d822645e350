//! The echo server behind a proxy that sends a header of the PROXY protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use countersign::{Client, Key};

use super::Files;
use super::process::Server;
use crate::sockets::LONG;

/// The first bytes of version 2, without the command and what follows it.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// Connects in the place of the proxy, and sends this before anything else.
fn connect(server: &Server, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(header).unwrap();
    stream
}

#[test]
fn the_source_address_in_a_header_of_either_version_reaches_the_application() {
    let ipv4 = [203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x67, 0x1b, 0x58];
    let ipv6 = [
        &[0x20, 0x01, 0x0d, 0xb8][..],
        &[0; 11],
        &[7],
        &[0; 15],
        &[1, 0x12, 0x67, 0x1b, 0x58],
    ]
    .concat();
    // A value of type 4, which means nothing.
    let with_tlv = [&ipv4[..], &[4, 0, 3, 7, 7, 7]].concat();
    let files = Files::new();
    let key_file = files.key("key");
    let server = Server::start(
        "proxy_echo_server",
        ["--key-file", &key_file, "--key-id", "worker-7"],
    );
    let key = Key::from_file(&key_file).unwrap().with_id("worker-7");
    let client = Client::new(key.unwrap());
    for (header, source) in [
        (
            b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 7000\r\n".to_vec(),
            "203.0.113.7:4711",
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4711 7000\r\n".to_vec(),
            "[2001:db8::7]:4711",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "an unknown address"),
        (v2(PROXY, 0x11, &ipv4), "203.0.113.7:4711"),
        (v2(PROXY, 0x21, &ipv6), "[2001:db8::7]:4711"),
        (v2(PROXY, 0x11, &with_tlv), "203.0.113.7:4711"),
        (v2(PROXY, 0x00, &[]), "an unknown address"),
    ] {
        // It comes in two parts.
        let (first, rest) = header.split_at(header.len() / 2);
        let mut stream = connect(&server, first);
        stream.set_nodelay(true).unwrap();
        thread::sleep(Duration::from_millis(10));
        stream.write_all(rest).unwrap();
        client.authenticate_timeout(&stream, LONG).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"hello");
        server.logs(&format!("key id \"worker-7\" connects from {source}"));
    }
}

#[test]
fn a_connection_with_a_wrong_header_or_without_one_is_refused_and_says_why() {
    let files = Files::new();
    let server = Server::start("proxy_echo_server", ["--key-file", &files.key("key")]);
    for header in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 70000\r\n".to_vec(),
        b"PROXY UDP4 203.0.113.7 127.0.0.1 4711 7000\r\n".to_vec(),
        [b"PROXY TCP4 203.0.113.7 ", &[b'1'; 100][..]].concat(),
        [SIGNATURE, b"EVER"].concat(),
        v2(0x31, 0x11, &[0; 12]),
        v2(0x2f, 0x11, &[0; 12]),
        v2(PROXY, 0x41, &[0; 12]),
    ] {
        let mut stream = connect(&server, &header);
        // What it left unread resets the connection.
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
        server.logs("127.0.0.1:* refused: *while upgrading the connection: *proxy header*");
    }
}

#[test]
fn a_health_check_is_served_until_it_closes_and_is_no_line_of_the_log() {
    const CHALLENGE: &[u8] = b"CSIGN";

    let files = Files::new();
    let server = Server::start("proxy_echo_server", ["--key-file", &files.key("key")]);
    for header in [v2(LOCAL, 0x00, &[]), v2(LOCAL, 0x11, &[0; 12])] {
        // A check that awaits the first bytes of the server, and one that does not.
        let mut stream = connect(&server, &header);
        let mut first = [0; CHALLENGE.len()];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(first, CHALLENGE);
        drop(stream);
        drop(connect(&server, &header));
    }
    // A check that does not send a header.
    drop(connect(&server, b""));
    // This one is a line, and comes last.
    let mut stream = connect(&server, b"GET / HTTP/1.1");
    stream.write_all(b"\r\n\r\n").unwrap();
    assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    assert_eq!(server.logs("127.0.0.1:* refused: *proxy header*"), 0);
}
