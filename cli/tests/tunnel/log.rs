//! The log, and what happens when it cannot be written.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::process::{
    Files, PATIENCE, Process, Tunnel, client_args, server_args, start_client, start_server,
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

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let files = Files::new();
    let mut program = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let args = server_args(&files, &Service::echo(), &["--verbose"]);
    let program = program.arg("tunnel").args(args);
    let mut child = program
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim_end().strip_prefix("listening on ").unwrap();
    // A pipe holds 64 KiB, and each stranger takes some 200 bytes of it.
    for _ in 0..1000 {
        let mut stranger = connect(address);
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // The challenge, and then the end.
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    let client = Process::start(client_args(&files, address, &[]));
    echoes(&mut *connect(&client.address)).unwrap();
    let kill = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    let end = std::time::Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < end, "it hangs");
        std::thread::yield_now();
    }
}
