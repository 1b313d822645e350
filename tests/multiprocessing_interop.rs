//! The compatibility protocol for Python's `multiprocessing`, with every CPython from 3.8 on this
//! machine.

use std::env;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;

use countersign::compat::multiprocessing::{self, Connection, KnowsAuthkey, Problem};
use countersign::{Deadline, Error};

use crate::interop::{Process, TIME, text};
use crate::pythons::Python;
use crate::support::Driver;
#[cfg(feature = "tokio")]
use crate::support::block_on;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/python/mp_peer.py");
const AUTHKEY: &str = "secret password";
const OTHER: &str = "another password";

const SIZES: [usize; 4] = [0, 1, 16 * 1024, 1 << 20];
const MAX: usize = 1 << 20;

/// Every CPython that is found. On CI, both kinds have to be found.
fn pythons() -> impl Iterator<Item = &'static Python> {
    static FOUND: LazyLock<Vec<Python>> = LazyLock::new(Python::all);

    for (kind, knows_sha256) in [("3.12 and later", true), ("3.8 to 3.11", false)] {
        if !FOUND.iter().any(|it| it.knows_sha256() == knows_sha256) {
            assert!(env::var_os("CI").is_none(), "CI needs a CPython of {kind}");
            eprintln!("NOT RUN: there is no CPython of {kind}");
        }
    }
    FOUND.iter()
}

fn start(python: &Python, args: &[&str]) -> Process {
    Process::start(&python.path, &[&["-B", SCRIPT], args].concat())
}

/// Our end of the connection.
#[derive(Clone, Copy, Debug)]
enum Role {
    Client,
    Listener,
}

/// Which of our functions are used.
#[derive(Clone, Copy, Debug)]
enum Calls {
    Sha2,
    #[cfg(feature = "multiprocessing-md5")]
    Md5,
}

/// Authenticates, sends a message of each size and receives it back, and then sends back one of
/// each size.
fn our_end(
    driver: Driver,
    role: Role,
    calls: Calls,
    socket: &TcpStream,
    authkey: &str,
) -> Result<(), Error> {
    let authkey = authkey.as_bytes();
    match driver {
        Driver::Blocking => blocking(role, calls, socket, authkey),
        #[cfg(feature = "tokio")]
        Driver::Tokio => block_on(async {
            let socket = crate::sockets::over_tokio(socket.try_clone().unwrap());
            let end = over_tokio(role, calls, socket, authkey);
            tokio::time::timeout(TIME, end).await.unwrap()
        }),
    }
}

fn blocking(role: Role, calls: Calls, socket: &TcpStream, authkey: &[u8]) -> Result<(), Error> {
    let mut stream = Deadline::new(socket, TIME);
    let knows: KnowsAuthkey = match (role, calls) {
        (Role::Client, Calls::Sha2) => multiprocessing::client_authenticate(&mut stream, authkey),
        (Role::Listener, Calls::Sha2) => multiprocessing::server_authenticate(&mut stream, authkey),
        #[cfg(feature = "multiprocessing-md5")]
        (Role::Client, Calls::Md5) => {
            multiprocessing::client_authenticate_md5(&mut stream, authkey)
        }
        #[cfg(feature = "multiprocessing-md5")]
        (Role::Listener, Calls::Md5) => {
            multiprocessing::server_authenticate_md5(&mut stream, authkey)
        }
    }?;
    let mut connection = Connection::new(stream, knows);
    for message in messages() {
        connection.send_bytes(&message).unwrap();
        let echo = connection.recv_bytes(MAX).unwrap().unwrap();
        assert!(echo == message, "{} bytes came back", echo.len());
    }
    for size in SIZES {
        let message = connection.recv_bytes(MAX).unwrap().unwrap();
        assert_eq!(message.len(), size);
        connection.send_bytes(&message).unwrap();
    }
    assert_eq!(connection.recv_bytes(MAX).unwrap(), None);
    Ok(())
}

#[cfg(feature = "tokio")]
async fn over_tokio(
    role: Role,
    calls: Calls,
    mut stream: tokio::net::TcpStream,
    authkey: &[u8],
) -> Result<(), Error> {
    use countersign::tokio::multiprocessing;

    let knows: KnowsAuthkey = match (role, calls) {
        (Role::Client, Calls::Sha2) => {
            multiprocessing::client_authenticate(&mut stream, authkey).await
        }
        (Role::Listener, Calls::Sha2) => {
            multiprocessing::server_authenticate(&mut stream, authkey).await
        }
        #[cfg(feature = "multiprocessing-md5")]
        (Role::Client, Calls::Md5) => {
            multiprocessing::client_authenticate_md5(&mut stream, authkey).await
        }
        #[cfg(feature = "multiprocessing-md5")]
        (Role::Listener, Calls::Md5) => {
            multiprocessing::server_authenticate_md5(&mut stream, authkey).await
        }
    }?;
    let mut connection = multiprocessing::Connection::new(stream, knows);
    for message in messages() {
        connection.send_bytes(&message).await.unwrap();
        let echo = connection.recv_bytes(MAX).await.unwrap().unwrap();
        assert!(echo == message, "{} bytes came back", echo.len());
    }
    for size in SIZES {
        let message = connection.recv_bytes(MAX).await.unwrap().unwrap();
        assert_eq!(message.len(), size);
        connection.send_bytes(&message).await.unwrap();
    }
    assert_eq!(connection.recv_bytes(MAX).await.unwrap(), None);
    Ok(())
}

fn messages() -> impl Iterator<Item = Vec<u8>> {
    let pattern: Vec<u8> = (0..=249).collect();
    SIZES
        .into_iter()
        .map(move |len| pattern.repeat(len / 250 + 1)[..len].to_vec())
}

/// Runs our end in this role, with each driver and each of these authkeys in turn, and the peer, with
/// the options of its build, in the other role. Returns the outcome of our end, and what the peer said of it.
fn meet(
    python: &Python,
    role: Role,
    calls: Calls,
    build: &[&str],
    authkeys: &[&'static str],
) -> Vec<(Driver, &'static str, Result<(), Error>, String)> {
    let ours: Vec<_> = (Driver::ALL.iter())
        .flat_map(|&driver| authkeys.iter().map(move |&authkey| (driver, authkey)))
        .collect();
    let sizes = SIZES.map(|size| size.to_string()).join(",");
    let connections = ours.len().to_string();
    let options = [
        "--authkey",
        AUTHKEY,
        "--sizes",
        &sizes,
        "--connections",
        &connections,
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let command = match role {
        Role::Client => vec!["listen"],
        Role::Listener => vec!["connect", "--connect", &address],
    };
    let mut peer = start(python, &[&command[..], &options, build].concat());
    let theirs = match role {
        Role::Client => Some(peer.address()),
        Role::Listener => None,
    };
    let outcomes: Vec<_> = (ours.iter())
        .map(|&(driver, authkey)| {
            let socket = match theirs {
                Some(address) => TcpStream::connect(address).unwrap(),
                None => peer.accept(&listener),
            };
            our_end(driver, role, calls, &socket, authkey)
        })
        .collect();
    let output = peer.output();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{python}: {said}");
    assert_eq!(said.lines().count(), ours.len(), "{python}: {said}");
    (ours.into_iter().zip(outcomes).zip(said.lines()))
        .map(|(((driver, authkey), outcome), said)| (driver, authkey, outcome, said.to_owned()))
        .collect()
}

/// Asserts that two ends accept each other with one authkey, and refuse each other with two.
fn assert_one_authkey_is_needed(python: &Python, role: Role, calls: Calls) {
    for (driver, authkey, outcome, said) in meet(python, role, calls, &[], &[AUTHKEY, OTHER]) {
        let case = format!("{driver:?}, {role:?}, {calls:?} with {python}, which said {said:?}");
        if authkey == AUTHKEY {
            assert!(outcome.is_ok(), "{case}: {outcome:?}");
            assert_eq!(said, "accepted", "{case}");
        } else {
            let (expected, says) = match (role, calls) {
                (Role::Client, Calls::Sha2) => (Problem::Rejected, "digest received was wrong"),
                #[cfg(feature = "multiprocessing-md5")]
                (Role::Client, Calls::Md5) => (Problem::RejectedMd5, "digest received was wrong"),
                (Role::Listener, _) => (Problem::WrongDigest, "digest sent was rejected"),
            };
            assert_problem(&outcome, expected, &case);
            assert!(said.contains(says), "{case}");
        }
    }
}

fn assert_refused(python: &Python, build: &[&str], role: Role, calls: Calls, expected: Problem) {
    for (driver, _, outcome, said) in meet(python, role, calls, build, &[AUTHKEY]) {
        let case = format!("{driver:?}, {role:?} with {python} {build:?}, which said {said:?}");
        assert_problem(&outcome, expected, &case);
        assert!(said.starts_with("refused"), "{case}");
    }
}

fn assert_problem(outcome: &Result<(), Error>, expected: Problem, case: &str) {
    assert!(
        matches!(outcome, Err(Error::Multiprocessing(problem)) if *problem == expected),
        "{case}: {outcome:?}"
    );
}

#[test]
fn our_client_accepts_and_refuses_listeners_of_cpython_since_3_12() {
    for python in pythons().filter(|python| python.knows_sha256()) {
        assert_one_authkey_is_needed(python, Role::Client, Calls::Sha2);
    }
}

#[test]
fn our_listener_accepts_and_refuses_clients_of_cpython_since_3_12() {
    for python in pythons().filter(|python| python.knows_sha256()) {
        assert_one_authkey_is_needed(python, Role::Listener, Calls::Sha2);
    }
}

#[test]
fn cpython_up_to_3_11_is_refused_by_the_digest_that_it_has_in_either_role() {
    for python in pythons().filter(|python| !python.knows_sha256()) {
        for (build, answered) in [
            (&[][..], Problem::Md5Only),
            (&["--fips"], Problem::BareSha256),
        ] {
            let client = (Role::Client, Problem::UnnamedDigest);
            for (role, expected) in [client, (Role::Listener, answered)] {
                assert_refused(python, build, role, Calls::Sha2, expected);
            }
        }
    }
}

#[cfg(feature = "multiprocessing-md5")]
#[test]
fn our_md5_calls_name_a_cpython_without_md5() {
    for python in pythons() {
        let answered = if python.knows_sha256() {
            Problem::NoMd5
        } else {
            let rejected = Problem::RejectedMd5;
            assert_refused(python, &["--fips"], Role::Client, Calls::Md5, rejected);
            Problem::BareSha256
        };
        assert_refused(python, &["--fips"], Role::Listener, Calls::Md5, answered);
    }
}

#[test]
fn cpython_without_an_authkey_is_named_in_either_role() {
    let Some(python) = pythons().last() else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for &driver in Driver::ALL {
        let mut peer = start(python, &["listen", "--greet"]);
        let socket = TcpStream::connect(peer.address()).unwrap();
        let outcome = our_end(driver, Role::Client, Calls::Sha2, &socket, AUTHKEY);
        assert_problem(&outcome, Problem::NotAChallenge, "a listener");

        let mut peer = start(python, &["connect", "--connect", &address, "--greet"]);
        let socket = peer.accept(&listener);
        let outcome = our_end(driver, Role::Listener, Calls::Sha2, &socket, AUTHKEY);
        assert_problem(&outcome, Problem::NotADigest, "a client");
    }
}

#[cfg(feature = "multiprocessing-md5")]
#[test]
fn our_md5_client_accepts_and_refuses_listeners_of_every_cpython() {
    for python in pythons() {
        assert_one_authkey_is_needed(python, Role::Client, Calls::Md5);
    }
}

#[cfg(feature = "multiprocessing-md5")]
#[test]
fn our_md5_listener_accepts_and_refuses_clients_of_every_cpython() {
    for python in pythons() {
        assert_one_authkey_is_needed(python, Role::Listener, Calls::Md5);
    }
}

#[test]
fn our_client_is_served_by_a_manager() {
    // (None, 'number_of_objects', (), {}) in protocol 0 of pickle.
    const REQUEST: &[u8] = b"(NS'number_of_objects'\n)}t.";
    // ('#RETURN', 0), behind a header that differs from version to version.
    const REPLY: &[u8] = b"\x8c\x07#RETURN\x94K\0\x86\x94.";

    let Some(python) = pythons().filter(|python| python.knows_sha256()).last() else {
        return;
    };
    let mut manager = start(python, &["manage", "--authkey", AUTHKEY]);
    let address = manager.address();
    for (authkey, accepted) in [(AUTHKEY, true), (OTHER, false), (AUTHKEY, true)] {
        let socket = TcpStream::connect(address).unwrap();
        let outcome = request(&socket, authkey.as_bytes(), REQUEST);
        if accepted {
            let reply = outcome.unwrap();
            assert!(reply.ends_with(REPLY), "{}", reply.escape_ascii());
        } else {
            let expected = io::Error::from(Error::from(Problem::Rejected));
            assert_eq!(outcome.unwrap_err().to_string(), expected.to_string());
        }
    }
}

fn request(socket: &TcpStream, authkey: &[u8], bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = Deadline::new(socket, TIME);
    let knows = multiprocessing::client_authenticate(&mut stream, authkey)?;
    let mut connection = Connection::new(stream, knows);
    connection.send_bytes(bytes)?;
    let reply = connection.recv_bytes(1024)?;
    reply.ok_or_else(|| ErrorKind::UnexpectedEof.into())
}
