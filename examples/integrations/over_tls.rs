//! The handshake inside TLS on 127.0.0.1: bound to the TLS connection, bound to it with a man in
//! the middle, and not bound with a man in the middle. The exit status is 0 only if each ends as it
//! should.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use countersign::handshake::Error::ClientNotAuthentic;
use countersign::{
    Binding, Client, Deadline, Error, Key, KeyId, Listener, ListenerOptions, Outcome, Server,
    bind_tcp, generate_secret,
};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, StreamOwned,
};

mod tls;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// For TLS and the handshake inside it and, at the client, the echo too.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whether an end binds its handshake to its TLS connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Yes,
    No,
}

fn main() -> Result<(), Failure> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    // The man in the middle has no key, and a certificate of his own, which the client accepts like
    // the server's.
    let (server_config, client_config) = tls::configurations()?;
    let his = tls::configurations()?;

    println!("1. Both ends are bound to the TLS connection between them.");
    let (address, server) = serve(server_config.clone(), key.clone(), Bound::Yes)?;
    let echo = talk(address, client_config.clone(), &key, Bound::Yes)?;
    let key_id = accepted(&server)?;
    println!("   The server accepted key id \"{key_id}\"; the echo is \"{echo}\".");

    println!("2. A man in the middle terminates TLS on both sides and forwards everything.");
    let (address, server) = serve(server_config.clone(), key.clone(), Bound::Yes)?;
    let (address, middle) = intercept(address, his.clone())?;
    match talk(address, client_config.clone(), &key, Bound::Yes) {
        Err(error) if matches!(error.downcast_ref(), Some(Error::Denied(_))) => {
            println!("   The client's error: {error}.");
        }
        outcome => return Err(format!("the client ended with {outcome:?}").into()),
    }
    match server.recv_timeout(DEADLINE)? {
        Err(error) => println!("   The server's error: {error}."),
        Ok(key_id) => return Err(format!("the server accepted \"{key_id}\"").into()),
    }
    if contains_message(&join(middle)?) {
        return Err("the man in the middle read the message".into());
    }

    println!("3. The same man in the middle, but neither end is bound.");
    let (address, server) = serve(server_config, key.clone(), Bound::No)?;
    let (address, middle) = intercept(address, his)?;
    let echo = talk(address, client_config, &key, Bound::No)?;
    let key_id = accepted(&server)?;
    if !contains_message(&join(middle)?) {
        return Err("the man in the middle was meant to read the message".into());
    }
    println!(
        "   The server accepted key id \"{key_id}\"; the man in the middle has read the echo \"{echo}\"."
    );
    Ok(())
}

/// Returns the channel binding `tls-exporter` (RFC 9266) of an end that binds: 32 bytes that two ends
/// share only if they are the ends of one TLS connection.
///
/// A man in the middle who terminates TLS has two connections, whose bytes differ. The context is
/// empty, which in TLS 1.3 is the same as no context.
fn binding<Side>(
    connection: &ConnectionCommon<Side>,
    bound: Bound,
) -> Result<Option<Binding>, rustls::Error> {
    if bound == Bound::No {
        return Ok(None);
    }
    let exported =
        connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))?;
    Ok(Some(Binding::tls_exporter(&exported)))
}

/// Runs the server's side of the TLS handshake.
fn accept<S: Read + Write>(
    mut stream: S,
    config: Arc<ServerConfig>,
) -> io::Result<StreamOwned<ServerConnection, S>> {
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    // TLS can export nothing before its handshake is complete.
    connection.complete_io(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Runs the client's side of the TLS handshake.
fn connect<S: Read + Write>(
    mut stream: S,
    config: Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, S>, Failure> {
    let name = ServerName::try_from("localhost")?;
    let mut connection = ClientConnection::new(config, name)?;
    connection.complete_io(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

fn accepted(server: &Outcomes) -> Result<KeyId, Failure> {
    Ok(server.recv_timeout(DEADLINE)??)
}

/// The key id that a server accepted, or its error about a client that is not authentic.
type Outcomes = Receiver<Result<KeyId, String>>;

/// Starts a server that does TLS, authenticates the client and echoes one line.
fn serve(
    config: Arc<ServerConfig>,
    key: Key,
    bound: Bound,
) -> Result<(SocketAddr, Outcomes), Failure> {
    let (send, outcomes) = mpsc::channel();
    // The deadline is for TLS and the handshake.
    let options = ListenerOptions::new()
        .deadline(DEADLINE)
        .on_event(move |event| {
            let outcome = match &event.outcome {
                Outcome::Accepted { key_id, .. } => Ok(*key_id),
                Outcome::Refused(error @ Error::Handshake(ClientNotAuthentic { .. })) => {
                    Err(error.to_string())
                }
                _ => return eprintln!("{event}"),
            };
            // The receiver is gone if the program has failed.
            let _ = send.send(outcome);
        });
    let socket = bind_tcp("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let listener = Listener::upgraded(socket, Server::new(key), options, move |stream| {
        let stream = accept(stream, config.clone())?;
        let binding = binding(&stream.conn, bound).map_err(io::Error::other)?;
        Ok((stream, binding))
    })?;
    thread::spawn(move || -> io::Result<()> {
        let (mut stream, _session) = listener.accept()?;
        let mut line = String::new();
        BufReader::new(&mut stream).read_line(&mut line)?;
        stream.write_all(line.as_bytes())?;
        stream.flush()
    });
    Ok((address, outcomes))
}

const MESSAGE: &str = "Hello World\n";

fn talk(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    key: &Key,
    bound: Bound,
) -> Result<String, Failure> {
    let socket = TcpStream::connect(address)?;
    let mut stream = connect(Deadline::new(&socket, DEADLINE), config)?;
    let binding = binding(&stream.conn, bound)?;
    let client = Client::new(key.clone()).bound(binding.as_ref());
    let _session = client.authenticate(&mut stream)?;
    stream.write_all(MESSAGE.as_bytes())?;
    stream.flush()?;
    let mut echo = String::new();
    BufReader::new(&mut stream).read_line(&mut echo)?;
    if echo != MESSAGE {
        return Err(format!("the echo was {echo:?}").into());
    }
    Ok(echo.trim_end().to_owned())
}

/// A man in the middle, and what he read.
type Middle = JoinHandle<Result<Vec<u8>, Failure>>;

/// Waits for one client in the place of the server, and returns everything that it read.
fn intercept(
    server: SocketAddr,
    (server_config, client_config): (Arc<ServerConfig>, Arc<ClientConfig>),
) -> Result<(SocketAddr, Middle), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let middle = thread::spawn(move || {
        let (client, _) = listener.accept()?;
        let server = TcpStream::connect(server)?;
        let mut client = accept(Deadline::new(&client, DEADLINE), server_config)?;
        let mut server = connect(Deadline::new(&server, DEADLINE), client_config)?;
        let mut read = Vec::new();
        // The ends take turns, and the server begins.
        while forward(&mut server, &mut client, &mut read).is_ok()
            && forward(&mut client, &mut server, &mut read).is_ok()
        {}
        Ok(read)
    });
    Ok((address, middle))
}

/// Forwards, unchanged, what one end sends in its turn.
fn forward(from: &mut impl Read, to: &mut impl Write, read: &mut Vec<u8>) -> io::Result<()> {
    let mut turn = [0; 1024];
    let n = from.read(&mut turn)?;
    let sent = turn.get(..n).filter(|sent| !sent.is_empty());
    let sent = sent.ok_or(io::ErrorKind::UnexpectedEof)?;
    read.extend_from_slice(sent);
    to.write_all(sent)?;
    to.flush()
}

fn contains_message(bytes: &[u8]) -> bool {
    (bytes.windows(MESSAGE.len())).any(|window| window == MESSAGE.as_bytes())
}

fn join(thread: Middle) -> Result<Vec<u8>, Failure> {
    thread.join().map_err(|_| "a thread panicked")?
}
