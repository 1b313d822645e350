//! Protected streams over sockets: the two modes, a relay, deadlines, much data, and listeners.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use countersign::handshake::{Flight, Incompatible, Mode};
use countersign::record;
use countersign::{
    Client, Error, Event, ListenerOptions, Outcome, Phase, Protected, ProtectedListener, ReadHalf,
    Server, Timeouts, WriteHalf,
};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ends::{Line, SIDES, Side, failed};
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Says, key, tcp_pair};

/// For what would otherwise be waited for without end.
const TIME: Duration = Duration::from_secs(20);

// The two modes, and what an end in one of them says of the other.

#[test]
fn ends_in_different_modes_refuse_each_other() {
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
    let closed_for = |outcome: Error| {
        assert!(
            matches!(outcome, Error::Closed(Phase::Awaiting(Flight::Response))),
            "{outcome:?}"
        );
        let sentence = outcome.to_string();
        assert!(sentence.contains("another mode"), "{sentence}");
    };
    let refused = |outcome: Error, ours: Mode| {
        let theirs = u8::from(ours == Mode::Authenticate);
        let expected = Incompatible::Mode { ours, theirs };
        assert!(
            matches!(outcome, Error::Incompatible(incompatible) if incompatible == expected),
            "{outcome:?}"
        );
        let sentence = outcome.to_string();
        let (one, other) = match ours {
            Mode::Protect => ("Protect", "Authenticate"),
            Mode::Authenticate => ("Authenticate", "Protect"),
        };
        let named = format!("(the peer {other}, this end {one})");
        assert!(sentence.ends_with(&named), "{sentence}");
    };

    // A client that wants protection, and a server that gives none.
    let (near, far) = tcp_pair();
    let at_server = thread::scope(|scope| {
        let at_server = scope.spawn(|| server.authenticate_within(&far, TIME));
        refused(client.protect(near).unwrap_err(), Mode::Protect);
        at_server.join().unwrap()
    });
    closed_for(at_server.unwrap_err());

    // A client that wants none, and a server that gives it.
    let (near, far) = tcp_pair();
    let at_server = thread::scope(|scope| {
        let at_server = scope.spawn(|| server.protect_within(far, TIME));
        let at_client = client.authenticate_within(&near, TIME).unwrap_err();
        refused(at_client, Mode::Authenticate);
        drop(near);
        at_server.join().unwrap()
    });
    closed_for(at_server.unwrap_err());

    #[cfg(feature = "tokio")]
    block_on(async {
        let client = countersign::tokio::Client::from(client);
        let server = countersign::tokio::Server::from(server);
        let (near, mut far) = tokio::io::duplex(256);
        let (at_client, at_server) =
            tokio::join!(client.protect(near), server.authenticate(&mut far));
        refused(at_client.unwrap_err(), Mode::Protect);
        closed_for(at_server.unwrap_err());

        let (mut near, far) = tokio::io::duplex(256);
        let at_client = async {
            let outcome = client.authenticate(&mut near).await;
            drop(near);
            outcome
        };
        let (at_client, at_server) = tokio::join!(at_client, server.protect(far));
        refused(at_client.unwrap_err(), Mode::Authenticate);
        closed_for(at_server.unwrap_err());
    });
}

#[test]
fn an_end_refuses_the_other_mode_at_the_header_and_sends_nothing_then() {
    let challenge = |mode| [b"CSIGN1S", &[mode][..]].concat();
    let response = |mode| [b"CSIGN1C", &[mode][..]].concat();
    for side in SIDES {
        for mode in [0, 2, 255] {
            // Eight octets and no more: nothing behind them is waited for.
            let says = match side {
                Side::Client => challenge(mode),
                Side::Server => response(mode),
            };
            for outcome in protect_over(side, &says) {
                let (error, sent) = outcome;
                let expected = Incompatible::Mode {
                    ours: Mode::Protect,
                    theirs: mode,
                };
                assert!(
                    matches!(&error, Error::Incompatible(found) if *found == expected),
                    "{side:?}, {mode}: {error:?}"
                );
                let own_first_flight = match side {
                    Side::Client => 0,
                    Side::Server => 40,
                };
                assert_eq!(sent, own_first_flight, "{side:?}, {mode}");
            }
        }
    }
}

/// What each driver makes of a peer that says just this, and how many octets it sent.
fn protect_over(side: Side, says: &[u8]) -> Vec<(Error, usize)> {
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
    let mut outcomes = Vec::new();
    let line = Line::to(Says(says.to_vec()));
    let outcome = match side {
        Side::Client => client.protect(line.clone()),
        Side::Server => server.protect(line.clone()),
    };
    outcomes.push((outcome.unwrap_err(), line.wire().written.len()));
    #[cfg(feature = "tokio")]
    {
        let line = Line::to(Says(says.to_vec()));
        let outcome = match side {
            Side::Client => {
                block_on(countersign::tokio::Client::from(client).protect(line.clone()))
            }
            Side::Server => {
                block_on(countersign::tokio::Server::from(server).protect(line.clone()))
            }
        };
        outcomes.push((outcome.unwrap_err(), line.wire().written.len()));
    }
    outcomes
}

// Over sockets.

/// Two protected ends of a TCP connection.
fn tcp_protected() -> (Protected<TcpStream>, Protected<TcpStream>) {
    let (near, far) = tcp_pair();
    let client = thread::spawn(|| Client::new(key("ours")).protect_within(near, TIME).unwrap());
    let server = Server::new(key("ours")).protect_within(far, TIME).unwrap();
    (client.join().unwrap(), server)
}

#[cfg(feature = "tokio")]
type Duplex = countersign::tokio::Protected<tokio::io::DuplexStream>;

/// Two protected ends of a stream in memory.
#[cfg(feature = "tokio")]
async fn duplex_protected(room: usize) -> (Duplex, Duplex) {
    let client = countersign::tokio::Client::new(key("ours"));
    let server = countersign::tokio::Server::new(key("ours"));
    let (near, far) = tokio::io::duplex(room);
    tokio::try_join!(client.protect(near), server.protect(far)).unwrap()
}

#[test]
fn a_stream_that_is_dropped_without_being_closed_is_truncated_for_the_peer() {
    for closed in [true, false] {
        for halves in [false, true] {
            let (mut near, mut far) = tcp_protected();
            if halves {
                let (reader, mut writer) = near.split();
                // One half alone ends nothing.
                drop(reader);
                writer.write_all(b"flushed").unwrap();
                writer.flush().unwrap();
                writer.write_all(b" and not flushed").unwrap();
                if closed {
                    writer.close().unwrap();
                }
            } else {
                near.write_all(b"flushed").unwrap();
                near.flush().unwrap();
                near.write_all(b" and not flushed").unwrap();
                if closed {
                    near.close().unwrap();
                }
                drop(near);
            }
            let mut received = Vec::new();
            let ended = far.read_to_end(&mut received);
            if closed {
                assert_eq!(received, b"flushed and not flushed");
                ended.unwrap();
            } else {
                assert_eq!(received, b"flushed");
                assert_eq!(failed(ended), record::Error::Truncated);
            }
        }
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_stream_over_tokio_that_is_dropped_without_shutdown_is_truncated_for_the_peer() {
    for shut_down in [true, false] {
        block_on(async {
            let (mut near, mut far) = duplex_protected(64 * 1024).await;
            near.write_all(b"flushed").await.unwrap();
            near.flush().await.unwrap();
            near.write_all(b" and not flushed").await.unwrap();
            if shut_down {
                near.shutdown().await.unwrap();
                near.shutdown().await.unwrap();
            }
            drop(near);
            let mut received = Vec::new();
            let ended = far.read_to_end(&mut received).await;
            if shut_down {
                assert_eq!(received, b"flushed and not flushed");
                ended.unwrap();
            } else {
                assert_eq!(received, b"flushed");
                assert_eq!(failed(ended), record::Error::Truncated);
            }
        });
    }
}

/// Whoever passes the three flights of a handshake on, and then flips a bit of what the client
/// sends.
fn relay(client: &TcpStream, server: &TcpStream, flights: [usize; 3], bit: usize) {
    fn pass(mut from: &TcpStream, mut to: &TcpStream, len: usize) {
        let mut flight = vec![0; len];
        from.read_exact(&mut flight).unwrap();
        to.write_all(&flight).unwrap();
    }
    let [f1, f2, f3] = flights;
    pass(server, client, f1);
    pass(client, server, f2);
    pass(server, client, f3);
    let mut sent = Vec::new();
    (&mut &*client).read_to_end(&mut sent).unwrap();
    sent[bit / 8] ^= 1 << (bit % 8);
    (&mut &*server).write_all(&sent).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn a_relay_that_alters_what_follows_is_found_out_in_mode_1_and_not_in_mode_0() {
    const MESSAGE: &[u8] = b"pay 1 to Mallory";
    const ALTERED: &[u8] = b"pay 9 to Mallory";
    let bit = |start: usize| (start + 4) * 8 + 3;
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));

    // Mode 0: both ends are authentic, and what arrives is the relay's.
    let (near, relays_near) = tcp_pair();
    let (relays_far, far) = tcp_pair();
    thread::scope(|scope| {
        scope.spawn(move || relay(&relays_near, &relays_far, [40, 73, 33], bit(0)));
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

    // Mode 1: both ends are authentic, and nothing of it arrives.
    let (near, relays_near) = tcp_pair();
    let (relays_far, far) = tcp_pair();
    thread::scope(|scope| {
        scope.spawn(move || relay(&relays_near, &relays_far, [40, 73, 33], bit(2)));
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

/// Enough for a handshake on a machine that has other things to do.
const HANDSHAKE: Duration = Duration::from_secs(2);

#[test]
fn the_deadline_of_the_handshake_does_not_stay_on_the_stream() {
    let former = Some(Duration::from_secs(60));
    let (near, far) = tcp_pair();
    near.set_read_timeout(former).unwrap();
    let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut far = server.protect_within(far, HANDSHAKE).unwrap();
            // While the other end reads, its time is over.
            thread::sleep(HANDSHAKE);
            far.write_all(b"late").unwrap();
            far.close().unwrap();
            let mut received = Vec::new();
            far.read_to_end(&mut received).unwrap();
            assert_eq!(received, b"later");
        });
        let mut near = client.protect_within(near, HANDSHAKE).unwrap();
        assert_eq!(near.read_timeout().unwrap(), former);
        assert_eq!(near.write_timeout().unwrap(), None);
        let mut received = Vec::new();
        near.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"late");
        near.write_all(b"later").unwrap();
        near.close().unwrap();
    });
}

#[cfg(feature = "tokio")]
#[test]
fn the_deadline_of_the_handshake_does_not_stay_on_the_stream_of_tokio() {
    let client = countersign::tokio::Client::new(key("ours"));
    let server = countersign::tokio::Server::new(key("ours"));
    block_on(async {
        let (near, far) = tokio::io::duplex(64);
        let (mut near, mut far) = tokio::try_join!(
            client.protect_within(near, HANDSHAKE),
            server.protect_within(far, HANDSHAKE),
        )
        .unwrap();
        let mut received = Vec::new();
        let talk = async {
            tokio::time::sleep(HANDSHAKE).await;
            far.write_all(b"late").await.unwrap();
            far.close().await.unwrap();
        };
        let ((), ended) = tokio::join!(talk, near.read_to_end(&mut received));
        ended.unwrap();
        assert_eq!(received, b"late");
    });
}

#[test]
fn a_timeout_of_the_socket_below_loses_nothing() {
    let (mut near, mut far) = tcp_protected();
    near.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let error = near.read(&mut [0; 8]).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    far.write_all(b"late").unwrap();
    far.close().unwrap();
    near.set_read_timeout(None).unwrap();
    let mut received = Vec::new();
    near.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"late");
}

/// Octets that depend on all those before them, and their checksum.
struct Octets {
    state: u64,
    sum: u64,
}

impl Octets {
    fn new() -> Self {
        Self { state: 1, sum: 0 }
    }

    /// The next octets; their number is a multiple of eight.
    fn fill(&mut self, buf: &mut [u8]) {
        for word in buf.as_chunks_mut::<8>().0 {
            self.state = (self.state)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *word = self.state.to_ne_bytes();
        }
        self.add(buf);
    }

    /// Counts these octets in. What is swapped changes the sum as what is altered does.
    fn add(&mut self, buf: &[u8]) {
        for word in buf.as_chunks::<8>().0 {
            self.sum = self.sum.rotate_left(5) ^ u64::from_ne_bytes(*word);
        }
    }
}

/// Far more than any buffer on the way has room for, and little enough for a build without
/// optimisation: 64 MiB in both directions together. The bench `records` does the same with a
/// gigabyte in one.
const EACH_WAY: usize = 32 << 20;

/// What is written and read at a time; neither is a multiple of a record's payload.
const WRITTEN: usize = 40_000;
const READ: usize = 65_536;

#[test]
fn sixty_four_mebibytes_arrive_unaltered_half_of_them_each_way_at_once() {
    fn send(mut writer: WriteHalf<TcpStream>) -> u64 {
        let mut octets = Octets::new();
        let mut buf = vec![0; WRITTEN];
        let mut left = EACH_WAY;
        while left > 0 {
            let piece = left.min(WRITTEN);
            octets.fill(&mut buf[..piece]);
            writer.write_all(&buf[..piece]).unwrap();
            left -= piece;
        }
        writer.close().unwrap();
        octets.sum
    }

    fn receive(mut reader: ReadHalf<TcpStream>) -> (usize, u64) {
        let mut octets = Octets::new();
        let mut buf = vec![0; READ];
        let mut len = 0;
        loop {
            // Whole words, as they were summed where they came from.
            let mut filled = 0;
            while filled < READ {
                match reader.read(&mut buf[filled..]).unwrap() {
                    0 => break,
                    n => filled += n,
                }
            }
            if filled == 0 {
                return (len, octets.sum);
            }
            octets.add(&buf[..filled]);
            len += filled;
        }
    }

    let (near, far) = tcp_protected();
    let ((near_reader, near_writer), (far_reader, far_writer)) = (near.split(), far.split());
    thread::scope(|scope| {
        let sent = [near_writer, far_writer].map(|writer| scope.spawn(|| send(writer)));
        let received = [far_reader, near_reader].map(|reader| scope.spawn(|| receive(reader)));
        for (sent, received) in sent.into_iter().zip(received) {
            let sum = sent.join().unwrap();
            assert_eq!(received.join().unwrap(), (EACH_WAY, sum));
        }
    });
}

#[cfg(feature = "tokio")]
#[test]
fn eight_mebibytes_arrive_unaltered_over_tokio() {
    const LEN: usize = 8 << 20;

    block_on(async {
        // Less room than a record has, so that each waits half-way.
        let (mut near, mut far) = duplex_protected(10_000).await;
        let sending = async {
            let mut octets = Octets::new();
            let mut buf = vec![0; LEN / 128];
            for _ in 0..128 {
                octets.fill(&mut buf);
                near.write_all(&buf).await.unwrap();
            }
            near.close().await.unwrap();
            octets.sum
        };
        let receiving = async {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            received
        };
        let (sum, received) = tokio::join!(sending, receiving);
        let mut octets = Octets::new();
        octets.add(&received);
        assert_eq!((received.len(), octets.sum), (LEN, sum));
    });
}

// Listeners.

/// Options whose hook says how each connection ended.
fn observed() -> (ListenerOptions, Receiver<String>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let options = ListenerOptions::new()
        .deadline(TIME)
        .on_event(move |event: &Event| {
            if let Outcome::Refused(error) = &event.outcome {
                // Nobody listens any more where the test is over.
                let _ = sender.lock().unwrap().send(error.to_string());
            }
        });
    (options, receiver)
}

#[test]
fn a_protected_listener_hands_over_protected_streams_and_refuses_other_clients() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (options, refused) = observed();
    let ours = key("ours").with_id("worker-7").unwrap();
    let server = Server::new(ours.clone());
    let listener = ProtectedListener::with_options(socket, server, options).unwrap();
    let client = Client::new(ours);

    let stream = TcpStream::connect(address).unwrap();
    let error = client.authenticate_within(&stream, TIME).unwrap_err();
    assert!(
        matches!(error, Error::Incompatible(Incompatible::Mode { .. })),
        "{error:?}"
    );
    drop(stream);
    let sentence = refused.recv_timeout(TIME).unwrap();
    assert!(sentence.contains("another mode"), "{sentence}");

    // One that answers in mode 0 all the same.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"CSIGN1C\0").unwrap();
    let sentence = refused.recv_timeout(TIME).unwrap();
    assert!(
        sentence.ends_with("(the peer Authenticate, this end Protect)"),
        "{sentence}"
    );
    drop(stream);

    let stream = TcpStream::connect(address).unwrap();
    let client = thread::spawn(move || {
        let mut stream = client.protect_within(stream, TIME).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.close().unwrap();
        let mut echo = String::new();
        stream.read_to_string(&mut echo).unwrap();
        echo
    });
    let mut stream: Protected<TcpStream> = listener.accept().unwrap();
    assert_eq!(stream.session().key_id(), "worker-7");
    assert_eq!(stream.read_timeout().unwrap(), None);
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    stream.write_all(&received).unwrap();
    stream.close().unwrap();
    assert_eq!(client.join().unwrap(), "hello");

    listener.shutdown();
    assert!(listener.accept().is_err());
}

#[cfg(feature = "tokio")]
#[test]
fn a_protected_listener_of_tokio_hands_over_protected_streams_and_refuses_other_clients() {
    use std::time::Instant;

    use countersign::tokio::{Client, ProtectedListener, Server};
    use tokio::net::{TcpListener, TcpStream};

    block_on(async {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (options, refused) = observed();
        let ours = key("ours").with_id("worker-7").unwrap();
        let server = Server::new(ours.clone());
        let listener = ProtectedListener::with_options(socket, server, options).unwrap();
        let client = Client::new(ours);

        // The hook runs on this thread too, so it has to be let run until it has spoken.
        let spoken = async || {
            let until = Instant::now() + TIME;
            loop {
                match refused.try_recv() {
                    Ok(sentence) => return sentence,
                    Err(_) => assert!(Instant::now() < until, "nobody was refused"),
                }
                tokio::task::yield_now().await;
            }
        };

        let mut stream = TcpStream::connect(address).await.unwrap();
        let error = client.authenticate(&mut stream).await.unwrap_err();
        assert!(
            matches!(error, Error::Incompatible(Incompatible::Mode { .. })),
            "{error:?}"
        );
        drop(stream);
        let sentence = spoken().await;
        assert!(sentence.contains("another mode"), "{sentence}");

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"CSIGN1C\0").await.unwrap();
        let sentence = spoken().await;
        assert!(
            sentence.ends_with("(the peer Authenticate, this end Protect)"),
            "{sentence}"
        );
        drop(stream);

        let talk = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = client.protect_within(stream, TIME).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.close().await.unwrap();
            let mut echo = String::new();
            stream.read_to_string(&mut echo).await.unwrap();
            echo
        };
        let serve = async {
            let stream = listener.accept().await.unwrap();
            assert_eq!(stream.session().key_id(), "worker-7");
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let (echo, ()) = tokio::join!(talk, serve);
        assert_eq!(echo, "hello");

        listener.shutdown();
        assert!(listener.accept().await.is_err());
    });
}
