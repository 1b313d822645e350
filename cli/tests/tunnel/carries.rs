//! What is carried, over which sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Files, Tunnel, start_client, start_server};
use crate::service::{Service, connect, echoes, exchange, pattern};

const LEN: usize = 6 * 1024 * 1024 + 11;

#[test]
fn large_transfers_arrive_unaltered_in_both_directions_at_once_over_any_sockets() {
    for (verb, unix) in [
        ("encrypt", false),
        ("protect", false),
        ("encrypt", true),
        ("protect", true),
    ] {
        let files = Files::new();
        let at = |name: &str| match unix {
            true => format!("unix:{}", files.path(name)),
            false => "127.0.0.1:0".into(),
        };
        let service = match unix {
            true => Service::unix(&files.path("service")),
            false => Service::tcp(),
        };
        let options = |listen| ["--verb", verb, "--listen", listen];
        let (public, plain) = (at("public"), at("plain"));
        let server = start_server(&files, &service.address(), &options(&public));
        let client = start_client(&files, &server.address, &options(&plain));

        let [up, down] = [1, 2].map(|seed| pattern(seed, LEN));
        let near = connect(&client.address);
        let far = service.accept();
        let expected = up.clone();
        let sending = down.clone();
        let far = thread::spawn(move || exchange(far, sending));
        assert!(exchange(near, up) == down, "{verb}, {unix}");
        assert!(far.join().unwrap() == expected, "{verb}, {unix}");

        let carried = format!("from_plain={LEN} to_plain={LEN}");
        server.logs(&["ended", "key_id=worker-7", &carried]);
        client.logs(&["ended", "key_id=worker-7", &carried]);
    }
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    let service = Service::tcp();
    let tunnel = Tunnel::to(&service.address());
    for client_ends_first in [true, false] {
        let near = connect(&tunnel.client.address);
        let far = service.accept();
        let (mut first, mut second) = match client_ends_first {
            true => (near, far),
            false => (far, near),
        };
        first.write_all(b"the question").unwrap();
        first.end();
        let mut question = String::new();
        second.read_to_string(&mut question).unwrap();
        assert_eq!(question, "the question");
        // Only after the end has arrived.
        second.write_all(b"the answer").unwrap();
        second.end();
        let mut answer = String::new();
        first.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "the answer");
    }
}

#[test]
fn small_messages_are_not_held_back() {
    let service = Service::tcp();
    let tunnel = Tunnel::to(&service.address());
    let mut near = TcpStream::connect(&tunnel.client.address).unwrap();
    near.set_nodelay(true).unwrap();
    let mut far = service.accept();
    let answering = thread::spawn(move || {
        while far.read_exact(&mut [0; 6]).is_ok() {
            far.write_all(b"answer").unwrap();
        }
    });
    let began = Instant::now();
    for _ in 0..100 {
        near.write_all(b"hel").unwrap();
        // So that the ends carry two pieces. A socket that held the second back until the first is
        // acknowledged would delay each answer by 40 ms.
        thread::sleep(Duration::from_millis(1));
        near.write_all(b"lo\n").unwrap();
        near.read_exact(&mut [0; 6]).unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    drop(near);
    answering.join().unwrap();
}

#[test]
fn a_service_that_does_not_read_bounds_what_the_ends_hold() {
    let service = Service::tcp();
    let tunnel = Tunnel::to(&service.address());
    let mut near = TcpStream::connect(&tunnel.client.address).unwrap();
    let mut far = service.accept();
    // Until nothing moves any more.
    near.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let data = pattern(3, 1 << 16);
    let mut sent = 0;
    let mut at = 0;
    while let Ok(n) = near.write(&data[at..]) {
        sent += n;
        at = (at + n) % data.len();
        assert!(sent < 1 << 28, "somebody holds all of it");
    }
    for end in [&tunnel.client, &tunnel.server] {
        assert!(end.peak_memory() < 32 << 20, "{}", end.peak_memory());
    }
    near.shutdown(std::net::Shutdown::Write).unwrap();
    let mut received = Vec::new();
    far.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
    assert!(
        received
            .chunks(data.len())
            .all(|chunk| chunk == &data[..chunk.len()])
    );
}

#[test]
fn the_service_is_told_the_address_and_the_key_id_of_the_client() {
    let service = Service::tcp();
    let tunnel = Tunnel::with(&service.address(), &[], &["--send-proxy"]);
    let mut near = connect(&tunnel.client.address);
    let mut far = service.accept();
    near.write_all(b"hello\n").unwrap();
    near.end();
    let mut received = Vec::new();
    far.read_to_end(&mut received).unwrap();

    let port = |address: &str| -> u16 { address.rsplit_once(':').unwrap().1.parse().unwrap() };
    let line = tunnel.server.logs(&["accepted"]);
    let (_, peer) = line.split_once("peer=").unwrap();
    let peer = port(peer.split_whitespace().next().unwrap());
    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x17\x7f\0\0\x01\x7f\0\0\x01".to_vec();
    expected.extend(peer.to_be_bytes());
    expected.extend(port(&tunnel.server.address).to_be_bytes());
    expected.extend(b"\xe0\0\x08worker-7hello\n");
    assert_eq!(
        received.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

#[test]
fn a_client_at_a_unix_socket_has_no_address_in_the_header() {
    let service = Service::tcp();
    let files = Files::new();
    let public = format!("unix:{}", files.path("public"));
    let options = ["--send-proxy", "--listen", &public];
    let server = start_server(&files, &service.address(), &options);
    let client = start_client(&files, &server.address, &[]);
    let near = connect(&client.address);
    near.end();
    let mut received = Vec::new();
    service.accept().read_to_end(&mut received).unwrap();
    assert_eq!(
        received,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x01\0\x0b\xe0\0\x08worker-7"
    );
}

#[test]
fn many_connections_at_once_are_not_mixed_up() {
    let tunnel = Tunnel::to(&Service::echo());
    thread::scope(|scope| {
        for seed in 0..40 {
            let address = &tunnel.client.address;
            scope.spawn(move || {
                let sent = pattern(seed, 100_000);
                assert!(exchange(connect(address), sent.clone()) == sent);
            });
        }
    });
    echoes(&mut *connect(&tunnel.client.address)).unwrap();
}
