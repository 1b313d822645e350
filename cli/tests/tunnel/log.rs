//! The log, and what happens when it cannot be written.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{
    Files, PATIENCE, Process, Tunnel, client_args, server_args, start_client, start_server, tunnel,
};
use crate::service::{Service, connect, echoes};

#[test]
fn json_has_one_object_a_line_with_fields() {
    let format = ["--log-format", "json"];
    let tunnel = Tunnel::with(&Service::echo(), &format, &format);
    let mut stream = connect(&tunnel.client.address);
    echoes(&mut *stream).unwrap();
    stream.end();
    for end in [&tunnel.client, &tunnel.server] {
        let line = end.logs(&["\"message\":\"ended\""]);
        assert!(
            line.starts_with("{\"timestamp\":\"") && line.ends_with('}'),
            "{line}"
        );
        for field in [
            "\"level\":\"INFO\"",
            "\"key_id\":\"worker-7\"",
            "\"peer\":\"127.0.0.1:",
            "\"from_plain\":6",
            "\"to_plain\":6",
            "\"seconds\":0.",
        ] {
            assert!(line.contains(field), "{line}");
        }
    }
}

#[test]
fn the_lines_of_both_ends_can_be_paired() {
    let tunnel = Tunnel::to(&Service::echo());
    let mut stream = connect(&tunnel.client.address);
    echoes(&mut *stream).unwrap();
    stream.end();
    let at_server = tunnel.server.logs(&["accepted"]);
    let (_, address) = at_server.split_once(" peer=").unwrap();
    let local = format!(" local={}", address.split_whitespace().next().unwrap());
    tunnel.client.logs(&["INFO", "accepted", &local]);
    tunnel.client.logs(&["INFO", "ended", &local]);
}

#[test]
fn the_lines_of_a_login_that_failed_can_be_paired() {
    let files = Files::new();
    let server = start_server(&files, "127.0.0.1:1", &["--service", "redis"]);
    let client = start_client(&files, &server.address, &[]);
    assert!(echoes(&mut *connect(&client.address)).is_err());
    let at_server = server.logs(&["WARN", " refused: "]);
    let (before, _) = at_server.split_once(" refused: ").unwrap();
    let local = format!(" local={}", before.split_whitespace().last().unwrap());
    client.logs(&["WARN", "cut: ", &local]);
}

#[test]
fn a_client_that_does_not_connect_has_no_address_to_log() {
    let files = Files::new();
    let client = start_client(&files, "127.0.0.1:1", &[]);
    assert!(echoes(&mut *connect(&client.address)).is_err());
    let line = client.logs(&["WARN", "cut: could not connect to 127.0.0.1:1: "]);
    assert!(!line.contains("local="), "{line}");
}

#[test]
fn a_client_says_accepted_only_after_its_login() {
    let files = Files::new();
    let logs = [&["--verbose"][..], &[]].map(|more| {
        // Nobody listens there.
        let mut client = start_client(&files, "127.0.0.1:1", more);
        assert!(echoes(&mut *connect(&client.address)).is_err());
        client.logs(&["WARN", "cut: "]);
        client.stop();
        client.lines().concat()
    });
    assert!(logs.iter().all(|log| !log.contains("accepted")), "{logs:?}");
    let [verbose, brief] = &logs;
    assert!(
        verbose.contains("DEBUG logging in key_id=worker-7 peer="),
        "{verbose}"
    );
    assert!(!brief.contains("logging in"), "{brief}");
}

#[test]
fn a_full_disk_of_logs_stops_nothing() {
    let files = Files::new();
    let args = server_args(&files, &Service::echo(), &[]);
    let mut server = Process::start_after("exec 2> /dev/full;", args);
    let client = start_client(&files, &server.address, &[]);
    for _ in 0..20 {
        echoes(&mut *connect(&client.address)).unwrap();
    }
    server.stop();
}

/// More than a pipe and the program hold: 4,096 lines.
pub const TOO_MANY: usize = 6000;

/// Connects as strangers, one after the other. Each is one line of the log.
pub fn strangers(address: &str, many: usize) {
    for _ in 0..many {
        let mut stranger = connect(address);
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // The challenge, and then the end.
        let _ = stranger.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let files = Files::new();
    let args = server_args(&files, &Service::echo(), &["--verbose"]);
    let mut server = Process::start_unread(args);
    strangers(&server.address, TOO_MANY);
    let client = Process::start(client_args(&files, &server.address, &[]));
    echoes(&mut *connect(&client.address)).unwrap();
    server.stop();
}

#[test]
fn lines_that_were_lost_are_counted_at_the_end() {
    let files = Files::new();
    let args = server_args(&files, "127.0.0.1:1", &["--verbose"]);
    let mut server = Process::start_unread(args);
    strangers(&server.address, TOO_MANY);
    server.signal("TERM");
    // The program comes to its last line meanwhile, and finds no room for it.
    thread::sleep(Duration::from_millis(300));
    server.read_log();
    let line = server.logs(&["WARN", "log lines were lost lines="]);
    let (_, lost) = line.rsplit_once('=').unwrap();
    let lost: usize = lost.parse().unwrap();
    assert!(server.wait().success());
    let lines = server.lines();
    assert_eq!(lines.last(), Some(&line));
    // The key ids, the stop, and the count of strangers.
    assert_eq!(lines.len() - 1 + lost, TOO_MANY + 3);
}

#[test]
fn an_error_that_cannot_be_written_prevents_no_end() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (stderr, _unread) = UnixStream::pair().unwrap();
    stderr.set_nonblocking(true).unwrap();
    let error = loop {
        if let Err(error) = (&stderr).write(b"x") {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stderr.set_nonblocking(false).unwrap();
    let args = server_args(&files, "127.0.0.1:1", &["--listen", &taken]);
    let mut server = tunnel()
        .args(args)
        .stderr(OwnedFd::from(stderr))
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = server.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            server.kill().unwrap();
            panic!("it hangs");
        }
        thread::yield_now();
    };
    assert_eq!(status.code(), Some(1));
}
