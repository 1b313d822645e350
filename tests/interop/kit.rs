//! The test kit as the other side of our ends, over a socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use countersign::{Client, Key, Server, record};

use super::process::text;
use super::{End, Failure, Got, Ours, PYTHON, Process, Talk, Verb, is_installed};
use crate::support::{DENIAL, Driver, f1};
use crate::vectors::ends_of_records_to_a_server;

const KIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/kit/kit.py");

#[test]
fn the_kit_finds_no_rule_that_our_servers_break() {
    for (driver, verb) in ends() {
        let end = End::Server(Server::new(key()).service("billing/2").unwrap());
        let ours = Ours {
            driver,
            verb,
            end: &end,
        };
        let mut ended = Vec::new();
        let (status, found) = to_server(verb, |socket| ended.push(ours.run(socket, Talk::Echo)));
        assert!(found.ends_with(" cases, 0 broken\n"), "{verb:?}: {found}");
        assert!(status, "{found}");
        // The kit sees what is sent, and not what our end is told.
        let expected = ends_of_records_to_a_server(verb.mode());
        let records = ended.split_off(ended.len() - expected.len());
        let told: Vec<_> = records.into_iter().map(end_of_records).collect();
        assert_eq!(told, expected, "{driver:?}, {verb:?}");
    }
}

#[test]
fn the_kit_finds_no_rule_that_our_clients_break() {
    for (driver, verb) in ends() {
        let end = End::Client(Client::new(key()).service("billing/2").unwrap());
        let ours = Ours {
            driver,
            verb,
            end: &end,
        };
        let (status, found) = to_client(verb, |socket| drop(ours.run(socket, Talk::Send(b"ping"))));
        assert!(found.ends_with(" cases, 0 broken\n"), "{verb:?}: {found}");
        assert!(status, "{found}");
    }
}

#[test]
fn the_kit_names_the_rule_that_a_server_breaks() {
    if !is_installed(PYTHON.command[0]) {
        return;
    }
    // It denies whatever it is sent.
    let (status, found) = to_server(Verb::Authenticate, |mut socket| {
        socket.write_all(&f1(0, &[7; 32])).unwrap();
        let _ = socket.read(&mut [0; 256]);
        let _ = socket.write_all(&DENIAL);
    });
    assert!(!status);
    for line in [
        "section 6.1: server, mode 0: F2: bit 0 of octet 4: it sends 44",
        "section 6.1: server, mode 0: F2: n = 65: it sends 44",
        "section 6.1: server, mode 0: F2: cut after 72 octets: it sends 44",
        "section 6.2: server, mode 0: F2: F3 is 44",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    // What it does right is not among them.
    assert!(!found.contains("F2: octet 0 of Tc"), "{found}");
}

#[test]
fn the_kit_names_the_rule_that_a_client_breaks() {
    if !is_installed(PYTHON.command[0]) {
        return;
    }
    let end = End::Client(Client::new(key()).service("billing/3").unwrap());
    let ours = Ours {
        driver: Driver::Blocking,
        verb: Verb::Authenticate,
        end: &end,
    };
    let (status, found) = to_client(ours.verb, |socket| drop(ours.run(socket, Talk::Send(b"a"))));
    assert!(!status);
    let line = "section 6.3: client, mode 0: F1 and F3: F2 is 435349474e314300";
    assert!(found.contains(line), "{found}");
}

/// The outcome, in the words of the specification.
fn end_of_records(ended: Result<Got, Failure>) -> &'static str {
    match ended {
        Ok(_) => "close",
        Err(Failure::Later(error)) => match record::Error::of(&error) {
            Some(record::Error::Truncated) => "truncated",
            Some(record::Error::BadTag) => "bad tag",
            Some(record::Error::TooLong { .. }) => "bad length",
            _ => panic!("{error}"),
        },
        Err(Failure::Handshake(error)) => panic!("{error}"),
    }
}

fn ends() -> impl Iterator<Item = (Driver, Verb)> {
    let drivers = Driver::ALL
        .iter()
        .filter(|_| is_installed(PYTHON.command[0]));
    drivers.flat_map(|&driver| Verb::ALL.iter().map(move |&verb| (driver, verb)))
}

fn key() -> Key {
    let secret = kit(&["print", "secret"]).output();
    let key = Key::new(secret.stdout.trim_ascii()).unwrap();
    key.with_id("worker-7").unwrap()
}

fn kit(args: &[&str]) -> Process {
    Process::start(PYTHON.command[0], &[&["-B", KIT], args].concat())
}

/// Serves the connections of the kit until it ends. Returns whether it found nothing, and what it
/// prints.
fn to_server(verb: Verb, mut serve: impl FnMut(TcpStream)) -> (bool, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mode = verb.mode().to_string();
    let mut process = kit(&["to-server", &address, "--mode", &mode]);
    listener.set_nonblocking(true).unwrap();
    while !process.has_ended() {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(false).unwrap();
                serve(socket);
            }
            // Also a way to wait for the process.
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    ended(process)
}

/// Connects to the kit until it ends.
fn to_client(verb: Verb, mut connect: impl FnMut(TcpStream)) -> (bool, String) {
    let mut process = kit(&["to-client", "--mode", &verb.mode().to_string()]);
    let address = process.address();
    while let Ok(socket) = TcpStream::connect(address) {
        connect(socket);
    }
    ended(process)
}

fn ended(process: Process) -> (bool, String) {
    let output = process.output();
    let errors = text(&output.stderr);
    (
        output.status.success(),
        [errors, text(&output.stdout)].concat(),
    )
}
