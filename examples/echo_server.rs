//! Echoes what authenticated clients send, many at once.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use countersign::compat::{self, cookbook};
use countersign::{Deadline, Error, Server};
use lexopt::{Arg, ValueExt};

#[path = "common/options.rs"]
mod options;
use options::{Failure, Identity, Wire, while_doing};

const USAGE: &str = "\
usage: echo_server [--listen ADDR] [--wire native|cookbook] [--key-file PATH] [--key-id ID]
                   [--service NAME] [--deadline SECONDS]

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

    let authenticate: Arc<Authenticate> = match identity.wire {
        Wire::Native => {
            let server = Server::new(identity.key()?).service(&identity.service)?;
            Arc::new(move |stream| {
                let session = server.authenticate(stream)?;
                Ok(format!(", key id \"{}\"", session.key_id()))
            })
        }
        Wire::Cookbook => {
            let secret = compat::secret_from_file(identity.key_file()?)?;
            Arc::new(move |stream| {
                let _knows_secret = cookbook::server_authenticate(stream, &secret)?;
                Ok(String::new())
            })
        }
    };
    let listener =
        TcpListener::bind(&address).map_err(while_doing(format!("cannot listen on {address}")))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let authenticate = Arc::clone(&authenticate);
                // A thread for each client: a silent one delays nobody else.
                thread::spawn(move || serve(&stream, peer, &*authenticate, deadline));
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Says who came in, as far as the wire tells.
type Authenticate = dyn Fn(&mut Deadline<'_, TcpStream>) -> Result<String, Error> + Send + Sync;

fn serve(stream: &TcpStream, peer: SocketAddr, authenticate: &Authenticate, time: Duration) {
    let outcome = Deadline::new(stream, time)
        .map_err(Failure::from)
        .and_then(|mut stream| Ok(authenticate(&mut stream)?));
    match outcome {
        Ok(who) => {
            eprintln!("{peer} accepted{who}");
            if let Err(error) = io::copy(&mut &*stream, &mut &*stream) {
                eprintln!("{peer} failed: {error}");
            }
        }
        Err(error) => eprintln!("{peer} refused: {error}"),
    }
}
