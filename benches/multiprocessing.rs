//! Measures one login over TCP on loopback in the protocol of Python's `multiprocessing`, from
//! `connect` until the client succeeds: Rust with Rust, Rust with Python, and Python with Python.
//!
//! All share one core, so that every cycle of either end counts. Each login of one pair is compared
//! with its neighbours of the other pairs. Rust with Rust should take at most 0.6 times as long as
//! Python with Python.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use countersign::compat::multiprocessing::{client_authenticate, server_authenticate};

#[path = "../tests/pythons.rs"]
mod pythons;
#[path = "common/turns.rs"]
mod turns;
use pythons::Python;
use turns::{in_turn, rounds};

const AUTHKEY: &str = "what both ends of this one share";
const MICROSECOND: Duration = Duration::from_micros(1);

fn main() {
    let Some(python) = (Python::all().into_iter()).rfind(Python::knows_sha256) else {
        println!("NOT RUN: there is no CPython of 3.12 or later.");
        return;
    };
    // Before there is a second thread or process, which inherits the core.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.last() {
        Some(&core) if core_affinity::set_for_current(core) => println!("Both ends on one core."),
        _ => println!("NOT on one core: this system does not pin threads."),
    }

    let rusts = listen();
    let mut listener = Process::start(&python, "listen");
    let pythons = listener.line();
    let pythons = pythons.strip_prefix("listening on ").unwrap();
    let pythons = pythons.parse().unwrap();
    let client = RefCell::new(Process::start(&python, "connect"));

    let rounds = rounds(4000);
    let run = |rounds| {
        in_turn(
            rounds,
            [
                &mut || login(rusts),
                &mut || login(pythons),
                &mut || client.borrow_mut().login(rusts),
                &mut || client.borrow_mut().login(pythons),
            ],
        )
    };
    run(rounds / 10);
    let times = run(rounds);

    println!(
        "Medians (and quartiles) over {rounds} rounds of one login of each pair in turn, with \
         {python}."
    );
    let [.., base] = &times;
    for (name, times) in [
        "Rust client, Rust listener",
        "Rust client, Python listener",
        "Python client, Rust listener",
        "Python client, Python listener",
    ]
    .iter()
    .zip(&times)
    {
        println!("{name:<32}{:.1} us", times.in_units_of(MICROSECOND));
        println!("{:<32}{} times Python with Python", "", times.against(base));
    }
}

/// Serves one connection after the other in a thread.
fn listen() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            drop(server_authenticate(&mut stream, AUTHKEY.as_bytes()).unwrap());
        }
    });
    address
}

/// Returns the client's time.
fn login(address: SocketAddr) -> Duration {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    drop(client_authenticate(&mut stream, AUTHKEY.as_bytes()).unwrap());
    start.elapsed()
}

/// One end in Python. Dropping it ends the process.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(python: &Python, end: &str) -> Self {
        const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/common/logins.py");

        let mut child = Command::new(&python.path)
            .args(["-B", SCRIPT, end, AUTHKEY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Returns the client's time, by its own clock.
    fn login(&mut self, address: SocketAddr) -> Duration {
        writeln!(self.stdin, "{address}").unwrap();
        Duration::from_secs_f64(self.line().parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
