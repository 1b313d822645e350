//! Connections over loopback, and how long a test waits for what it expects.

use std::io::{ErrorKind, Read};
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
