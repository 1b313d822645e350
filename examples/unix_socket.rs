//! A server and two clients over a Unix socket in a directory that only its owner can enter. The
//! exit status is 0 only if the client with the right secret gets its echo and the other does not.

#[cfg(unix)]
fn main() -> Result<(), unix::Failure> {
    unix::run()
}

#[cfg(not(unix))]
fn main() {
    println!(
        "This example needs Unix sockets, which the standard library does not have on this system."
    );
}

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::net::Shutdown;
    use std::os::unix::fs::DirBuilderExt;
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::sync::mpsc;
    use std::time::Duration;
    use std::{env, fs, process, thread};

    use countersign::{
        Client, Deadline, Error, Key, Listener, ListenerOptions, Server, Session, generate_secret,
    };

    pub type Failure = Box<dyn std::error::Error + Send + Sync>;

    const DEADLINE: Duration = Duration::from_secs(5);

    pub fn run() -> Result<(), Failure> {
        let ours = Key::new(generate_secret()?)?.with_id("worker-7")?;
        let other = Key::new(generate_secret()?)?.with_id("worker-7")?;

        let directory = PrivateDirectory::new()?;
        let path = directory.0.join("echo.sock");
        let (events, log) = mpsc::channel();
        let options = ListenerOptions::new()
            .deadline(DEADLINE)
            .on_event(move |event| {
                // The receiver is gone if the program has failed.
                let _ = events.send(event.to_string());
            });
        let listener = Listener::bind_unix(&path, 0o600, Server::new(ours.clone()), options)?;
        thread::spawn(move || echo_to_all(&listener));

        println!("1. A client with the same secret.");
        let echo = talk(&path, &ours)?;
        println!("   The echo is \"{echo}\".");
        println!("   The server's log: {}.", log.recv_timeout(DEADLINE)?);

        println!("2. A client with another secret, on the same machine and as the same user.");
        match talk(&path, &other) {
            Err(error) if matches!(error.downcast_ref(), Some(Error::Denied(_))) => {
                println!("   The client's error: {error}.");
            }
            outcome => return Err(format!("the client ended with {outcome:?}").into()),
        }
        println!("   The server's log: {}.", log.recv_timeout(DEADLINE)?);
        Ok(())
    }

    fn echo_to_all(listener: &Listener<(UnixStream, Session)>) {
        while let Ok((stream, _session)) = listener.accept() {
            // One client at a time is enough here. A real server has a thread for each.
            if let Err(error) = io::copy(&mut &stream, &mut &stream) {
                eprintln!("no echo: {error}");
            }
        }
    }

    fn talk(path: &Path, key: &Key) -> Result<String, Failure> {
        const MESSAGE: &str = "Hello World";

        let socket = UnixStream::connect(path)?;
        let mut stream = Deadline::new(&socket, DEADLINE);
        let _session = Client::new(key.clone()).authenticate(&mut stream)?;
        stream.write_all(MESSAGE.as_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        let mut echo = String::new();
        stream.read_to_string(&mut echo)?;
        if echo != MESSAGE {
            return Err(format!("the echo was {echo:?}").into());
        }
        Ok(echo)
    }

    /// A directory that keeps other users away from the socket, since not every system checks the
    /// mode of the socket itself. It is removed when this is dropped.
    struct PrivateDirectory(PathBuf);

    impl PrivateDirectory {
        fn new() -> io::Result<Self> {
            let path = env::temp_dir().join(format!("countersign-{}", process::id()));
            // It must not exist yet: another user may have made it.
            fs::DirBuilder::new().mode(0o700).create(&path)?;
            Ok(Self(path))
        }
    }

    impl Drop for PrivateDirectory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
