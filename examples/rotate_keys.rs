//! Replaces a client's secret while the server runs. No login is refused that should succeed, and
//! the client's id never changes. The exit status is 0 only if each step ends as it should.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use countersign::{
    Client, Deadline, Error, Key, KeyId, Keyring, Listener, ListenerOptions, Matched, Outcome,
    Server, Session, generate_secret,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ID: &str = "worker-7";
const DEADLINE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Failure> {
    let (old, new) = (generate_secret()?, generate_secret()?);
    // What the client uses before, and what it uses in the end.
    let with_old = Key::new(&old)?.with_id(ID)?;
    let with_new = Key::new(&new)?.with_id(ID)?;

    let ring = Keyring::new();
    let (logins, log) = mpsc::channel();
    let options = ListenerOptions::new()
        .deadline(DEADLINE)
        .on_event(move |event| {
            if let Outcome::Accepted {
                key_id, matched, ..
            } = event.outcome
            {
                // The receiver is gone if the program has failed.
                let _ = logins.send((key_id, matched));
            }
        });
    // A clone of a ring is another handle to it: the server sees the changes below.
    let server = Server::new(ring.clone());
    let listener = Listener::bind_with_options("127.0.0.1:0", server, options)?;
    let address = listener.local_addr().ok_or("no address")?;
    thread::spawn(move || serve(&listener));

    println!("1. The server has the old secret.");
    ring.insert(with_old.clone());
    let mut early = accepted(address, "old", &with_old)?;
    denied(address, "new", &with_new)?;
    logged(&log, &[Matched::First])?;

    println!("2. The server accepts the new secret too.");
    ring.insert(with_old.clone().accepting(&new)?);
    accepted(address, "old", &with_old)?;
    accepted(address, "new", &with_new)?;
    logged(&log, &[Matched::First, Matched::Accepted])?;

    println!("3. The client gets the new secret.");
    accepted(address, "new", &with_new)?;
    logged(&log, &[Matched::Accepted])?;

    println!("4. The server puts the new secret first and still accepts the old one.");
    ring.insert(with_new.clone().accepting(&old)?);
    accepted(address, "old", &with_old)?;
    logged(&log, &[Matched::Accepted])?;
    accepted(address, "new", &with_new)?;
    // With many clients, wait here until the log has not shown the accepted secret for a while.
    logged(&log, &[Matched::First])?;

    println!("5. The old secret is removed.");
    ring.insert(with_new.clone());
    accepted(address, "new", &with_new)?;
    denied(address, "old", &with_old)?;
    logged(&log, &[Matched::First])?;

    // A connection is authenticated once, at its beginning. Closing the connections of a secret that
    // has leaked is up to the application.
    exchange(&mut early)?;
    println!("   the connection of step 1 is still open");
    Ok(())
}

/// Echoes what each authenticated client sends.
fn serve(listener: &Listener<(TcpStream, Session)>) {
    while let Ok((stream, _session)) = listener.accept() {
        let echo = move || io::copy(&mut &stream, &mut &stream);
        // If there can be no more threads, this client is cut, and the server goes on.
        let _ = thread::Builder::new().spawn(echo);
    }
}

fn accepted(address: SocketAddr, secret: &str, key: &Key) -> Result<TcpStream, Failure> {
    let stream = login(address, key)?;
    println!("   the {secret} secret is accepted");
    Ok(stream)
}

fn denied(address: SocketAddr, secret: &str, key: &Key) -> Result<(), Failure> {
    match login(address, key) {
        Err(error) if matches!(error.downcast_ref(), Some(Error::Denied(_))) => {
            println!("   the {secret} secret is denied");
            Ok(())
        }
        outcome => Err(format!("the {secret} secret ended with {outcome:?}").into()),
    }
}

/// Checks what the server has logged since the last call: which secret each login has used, under
/// an id that is always the same.
fn logged(log: &Receiver<(KeyId, Matched)>, expected: &[Matched]) -> Result<(), Failure> {
    let logins: Vec<_> = log.try_iter().collect();
    for (key_id, matched) in &logins {
        println!("   log: {key_id} {matched:?}");
    }
    let matches = logins.iter().map(|(_, matched)| matched).eq(expected);
    if matches && logins.iter().all(|(key_id, _)| *key_id == ID) {
        return Ok(());
    }
    Err(format!("the log should show {expected:?} of {ID}").into())
}

fn login(address: SocketAddr, key: &Key) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address)?;
    let _session = Client::new(key.clone()).authenticate_timeout(&stream, DEADLINE)?;
    // The server echoes only after it has written to its log.
    exchange(&mut stream)?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut stream = Deadline::new(stream, DEADLINE);
    stream.write_all(b"ping")?;
    let mut echo = [0; 4];
    stream.read_exact(&mut echo)?;
    if echo != *b"ping" {
        return Err(format!("the echo was {echo:?}").into());
    }
    Ok(())
}
