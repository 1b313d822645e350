//! Peers that share no code with this crate: the Python implementation of the native wire, and the
//! recipe.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use countersign::compat::cookbook;
use countersign::{Client, Deadline, Error, Key, Keyring, Matched, Server};

use crate::failures::{is_denied, refusal};
use crate::support::TempDir;
use crate::vectors::made_by_the_crate;

pub const TIME: Duration = Duration::from_secs(20);

/// Returns the directory of the Python peers, or `None` if there is no Python, which panics on CI.
fn python() -> Option<&'static str> {
    let found = Command::new("python3").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/python"));
    }
    assert!(env::var_os("CI").is_none(), "CI needs python3");
    eprintln!("NOT RUN: there is no python3");
    None
}

/// A Python peer. It is killed when it is dropped.
pub struct Peer(Child);

impl Peer {
    fn run(directory: &str, script: &str, args: &[&str]) -> Self {
        Self::start("python3", &format!("{directory}/{script}"), args)
    }

    pub fn start(python: impl AsRef<OsStr>, script: &str, args: &[&str]) -> Self {
        let child = Command::new(python)
            .args(["-B", script])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Returns the address, which a server prints first.
    pub fn address(&mut self) -> SocketAddr {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        address.parse().unwrap()
    }

    #[cfg(feature = "multiprocessing")]
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits until the peer ends. Panics if it does not end in time.
    pub fn output(mut self) -> Output {
        let began = Instant::now();
        let status = loop {
            match self.0.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(began.elapsed() < TIME, "the Python peer does not end"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        let mut output = Output {
            status,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let (stdout, stderr) = (self.0.stdout.as_mut(), self.0.stderr.as_mut());
        stdout.unwrap().read_to_end(&mut output.stdout).unwrap();
        stderr.unwrap().read_to_end(&mut output.stderr).unwrap();
        output
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a greeting and returns the echo.
fn greet(socket: &TcpStream) -> io::Result<String> {
    let mut stream = Deadline::new(socket, TIME);
    stream.write_all(b"Hello World")?;
    socket.shutdown(Shutdown::Write)?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo)?;
    Ok(echo)
}

/// Accepts one connection, authenticates the peer, and echoes what it sends.
fn serve_one<T>(
    listener: &TcpListener,
    authenticate: impl FnOnce(&mut Deadline<&TcpStream>) -> Result<T, Error>,
) -> Result<T, Error> {
    let (socket, _) = listener.accept().unwrap();
    let mut stream = Deadline::new(&socket, TIME);
    let authenticated = authenticate(&mut stream)?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    stream.write_all(&received).unwrap();
    Ok(authenticated)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_python_peer_agrees_with_every_vector_and_makes_the_same_files() {
    let Some(directory) = python() else { return };
    for kind in ["handshake", "key-files", "passphrases"] {
        let file = format!("{directory}/../../tests/vectors/{kind}.txt");
        let checked = Peer::run(directory, "countersign.py", &["check", &file]).output();
        assert!(checked.status.success(), "{}", text(&checked.stdout));
        let made = Command::new("python3")
            .args([
                "-B",
                &format!("{directory}/countersign.py"),
                "vectors",
                kind,
            ])
            .output()
            .unwrap();
        assert_eq!(text(&made.stdout), fs::read_to_string(file).unwrap());
    }
}

#[test]
fn the_python_peer_agrees_with_vectors_that_the_crate_makes() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    let path = temp.path().join("vectors.txt");
    let vectors = made_by_the_crate(0..=1);
    fs::write(&path, &vectors).unwrap();
    let check = || {
        let args = ["check", path.to_str().unwrap()];
        Peer::run(directory, "countersign.py", &args).output()
    };
    let output = check();
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).trim(), "5 passed, 0 failed");

    // The control: one digit of one tag.
    let at = vectors.find("\nts: ").unwrap() + "\nts: ".len();
    let digit = if vectors[at..].starts_with('0') {
        "1"
    } else {
        "0"
    };
    fs::write(&path, [&vectors[..at], digit, &vectors[at + 1..]].concat()).unwrap();
    assert_eq!(check().status.code(), Some(1));
}

#[test]
fn our_client_and_the_python_server_authenticate_each_other() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let options = options(&file);
    let mut peer = Peer::run(
        directory,
        "countersign.py",
        &[&["serve"], &options[..]].concat(),
    );
    let socket = TcpStream::connect(peer.address()).unwrap();
    let client = Client::new(key.with_id("worker-7").unwrap());
    let client = client.service("billing/2").unwrap();
    let session = client.authenticate(&mut Deadline::new(&socket, TIME));
    assert_eq!(session.unwrap().key_id(), "worker-7");
    assert_eq!(greet(&socket).unwrap(), "Hello World");
    let output = peer.output();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).trim(), "accepted worker-7");
}

#[test]
fn our_client_is_denied_by_the_python_server_for_another_secret_id_or_service() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let (_, other) = key_file(&temp, "other.key");
    let clients = [
        Client::new(other),
        Client::new(key.clone().with_id("nobody").unwrap()),
        Client::new(key).service("another").unwrap(),
    ];
    for client in clients {
        let mut peer = Peer::run(directory, "countersign.py", &["serve", "--key-file", &file]);
        let socket = TcpStream::connect(peer.address()).unwrap();
        let outcome = client.authenticate(&mut Deadline::new(&socket, TIME));
        assert!(is_denied(&outcome.unwrap_err()));
        let output = peer.output();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("refused"));
    }
}

#[test]
fn our_server_and_the_python_client_authenticate_each_other() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let options = options(&file);
    let command = [&["connect", "--connect", &address], &options[..]].concat();
    let peer = Peer::run(directory, "countersign.py", &command);
    let server = Server::new(key.with_id("worker-7").unwrap());
    let server = server.service("billing/2").unwrap();
    let session = serve_one(&listener, |stream| server.authenticate(stream));
    assert_eq!(session.unwrap().key_id(), "worker-7");
    let output = peer.output();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), "Hello World");
}

#[test]
fn our_server_denies_the_python_client_with_another_secret() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    let (_, key) = key_file(&temp, "secret.key");
    let (other, _) = key_file(&temp, "other.key");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();

    let command = ["connect", "--connect", &address, "--key-file", &other];
    let peer = Peer::run(directory, "countersign.py", &command);
    let server = Server::new(key);
    let outcome = serve_one(&listener, |stream| server.authenticate(stream));
    assert!(refusal(&outcome.unwrap_err()).is_some());
    let output = peer.output();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("denied"),
        "{}",
        text(&output.stderr)
    );
}

/// What the key files of a server and a client hold in each step of a rotation, and which secret of
/// the server's file the client then uses.
const ROTATION: [(&str, &str, Option<Matched>); 8] = [
    ("old", "old", Some(Matched::First)),
    ("old accept:new", "old", Some(Matched::First)),
    ("old accept:new", "new accept:old", Some(Matched::Accepted)),
    ("new accept:old", "old", Some(Matched::Accepted)),
    ("new accept:old", "old accept:new", Some(Matched::Accepted)),
    ("new accept:old", "new", Some(Matched::First)),
    ("new", "old", None),
    ("new", "new", Some(Matched::First)),
];

/// Writes a key file of these lines, with a secret in the place of each name.
fn rotated(temp: &TempDir, name: &str, lines: &str) -> String {
    let content = lines
        .replace(' ', "\n")
        .replace("old", "the-old-secret-of-this-test")
        .replace("new", "the-new-secret-of-this-test");
    let path = temp.key_file(name, content);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_python_server_accepts_our_client_through_a_rotation() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    for (server, client, matched) in ROTATION {
        let file = rotated(&temp, "server.key", server);
        let args = [&["serve"], &options(&file)[..]].concat();
        let mut peer = Peer::run(directory, "countersign.py", &args);
        let socket = TcpStream::connect(peer.address()).unwrap();
        let key = Key::from_file(rotated(&temp, "client.key", client)).unwrap();
        let client = Client::new(key.with_id("worker-7").unwrap());
        let client = client.service("billing/2").unwrap();
        let outcome = client.authenticate(&mut Deadline::new(&socket, TIME));
        let denied = outcome.as_ref().is_err_and(is_denied);
        assert_eq!(denied, matched.is_none(), "{outcome:?}");
        if let Ok(session) = outcome {
            assert_eq!(session.matched(), Matched::First);
            assert_eq!(greet(&socket).unwrap(), "Hello World");
        }
        let output = peer.output();
        assert_eq!(output.status.success(), matched.is_some());
        let log = text(&output.stderr);
        match matched {
            None => assert!(log.starts_with("refused: "), "{log}"),
            Some(Matched::First) => assert_eq!(log.trim(), "accepted worker-7"),
            Some(Matched::Accepted) => {
                assert_eq!(log.trim(), "accepted worker-7 by its second secret");
            }
        }
    }
}

#[test]
fn our_server_accepts_a_python_client_through_a_rotation() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (server, client, matched) in ROTATION {
        let file = rotated(&temp, "client.key", client);
        let args = [&["connect", "--connect", &address], &options(&file)[..]].concat();
        let peer = Peer::run(directory, "countersign.py", &args);
        let key = Key::from_file(rotated(&temp, "server.key", server)).unwrap();
        let server = Server::new(key.with_id("worker-7").unwrap());
        let server = server.service("billing/2").unwrap();
        let outcome = serve_one(&listener, |stream| server.authenticate(stream));
        let output = peer.output();
        assert_eq!(output.status.success(), matched.is_some());
        if let Some(matched) = matched {
            let session = outcome.unwrap();
            assert_eq!(session.matched(), matched);
            assert_eq!(session.key_id(), "worker-7");
            assert_eq!(text(&output.stdout).trim(), "Hello World");
        } else {
            assert!(refusal(&outcome.unwrap_err()).is_some());
            assert!(text(&output.stderr).contains("denied"));
        }
    }
}

#[test]
fn the_python_peer_loads_the_files_that_the_crate_loads_and_shows_the_same_fingerprints() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    let fingerprints = |path: &str| {
        let peer = Peer::run(directory, "countersign.py", &["fingerprint", path]);
        peer.output()
    };
    for lines in ["old", "new accept:old"] {
        let path = rotated(&temp, "secret.key", lines);
        let key = Key::from_file(&path).unwrap();
        let mut expected = key.fingerprint().to_string();
        if let Some(accepted) = key.accepted_fingerprint() {
            expected = format!("{expected}\naccept:{accepted}");
        }
        let output = fingerprints(&path);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let printed: Vec<_> = text(&output.stdout).lines().map(str::to_owned).collect();
        assert_eq!(printed.join("\n"), expected);
    }
    #[cfg(unix)]
    for mode in [0o600, 0o400, 0o640, 0o604, 0o620, 0o602] {
        use std::os::unix::fs::PermissionsExt;

        let path = rotated(&temp, "secret.key", "new");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let output = fingerprints(&path);
        let loaded = Key::from_file(&path);
        assert_eq!(output.status.success(), loaded.is_ok(), "{mode:o}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_python_server_and_ours_read_the_same_directory_of_keys() {
    let Some(directory) = python() else { return };
    let temp = TempDir::new();
    rotated(&temp, "worker-7.key", "new accept:old");
    rotated(&temp, "worker-8.key.bak", "old");
    let keys = temp.path().to_str().unwrap();
    let ring = Keyring::from_dir(keys).unwrap();
    let ids = ["worker-7", "worker-8"];
    assert_eq!(ids.map(|id| ring.contains(id)), [true, false]);
    for id in ids {
        let args = ["serve", "--key-dir", keys, "--service", "billing/2"];
        let mut peer = Peer::run(directory, "countersign.py", &args);
        let socket = TcpStream::connect(peer.address()).unwrap();
        let key = Key::new("the-old-secret-of-this-test").unwrap();
        let client = Client::new(key.with_id(id).unwrap());
        let client = client.service("billing/2").unwrap();
        let outcome = client.authenticate(&mut Deadline::new(&socket, TIME));
        assert_eq!(outcome.is_ok(), ring.contains(id));
        drop(socket);
        assert_eq!(peer.output().status.success(), ring.contains(id));
    }
}

#[test]
fn the_recipes_server_accepts_our_client_and_refuses_another_secret() {
    let Some(directory) = python() else { return };
    for (secret, accepted) in [("peekaboo", true), ("peekabo0", false)] {
        let mut peer = Peer::run(directory, "recipe.py", &["serve", "--secret", "peekaboo"]);
        let socket = TcpStream::connect(peer.address()).unwrap();
        let mut stream = Deadline::new(&socket, TIME);
        cookbook::client_authenticate(&mut stream, secret.as_bytes()).unwrap();
        drop(stream);
        // A refused client sees the end of the stream, or its reset.
        let echoed = greet(&socket).is_ok_and(|echo| echo == "Hello World");
        assert_eq!(echoed, accepted);
        let word = if accepted { "accepted" } else { "refused" };
        assert!(text(&peer.output().stderr).contains(word));
    }
}

#[test]
fn our_server_accepts_the_recipes_client_and_refuses_another_secret() {
    let Some(directory) = python() else { return };
    for (secret, accepted) in [("peekaboo", true), ("peekabo0", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let command = ["connect", "--connect", &address, "--secret", secret];
        let peer = Peer::run(directory, "recipe.py", &command);
        let outcome = serve_one(&listener, |stream| {
            cookbook::server_authenticate(stream, b"peekaboo")
        });
        assert_eq!(outcome.is_ok(), accepted);
        let output = peer.output();
        assert_eq!(output.status.success(), accepted);
        assert_eq!(text(&output.stdout).trim() == "Hello World", accepted);
    }
}

/// The options of a Python peer with the key id `worker-7` and the service `billing/2`.
fn options(key_file: &str) -> [&str; 6] {
    [
        "--key-file",
        key_file,
        "--key-id",
        "worker-7",
        "--service",
        "billing/2",
    ]
}

/// Makes a key. Returns the file that holds its secret, and the key.
fn key_file(temp: &TempDir, name: &str) -> (String, Key) {
    let secret = countersign::generate_secret().unwrap();
    let path = temp.key_file(name, secret.as_ref());
    (
        path.to_str().unwrap().to_owned(),
        Key::new(&secret).unwrap(),
    )
}
