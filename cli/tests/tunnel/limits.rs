//! Caps, and the descriptors that they need.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{
    Files, PATIENCE, Process, Tunnel, client_args, connect_stranger, server_args, shell,
};
use crate::service::{Service, connect, echoes};

/// Runs the program after these commands of a shell, and returns its error.
fn fails(commands: &str, args: &[String]) -> String {
    let output = shell(commands)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn caps_that_do_not_fit_the_limit_of_descriptors_are_refused_with_what_would_fit() {
    let files = Files::new();
    let server = |more: &[&str]| server_args(&files, "127.0.0.1:1", more);
    let client = |more: &[&str]| client_args(&files, "127.0.0.1:1", more);
    let raise = "raise the limit (ulimit -Hn, or LimitNOFILE= of systemd) to";
    for (limit, args, parts) in [
        (
            300,
            server(&["--max-connections", "100"]),
            [
                "at most 300 descriptors may be open, but 100 connections of 2 sockets, 224 waiting \
                 clients and 32 others are 456;",
                " to 456, or lower --max-connections to 22, or lower --max-pending to 36\n",
            ],
        ),
        // Nothing is left for a connection, or for a handshake.
        (
            256,
            server(&[]),
            [
                " 1 connection of 2 sockets",
                " to 258, or lower --max-pending to 190\n",
            ],
        ),
        (
            262,
            server(&["--max-connections", "100"]),
            [" are 456;", " to 456, or lower --max-connections to 3\n"],
        ),
        (64, server(&[]), [" are 258;", " to 258\n"]),
        (
            256,
            client(&["--max-connections", "105"]),
            [
                " 16 waiting clients and 32 others are 258;",
                " to 258, or lower --max-connections to 104\n",
            ],
        ),
        (20, client(&[]), [" 1 connection of ", " to 50\n"]),
    ] {
        let error = fails(&format!("ulimit -n {limit};"), &args);
        let has_all = parts.iter().all(|part| error.contains(part));
        assert!(has_all && error.contains(raise), "{error}");
    }
    // What is proposed fits.
    for (limit, args) in [
        (300, server(&["--max-connections", "22"])),
        (
            300,
            server(&["--max-connections", "100", "--max-pending", "36"]),
        ),
        (256, server(&["--max-pending", "190"])),
        (256, client(&["--max-connections", "104"])),
        (50, client(&[])),
    ] {
        Process::start_after(&format!("ulimit -n {limit};"), args);
    }
}

#[test]
fn a_soft_limit_is_raised_as_far_as_the_caps_need() {
    let files = Files::new();
    let args = client_args(&files, "127.0.0.1:1", &["--max-connections", "150"]);
    let client = Process::start_after("ulimit -Hn 512; ulimit -Sn 64;", args);
    let limits = Command::new("cat")
        .arg(format!("/proc/{}/limits", client.id()))
        .output()
        .unwrap();
    let limits = String::from_utf8(limits.stdout).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert!(line.contains(" 348 "), "{line}");
}

#[test]
fn a_connection_beyond_the_cap_waits_until_one_ends() {
    for end in 0..2 {
        let cap = ["--max-connections", "2"];
        let (client, server): (&[&str], &[&str]) = [(&cap[..], &[][..]), (&[], &cap)][end];
        let tunnel = Tunnel::with(&Service::echo(), client, server);
        let [mut first, _second] = [(); 2].map(|()| {
            let mut stream = connect(&tunnel.client.address);
            echoes(&mut *stream).unwrap();
            stream
        });
        let mut third = connect(&tunnel.client.address);
        third.wait_at_most(Duration::from_millis(300));
        assert!(echoes(&mut *third).is_err());
        first.end();
        first.read_to_end(&mut Vec::new()).unwrap();
        third.wait_at_most(PATIENCE);
        let mut line = [0; 6];
        third.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"hello\n");
    }
}

#[test]
fn whoever_waits_for_a_place_is_counted_at_once_and_carried_later() {
    for end in 0..2 {
        let cap = ["--max-connections", "1"];
        let (client, server): (&[&str], &[&str]) = [(&cap[..], &[][..]), (&[], &cap)][end];
        let tunnel = Tunnel::with(&Service::echo(), client, server);
        let full = [&tunnel.client, &tunnel.server][end];
        let mut first = connect(&tunnel.client.address);
        echoes(&mut *first).unwrap();
        assert!(!full.lines().concat().contains("places are taken"));
        let others = [(); 40].map(|()| connect(&tunnel.client.address));
        full.logs(&[
            "WARN",
            "all places are taken (1), and connections wait (1 or more); raise --max-connections",
        ]);
        // Once, and not for each.
        let told = full.lines();
        let told = told.iter().filter(|line| line.contains("places are taken"));
        assert_eq!(told.count(), 1);
        drop(first);
        // They are carried in any order, one at a time.
        thread::scope(|scope| {
            for mut stream in others {
                scope.spawn(move || echoes(&mut *stream).unwrap());
            }
        });
    }
}

#[test]
fn a_burst_of_300_connections_waits_in_the_queue_of_either_end() {
    let tunnel = Tunnel::to(&Service::echo());
    for end in [&tunnel.client, &tunnel.server] {
        let address = end.address.parse().unwrap();
        // It accepts nothing, and each connection that finds no place waits a second or longer.
        end.signal("STOP");
        let begun = Instant::now();
        let burst = [(); 300].map(|()| TcpStream::connect_timeout(&address, PATIENCE).unwrap());
        let took = begun.elapsed();
        end.signal("CONT");
        drop(burst);
        assert!(took < Duration::from_millis(900), "{took:?}");
    }
}

#[test]
fn honest_clients_get_through_silent_strangers_with_1024_descriptors() {
    let files = Files::new();
    let few = "ulimit -n 1024;";
    let server = Process::start_after(few, server_args(&files, &Service::echo(), &[]));
    let client = Process::start_after(few, client_args(&files, &server.address, &[]));
    let strangers = thread::spawn({
        let address = server.address.parse().unwrap();
        move || silent_strangers(address)
    });
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut stream = connect(&client.address);
        echoes(&mut *stream).unwrap();
        open.push(stream);
    }
    for stream in &mut open {
        echoes(&mut **stream).unwrap();
    }
    drop(strangers.join().unwrap());
}

fn silent_strangers(address: SocketAddr) -> VecDeque<TcpStream> {
    let mut silent = VecDeque::new();
    for _ in 0..5000 {
        silent.push_back(connect_stranger(address));
        // The server has evicted those that are dropped here.
        if silent.len() > 700 {
            silent.pop_front();
        }
    }
    silent
}

#[test]
fn a_full_server_logs_in_only_a_few_who_then_wait() {
    // One is carried, 16 wait in the program, and 16 in its listener.
    const FEW: usize = 33;
    let caps = ["--max-connections", "1", "--max-pending", "1"];
    let tunnel = Tunnel::with(&Service::echo(), &[], &caps);
    let mut streams = Vec::new();
    for n in 1..=FEW {
        streams.push(connect(&tunnel.client.address));
        tunnel.client.logs_times(n, &["accepted"]);
    }
    // The client gives up after ten seconds.
    streams.extend([(); 20].map(|()| connect(&tunnel.client.address)));
    tunnel.client.logs_times(19, &["WARN", "cut: "]);
    let lines = tunnel.client.lines();
    let accepted = lines.iter().filter(|it| it.contains("accepted")).count();
    // One more was on its way into the listener.
    assert!(accepted <= FEW + 1, "{accepted}");
}
