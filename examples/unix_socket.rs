//! A server and two clients over a Unix socket, of which one has another secret.
//!
//! Run it with `cargo run --example unix_socket`. Both ends are authenticated. What follows is not
//! protected (mode 0), because it stays on this host.

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::net::Shutdown;
    use std::os::unix::fs::DirBuilderExt;
    use std::{env, fs, path::Path, process, sync::mpsc, thread, time::Duration};

    use countersign::{Client, Error, Key, Listener, ListenerOptions, Server, generate_secret};

    pub type Failure = Box<dyn std::error::Error + Send + Sync>;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Makes a directory that keeps other users away from the socket, since not every system checks
    /// the mode of the socket itself.
    pub fn main() -> Result<(), Failure> {
        let directory = env::temp_dir().join(format!("countersign-{}", process::id()));
        // It must not exist yet: another user may have made it.
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let outcome = run(&directory.join("echo.sock"));
        fs::remove_dir_all(directory)?;
        outcome
    }

    fn run(path: &Path) -> Result<(), Failure> {
        let ours = Key::new(generate_secret()?)?.with_id("worker-7")?;
        let other = Key::new(generate_secret()?)?.with_id("worker-7")?;
        let (events, log) = mpsc::channel();
        // The receiver is gone if the program has failed.
        let options =
            ListenerOptions::new().on_event(move |event| drop(events.send(event.to_string())));
        let listener = Listener::bind_unix(path, 0o600, Server::new(ours.clone()), options)?;
        thread::spawn(move || {
            // One client at a time is enough here. A real server has a thread for each.
            while let Ok((stream, _session)) = listener.accept() {
                let echo = io::copy(&mut &stream, &mut &stream);
                echo.map_or_else(|error| eprintln!("no echo: {error}"), drop);
            }
        });

        println!("1. A client with the same secret.");
        println!("   The echo is \"{}\".", talk(path, ours)?);
        println!("   The server's log: {}.", log.recv_timeout(TIMEOUT)?);

        println!("2. A client with another secret, on the same machine and as the same user.");
        let error = talk(path, other).err().ok_or("it was accepted")?;
        if !matches!(error.downcast_ref(), Some(Error::Denied(_))) {
            return Err(error);
        }
        println!("   The client's error: {error}.");
        println!("   The server's log: {}.", log.recv_timeout(TIMEOUT)?);
        Ok(())
    }

    fn talk(path: &Path, key: Key) -> Result<String, Failure> {
        let (mut stream, _session) = Client::new(key).connect_unix(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(b"Hello World")?;
        stream.shutdown(Shutdown::Write)?;
        let mut echo = String::new();
        stream.read_to_string(&mut echo)?;
        Ok(echo)
    }
}

#[cfg(unix)]
fn main() -> Result<(), unix::Failure> {
    unix::main()
}

#[cfg(not(unix))]
fn main() {
    println!("This example needs Unix sockets, which Rust does not have on this system.");
}
