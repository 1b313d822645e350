//! What an end in one mode makes of a peer in the other.

use std::net::TcpStream;
use std::thread;

use countersign::handshake::Incompatible;
use countersign::{Client, Error, Server};

use crate::failures::incompatible;
#[cfg(feature = "tokio")]
use crate::listener::running::runtime;
use crate::records::line::Line;
use crate::side::Side;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::sockets::over_tokio;
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Driver, Says, key, tcp_pair};

fn ends() -> (Client, Server<countersign::Key>) {
    (Client::new(key("ours")), Server::new(key("ours")))
}

/// How a client in one mode and a server in another fail.
fn meet(driver: Driver, client_mode: u8, server_mode: u8) -> (Error, Error) {
    let (near, far) = tcp_pair();
    let (client, server) = ends();
    match driver {
        Driver::Blocking => {
            // Each end closes its stream when it has failed.
            let client = move |stream: TcpStream| match client_mode {
                0 => client.authenticate_timeout(&stream, LONG).map(drop),
                _ => client.protect_timeout(stream, LONG).map(drop),
            };
            let server = move |stream: TcpStream| match server_mode {
                0 => server.authenticate_timeout(&stream, LONG).map(drop),
                _ => server.protect_timeout(stream, LONG).map(drop),
            };
            let server = thread::spawn(move || server(far).unwrap_err());
            (client(near).unwrap_err(), server.join().unwrap())
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => runtime().block_on(async {
            let client = countersign::tokio::Client::from(client);
            let server = countersign::tokio::Server::from(server);
            let [mut near, mut far] = [near, far].map(over_tokio);
            let client = async {
                match client_mode {
                    0 => {
                        let outcome = client.authenticate_timeout(&mut near, LONG).await;
                        drop(near);
                        outcome.map(drop)
                    }
                    _ => client.protect_timeout(near, LONG).await.map(drop),
                }
            };
            let server = async {
                match server_mode {
                    0 => server.authenticate_timeout(&mut far, LONG).await.map(drop),
                    _ => server.protect_timeout(far, LONG).await.map(drop),
                }
            };
            let (client, server) = tokio::join!(client, server);
            (client.unwrap_err(), server.unwrap_err())
        }),
    }
}

#[test]
fn ends_in_different_modes_refuse_each_other_and_name_the_modes() {
    for &driver in Driver::ALL {
        for (ours, theirs, names) in [
            (1, 0, ["protect (mode 1)", "authenticate (mode 0)"]),
            (0, 1, ["authenticate (mode 0)", "protect (mode 1)"]),
        ] {
            let (client, server) = meet(driver, ours, theirs);
            for (error, ours, theirs) in [(client, ours, theirs), (server, theirs, ours)] {
                let expected = Incompatible::Mode { ours, theirs };
                assert_eq!(incompatible(&error), Some(&expected), "{driver:?}");
                let sentence = error.to_string();
                assert!(
                    names.iter().all(|name| sentence.contains(name)),
                    "{sentence}"
                );
            }
        }
    }
}

#[test]
fn an_end_refuses_the_other_mode_at_the_header_and_only_a_client_then_says_its_own() {
    for &driver in Driver::ALL {
        for side in Side::BOTH {
            for mode in [0, 2, 255] {
                // Eight bytes and no more, so an end that awaits the rest fails otherwise.
                let (name, own_bytes) = match side {
                    Side::Client => (b"CSIGN1S", 8),
                    Side::Server => (b"CSIGN1C", 40),
                };
                let header = [name, &[mode][..]].concat();
                let (error, sent) = protect_over(driver, side, header);
                let expected = Incompatible::Mode {
                    ours: 1,
                    theirs: mode,
                };
                assert_eq!(incompatible(&error), Some(&expected), "{side:?}, {mode}");
                assert_eq!(sent, own_bytes, "{side:?}, {mode}");
            }
        }
    }
}

/// How an end in mode 1 fails with a peer that sends just this, and how many bytes it sent itself.
fn protect_over(driver: Driver, side: Side, says: Vec<u8>) -> (Error, usize) {
    let (client, server) = ends();
    let line = Line::to(Says(says));
    let outcome = match (driver, side) {
        (Driver::Blocking, Side::Client) => client.protect(line.clone()).map(drop),
        (Driver::Blocking, Side::Server) => server.protect(line.clone()).map(drop),
        #[cfg(feature = "tokio")]
        (Driver::Tokio, Side::Client) => {
            let client = countersign::tokio::Client::from(client);
            block_on(client.protect(line.clone())).map(drop)
        }
        #[cfg(feature = "tokio")]
        (Driver::Tokio, Side::Server) => {
            let server = countersign::tokio::Server::from(server);
            block_on(server.protect(line.clone())).map(drop)
        }
    };
    let sent = line.wire().written.len();
    (outcome.unwrap_err(), sent)
}
