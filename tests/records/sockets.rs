//! Protected streams over sockets.

mod ends;
mod halves;
mod listener;
mod modes;
mod pair;
mod timeouts;
mod volume;
#[cfg(feature = "tokio")]
mod wakers;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use countersign::record;
use countersign::{Client, Server};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[cfg(feature = "tokio")]
use self::pair::duplex_protected;
use self::pair::{protected, sockets, tcp_ends};
use super::ends::failed;
use super::via::Via;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{key, tcp_pair};

#[test]
fn a_stream_that_is_dropped_without_being_closed_is_truncated_for_the_peer() {
    for via in Via::streams() {
        for closed in [true, false] {
            let (mut near, mut far) = tcp_ends(via, LONG);
            near.write_all(b"flushed").unwrap();
            near.flush().unwrap();
            near.write_all(b" and not flushed").unwrap();
            if closed {
                near.close().unwrap();
            }
            drop(near);
            let (received, ended) = far.read_to_end(100);
            assert_eq!(received, b"flushed and not flushed", "{via:?}");
            if closed {
                ended.unwrap();
            } else {
                assert_eq!(failed(ended), record::Error::Truncated);
            }
        }
    }
}

#[test]
fn a_dropped_reader_leaves_the_writer_open() {
    let (near, mut far) = protected(sockets(), LONG);
    let (reader, mut writer) = near.into_split();
    drop(reader);
    writer.write_all(b"hello").unwrap();
    writer.close().unwrap();
    let mut received = Vec::new();
    far.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"hello");
}

#[cfg(feature = "tokio")]
#[test]
fn shutdown_closes_a_stream_of_tokio() {
    for halves in [false, true] {
        block_on(async {
            let (mut near, mut far) = duplex_protected(64 * 1024).await;
            near.write_all(b"hello").await.unwrap();
            if halves {
                let (_reader, mut writer) = near.into_split();
                writer.shutdown().await.unwrap();
                writer.shutdown().await.unwrap();
            } else {
                near.shutdown().await.unwrap();
                near.shutdown().await.unwrap();
                drop(near);
            }
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            assert_eq!(received, b"hello");
        });
    }
}

/// Passes the three messages of a handshake on, and then flips a bit of what the client sends.
fn relay(client: &TcpStream, server: &TcpStream, bit: usize) {
    fn pass(mut from: &TcpStream, mut to: &TcpStream, len: usize) {
        let mut message = vec![0; len];
        from.read_exact(&mut message).unwrap();
        to.write_all(&message).unwrap();
    }
    pass(server, client, 40);
    pass(client, server, 73);
    pass(server, client, 33);
    let mut sent = Vec::new();
    (&mut &*client).read_to_end(&mut sent).unwrap();
    sent[bit / 8] ^= 1 << (bit % 8);
    (&mut &*server).write_all(&sent).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn a_relay_that_alters_application_data_is_detected_in_mode_1_and_not_in_mode_0() {
    const MESSAGE: &[u8] = b"pay 1 to Mallory";
    const ALTERED: &[u8] = b"pay 9 to Mallory";
    let bit = |start: usize| (start + 4) * 8 + 3;
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));

    // Mode 0: both ends are authentic, and the altered message arrives.
    let (near, relays_near) = tcp_pair();
    let (relays_far, far) = tcp_pair();
    thread::scope(|scope| {
        scope.spawn(move || relay(&relays_near, &relays_far, bit(0)));
        scope.spawn(|| {
            let _ = client.authenticate(&mut &near).unwrap();
            (&near).write_all(MESSAGE).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
        });
        let _ = server.authenticate(&mut &far).unwrap();
        let mut received = Vec::new();
        (&far).read_to_end(&mut received).unwrap();
        assert_eq!(received, ALTERED);
    });

    // Mode 1: both ends are authentic, and the altered message does not arrive.
    let (near, relays_near) = tcp_pair();
    let (relays_far, far) = tcp_pair();
    thread::scope(|scope| {
        scope.spawn(move || relay(&relays_near, &relays_far, bit(2)));
        scope.spawn(|| {
            let mut near = client.protect(near).unwrap();
            near.write_all(MESSAGE).unwrap();
            near.close().unwrap();
        });
        let mut far = server.protect(far).unwrap();
        let mut received = Vec::new();
        let ended = far.read_to_end(&mut received);
        assert_eq!(failed(ended), record::Error::BadTag);
        assert_eq!(received, b"");
    });
}

/// Enough for a handshake on a busy machine.
const HANDSHAKE: Duration = Duration::from_secs(2);

#[test]
fn the_timeout_of_the_handshake_does_not_stay_on_the_stream() {
    thread::scope(|scope| {
        for via in Via::streams() {
            scope.spawn(move || {
                let (mut near, mut far) = tcp_ends(via, HANDSHAKE);
                // The near end waits in a read while the timeout passes.
                let far = thread::spawn(move || {
                    thread::sleep(HANDSHAKE);
                    far.write_all(b"late").unwrap();
                    far.close().unwrap();
                    far.read_to_end(100)
                });
                let (received, ended) = near.read_to_end(100);
                ended.unwrap();
                assert_eq!(received, b"late", "{via:?}");
                near.write_all(b"later").unwrap();
                near.close().unwrap();
                let (received, ended) = far.join().unwrap();
                ended.unwrap();
                assert_eq!(received, b"later", "{via:?}");
            });
        }
    });
}
