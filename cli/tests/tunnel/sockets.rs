//! The sockets of both ends: their modes, options, queues and peers.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use crate::process::{Files, OTHER, PATIENCE, Tunnel, start_client, start_server};
use crate::service::{Service, connect};

#[test]
fn a_unix_socket_is_for_its_own_user_alone() {
    let files = Files::new();
    let [plain, public] = ["plain", "public"].map(|name| files.path(name));
    let at = |path: &str| format!("unix:{path}");
    let server = start_server(&files, &Service::echo(), &["--listen", &at(&public)]);
    let _client = start_client(&files, &server.address, &["--listen", &at(&plain)]);
    for path in [plain, public] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}: {mode:o}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_with_a_wrong_key_at_a_unix_socket_is_logged_with_its_user_and_its_process() {
    let files = Files::new();
    let listen = format!("unix:{}", files.path("public"));
    let server = start_server(&files, &Service::echo(), &["--listen", &listen]);
    files.write("keys/worker-7.key", OTHER);
    let client = start_client(&files, &server.address, &[]);
    let _ = connect(&client.address).read(&mut [0]);
    let uid = rustix::process::getuid().as_raw();
    let process = format!(" uid {uid}, pid {} ", client.id());
    server.logs(&["WARN", &process, "refused: the client is not authentic"]);
}

/// Returns a Unix socket whose queue is full, and the connections that are in it.
fn full(path: &str) -> (Service, Vec<OwnedFd>) {
    let service = Service::unix(path);
    let Service::Unix(listener, _) = &service else {
        unreachable!()
    };
    rustix::net::listen(listener, 1).unwrap();
    let address = SocketAddrUnix::new(path).unwrap();
    let mut queued = Vec::new();
    loop {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::io::ioctl_fionbio(&socket, true).unwrap();
        if rustix::net::connect(&socket, &address).is_err() {
            return (service, queued);
        }
        queued.push(socket);
    }
}

/// Other systems refuse the connection.
#[cfg(target_os = "linux")]
#[test]
fn a_connection_waits_for_a_place_in_the_queue_of_a_unix_service() {
    let files = Files::new();
    let (service, queued) = full(&files.path("service"));
    let tunnel = Tunnel::to(&service.address());
    let mut near = connect(&tunnel.client.address);
    tunnel.server.logs(&["INFO", "accepted"]);
    // It would be cut at once.
    near.wait_at_most(Duration::from_millis(500));
    let nothing = near.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(nothing, Err(ErrorKind::WouldBlock));
    for _ in queued {
        service.accept();
    }
    near.write_all(b"up").unwrap();
    service.accept().read_exact(&mut [0; 2]).unwrap();
}

/// The local and remote ports of connections of TCP, each with the kind of its timer and the seconds
/// until that fires.
#[cfg(target_os = "linux")]
fn timers() -> Vec<([u16; 2], String, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| {
        let fields: Vec<_> = row.split_whitespace().collect();
        let port = |address: &str| {
            let (_, port) = address.split_once(':').unwrap();
            u16::from_str_radix(port, 16).unwrap()
        };
        let (kind, ticks) = fields[5].split_once(':').unwrap();
        let ticks = u64::from_str_radix(ticks, 16).unwrap();
        ([port(fields[1]), port(fields[2])], kind.into(), ticks / 100)
    });
    rows.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_vanishes_is_probed_after_a_minute_on_all_four_sockets() {
    const KEEPALIVE: &str = "02";

    let service = Service::tcp();
    let tunnel = Tunnel::to(&service.address());
    let mut near = connect(&tunnel.client.address);
    let mut far = service.accept();
    near.write_all(b"up").unwrap();
    far.read_exact(&mut [0; 2]).unwrap();
    let port = |address: &str| -> u16 { address.rsplit_once(':').unwrap().1.parse().unwrap() };
    let [plain, public] = [&tunnel.client, &tunnel.server].map(|end| port(&end.address));
    let service = port(&service.address());
    // Where the sockets are that accept, and then those that connect.
    for (index, port) in [(0, plain), (0, public), (1, public), (1, service)] {
        // A timer for what is not acknowledged yet comes first.
        let is_probed = || {
            let timers = timers();
            let mut found = timers.iter().filter(|(ports, ..)| ports[index] == port);
            found.any(|(_, kind, seconds)| kind == KEEPALIVE && (30..=60).contains(seconds))
        };
        let end = Instant::now() + PATIENCE;
        while !is_probed() {
            assert!(Instant::now() < end, "{index}: {:?}", timers());
            thread::yield_now();
        }
    }
}
