//! Echoes what authenticated clients send, many at once.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use countersign::{Deadline, Key, KeyId, Server};
use lexopt::{Arg, ValueExt};

#[path = "common/options.rs"]
mod options;
use options::{Failure, Identity, while_doing};

const USAGE: &str = "\
usage: echo_server [--listen ADDR] [--key-file PATH] [--key-id ID] [--service NAME]
                   [--deadline SECONDS]

Without --key-file the path is read from COUNTERSIGN_KEY_FILE.";

fn main() -> ExitCode {
    options::report("echo_server", run())
}

fn run() -> Result<(), Failure> {
    let mut identity = Identity::default();
    let mut address = "127.0.0.1:7000".to_owned();
    let mut deadline = Duration::from_secs(5);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("listen") => address = parser.value()?.string()?,
            Arg::Long("deadline") => {
                deadline = Duration::try_from_secs_f64(parser.value()?.parse()?)?;
            }
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            Arg::Long(option) => {
                let option = option.to_owned();
                identity.take(&option, &mut parser)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }

    let server = Arc::new(Server::new(identity.key()?).service(&identity.service)?);
    let listener =
        TcpListener::bind(&address).map_err(while_doing(format!("cannot listen on {address}")))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let server = Arc::clone(&server);
                // A thread for each client: a silent one delays nobody else.
                thread::spawn(move || serve(&stream, peer, &server, deadline));
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn serve(stream: &TcpStream, peer: SocketAddr, server: &Server<Key>, deadline: Duration) {
    match authenticate(stream, server, deadline) {
        Ok(key_id) => {
            eprintln!("{peer} accepted, key id \"{key_id}\"");
            if let Err(error) = io::copy(&mut &*stream, &mut &*stream) {
                eprintln!("{peer} failed: {error}");
            }
        }
        Err(error) => eprintln!("{peer} refused: {error}"),
    }
}

fn authenticate(
    stream: &TcpStream,
    server: &Server<Key>,
    deadline: Duration,
) -> Result<KeyId, Failure> {
    let session = server.authenticate(&mut Deadline::new(stream, deadline)?)?;
    Ok(*session.key_id())
}
