//! Caps, and the descriptors that they need.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use crate::process::{Files, Process, Tunnel, client_args, server_args, shell};
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
fn caps_that_do_not_fit_the_limit_of_descriptors_are_refused_with_the_arithmetic() {
    let files = Files::new();
    let server = server_args(&files, "127.0.0.1:1", &["--max-connections", "100"]);
    let error = fails("ulimit -n 256;", &server);
    let arithmetic = "at most 256 descriptors may be open, but 100 connections of 2 sockets, 208 \
                      waiting clients and 32 others are 440";
    assert!(error.contains(arithmetic), "{error}");
    assert!(
        error.contains("lower --max-connections to 8 or --max-pending"),
        "{error}"
    );

    let client = client_args(&files, "127.0.0.1:1", &["--max-connections", "113"]);
    let error = fails("ulimit -n 256;", &client);
    assert!(
        error.contains("are 258") && error.contains("to 112"),
        "{error}"
    );
    assert!(!error.contains("--max-pending"), "{error}");

    let pending = server_args(&files, "127.0.0.1:1", &["--max-pending", "1000"]);
    let error = fails("ulimit -n 256;", &pending);
    assert!(
        error.contains("1 connections") && error.contains("--max-pending"),
        "{error}"
    );
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
    assert!(line.contains(" 332 "), "{line}");
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
        third.wait_at_most(crate::process::PATIENCE);
        let mut line = [0; 6];
        third.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"hello\n");
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

/// From an address of their own: no honest client shares their source, so none is evicted, however fast
/// they come.
#[tokio::main(flavor = "current_thread")]
async fn silent_strangers(address: SocketAddr) -> VecDeque<TcpStream> {
    let mut silent = VecDeque::new();
    for _ in 0..5000 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        silent.push_back(socket.connect(address).await.unwrap());
        // The server has evicted those that are dropped here.
        if silent.len() > 700 {
            silent.pop_front();
        }
    }
    silent
}
