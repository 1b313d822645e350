//! The recipe, whose implementation is the recipe itself.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use countersign::Deadline;
use countersign::compat::cookbook;

use super::process::text;
use super::{Process, TIME, is_installed};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/python/recipe.py");

fn start(args: &[&str]) -> Process {
    Process::start("python3", &[&["-B", SCRIPT], args].concat())
}

/// Sends a greeting and returns the echo.
fn greet(socket: &TcpStream) -> io::Result<String> {
    let mut stream = Deadline::new(socket, TIME);
    stream.write_all(b"Hello World")?;
    socket.shutdown(Shutdown::Write)?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo)?;
    Ok(echo)
}

#[test]
fn the_recipes_server_accepts_our_client_and_refuses_another_secret() {
    if !is_installed("python3") {
        return;
    }
    for (secret, accepted) in [("peekaboo", true), ("peekabo0", false)] {
        let mut peer = start(&["serve", "--secret", "peekaboo"]);
        let socket = TcpStream::connect(peer.address()).unwrap();
        let mut stream = Deadline::new(&socket, TIME);
        cookbook::client_authenticate(&mut stream, secret.as_bytes()).unwrap();
        drop(stream);
        // A refused client sees the end of the stream, or its reset.
        let echoed = greet(&socket).is_ok_and(|echo| echo == "Hello World");
        assert_eq!(echoed, accepted);
        let word = if accepted { "accepted" } else { "refused" };
        assert!(text(&peer.output().stderr).contains(word));
    }
}

#[test]
fn our_server_accepts_the_recipes_client_and_refuses_another_secret() {
    if !is_installed("python3") {
        return;
    }
    for (secret, accepted) in [("peekaboo", true), ("peekabo0", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut peer = start(&["connect", "--connect", &address, "--secret", secret]);
        let socket = peer.accept(&listener);
        let mut stream = Deadline::new(&socket, TIME);
        let outcome = cookbook::server_authenticate(&mut stream, b"peekaboo");
        assert_eq!(outcome.is_ok(), accepted);
        if accepted {
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        }
        drop(stream);
        drop(socket);
        let output = peer.output();
        assert_eq!(output.status.success(), accepted);
        assert_eq!(text(&output.stdout).trim() == "Hello World", accepted);
    }
}
