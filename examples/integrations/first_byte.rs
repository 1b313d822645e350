//! One port for two protocols, where the client speaks first: its first byte decides whether it
//! authenticates, or is a client of a former version that does not. Run it with
//! `cargo run --example first_byte`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use countersign::{
    Client, Deadline, Error, Key, Listener, ListenerOptions, Outcome, Server, bind_tcp,
    generate_secret,
};

const FORMER: u8 = 1;
const AUTHENTICATES: u8 = 2;
const DEADLINE: Duration = Duration::from_secs(5);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let socket = bind_tcp("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let (former, formers) = mpsc::channel();
    let options =
        ListenerOptions::new()
            .deadline(DEADLINE)
            .on_event(|event| match &event.outcome {
                Outcome::Refused(Error::Closed(_)) => {}
                outcome => println!("   The log: {outcome}."),
            });
    let listener = Listener::upgraded(socket, Server::new(key.clone()), options, move |stream| {
        let mut stream = stream;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        match first {
            [AUTHENTICATES] => Ok((stream, None)),
            [FORMER] => {
                // To the listener, this connection has been closed.
                stream.handle().lift();
                former.send(stream).map_err(io::Error::other)?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            [other] => Err(io::Error::other(format!("no version begins with {other}"))),
        }
    })?;

    println!("1. A client of the former version.");
    let mut client = begin(address, FORMER)?;
    client.write_all(b"hello")?;
    expect(&mut formers.recv_timeout(DEADLINE)?)?;
    println!("   It is served without a key id.");

    println!("2. A client that authenticates.");
    let mut client = begin(address, AUTHENTICATES)?;
    Client::new(key).authenticate_timeout(&client, DEADLINE)?;
    client.write_all(b"hello")?;
    let (mut stream, session) = listener.accept()?;
    expect(&mut stream)?;
    println!("   It is served as \"{}\".", session.key_id());
    Ok(())
}

fn begin(address: SocketAddr, first: u8) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    Deadline::new(&stream, DEADLINE).write_all(&[first])?;
    Ok(stream)
}

fn expect(stream: &mut impl Read) -> Result<(), Failure> {
    let mut word = [0; 5];
    stream.read_exact(&mut word)?;
    match &word {
        b"hello" => Ok(()),
        other => Err(format!("the client said {}", other.escape_ascii()).into()),
    }
}
