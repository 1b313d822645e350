//! Runs peers in Python: a process for the listener and a process for the client, for the whole
//! run. They measure the time themselves.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

#[path = "../../../tests/pythons.rs"]
mod pythons;
pub use pythons::Python;

/// Returns the newest Python whose `multiprocessing` has SHA-256.
pub fn newest() -> Result<Python> {
    (Python::all().into_iter().rfind(Python::knows_sha256))
        .context("there is no CPython of 3.12 or later")
}

pub struct Pair {
    address: String,
    client: Process,
    _listener: Process,
}

impl Pair {
    /// Of `wire` "recipe" or "multiprocessing".
    pub fn start(python: &Python, wire: &str) -> Result<Self> {
        let mut listener = Process::start(python, ["listen", wire])?;
        let address = listener.line()?;
        Ok(Self {
            address,
            client: Process::start(python, ["connect", wire])?,
            _listener: listener,
        })
    }

    pub fn logins(&mut self, times: usize) -> Result<Vec<Duration>> {
        writeln!(self.client.stdin, "{} {times}", self.address)?;
        let line = self.client.line()?;
        let took = line
            .split(' ')
            .map(|nanoseconds| Ok(Duration::from_nanos(nanoseconds.parse()?)));
        took.collect()
    }
}

/// A process that ends with the bench.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(python: &Python, arguments: [&str; 2]) -> Result<Self> {
        const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/logins.py");
        const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../peers/python");

        let mut child = Command::new(&python.path)
            .args(["-B", SCRIPT])
            .args(arguments)
            .arg("what both ends of this one share")
            .env("PYTHONPATH", RECIPE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            stdin: child.stdin.take().context("no standard input")?,
            stdout: BufReader::new(child.stdout.take().context("no standard output")?),
            child,
        })
    }

    /// Returns the next line. The script limits the time of a login, and so the wait.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the process in Python has ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
