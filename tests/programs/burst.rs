//! Many clients at once, at a server that is too busy to accept them.

use std::net::TcpStream;
use std::time::Duration;

use super::process::Server;
use super::{Files, SERVERS};

/// More than fit into the queue that a socket has otherwise.
const BURST: usize = 300;
/// A client that finds no place in the queue tries again after a second.
const AT_ONCE: Duration = Duration::from_millis(900);

#[test]
fn a_burst_waits_in_the_queue_of_each_server() {
    let files = Files::new();
    let key = &files.key("key");
    let mut servers: Vec<_> = SERVERS.iter().map(|&name| (name, "native")).collect();
    servers.push(("proxy_echo_server", "native"));
    servers.push(("echo_server", "cookbook"));
    #[cfg(feature = "multiprocessing")]
    servers.push(("echo_server", "multiprocessing"));
    for (name, wire) in servers {
        assert_queues(Server::start(name, ["--key-file", key, "--wire", wire]));
    }
    #[cfg(feature = "multiprocessing")]
    assert_queues(Server::start("python_clients", ["--key-file", key]));
}

fn assert_queues(server: Server) {
    let address = server.address.parse().unwrap();
    server.signal("STOP");
    let burst = [(); BURST].map(|()| TcpStream::connect_timeout(&address, AT_ONCE).unwrap());
    drop((burst, server));
}
