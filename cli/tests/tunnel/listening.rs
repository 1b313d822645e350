//! Where a tunnel cannot listen.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::process::{Files, Process, client_args, error_of, server_args, shell};

#[track_caller]
fn fails(args: &[String]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_countersign"));
    error_of(program.arg("tunnel").args(args).stdin(Stdio::null()))
}

#[test]
fn an_address_that_cannot_be_listened_at_is_an_error_that_says_what_to_do() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let missing = format!("unix:{}", files.path("missing/socket"));
    for (listen, next) in [
        (taken.as_str(), "; `ss -ltnp`"),
        // An address for documentation, which no host has.
        ("192.0.2.1:0", "; no interface of this host has it"),
        (&missing, "; make the directory"),
    ] {
        let error = fails(&server_args(&files, "127.0.0.1:1", &["--listen", listen]));
        let at = format!("could not listen at {listen}: ");
        assert!(error.contains(&at) && error.contains(next), "{error}");
    }
}

#[test]
fn a_tunnel_to_itself_is_refused() {
    let files = Files::new();
    let unix = format!("unix:{}", files.path("socket"));
    symlink("socket", files.path("link")).unwrap();
    for args in [server_args, client_args] {
        let link = format!("unix:{}", files.path("link"));
        let longer = format!("unix:{}", files.path("./keys/../socket"));
        for to in [&unix, &longer, &link] {
            let error = fails(&args(&files, to, &["--listen", &unix]));
            assert!(error.contains("this tunnel itself listens at"), "{error}");
        }
    }
    for (own, to, is_loop) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "localhost", true),
        ("0.0.0.0", "127.0.0.1", true),
        ("[::]", "127.0.0.1", true),
        ("127.0.0.1", "[::ffff:127.0.0.1]", true),
        ("[::ffff:127.0.0.1]", "127.0.0.1", true),
        ("0.0.0.0", "[::ffff:127.0.0.1]", true),
        // The same port of another host, or of another address of this one.
        ("0.0.0.0", "192.0.2.1", false),
        ("0.0.0.0", "[::1]", false),
        ("127.0.0.1", "127.0.0.2", false),
    ] {
        // The port has to be known before the program listens, so it is passed as systemd does.
        let socket = TcpListener::bind(format!("{own}:0")).unwrap();
        let to = format!("{to}:{}", socket.local_addr().unwrap().port());
        for args in [server_args, client_args] {
            let mut shell = shell("exec 3<&0 < /dev/null; export LISTEN_PID=$$ LISTEN_FDS=1;");
            let socket = OwnedFd::from(socket.try_clone().unwrap());
            shell
                .args(args(&files, &to, &["--no-listen"]))
                .stdin(socket);
            if is_loop {
                let error = error_of(&mut shell);
                assert!(error.contains("this tunnel itself listens at"), "{error}");
            } else {
                Process::spawn(&mut shell);
            }
        }
    }
}
