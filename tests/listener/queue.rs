//! How many clients may wait until a listener accepts them.

use std::net::{SocketAddr, TcpStream};

use countersign::{Listener, Server};

use super::clients::log_in;
#[cfg(feature = "tokio")]
use super::running::runtime;
use super::running::{ring, worker};
use crate::sockets::LONG;
use crate::support::Driver;

/// The streams that may wait to be taken by default. While that many wait, a listener does not accept.
const READY: usize = 128;
/// More than fit into the queue that a socket has otherwise.
const CLIENTS: usize = 200;

/// Binds a port, and returns what ends the listener when it is dropped.
fn bind(driver: Driver) -> (SocketAddr, Box<dyn Send>) {
    let server = Server::new(ring());
    match driver {
        Driver::Blocking => {
            let listener = Listener::bind("127.0.0.1:0", server).unwrap();
            (listener.local_addr().unwrap(), Box::new(listener))
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let bound = countersign::tokio::Listener::bind("127.0.0.1:0", server.into());
            let listener = runtime().block_on(bound).unwrap();
            (listener.local_addr().unwrap(), Box::new(listener))
        }
    }
}

#[test]
fn clients_wait_in_the_long_queue_of_a_port_that_is_bound() {
    for &driver in Driver::ALL {
        let (address, _listener) = bind(driver);
        for nth in 0..READY {
            log_in(address, &worker(nth)).unwrap();
        }
        let connect = |_| TcpStream::connect_timeout(&address, LONG).unwrap();
        let waiting: Vec<_> = (0..CLIENTS).map(connect).collect();
        drop(waiting);
    }
}

#[cfg(unix)]
#[test]
fn clients_wait_in_the_long_queue_of_a_path_that_is_bound() {
    use super::sharing;
    use crate::support::TempDir;

    let directory = TempDir::new();
    for &driver in Driver::ALL {
        let path = directory.path().join(format!("{driver:?}"));
        let _listener = sharing::bind(driver, &path).unwrap();
        for nth in 0..READY {
            let client = countersign::Client::new(worker(nth)).connect_timeout(LONG);
            client.connect_unix(&path).unwrap();
        }
        let address = socket2::SockAddr::unix(&path).unwrap();
        let connect = |_| {
            let domain = socket2::Domain::UNIX;
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            // In blocking mode it would wait for a place in the queue.
            socket.set_nonblocking(true).unwrap();
            socket.connect(&address).unwrap();
            socket
        };
        let waiting: Vec<_> = (0..CLIENTS).map(connect).collect();
        drop(waiting);
    }
}
