//! Two secrets for one id.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use countersign::{Client, Key, Keyring, Matched, Server};

use super::secret;
use crate::support::TempDir;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Logs in over TCP, and returns what the server found out.
fn login(server: &Server<Keyring>, key: Key) -> Result<Matched, countersign::Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let client = thread::spawn(move || {
        let session = Client::new(key).authenticate_timeout(&stream, TIMEOUT)?;
        (&stream).write_all(b"x").unwrap();
        assert_eq!(
            session.matched(),
            Matched::First,
            "a client uses its first secret"
        );
        Ok::<_, countersign::Error>(())
    });
    let (stream, _) = listener.accept().unwrap();
    let session = server.authenticate_timeout(&stream, TIMEOUT);
    let session = session.inspect(|_| (&stream).read_exact(&mut [0]).unwrap());
    drop(stream);
    assert_eq!(client.join().unwrap().is_ok(), session.is_ok());
    session.map(|session| {
        assert_eq!(session.key_id(), "worker-7", "the id never changes");
        session.matched()
    })
}

#[test]
fn a_secret_is_rotated_in_three_steps_that_refuse_nobody_and_change_no_id() {
    let (old, new) = (secret("old"), secret("new"));
    let client = |name: &str| super::key(name).with_id("worker-7").unwrap();
    let both = |first: &str, second: &str| format!("{first}accept:{second}");
    let directory = TempDir::new();
    directory.key_file("worker-7.key", &old);
    let ring = Keyring::from_dir(directory.path()).unwrap();
    let server = Server::new(ring.clone());

    let steps = [
        ("before", old.clone(), Some(Matched::First), None),
        (
            "the new one is accepted too",
            both(&old, &new),
            Some(Matched::First),
            Some(Matched::Accepted),
        ),
        (
            "the new one comes first",
            both(&new, &old),
            Some(Matched::Accepted),
            Some(Matched::First),
        ),
        ("the old one is gone", new, None, Some(Matched::First)),
    ];
    for (what, content, of_old, of_new) in steps {
        directory.key_file("worker-7.key", content);
        assert!(ring.reload().unwrap().is_clean());
        assert_eq!(login(&server, client("old")).ok(), of_old, "{what}");
        assert_eq!(login(&server, client("new")).ok(), of_new, "{what}");
        assert!(login(&server, client("another")).is_err(), "{what}");
    }
}

#[test]
fn the_children_of_both_secrets_of_a_master_are_accepted() {
    let (old, new) = (super::key("old"), super::key("new"));
    let master = Key::new(secret("new").trim_end()).unwrap();
    let master = master.accepting(secret("old").trim_end()).unwrap();
    let ring = Keyring::new();
    ring.insert_master("worker-", master).unwrap();
    let server = Server::new(ring);
    for (master, matched) in [(new, Matched::First), (old, Matched::Accepted)] {
        let child = Key::new(master.child_secret("worker-7").unwrap()).unwrap();
        let child = child.with_id("worker-7").unwrap();
        assert_eq!(login(&server, child).unwrap(), matched);
    }
}
