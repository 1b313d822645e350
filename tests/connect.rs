//! Clients that connect and authenticate in one call.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use countersign::handshake::Message;
use countersign::{Client, Deadline, Error, KeyId, Listener, Phase, Server};
use socket2::{Domain, Socket, Type};
#[cfg(unix)]
use {socket2::SockAddr, std::thread};

use crate::failures::is_denied;
use crate::identity::key_of;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Driver, key};

/// How much later than its deadline a call may end.
const LATE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Authenticate,
    Protect,
    #[cfg(feature = "encrypt")]
    Encrypt,
}

const VERBS: &[Verb] = &[
    Verb::Authenticate,
    Verb::Protect,
    #[cfg(feature = "encrypt")]
    Verb::Encrypt,
];

fn worker() -> Client {
    Client::new(key_of("ours", "worker-7")).connect_timeout(LONG)
}

/// Connects to one of these addresses. Returns the key id, and whether `TCP_NODELAY` is set.
fn connect(
    driver: Driver,
    verb: Verb,
    client: &Client,
    to: &[SocketAddr],
) -> Result<(KeyId, bool), Error> {
    match driver {
        Driver::Blocking => match verb {
            Verb::Authenticate => {
                let (stream, session) = client.connect(to)?;
                // It blocks, and has no timeout of its own.
                assert_eq!(stream.read_timeout().unwrap(), None);
                assert_eq!(stream.write_timeout().unwrap(), None);
                Ok((*session.key_id(), stream.nodelay().unwrap()))
            }
            Verb::Protect => {
                let stream = client.connect_protected(to)?;
                Ok((*stream.session().key_id(), true))
            }
            #[cfg(feature = "encrypt")]
            Verb::Encrypt => {
                let stream = client.connect_encrypted(to)?;
                Ok((*stream.session().key_id(), true))
            }
        },
        #[cfg(feature = "tokio")]
        Driver::Tokio => block_on(async {
            let client = countersign::tokio::Client::from(client.clone());
            match verb {
                Verb::Authenticate => {
                    let (stream, session) = client.connect(to).await?;
                    Ok((*session.key_id(), stream.nodelay().unwrap()))
                }
                Verb::Protect => {
                    let stream = client.connect_protected(to).await?;
                    Ok((*stream.session().key_id(), true))
                }
                #[cfg(feature = "encrypt")]
                Verb::Encrypt => {
                    let stream = client.connect_encrypted(to).await?;
                    Ok((*stream.session().key_id(), true))
                }
            }
        }),
    }
}

/// A server that accepts the worker, and its address.
fn server(verb: Verb) -> (Box<dyn fmt::Debug>, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = Server::new(key_of("ours", "worker-7"));
    let listener: Box<dyn fmt::Debug> = match verb {
        Verb::Authenticate => Box::new(Listener::new(socket, server).unwrap()),
        Verb::Protect => Box::new(Listener::new_protected(socket, server).unwrap()),
        #[cfg(feature = "encrypt")]
        Verb::Encrypt => Box::new(Listener::new_encrypted(socket, server).unwrap()),
    };
    (listener, address)
}

/// A socket that listens and never accepts.
fn silent() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// An address where nothing listens.
fn refusing() -> SocketAddr {
    silent().1
}

/// Asserts that nobody has connected.
fn assert_untouched(socket: &TcpListener) {
    socket.set_nonblocking(true).unwrap();
    let error = socket.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// An address at which a connection is neither accepted nor refused: its queue is full.
struct BlackHole {
    _socket: Socket,
    _queued: Vec<TcpStream>,
    address: SocketAddr,
}

fn black_hole() -> BlackHole {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue is longer than it was told");
    }
    BlackHole {
        _socket: socket,
        _queued: queued,
        address,
    }
}

/// Asserts that nothing answered at this address, and returns what the error says.
#[track_caller]
fn not_connected(outcome: &Result<(KeyId, bool), Error>, to: &str, kind: ErrorKind) -> String {
    match outcome {
        Err(error @ Error::Connect { address, source }) => {
            assert_eq!(address, to);
            assert_eq!(source.kind(), kind);
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_connects_and_authenticates_in_one_call() {
    for &driver in Driver::ALL {
        for &verb in VERBS {
            let (_listener, address) = server(verb);
            let (key_id, nodelay) = connect(driver, verb, &worker(), &[address]).unwrap();
            assert_eq!(key_id, "worker-7");
            assert!(nodelay, "{driver:?}");
        }
    }
}

#[test]
fn the_next_address_is_tried_if_one_refuses_the_connection() {
    for &driver in Driver::ALL {
        for &verb in VERBS {
            let (_listener, address) = server(verb);
            let to = [refusing(), refusing(), address];
            connect(driver, verb, &worker(), &to).unwrap();
        }
    }
}

#[test]
fn the_error_names_the_last_address_and_says_what_to_do() {
    for &driver in Driver::ALL {
        let to = [refusing(), refusing()];
        let outcome = connect(driver, Verb::Authenticate, &worker(), &to);
        let last = to[1].to_string();
        let sentence = not_connected(&outcome, &last, ErrorKind::ConnectionRefused);
        assert!(sentence.contains(&last), "{sentence}");
        assert!(sentence.contains("start the server"), "{sentence}");
    }
}

#[test]
fn a_name_without_an_address_is_named_by_the_error() {
    let outcome = worker().connect_protected("no port\n");
    let outcome = outcome.map(|stream| (*stream.session().key_id(), true));
    let sentence = not_connected(&outcome, r#""no port\n""#, ErrorKind::InvalidInput);
    assert!(sentence.contains(r#""no port\n""#), "{sentence}");

    #[cfg(feature = "tokio")]
    {
        let client = countersign::tokio::Client::from(worker());
        let outcome = block_on(client.connect_protected("no port\n"));
        let outcome = outcome.map(|stream| (*stream.session().key_id(), true));
        not_connected(&outcome, r#""no port\n""#, ErrorKind::InvalidInput);
    }

    for &driver in Driver::ALL {
        let outcome = connect(driver, Verb::Authenticate, &worker(), &[]);
        not_connected(&outcome, "[]", ErrorKind::NotFound);
    }
}

/// Runs `call`, which has to end between the two times.
#[track_caller]
fn takes<T>(least: Duration, most: Duration, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = call();
    let elapsed = began.elapsed();
    assert!((least..=most).contains(&elapsed), "{elapsed:?}");
    result
}

#[test]
fn an_address_that_does_not_answer_takes_no_more_than_its_share() {
    const TOTAL: Duration = Duration::from_millis(1500);

    let hole = black_hole();
    for &driver in Driver::ALL {
        let client = worker().connect_timeout(TOTAL);
        let (_listener, address) = server(Verb::Authenticate);
        let to = [hole.address, hole.address, address];
        takes(TOTAL * 2 / 3, TOTAL, || {
            connect(driver, Verb::Authenticate, &client, &to).unwrap()
        });
        // What a refusal leaves of its share is for the others.
        let to = [refusing(), hole.address];
        let outcome = takes(TOTAL, TOTAL + LATE, || {
            connect(driver, Verb::Authenticate, &client, &to)
        });
        not_connected(&outcome, &hole.address.to_string(), ErrorKind::TimedOut);
    }
}

#[test]
fn the_deadline_is_one_for_the_connection_and_the_handshake() {
    const TOTAL: Duration = Duration::from_secs(2);

    let hole = black_hole();
    for &driver in Driver::ALL {
        let (_socket, address) = silent();
        let (untouched, never) = silent();
        let client = worker().connect_timeout(TOTAL);
        // The first takes a third, and the handshake at the second what is left.
        let to = [hole.address, address, never];
        let outcome = takes(TOTAL, TOTAL + LATE, || {
            connect(driver, Verb::Protect, &client, &to)
        });
        assert!(
            matches!(
                outcome,
                Err(Error::TimedOut(Phase::Awaiting(Message::CHALLENGE)))
            ),
            "{outcome:?}"
        );
        assert_untouched(&untouched);

        let client = worker().connect_timeout(Duration::ZERO);
        let outcome = connect(driver, Verb::Authenticate, &client, &[never]);
        // Over tokio, there is no time to look the address up either.
        let to = match driver {
            Driver::Blocking => never.to_string(),
            #[cfg(feature = "tokio")]
            Driver::Tokio => format!("[{never}]"),
        };
        not_connected(&outcome, &to, ErrorKind::TimedOut);
    }
}

#[test]
fn what_connects_under_a_deadline_reads_under_it_too() {
    const TOTAL: Duration = Duration::from_secs(1);

    let (hole, (_socket, address)) = (black_hole(), silent());
    let error = takes(TOTAL, TOTAL + LATE, || {
        let mut stream = Deadline::connect(&[hole.address, address][..], TOTAL).unwrap();
        assert_eq!(stream.get_ref().peer_addr().unwrap(), address);
        assert!(stream.get_ref().nodelay().unwrap());
        stream.read(&mut [0]).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[cfg(feature = "tokio")]
#[test]
fn what_only_connects_gives_each_address_its_share_too() {
    use countersign::tokio::connect;

    const TOTAL: Duration = Duration::from_secs(1);

    let (hole, (_socket, address)) = (black_hole(), silent());
    let within = |to: &[SocketAddr], total| block_on(connect(to, total));
    let stream = takes(TOTAL / 2, TOTAL, || within(&[hole.address, address], TOTAL));
    let stream = stream.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert!(stream.nodelay().unwrap());

    let outcome = takes(TOTAL, TOTAL + LATE, || within(&[hole.address], TOTAL));
    let outcome = outcome.map(|_| unreachable!());
    not_connected(&outcome, &hole.address.to_string(), ErrorKind::TimedOut);
    within(&[address], Duration::MAX).unwrap();
}

#[test]
fn no_other_address_is_tried_after_a_denial() {
    for &driver in Driver::ALL {
        for &verb in VERBS {
            let (_listener, address) = server(verb);
            let (untouched, never) = silent();
            let stranger = Client::new(key("a stranger's"));
            let outcome = connect(driver, verb, &stranger, &[address, never]);
            assert!(is_denied(&outcome.unwrap_err()));
            assert_untouched(&untouched);
        }
    }
}

#[test]
fn the_longest_timeout_is_allowed() {
    for &driver in Driver::ALL {
        let (_listener, address) = server(Verb::Authenticate);
        let client = worker().connect_timeout(Duration::MAX);
        connect(driver, Verb::Authenticate, &client, &[address]).unwrap();
    }
}

#[cfg(unix)]
mod unix {
    use std::os::unix::net::UnixListener;
    #[cfg(target_os = "linux")]
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use super::*;
    use crate::support::TempDir;

    fn connect(
        driver: Driver,
        verb: Verb,
        client: &Client,
        path: &Path,
    ) -> Result<(KeyId, bool), Error> {
        match driver {
            Driver::Blocking => match verb {
                Verb::Authenticate => {
                    let (stream, session) = client.connect_unix(path)?;
                    assert_eq!(stream.read_timeout().unwrap(), None);
                    assert_eq!(stream.write_timeout().unwrap(), None);
                    #[cfg(target_os = "linux")]
                    assert_not_inherited(&stream);
                    Ok((*session.key_id(), true))
                }
                Verb::Protect => {
                    let stream = client.connect_unix_protected(path)?;
                    Ok((*stream.session().key_id(), true))
                }
                #[cfg(feature = "encrypt")]
                Verb::Encrypt => {
                    let stream = client.connect_unix_encrypted(path)?;
                    Ok((*stream.session().key_id(), true))
                }
            },
            #[cfg(feature = "tokio")]
            Driver::Tokio => block_on(async {
                let client = countersign::tokio::Client::from(client.clone());
                match verb {
                    Verb::Authenticate => {
                        let (_, session) = client.connect_unix(path).await?;
                        Ok((*session.key_id(), true))
                    }
                    Verb::Protect => {
                        let stream = client.connect_unix_protected(path).await?;
                        Ok((*stream.session().key_id(), true))
                    }
                    #[cfg(feature = "encrypt")]
                    Verb::Encrypt => {
                        let stream = client.connect_unix_encrypted(path).await?;
                        Ok((*stream.session().key_id(), true))
                    }
                }
            }),
        }
    }

    /// Asserts that a child process would not have this descriptor.
    #[cfg(target_os = "linux")]
    fn assert_not_inherited(stream: &UnixStream) {
        use std::os::fd::AsRawFd;

        const O_CLOEXEC: u32 = 0o2_000_000;

        let path = format!("/proc/self/fdinfo/{}", stream.as_raw_fd());
        let text = std::fs::read_to_string(path).unwrap();
        let (_, flags) = text.split_once("flags:").unwrap();
        let flags = flags.split_whitespace().next().unwrap();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        assert!(flags & O_CLOEXEC != 0, "{text}");
    }

    #[test]
    fn a_client_connects_and_authenticates_over_a_unix_socket() {
        let directory = TempDir::new();
        for &driver in Driver::ALL {
            for &verb in VERBS {
                let path = directory.path().join(format!("{driver:?} {verb:?}"));
                let socket = UnixListener::bind(&path).unwrap();
                let server = Server::new(key_of("ours", "worker-7"));
                let _listener: Box<dyn fmt::Debug> = match verb {
                    Verb::Authenticate => Box::new(Listener::new(socket, server).unwrap()),
                    Verb::Protect => Box::new(Listener::new_protected(socket, server).unwrap()),
                    #[cfg(feature = "encrypt")]
                    Verb::Encrypt => Box::new(Listener::new_encrypted(socket, server).unwrap()),
                };
                let (key_id, _) = connect(driver, verb, &worker(), &path).unwrap();
                assert_eq!(key_id, "worker-7");
            }
        }
    }

    #[test]
    fn a_path_without_a_server_is_named_by_the_error() {
        let directory = TempDir::new();
        let (nothing, dead) = (
            directory.path().join("nothing\n"),
            directory.path().join("dead"),
        );
        drop(UnixListener::bind(&dead).unwrap());
        for &driver in Driver::ALL {
            for (path, kind) in [
                (&nothing, ErrorKind::NotFound),
                (&dead, ErrorKind::ConnectionRefused),
            ] {
                let outcome = connect(driver, Verb::Authenticate, &worker(), path);
                let sentence = not_connected(&outcome, &format!("{path:?}"), kind);
                assert!(sentence.contains("start the server"), "{sentence}");
                assert!(!sentence.contains('\n'), "{sentence}");
            }
        }
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn tokio_connects_to_a_path_without_a_handshake_too() {
        use countersign::tokio::connect_unix;

        let directory = TempDir::new();
        let path = directory.path().join("socket");
        let outcome = block_on(connect_unix(&path, LONG)).map(|_| (KeyId::EMPTY, true));
        not_connected(&outcome, &format!("{path:?}"), ErrorKind::NotFound);

        let _socket = UnixListener::bind(&path).unwrap();
        let stream = block_on(connect_unix(&path, LONG)).unwrap();
        let peer = stream.peer_addr().unwrap();
        assert_eq!(peer.as_pathname(), Some(&*path));
    }

    /// A listening socket with a full queue, and what is in it.
    #[cfg(target_os = "linux")]
    fn full(path: &Path) -> (Socket, Vec<Socket>) {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let address = SockAddr::unix(path).unwrap();
        socket.bind(&address).unwrap();
        socket.listen(1).unwrap();
        let mut queued = Vec::new();
        loop {
            let stream = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            stream.set_nonblocking(true).unwrap();
            if stream.connect(&address).is_err() {
                return (socket, queued);
            }
            queued.push(stream);
        }
    }

    #[cfg(all(target_os = "linux", feature = "tokio"))]
    #[test]
    fn what_only_connects_waits_for_a_place_in_the_queue_of_a_unix_socket_too() {
        use countersign::tokio::connect_unix;

        const TOTAL: Duration = Duration::from_secs(1);

        let directory = TempDir::new();
        let path = directory.path().join("full");
        let (socket, _queued) = full(&path);
        let outcome = takes(TOTAL, TOTAL + LATE, || block_on(connect_unix(&path, TOTAL)));
        let outcome = outcome.map(|_| unreachable!());
        not_connected(&outcome, &format!("{path:?}"), ErrorKind::TimedOut);
        socket.accept().unwrap();
        block_on(connect_unix(&path, TOTAL)).unwrap();
    }

    /// Other systems refuse the connection.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_unix_socket_whose_queue_is_full_is_waited_for_until_the_deadline() {
        const TOTAL: Duration = Duration::from_secs(2);

        let directory = TempDir::new();
        for &driver in Driver::ALL {
            let path = directory.path().join(format!("{driver:?}"));
            let (socket, queued) = full(&path);
            let client = worker().connect_timeout(TOTAL);
            let outcome = takes(TOTAL, TOTAL + LATE, || {
                connect(driver, Verb::Authenticate, &client, &path)
            });
            not_connected(&outcome, &format!("{path:?}"), ErrorKind::TimedOut);

            // And a place in the queue that becomes free is taken.
            let waiting = {
                let path = path.clone();
                thread::spawn(move || connect(driver, Verb::Authenticate, &worker(), &path))
            };
            thread::sleep(TOTAL / 5);
            for _ in &queued {
                socket.accept().unwrap();
            }
            let (stream, _) = socket.accept().unwrap();
            let server = Server::new(key_of("ours", "worker-7"));
            server
                .authenticate_timeout(UnixStream::from(stream), LONG)
                .unwrap();
            waiting.join().unwrap().unwrap();
        }
    }
}
