//! Connections after a call that did not receive or send a whole message.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use countersign::compat::multiprocessing::{Connection, KnowsAuthkey};

use super::{Far, framed};
use crate::side::Side;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Act, Driver, Says, Wire, tcp_pair};

fn knows() -> KnowsAuthkey {
    let mut wire = Far::opposite(Side::Client).wire();
    Side::Client.run(Driver::Blocking, &mut wire).unwrap()
}

/// A connection of either driver, for more than one call.
trait Calls {
    fn send(&mut self, message: &[u8]) -> io::Result<()>;
    fn receive(&mut self, max: usize) -> io::Result<Option<Vec<u8>>>;
    fn wire(&self) -> &Wire;
}

impl Calls for Connection<Wire> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.send_bytes(message)
    }

    fn receive(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        self.recv_bytes(max)
    }

    fn wire(&self) -> &Wire {
        self.get_ref()
    }
}

#[cfg(feature = "tokio")]
impl Calls for countersign::tokio::multiprocessing::Connection<Wire> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        block_on(self.send_bytes(message))
    }

    fn receive(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        block_on(self.recv_bytes(max))
    }

    fn wire(&self) -> &Wire {
        self.get_ref()
    }
}

fn connection(driver: Driver, wire: Wire) -> Box<dyn Calls> {
    match driver {
        Driver::Blocking => Box::new(Connection::new(wire, knows())),
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            use countersign::tokio::multiprocessing::Connection;
            Box::new(Connection::new(wire, knows()))
        }
    }
}

/// Moves what is left up to `at`, does `act` once, and then moves everything.
fn once_at(at: usize, act: Act) -> Box<dyn FnMut(usize) -> Act + Send> {
    let mut acted = false;
    Box::new(move |done| match done {
        _ if done < at => Act::Move(at - done),
        _ if acted => Act::Move(usize::MAX),
        _ => {
            acted = true;
            act
        }
    })
}

const TIMEOUTS: [ErrorKind; 2] = [ErrorKind::WouldBlock, ErrorKind::TimedOut];

#[track_caller]
fn assert_dead(connection: &mut dyn Calls) {
    let (read, written) = (connection.wire().read, connection.wire().written.len());
    for _ in 0..2 {
        let errors = [
            connection.receive(100).unwrap_err(),
            connection.send(b"another").unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
            assert!(error.to_string().contains("drop it"), "{error}");
        }
    }
    assert_eq!(connection.wire().read, read);
    assert_eq!(connection.wire().written.len(), written);
}

/// The header in the long form, which CPython gives a message of 2 GiB and more.
fn framed_long(message: &[u8]) -> Vec<u8> {
    let len = (message.len() as u64).to_be_bytes();
    [&(-1_i32).to_be_bytes()[..], &len, message].concat()
}

#[test]
fn a_timeout_at_any_byte_of_a_message_keeps_it_for_the_next_call() {
    for &driver in Driver::ALL {
        for kind in TIMEOUTS {
            for first in [framed(b"hello"), framed_long(b"hello"), framed(b"")] {
                for at in 0..first.len() {
                    let mut wire = Wire::to(Says([first.clone(), framed(b"next")].concat()));
                    wire.on_read = once_at(at, Act::Fail(kind));
                    let mut connection = connection(driver, wire);
                    assert_eq!(connection.receive(5).unwrap_err().kind(), kind);
                    // Sending does not disturb it.
                    connection.send(b"meanwhile").unwrap();
                    let message = connection.receive(5).unwrap().unwrap();
                    assert_eq!(framed(&message)[4..], first[first.len() - message.len()..]);
                    assert_eq!(connection.receive(5).unwrap().unwrap(), b"next");
                    assert_eq!(connection.wire().written, framed(b"meanwhile"));
                }
            }
        }
    }
}

#[test]
fn the_limit_of_the_next_call_is_the_limit_of_what_has_begun() {
    for &driver in Driver::ALL {
        for (at, before) in [(2, "the header"), (6, "the message")] {
            let mut wire = Wire::to(Says(framed(b"hello")));
            wire.on_read = once_at(at, Act::Fail(ErrorKind::TimedOut));
            let mut connection = connection(driver, wire);
            connection.receive(5).unwrap_err();
            let error = connection.receive(4).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "within {before}");
            assert_dead(&mut *connection);
        }
    }
}

#[test]
fn any_other_failure_of_a_receive_is_the_end() {
    for &driver in Driver::ALL {
        for at in 0..9 {
            for act in [Act::Nothing, Act::Fail(ErrorKind::ConnectionReset)] {
                let mut wire = Wire::to(Says([framed(b"hello"), framed(b"next")].concat()));
                wire.on_read = once_at(at, act);
                let mut connection = connection(driver, wire);
                // The end of the stream before a message is no failure.
                if (at, act) == (0, Act::Nothing) {
                    assert_eq!(connection.receive(100).unwrap(), None);
                    connection.send(b"an answer").unwrap();
                    continue;
                }
                connection.receive(100).unwrap_err();
                assert_dead(&mut *connection);
            }
        }
        for bytes in [framed(vec![7; 101]), (-2_i32).to_be_bytes().to_vec()] {
            let mut connection = connection(driver, Wire::to(Says(bytes)));
            let error = connection.receive(100).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_dead(&mut *connection);
        }
    }
}

#[test]
fn a_send_that_fails_within_a_message_is_the_end() {
    for &driver in Driver::ALL {
        let long = vec![7; 20_000];
        for (message, at) in [
            (&b"hello"[..], 1),
            (b"hello", 4),
            (b"hello", 8),
            (&long, 1),
            (&long, 4),
            (&long, 20_003),
        ] {
            let kinds = TIMEOUTS.map(Act::Fail);
            for act in kinds
                .into_iter()
                .chain([Act::Nothing, Act::Fail(ErrorKind::BrokenPipe)])
            {
                let mut wire = Wire::to(Says(framed(b"hello")));
                wire.on_write = once_at(at, act);
                let mut connection = connection(driver, wire);
                connection.send(message).unwrap_err();
                assert_eq!(connection.wire().written.len(), at);
                assert_dead(&mut *connection);
            }
        }
    }
}

#[test]
fn a_send_that_times_out_before_a_message_may_be_repeated() {
    for &driver in Driver::ALL {
        for kind in TIMEOUTS {
            let mut wire = Wire::to(Says(framed(b"hello")));
            wire.on_write = once_at(0, Act::Fail(kind));
            let mut connection = connection(driver, wire);
            assert_eq!(connection.send(b"one").unwrap_err().kind(), kind);
            connection.send(b"two").unwrap();
            assert_eq!(connection.wire().written, framed(b"two"));
            assert_eq!(connection.receive(5).unwrap().unwrap(), b"hello");
        }
    }
}

#[test]
fn the_timeout_of_a_receive_is_its_total_and_loses_nothing() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    const DRIP: Duration = Duration::from_millis(100);

    let (near, mut far) = tcp_pair();
    far.set_nodelay(true).unwrap();
    let dripping = thread::spawn(move || {
        for byte in framed(b"hello") {
            far.write_all(&[byte]).unwrap();
            thread::sleep(DRIP);
        }
        far.write_all(&framed(b"next")).unwrap();
        far
    });
    let mut connection = Connection::new(near, knows());
    connection.set_read_timeout(Some(TIMEOUT));
    let mut timeouts = 0;
    let message = loop {
        let began = Instant::now();
        match connection.recv_bytes(100) {
            Ok(message) => break message,
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
        assert!(
            (TIMEOUT..2 * TIMEOUT).contains(&began.elapsed()),
            "{began:?}"
        );
        timeouts += 1;
    };
    assert_eq!(message.unwrap(), b"hello");
    assert!(timeouts > 0);

    connection.set_read_timeout(Some(LONG));
    assert_eq!(connection.recv_bytes(100).unwrap().unwrap(), b"next");
    connection.set_read_timeout(None);
    drop(dripping.join().unwrap());
    assert_eq!(connection.recv_bytes(100).unwrap(), None);
}

#[cfg(feature = "tokio")]
#[test]
fn a_receive_that_is_dropped_loses_nothing_and_a_send_within_a_message_is_the_end() {
    use countersign::tokio::multiprocessing::Connection;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(20);

    block_on(async {
        let (near, mut far) = duplex(8);
        let mut connection = Connection::new(near, knows());
        let bytes = framed(b"hello");
        for byte in &bytes[..bytes.len() - 1] {
            far.write_all(&[*byte]).await.unwrap();
            let dropped = timeout(SOON, connection.recv_bytes(5)).await;
            assert!(dropped.is_err(), "{dropped:?}");
        }
        far.write_all(b"o").await.unwrap();
        let message = connection.recv_bytes(5).await.unwrap();
        assert_eq!(message.unwrap(), b"hello");

        // As much as fits is sent at once, and the rest waits.
        let dropped = timeout(SOON, connection.send_bytes(b"a long message")).await;
        assert!(dropped.is_err(), "{dropped:?}");
        far.read_exact(&mut [0; 8]).await.unwrap();
        far.write_all(&framed(b"next")).await.unwrap();
        for _ in 0..2 {
            let error = connection.send_bytes(b"another").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            let error = connection.recv_bytes(5).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
        drop(connection);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    });
}
