//! What the system says only now and then, and here whenever a test needs it.
#![cfg(target_os = "linux")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::process::{
    Files, PATIENCE, Process, client_args, server_args, shell, start_client, start_server,
};
use crate::service::{Service, connect, echoes};
use crate::systemd::passing;

/// Returns `system.c` as a library, to be loaded before that of the system.
fn answers(files: &Files) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tunnel/system.c");
    let library = files.path("system.so");
    let mut compiler = Command::new("cc");
    let compiler = compiler.args(["-shared", "-fPIC", "-o", &library]);
    let status = compiler.arg(source).arg("-ldl").status();
    assert!(status.unwrap().success());
    library
}

/// Returns a command that runs an end of a tunnel with that library.
fn with(library: &str) -> Command {
    let mut program = shell("");
    program.env("LD_PRELOAD", library);
    program
}

/// Fills the queue of a socket that listens at this address, so that nobody else gets an answer.
fn full(address: SocketAddr) -> (OwnedFd, Vec<TcpStream>) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue is longer than it was told");
    }
    (socket, queued)
}

#[test]
fn a_service_is_reached_at_the_second_address_of_its_name_if_the_first_is_dead() {
    let files = Files::new();
    let service: SocketAddr = Service::echo().parse().unwrap();
    let _dead = full(SocketAddr::from(([127, 0, 0, 2], service.port())));
    let to = format!("two.test:{}", service.port());
    let args = server_args(&files, &to, &[]);
    let server = Process::spawn(with(&answers(&files)).args(args));
    let client = start_client(&files, &server.address, &[]);
    echoes(&mut *connect(&client.address)).unwrap();
}

#[test]
fn a_silent_name_server_cuts_a_connection_after_ten_seconds_at_either_end_and_in_a_check() {
    const SILENT: &str = "silent.test:1";

    let files = &Files::new();
    let library = &answers(files);
    let cuts = |end: &Process, address: &str| {
        let mut stream = connect(address);
        let begun = Instant::now();
        let read = stream.read(&mut [0]);
        let took = begun.elapsed();
        assert!(took < PATIENCE, "{read:?} after {took:?}");
        assert!(took > Duration::from_secs(9), "{read:?} after {took:?}");
        end.logs(&[
            "WARN",
            "cut: could not connect to ",
            SILENT,
            ": timed out; ",
        ]);
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let server = Process::spawn(with(library).args(server_args(files, SILENT, &[])));
            let client = start_client(files, &server.address, &[]);
            cuts(&server, &client.address);
        });
        scope.spawn(|| {
            let client = Process::spawn(with(library).args(client_args(files, SILENT, &[])));
            cuts(&client, &client.address);
        });
        scope.spawn(|| {
            let (key, begun) = (files.path("keys/worker-7.key"), Instant::now());
            let mut check = Command::new("timeout");
            let check = check.arg(PATIENCE.as_secs().to_string());
            let check = check.arg(env!("CARGO_BIN_EXE_countersign"));
            let check = check.args(["check", SILENT, "--key-file", &key]);
            let output = check.env("LD_PRELOAD", library).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(begun.elapsed() > Duration::from_secs(9), "{output:?}");
        });
    });
}

#[test]
fn connections_that_end_before_they_are_accepted_hold_up_no_other() {
    let files = Files::new();
    let server = start_server(&files, &Service::echo(), &[]);
    let args = client_args(&files, &server.address, &[]);
    let mut client = with(&answers(&files));
    let mut client = Process::spawn(client.env("ABORTED", "20").args(args));
    let ended = [(); 20].map(|()| connect(&client.address));
    echoes(&mut *connect(&client.address)).unwrap();
    drop(ended);
    client.stop();
    let lines = client.lines().concat();
    assert!(!lines.contains("could not accept"), "{lines}");
}

#[test]
fn a_client_that_stops_carries_what_waits_behind_connections_that_were_reset() {
    let files = Files::new();
    let server = start_server(&files, &Service::echo(), &[]);
    let args = client_args(&files, &server.address, &[]);
    let mut client = with(&answers(&files));
    let mut client = Process::spawn(client.env("LATER", "").args(args));
    let mut waiting = Vec::new();
    for i in 0..20 {
        let stream = TcpStream::connect(&client.address).unwrap();
        if i % 5 == 0 {
            // Dropping it resets it.
            sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        } else {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            waiting.push(stream);
        }
    }
    client.signal("TERM");
    for mut stream in waiting {
        echoes(&mut stream).unwrap();
    }
    assert!(client.wait().success());
}

#[test]
fn connections_in_the_queue_of_a_socket_that_was_passed_are_for_the_successor() {
    let files = Files::new();
    let library = answers(&files);
    let server = start_server(&files, &Service::echo(), &[]);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let args = client_args(&files, &server.address, &["--no-listen", "--grace", "1"]);
    let passed = || {
        let mut shell = passing(socket.try_clone().unwrap());
        shell.args(&args);
        shell
    };
    let later = [("LD_PRELOAD", &*library), ("LATER", "")];
    let mut client = Process::spawn(passed().envs(later));
    let waiting = [(); 20].map(|()| connect(&client.address));
    client.signal("TERM");
    client.wait();
    let _successor = Process::spawn(&mut passed());
    for mut stream in waiting {
        echoes(&mut *stream).unwrap();
    }
}
