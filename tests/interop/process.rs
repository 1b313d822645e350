//! A peer in a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::TIME;

/// A process. It is killed when it is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(program: impl AsRef<OsStr>, args: &[&str]) -> Self {
        Self::start_with(program, args, Stdio::null())
    }

    pub fn start_with(program: impl AsRef<OsStr>, args: &[&str], stdin: Stdio) -> Self {
        let child = Command::new(program)
            .args(args)
            .stdin(stdin)
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

    /// Waits for the process to connect. Panics if it ends instead.
    pub fn accept(&mut self, listener: &TcpListener) -> TcpStream {
        let began = Instant::now();
        listener.set_nonblocking(true).unwrap();
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(false).unwrap();
                    return socket;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(
                began.elapsed() < TIME && !self.has_ended(),
                "the peer does not connect"
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until the process ends. Panics if it does not end in time.
    pub fn output(mut self) -> Output {
        let stdout = reading(self.0.stdout.take().unwrap());
        let stderr = reading(self.0.stderr.take().unwrap());
        let began = Instant::now();
        while !self.has_ended() {
            assert!(began.elapsed() < TIME, "the peer does not end");
            thread::sleep(Duration::from_millis(5));
        }
        Output {
            status: self.0.wait().unwrap(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads all output, so that the process does not block on a full pipe.
fn reading(mut output: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
