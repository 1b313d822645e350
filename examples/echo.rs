//! Three handshakes on 127.0.0.1: an honest one, one with a client that has another secret, and one
//! with an impostor that accepts everybody. The exit status is 0 only if each ends as it should.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use countersign::handshake::Error::{ClientNotAuthentic, ServerNotAuthentic};
use countersign::{
    Deadline, Error, Key, client_authenticate, generate_secret, server_authenticate,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const DEADLINE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Failure> {
    let ours = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let other = Key::new(generate_secret()?)?.with_id("worker-7")?;

    println!("1. Client and server have the same secret.");
    let (address, server) = listen(ours.clone(), echo)?;
    let echo = talk(address, &ours, "Hello World")?;
    let key_id = server.join().map_err(|_| "the server panicked")??;
    if echo != "Hello World" {
        return Err(format!("the echo was {echo:?}").into());
    }
    println!("   The server accepted key id \"{key_id}\"; the echo is \"{echo}\".");

    println!("2. The client has another secret.");
    let (address, server) = listen(ours.clone(), refuse)?;
    match talk(address, &other, "Let me in") {
        Err(error) if matches!(error.downcast_ref(), Some(Error::Denied(_))) => {
            println!("   The client's error: {error}.");
        }
        outcome => return Err(format!("the client ended with {outcome:?}").into()),
    }
    let error = server.join().map_err(|_| "the server panicked")??;
    println!("   The server's error: {error}.");

    println!("3. The server has another secret and accepts everybody.");
    let (address, server) = listen(other, accept_everybody)?;
    match talk(address, &ours, "The password is …") {
        Err(error)
            if matches!(
                error.downcast_ref(),
                Some(Error::Handshake(ServerNotAuthentic))
            ) =>
        {
            println!("   The client's error: {error}.");
        }
        outcome => return Err(format!("the client ended with {outcome:?}").into()),
    }
    let received = server.join().map_err(|_| "the server panicked")??;
    println!("   The server received {received} bytes of the message.");
    if received != "0" {
        return Err("the client sent its message to an impostor".into());
    }
    Ok(())
}

/// Serves one connection on a thread of its own.
fn listen(
    key: Key,
    serve: fn(&TcpStream, &Key) -> Result<String, Failure>,
) -> Result<(SocketAddr, JoinHandle<Result<String, Failure>>), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(&listener.accept()?.0, &key));
    Ok((address, server))
}

fn talk(address: SocketAddr, key: &Key, message: &str) -> Result<String, Failure> {
    let socket = TcpStream::connect(address)?;
    let mut stream = Deadline::new(&socket, DEADLINE);
    let _session = client_authenticate(&mut stream, key)?;
    stream.write_all(message.as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo)?;
    Ok(echo)
}

/// The server of the first handshake.
fn echo(mut socket: &TcpStream, key: &Key) -> Result<String, Failure> {
    let session = server_authenticate(&mut Deadline::new(socket, DEADLINE), key)?;
    io::copy(&mut &*socket, &mut socket)?;
    Ok(session.key_id().to_string())
}

/// The server of the second handshake, which has to refuse.
fn refuse(socket: &TcpStream, key: &Key) -> Result<String, Failure> {
    match server_authenticate(&mut Deadline::new(socket, DEADLINE), key) {
        Err(error @ Error::Handshake(ClientNotAuthentic { .. })) => Ok(error.to_string()),
        outcome => Err(format!("the server ended with {outcome:?}").into()),
    }
}

/// The impostor of the third handshake: it turns its own denial into an acceptance.
fn accept_everybody(socket: &TcpStream, key: &Key) -> Result<String, Failure> {
    let mut stream = AlwaysAccepted(Deadline::new(socket, DEADLINE));
    let _ = server_authenticate(&mut stream, key);
    let mut received = Vec::new();
    stream.0.read_to_end(&mut received)?;
    Ok(received.len().to_string())
}

/// A stream that replaces a denial with an acceptance, whose proof is what was there: zeros.
struct AlwaysAccepted<'s>(Deadline<&'s TcpStream>);

impl Read for AlwaysAccepted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for AlwaysAccepted<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match buf {
            [b'D', proof @ ..] => self.0.write(&[b"A", proof].concat()),
            other => self.0.write(other),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
