//! Runs the server on axum as a process, with clients of HTTP/1 that write their requests themselves.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use countersign::{Client, Encrypted, Error, Key, generate_secret};
use tempfile::TempDir;

/// How long a test waits. Only a server that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

struct Process {
    child: Child,
    address: SocketAddr,
    keys: TempDir,
}

impl Process {
    fn start(key_ids: &[&str]) -> Self {
        let keys = TempDir::new().unwrap();
        for key_id in key_ids {
            let path = keys.path().join(format!("{key_id}.key"));
            generate_secret().unwrap().write_new(path).unwrap();
        }
        let mut program = Command::new(env!("CARGO_BIN_EXE_axum_server"));
        program.arg("127.0.0.1:0").arg(keys.path());
        program.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = program.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap();
        Self {
            address: address.parse().unwrap(),
            child,
            keys,
        }
    }

    fn key(&self, key_id: &str) -> Key {
        let path = self.keys.path().join(format!("{key_id}.key"));
        Key::from_file(path).unwrap().with_id(key_id).unwrap()
    }

    /// Logs in, and sends this.
    fn send(&self, key_id: &str, request: &str) -> io::Result<Encrypted<TcpStream>> {
        let client = Client::new(self.key(key_id));
        let mut stream = client.connect_encrypted(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }

    /// Returns the status of the answer, and its body.
    fn get(&self, key_id: &str, path: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        answer(self.send(key_id, &request).unwrap())
    }

    /// Begins a request, and returns once its handler runs: only then is the body asked for.
    fn begin(&self, key_id: &str, body: &str) -> io::Result<Encrypted<TcpStream>> {
        let length = body.len();
        let request = format!(
            "POST /jobs HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        let mut stream = self.send(key_id, &request)?;
        let expected = "HTTP/1.1 100 Continue\r\n\r\n";
        let mut asked = vec![0; expected.len()];
        stream.read_exact(&mut asked)?;
        assert_eq!(String::from_utf8_lossy(&asked), expected);
        Ok(stream)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and that is fine too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, which fails if the answer was cut.
fn answer(mut stream: Encrypted<TcpStream>) -> (String, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, _) = head.split_once("\r\n").unwrap();
    (status.to_owned(), body.to_owned())
}

/// Sends the body, and asserts that the request is answered.
fn finish(key_id: &str, mut begun: Encrypted<TcpStream>, body: &str) {
    begun.write_all(body.as_bytes()).unwrap();
    assert_eq!(answer(begun), ok(&format!("{key_id} wants {body}")));
}

fn ok(body: &str) -> (String, String) {
    ("HTTP/1.1 200 OK".to_owned(), body.to_owned())
}

#[test]
fn handlers_are_given_the_key_id_of_their_client() {
    let server = Process::start(&["worker-7", "auditor"]);
    for key_id in ["worker-7", "auditor"] {
        let begun = server.begin(key_id, "tea").unwrap();
        finish(key_id, begun, "tea");
    }
    assert_eq!(server.get("auditor", "/reports"), ok("all is well"));
    let (status, body) = server.get("worker-7", "/reports");
    assert_eq!((&*status, &*body), ("HTTP/1.1 403 Forbidden", ""));
}

#[test]
fn a_client_with_a_wrong_key_is_denied_before_any_request() {
    let server = Process::start(&["auditor"]);
    let wrong = Key::new(generate_secret().unwrap()).unwrap();
    let client = Client::new(wrong.with_id("auditor").unwrap());
    let outcome = client.connect_encrypted(server.address);
    assert!(matches!(outcome, Err(Error::Denied(_))), "{outcome:?}");
}

#[test]
fn one_that_sends_a_request_and_does_not_log_in_gets_no_answer() {
    let server = Process::start(&["auditor"]);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = b"GET /reports HTTP/1.1\r\nHost: test\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut got = Vec::new();
    // It can be a reset, because the server has not read all of the request.
    let _ = stream.read_to_end(&mut got);
    assert!(got.starts_with(b"CSIGN1S"));
    assert_eq!(got.len(), 40, "the challenge, and no answer");
}

#[cfg(unix)]
#[test]
fn a_stop_under_load_ends_pending_logins_and_loses_no_answer() {
    let mut server = Process::start(&["worker-7", "auditor"]);
    let begun = ["worker-7", "auditor"].map(|key_id| {
        let begun = (0..16).map(|_| server.begin(key_id, "coffee").unwrap());
        (key_id, begun.collect::<Vec<_>>())
    });
    let mut pending = TcpStream::connect(server.address).unwrap();
    // Without the stop it would end too, after 10 seconds.
    let soon = Duration::from_secs(5);
    pending.set_read_timeout(Some(soon)).unwrap();
    pending.read_exact(&mut [0; 40]).unwrap();

    thread::scope(|threads| {
        let (answered, answers) = mpsc::channel();
        for _ in 0..4 {
            let (server, answered) = (&server, answered.clone());
            threads.spawn(move || {
                // Until nothing can begin any more.
                while let Ok(begun) = server.begin("worker-7", "tea") {
                    finish("worker-7", begun, "tea");
                    let _ = answered.send(());
                }
            });
        }
        drop(answered);
        assert_eq!(answers.iter().take(100).count(), 100);
        let id = server.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        let more = pending.read(&mut [0]);
        assert!(matches!(more, Ok(0)), "{more:?}");
    });
    assert!(server.child.try_wait().unwrap().is_none(), "it goes on");
    for (key_id, begun) in begun {
        for begun in begun {
            finish(key_id, begun, "coffee");
        }
    }
    assert!(server.child.wait().unwrap().success());
    assert!(TcpStream::connect(server.address).is_err());
}
