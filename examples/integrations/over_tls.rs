//! The handshake inside TLS and bound to it, on 127.0.0.1: an honest meeting, a man in the middle
//! who is found out, and the same man where nobody is bound. The exit status is 0 only if all
//! three end as they should.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use countersign::{Binding, Client, Deadline, Error, Key, Server, Session, generate_secret};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, StreamOwned,
};

mod tls;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// For TLS, the handshake inside it and the echo together.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whether an end ties its handshake to the TLS connection that it sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Yes,
    No,
}

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("this should not have happened: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<(), Failure> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    // One configuration for our own programs, one for the man in the middle: he has no key of
    // ours and a certificate of his own, which the client does not tell from the server's.
    let (server_config, client_config) = tls::configurations()?;
    let his = tls::configurations()?;

    println!("1. Client and server are bound to the TLS connection between them.");
    let (address, server) = serve(server_config.clone(), key.clone(), Bound::Yes)?;
    let echo = talk(address, client_config.clone(), &key, Bound::Yes)?;
    let session = join(server)?;
    println!(
        "   The server accepted key id \"{}\"; the echo is \"{echo}\".",
        session.key_id()
    );

    println!("2. A man in the middle ends TLS on either side and passes everything on.");
    let (address, server) = serve(server_config.clone(), key.clone(), Bound::Yes)?;
    let (address, middle) = intercept(address, his.clone())?;
    match talk(address, client_config.clone(), &key, Bound::Yes) {
        Err(error) if matches!(error.downcast_ref(), Some(Error::Denied)) => {
            println!("   The client is told: {error}.");
        }
        outcome => return Err(format!("the client ended with {outcome:?}").into()),
    }
    match join(server) {
        Err(error) if matches!(error.downcast_ref(), Some(Error::ClientNotAuthentic { .. })) => {
            println!("   The server knows: {error}.");
        }
        outcome => return Err(format!("the server ended with {outcome:?}").into()),
    }
    if contains_message(&join(middle)?) {
        return Err("the man in the middle read the message".into());
    }

    println!("3. The same man in the middle, and neither end is bound.");
    let (address, server) = serve(server_config, key.clone(), Bound::No)?;
    let (address, middle) = intercept(address, his)?;
    let echo = talk(address, client_config, &key, Bound::No)?;
    let session = join(server)?;
    if !contains_message(&join(middle)?) {
        return Err("the man in the middle was meant to read the message".into());
    }
    println!(
        "   Nobody noticed: key id \"{}\" was accepted, the echo is \"{echo}\", and he has read it.",
        session.key_id()
    );
    Ok(())
}

/// `tls-exporter` (RFC 9266): 32 octets that two ends share only if one TLS connection runs
/// between them.
///
/// Whoever ends TLS has two connections, and whatever he passes on, the octets of one are not
/// those of the other. The context has zero octets; in TLS 1.3 that is the same as none.
fn binding<Side>(connection: &ConnectionCommon<Side>) -> Result<Binding, rustls::Error> {
    let exported =
        connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))?;
    Ok(Binding::tls_exporter(&exported))
}

/// The server's end of TLS.
fn accept<S: Read + Write>(
    mut stream: S,
    config: Arc<ServerConfig>,
) -> Result<StreamOwned<ServerConnection, S>, Failure> {
    let mut connection = ServerConnection::new(config)?;
    // Until its handshake is done TLS has nothing to export.
    connection.complete_io(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

/// The client's end of TLS.
fn connect<S: Read + Write>(
    mut stream: S,
    config: Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, S>, Failure> {
    let name = ServerName::try_from("localhost")?;
    let mut connection = ClientConnection::new(config, name)?;
    connection.complete_io(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Where somebody waits for one connection, and the thread that does.
type Awaited<T> = (SocketAddr, JoinHandle<Result<T, Failure>>);

/// Serves one connection on a thread of its own: echoes one line, if the client is ours.
fn serve(config: Arc<ServerConfig>, key: Key, bound: Bound) -> Result<Awaited<Session>, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept()?;
        // The deadline goes under TLS, and so covers all that is done above it.
        let mut stream = accept(Deadline::new(&socket, DEADLINE)?, config)?;
        let server = Server::new(key);
        let session = match bound {
            Bound::Yes => (server.bound(&binding(&stream.conn)?)).authenticate(&mut stream)?,
            Bound::No => server.authenticate(&mut stream)?,
        };
        let mut line = String::new();
        BufReader::new(&mut stream).read_line(&mut line)?;
        stream.write_all(line.as_bytes())?;
        stream.flush()?;
        Ok(session)
    });
    Ok((address, server))
}

const MESSAGE: &str = "Hello World\n";

fn talk(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    key: &Key,
    bound: Bound,
) -> Result<String, Failure> {
    let socket = TcpStream::connect(address)?;
    let mut stream = connect(Deadline::new(&socket, DEADLINE)?, config)?;
    let mut client = Client::new(key.clone());
    if bound == Bound::Yes {
        client = client.bound(&binding(&stream.conn)?);
    }
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

/// Waits for one client where it takes him for the server, and returns what he came to read.
fn intercept(
    server: SocketAddr,
    (server_config, client_config): (Arc<ServerConfig>, Arc<ClientConfig>),
) -> Result<Awaited<Vec<u8>>, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let middle = thread::spawn(move || {
        let (client, _) = listener.accept()?;
        let server = TcpStream::connect(server)?;
        let mut client = accept(Deadline::new(&client, DEADLINE)?, server_config)?;
        let mut server = connect(Deadline::new(&server, DEADLINE)?, client_config)?;
        let mut read = Vec::new();
        // The ends speak by turns, and the server begins. One of them going away is the end.
        while pass_on(&mut server, &mut client, &mut read).is_ok()
            && pass_on(&mut client, &mut server, &mut read).is_ok()
        {}
        Ok(read)
    });
    Ok((address, middle))
}

/// Passes on, as it is, what one end says in its turn.
fn pass_on(from: &mut impl Read, to: &mut impl Write, read: &mut Vec<u8>) -> io::Result<()> {
    let mut turn = [0; 1024];
    let n = from.read(&mut turn)?;
    let said = turn.get(..n).filter(|said| !said.is_empty());
    let said = said.ok_or(io::ErrorKind::UnexpectedEof)?;
    read.extend_from_slice(said);
    to.write_all(said)?;
    to.flush()
}

fn contains_message(octets: &[u8]) -> bool {
    (octets.windows(MESSAGE.len())).any(|window| window == MESSAGE.as_bytes())
}

fn join<T>(thread: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().map_err(|_| "a thread panicked")?
}
