//! Replaces a client's key in four steps while the server runs. No login is refused that should
//! succeed. The exit status is 0 only if each step ends as it should.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use countersign::{
    Client, Deadline, Error, Key, Keyring, Listener, ListenerOptions, Outcome, Server, Session,
    generate_secret,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const DEADLINE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Failure> {
    // Each key has its own id, so that both can be valid for a while.
    let old = Key::new(generate_secret()?)?.with_id("worker-7.2026-11")?;
    let new = Key::new(generate_secret()?)?.with_id("worker-7.2026-12")?;

    let ring = Keyring::new();
    let (logins, log) = mpsc::channel();
    let options = ListenerOptions::new()
        .deadline(DEADLINE)
        .on_event(move |event| {
            if let Outcome::Accepted(key_id) = event.outcome {
                // The receiver is gone if the program has failed.
                let _ = logins.send(key_id);
            }
        });
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    // A clone of a ring is another handle to it: the server sees the changes below.
    let listener = Listener::with_options(socket, Server::new(ring.clone()), options)?;
    thread::spawn(move || serve(&listener));

    println!("1. The server has the old key.");
    ring.insert(old.clone());
    let mut early = accepted(address, &old)?;
    denied(address, &new)?;

    println!("2. The server gets the new key and keeps the old one.");
    ring.insert(new.clone());
    accepted(address, &old)?;
    accepted(address, &new)?;

    println!("3. The client gets the new key and stops using the old one.");
    log.try_iter().for_each(drop);
    accepted(address, &new)?;
    // With many clients, wait here until the log has not shown the old id for a while.
    let since: Vec<_> = log.try_iter().collect();
    if since != [*new.id()] {
        return Err(format!("the log has shown {since:?}").into());
    }
    println!("   since then the log has shown only {}", new.id());

    println!("4. The old key is removed from the server.");
    if !ring.remove(old.id()) {
        return Err("the old key was gone before".into());
    }
    accepted(address, &new)?;
    denied(address, &old)?;

    // A connection is authenticated once, at its beginning. Closing the connections of a key that
    // has leaked is up to the application.
    exchange(&mut early)?;
    println!("   the connection of step 1 is still open");
    Ok(())
}

/// Echoes what each authenticated client sends.
fn serve(listener: &Listener<(TcpStream, Session)>) {
    while let Ok((stream, _session)) = listener.accept() {
        thread::spawn(move || io::copy(&mut &stream, &mut &stream));
    }
}

fn accepted(address: SocketAddr, key: &Key) -> Result<TcpStream, Failure> {
    let stream = login(address, key)?;
    println!("   {} is accepted", key.id());
    Ok(stream)
}

fn denied(address: SocketAddr, key: &Key) -> Result<(), Failure> {
    match login(address, key) {
        Err(error) if matches!(error.downcast_ref(), Some(Error::Denied(_))) => {
            println!("   {} is denied", key.id());
            Ok(())
        }
        outcome => Err(format!("{} ended with {outcome:?}", key.id()).into()),
    }
}

fn login(address: SocketAddr, key: &Key) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address)?;
    let _session = Client::new(key.clone()).authenticate_timeout(&stream, DEADLINE)?;
    // The server echoes only after it has written to its log.
    exchange(&mut stream)?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut stream = Deadline::new(stream, DEADLINE)?;
    stream.write_all(b"ping")?;
    let mut echo = [0; 4];
    stream.read_exact(&mut echo)?;
    if echo != *b"ping" {
        return Err(format!("the echo was {echo:?}").into());
    }
    Ok(())
}
