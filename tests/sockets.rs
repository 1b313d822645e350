//! Connections over loopback, and how long a test waits for what it expects.

use std::io::{ErrorKind, Read};
#[cfg(feature = "tokio")]
use std::net::TcpListener;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A timeout that expires only where a test would hang.
pub const LONG: Duration = Duration::from_secs(20);

/// Waits for a condition that wakes nobody when it becomes true.
pub fn until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "the condition never became true");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Turns a socket into one of tokio, within a runtime.
#[cfg(feature = "tokio")]
pub fn over_tokio(socket: TcpStream) -> tokio::net::TcpStream {
    socket.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(socket).unwrap()
}

/// Turns a listening socket into one of tokio, within a runtime.
#[cfg(feature = "tokio")]
pub fn listener_over_tokio(socket: TcpListener) -> tokio::net::TcpListener {
    socket.set_nonblocking(true).unwrap();
    tokio::net::TcpListener::from_std(socket).unwrap()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Asserts that the peer has closed the connection. If it left bytes unread, that is a reset.
pub fn assert_closed(mut stream: &TcpStream) {
    let outcome = stream.read(&mut [0; 256]);
    let closed = match &outcome {
        Ok(read) => *read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(closed, "{outcome:?}");
}
