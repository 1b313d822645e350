//! Echoes what authenticated clients send. Many clients can connect at once.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

#[cfg(feature = "multiprocessing")]
use countersign::compat::multiprocessing::{self, Connection};
use countersign::compat::{self, cookbook};
use countersign::record::{PAYLOAD_MAX, Protection};
use countersign::{Deadline, Error, KeyId, Listener, Secured, Server, Session, bind_tcp};

#[path = "common/options.rs"]
mod options;
#[path = "common/server.rs"]
mod server;
use options::{Failure, Verb, Wire, while_doing};
use server::Settings;

const USAGE: &str = "\
usage: echo_server [--listen ADDR] [--wire native|cookbook|multiprocessing] [--key-file PATH]
                   [--key-id ID] [--key-dir PATH] [--service NAME] [--deadline SECONDS]
                   [--protect | --encrypt]

Without --key-file, COUNTERSIGN_KEY_FILE has the path of the key file. With --key-dir, each file
<key id>.key in the directory is the key of this id, and nothing else is looked at; each line on
standard input reloads the directory.
With --protect, at both ends, what follows the handshake cannot be altered on the way. With
--encrypt, it cannot be read either.";

fn main() -> ExitCode {
    options::report("echo_server", run())
}

fn run() -> Result<(), Failure> {
    let Some(settings) = Settings::from_args(USAGE)? else {
        return Ok(());
    };
    match settings.identity.wire {
        Wire::Native => serve(&settings),
        Wire::Cookbook => serve_by_hand(&settings, recipe),
        #[cfg(feature = "multiprocessing")]
        Wire::Multiprocessing => serve_by_hand(&settings, messages),
    }
}

fn serve(settings: &Settings) -> Result<(), Failure> {
    let server = Server::new(settings.keys()?).service(&settings.identity.service)?;
    let (socket, options) = (listen(settings)?, settings.listener_options());
    match settings.identity.verb {
        Verb::Authenticate => serve_bare(&Listener::with_options(socket, server, options)?),
        Verb::Protect => serve_secured(&Listener::protected_with_options(socket, server, options)?),
        #[cfg(feature = "encrypt")]
        Verb::Encrypt => serve_secured(&Listener::encrypted_with_options(socket, server, options)?),
    }
}

fn serve_bare(listener: &Listener<(TcpStream, Session)>) -> Result<(), Failure> {
    loop {
        // Every connection here has authenticated. Others are refused on threads of the listener.
        let (stream, session) = listener.accept()?;
        let key_id = *session.key_id();
        serve_client(key_id, move || echo(&stream).map(drop));
    }
}

fn serve_secured<P: Protection>(listener: &Listener<Secured<TcpStream, P>>) -> Result<(), Failure> {
    loop {
        let stream = listener.accept()?;
        let key_id = *stream.session().key_id();
        serve_client(key_id, move || echo_secured(stream));
    }
}

/// Serves a client on a thread of its own. If there can be no more threads, this client is cut, and
/// the server goes on.
fn serve_client(key_id: KeyId, serve: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let log = move |error| eprintln!("key id \"{key_id}\" failed: {error}");
    let thread = thread::Builder::new().spawn(move || serve().unwrap_or_else(log));
    thread.map_or_else(log, drop);
}

/// Accepts and authenticates clients without a `Listener`, which speaks the native wire only. Each
/// client has a thread, so that a silent one does not delay the others.
fn serve_by_hand(settings: &Settings, authenticate: Authenticate) -> Result<(), Failure> {
    let secret = Arc::new(compat::secret_from_file(settings.identity.key_file()?)?);
    let deadline = settings.deadline;
    let socket = listen(settings)?;
    loop {
        let started = socket.accept().and_then(|(stream, peer)| {
            let secret = Arc::clone(&secret);
            let serve = move || serve_one(&stream, peer, &secret, deadline, authenticate);
            thread::Builder::new().spawn(serve)
        });
        // Descriptors or threads have run out. Trying again at once would spin.
        if let Err(error) = started {
            eprintln!("cannot serve a client: {error}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Authenticates a client, and returns what to do with it then.
type Authenticate = fn(&mut Deadline<&TcpStream>, &[u8]) -> Result<Echo, Error>;

type Echo = Box<dyn FnOnce(&TcpStream) -> io::Result<()>>;

fn recipe(stream: &mut Deadline<&TcpStream>, secret: &[u8]) -> Result<Echo, Error> {
    let _knows_secret = cookbook::server_authenticate(stream, secret)?;
    Ok(Box::new(|stream| echo(stream).map(drop)))
}

#[cfg(feature = "multiprocessing")]
fn messages(stream: &mut Deadline<&TcpStream>, secret: &[u8]) -> Result<Echo, Error> {
    const MESSAGE_MAX: usize = 1 << 20;

    let knows_authkey = multiprocessing::server_authenticate(stream, secret)?;
    Ok(Box::new(|stream| {
        let mut connection = Connection::new(stream, knows_authkey);
        while let Some(message) = connection.recv_bytes(MESSAGE_MAX)? {
            connection.send_bytes(&message)?;
        }
        Ok(())
    }))
}

fn serve_one(
    stream: &TcpStream,
    peer: SocketAddr,
    secret: &[u8],
    time: Duration,
    authenticate: Authenticate,
) {
    match authenticate(&mut Deadline::new(stream, time), secret) {
        Ok(echo) => {
            eprintln!("{peer} accepted");
            if let Err(error) = echo(stream) {
                eprintln!("{peer} failed: {error}");
            }
        }
        Err(error) => eprintln!("{peer} refused: {error}"),
    }
}

fn listen(Settings { address, .. }: &Settings) -> Result<TcpListener, Failure> {
    let socket = bind_tcp(address).map_err(while_doing(format!("cannot listen on {address}")))?;
    println!("listening on {}", socket.local_addr()?);
    Ok(socket)
}

fn echo(mut stream: &TcpStream) -> io::Result<u64> {
    io::copy(&mut &*stream, &mut stream)
}

/// How long a client may take to end the connection when all has been said.
const LINGER: Duration = Duration::from_secs(5);

/// Reads until the client has ended the connection: something left unread would make the system reset
/// the connection, and the client could miss the end of the echo.
fn echo_secured<P: Protection>(mut stream: Secured<TcpStream, P>) -> io::Result<()> {
    let mut buf = vec![0; PAYLOAD_MAX];
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            return stream.finish(LINGER);
        }
        stream.write_all(buf.get(..n).unwrap_or_default())?;
    }
}
