//! The functions with a timeout: a whole handshake, in both drivers.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::Message;
use countersign::{Client, Error, Server, Session};

use super::{challenge, response, timed_out_awaiting};
use crate::side::Side;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::sockets::over_tokio;
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Driver, key, tcp_pair};

/// Runs one side over one end of a connection. Also returns how long it took.
fn authenticate_timeout(
    driver: Driver,
    side: Side,
    stream: &TcpStream,
    timeout: Duration,
) -> (Result<Session, Error>, Duration) {
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
    let began = Instant::now();
    let outcome = match (driver, side) {
        (Driver::Blocking, Side::Client) => client.authenticate_timeout(stream, timeout),
        (Driver::Blocking, Side::Server) => server.authenticate_timeout(stream, timeout),
        #[cfg(feature = "tokio")]
        (Driver::Tokio, _) => block_on(async {
            let mut stream = over_tokio(stream.try_clone().unwrap());
            let client = countersign::tokio::Client::from(client);
            let server = countersign::tokio::Server::from(server);
            match side {
                Side::Client => client.authenticate_timeout(&mut stream, timeout).await,
                Side::Server => server.authenticate_timeout(&mut stream, timeout).await,
            }
        }),
    };
    (outcome, began.elapsed())
}

#[test]
fn a_handshake_with_a_timeout_ends_at_it_and_names_the_message_awaited() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    const DRIP: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(1);

    let (challenge, response) = (challenge(), response());
    let verdict = [&b"A"[..], &[0x33; 32]].concat();
    // What is sent at once, what is then sent byte by byte, and the message that is awaited.
    let rows: [(Side, &[u8], &[u8], Message); 6] = [
        (Side::Client, b"", b"", Message::CHALLENGE),
        (Side::Client, b"", &challenge, Message::CHALLENGE),
        (Side::Client, &challenge, b"", Message::VERDICT),
        (Side::Client, &challenge, &verdict, Message::VERDICT),
        (Side::Server, b"", b"", Message::RESPONSE),
        (Side::Server, b"", &response, Message::RESPONSE),
    ];
    for &driver in Driver::ALL {
        thread::scope(|scope| {
            for (side, at_once, dripping, awaited) in rows {
                scope.spawn(move || {
                    let (near, mut far) = tcp_pair();
                    far.write_all(at_once).unwrap();
                    let run = move || authenticate_timeout(driver, side, &near, TIMEOUT);
                    let run = thread::spawn(run);
                    for byte in dripping {
                        if run.is_finished() || far.write_all(&[*byte]).is_err() {
                            break;
                        }
                        thread::sleep(DRIP);
                    }
                    let (outcome, took) = run.join().unwrap();
                    timed_out_awaiting(awaited, &outcome);
                    let range = TIMEOUT..TIMEOUT + LATE;
                    assert!(range.contains(&took), "{driver:?}, {side:?}: {took:?}");
                });
            }
        });
    }
}

#[test]
fn a_handshake_with_enough_time_succeeds() {
    for &driver in Driver::ALL {
        for timeout in [Duration::MAX, LONG] {
            let (near, far) = tcp_pair();
            let server = thread::spawn(move || {
                let (server, _) = authenticate_timeout(driver, Side::Server, &far, timeout);
                server.unwrap()
            });
            let (client, _) = authenticate_timeout(driver, Side::Client, &near, timeout);
            assert_eq!(client.unwrap().key_id(), server.join().unwrap().key_id());
        }
    }
}
