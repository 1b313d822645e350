//! A server with a thread for each client, and a stop: it closes the port, answers each request that
//! was read, shows clients the end of their streams, and waits for the threads. A client asks for it.
//!
//! Run it with `cargo run --example graceful_stop`. Both ends are authenticated, and nobody can alter
//! what they send (`protect`). It is not encrypted.
use std::io::{self, ErrorKind::TimedOut, ErrorKind::UnexpectedEof, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{net::TcpStream, thread, time::Duration};

use countersign::{Client, Error, Key, Listener, Protected, Server, generate_secret};

/// How long a client may be silent, and so how long a stop may have to wait for it.
const SILENCE: Duration = Duration::from_secs(2);

struct Service {
    listener: Listener<Protected<TcpStream>>,
    stopping: AtomicBool,
}

impl Service {
    /// Serves until the stop, and returns once all of its threads have ended.
    fn run(&self) {
        thread::scope(|threads| {
            while let Ok(stream) = self.listener.accept() {
                let key_id = *stream.session().key_id();
                let log = move |error| eprintln!("key id \"{key_id}\" failed: {error}");
                let serve = move || self.serve(stream).unwrap_or_else(log);
                let thread = thread::Builder::new().spawn_scoped(threads, serve);
                thread.map_or_else(log, drop);
            }
        });
    }

    fn serve(&self, mut stream: Protected<TcpStream>) -> io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let mut request = [0; 4];
        while !self.stopping.load(Relaxed) {
            match stream.read_exact(&mut request) {
                Ok(()) if &request == b"stop" => self.stop(),
                Ok(()) => {}
                // The client has closed, or is silent.
                Err(error) if matches!(error.kind(), UnexpectedEof | TimedOut) => break,
                Err(error) => return Err(error),
            }
            stream.write_all(&request)?;
        }
        stream.finish(SILENCE)
    }

    fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.listener.shutdown();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let listener = Listener::bind_protected("127.0.0.1:0", Server::new(key.clone()))?;
    let address = listener.local_addr().ok_or("no address")?;
    let stopping = AtomicBool::new(false);
    let service = Service { listener, stopping };
    let running = thread::spawn(move || service.run());

    let client = Client::new(key);
    let silent = client.connect_protected(address)?;
    let mut asking = client.connect_protected(address)?;
    asking.write_all(b"stop")?;
    asking.read_exact(&mut [0; 4])?;
    for mut stream in [asking, silent] {
        assert_eq!(stream.read(&mut [0])?, 0);
        stream.close()?;
    }
    running.join().map_err(|_| "the server panicked")?;
    let refused = client.connect(address);
    assert!(matches!(refused, Err(Error::Connect { .. })));
    println!("The stop was answered, both clients read the end, and nobody listens.");
    Ok(())
}
