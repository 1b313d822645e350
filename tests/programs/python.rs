//! The programs for Python's `multiprocessing`, with CPython itself.

use std::env;
use std::net::TcpStream;
use std::process::Command;

use super::Files;
use super::process::{Ended, Running, Server, matches, run};
use super::said;
use crate::pythons::Python;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python");

/// A client that sends one message and prints the echo.
const CLIENT: &str = "\
import sys
from multiprocessing.connection import Client
with Client(('127.0.0.1', int(sys.argv[1])), authkey=b'peekaboo') as connection:
    connection.send_bytes(b'Hello Rust')
    print(connection.recv_bytes().decode())";

/// A CPython whose `multiprocessing` knows SHA-256. On CI it is a failure if there is none.
fn python() -> Option<Python> {
    let found = Python::all().into_iter().find(Python::knows_sha256);
    if found.is_none() {
        assert!(
            env::var_os("CI").is_none(),
            "CI needs a CPython of 3.12 or later"
        );
        eprintln!("NOT RUN: there is no CPython of 3.12 or later");
    }
    found
}

/// A script of the examples.
fn script(python: &Python, name: &str, args: &[&str]) -> Running {
    let mut command = Command::new(&python.path);
    command
        .args(["-B", &format!("{EXAMPLES}/{name}")])
        .args(args);
    Running::start(name, &mut command)
}

#[test]
fn a_client_of_cpython_gets_its_echo() {
    let Some(python) = python() else { return };
    let files = Files::new();
    let secret = &files.write("secret", "peekaboo\n");
    let server = Server::start(
        "echo_server",
        ["--wire", "multiprocessing", "--key-file", secret],
    );
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let mut client = Command::new(python.path);
    client.args(["-c", CLIENT, port]);
    Running::start("python", &mut client)
        .end()
        .prints("Hello Rust");
}

#[test]
fn workers_in_rust_share_the_jobs_of_a_listener_in_python() {
    let Some(python) = python() else { return };
    let files = Files::new();
    let (key, other) = (&files.key("key"), &files.key("other"));
    let listener = script(&python, "jobs.py", &["--key-file", key]);
    let address = &listener.address();

    let worker = |key| run("python_worker", ["--connect", address, "--key-file", key]);
    worker(other).fails(said::REJECTED);
    // A port probe, and a client that is silent as long as the listener runs.
    drop(TcpStream::connect(address).unwrap());
    let silent = TcpStream::connect(address).unwrap();
    let mut done: Vec<Ended> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| worker(key))).collect();
        workers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    done.sort_by(|a, b| a.stdout.cmp(&b.stdout));
    for (worker, said) in done.iter().zip(["did 1 jobs", "did 2 jobs", "did 2 jobs"]) {
        worker.prints(said);
    }
    let listener = listener.end();
    drop(silent);
    let refused: Vec<_> = listener.stderr.lines().collect();
    let is_refusal = |line: &&str| matches(line, "refused: *");
    assert!((1..=2).contains(&refused.len()), "{listener:?}");
    assert!(refused.iter().all(is_refusal), "{listener:?}");
    let results = "\
4 primes below 10
25 primes below 100
168 primes below 1000
1229 primes below 10000
9592 primes below 100000";
    assert_eq!(listener.stdout, results);
}

#[test]
fn clients_in_python_count_on_a_counter_in_rust() {
    let Some(python) = python() else { return };
    let files = Files::new();
    let (key, other) = (&files.key("key"), &files.key("other"));
    let server = Server::start("python_clients", ["--key-file", key]);
    let connect = ["--connect", &server.address, "--key-file"];
    let client = |args: &[&str]| script(&python, "client.py", &[&connect, args].concat()).end();

    client(&[key, "--processes", "3", "--times", "100"]).prints("total: 300");
    // The three that counted, and the one that asked for the total.
    for _ in 0..4 {
        server.logs("127.0.0.1:* served");
    }
    client(&[other, "--processes", "1"]).fails("digest sent was rejected");
    server.logs(said::WRONG_DIGEST_OF_AUTHKEY);
}
