//! Connections to the public port of peers that are no clients.

use std::io::{Read, Write};

use countersign::{Client, Key};

use crate::process::{Files, OTHER, start_server};
use crate::service::{Service, connect};

#[test]
fn strangers_are_named_at_debug_and_counted_and_the_service_hears_nothing() {
    for verbose in [true, false] {
        let service = Service::tcp();
        let files = Files::new();
        let more: &[&str] = if verbose { &["--verbose"] } else { &[] };
        let mut server = start_server(&files, &service.address(), more);
        for (bytes, name) in [
            (
                &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
                "they look like TLS",
            ),
            (b"GET / HTTP/1.1\r\n\r\n", "they look like HTTP"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "they look like SSH"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY protocol"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "PROXY protocol"),
            (b"", "closed the connection"),
        ] {
            let mut stranger = connect(&server.address);
            stranger.write_all(bytes).unwrap();
            stranger.end();
            // The challenge, and then the end, or a reset because of bytes that nobody reads.
            let _ = stranger.read_to_end(&mut Vec::new());
            if verbose {
                server.logs(&["DEBUG", "127.0.0.1:", name]);
            }
        }
        server.stop();
        server.logs(&[
            "INFO",
            "strangers since the last such line; --verbose shows each refused=6 evicted=0",
        ]);
        let debug = server
            .lines()
            .iter()
            .filter(|line| line.contains("DEBUG"))
            .count();
        assert_eq!(debug, if verbose { 6 } else { 0 });
        assert!(
            service.try_accept().is_err(),
            "the service was connected to"
        );
    }
}

/// Logs in with this key id and a secret that is not its own.
pub fn refused(address: &str, id: &str) {
    let key = Key::new(OTHER).unwrap().with_id(id).unwrap();
    Client::new(key).connect_encrypted(address).unwrap_err();
}

#[test]
fn of_a_flood_of_unknown_key_ids_the_first_are_named_and_a_wrong_secret_is_always() {
    let files = Files::new();
    let mut server = start_server(&files, "127.0.0.1:1", &[]);
    for n in 0..100 {
        refused(&server.address, &format!("invented-{n}"));
    }
    refused(&server.address, "worker-7");
    let wrong = "wrong proof for key id \"worker-7\"";
    server.logs(&["WARN", wrong]);
    server.stop();
    let lines = server.lines();
    let named = |id: &str| lines.iter().filter(|line| line.contains(id)).count();
    assert_eq!(named("\"invented-"), 60);
    server.logs(&["INFO", "strangers since", "refused=40"]);
}

#[test]
fn more_handshakes_than_max_pending_are_evicted() {
    let files = Files::new();
    let server = start_server(&files, "127.0.0.1:1", &["--verbose", "--max-pending", "2"]);
    let _silent = [(); 5].map(|()| connect(&server.address));
    server.logs_times(3, &["DEBUG", "evicted"]);
}
