//! Peers that share no code with this crate, in `peers`: two implementations of the native protocol,
//! and the recipe.

mod files;
mod kit;
mod matrix;
mod native;
mod ours;
mod process;
mod readmes;
mod recipe;
mod vectors;

use std::env;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::process::{Command, Output};
use std::time::Duration;

use countersign::Key;

use self::ours::{End, Failure, Got, Talk, Verb};
pub use self::process::Process;
#[cfg(feature = "multiprocessing")]
pub use self::process::text;
use crate::support::{Driver, TempDir};

pub const TIME: Duration = Duration::from_secs(20);

/// An implementation of the native protocol.
struct Peer {
    /// The program, and its first arguments.
    command: &'static [&'static str],
    /// What a mode of it needs besides its language: a command that fails without.
    needs: fn(u8) -> Option<&'static [&'static str]>,
}

const PYTHON: Peer = Peer {
    command: &[
        "python3",
        "-B",
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../peers/python/countersign.py"
        ),
    ],
    needs: |mode| (mode == 2).then_some(&["python3", "-c", "import cryptography"][..]),
};

const NODE: Peer = Peer {
    command: &[
        "node",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/node/countersign.mjs"),
    ],
    needs: |_| None,
};

/// Returns whether a program is installed. Panics on CI if it is not.
fn is_installed(program: &str) -> bool {
    succeeds(&[program, "--version"])
}

/// Returns whether a command succeeds. Panics on CI if it does not.
fn succeeds(command: &[&str]) -> bool {
    let ran = Command::new(command[0]).args(&command[1..]).output();
    if ran.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let command = command.join(" ");
    assert!(env::var_os("CI").is_none(), "CI needs this: {command}");
    eprintln!("NOT RUN: this fails: {command}");
    false
}

impl Peer {
    /// Returns the peers whose languages are installed.
    fn all() -> impl Iterator<Item = &'static Self> {
        const ALL: &[Peer] = &[PYTHON, NODE];
        ALL.iter().filter(|peer| peer.is_installed())
    }

    fn is_installed(&self) -> bool {
        is_installed(self.command[0])
    }

    /// Returns the verbs that can be run here.
    fn verbs(&self) -> impl Iterator<Item = Verb> {
        let verbs = Verb::ALL.iter().copied();
        verbs.filter(|verb| (self.needs)(verb.mode()).is_none_or(succeeds))
    }

    /// Returns the modes that it speaks here, whatever features the crate has.
    fn speaks(&self) -> RangeInclusive<u8> {
        let spoken = (0..=2).filter(|&mode| (self.needs)(mode).is_none_or(succeeds));
        0..=spoken.max().unwrap()
    }

    /// Returns the modes that can be run here.
    fn modes(&self) -> RangeInclusive<u8> {
        0..=self.verbs().map(Verb::mode).max().unwrap()
    }

    /// Returns each peer with each verb that can be run here, for each of our drivers.
    fn with_verbs() -> impl Iterator<Item = (&'static Self, Verb, Driver)> {
        Self::all().flat_map(|peer| {
            (peer.verbs())
                .flat_map(move |verb| Driver::ALL.iter().map(move |&driver| (peer, verb, driver)))
        })
    }

    fn start(&self, args: &[&str]) -> Process {
        Process::start(self.command[0], &[&self.command[1..], args].concat())
    }

    /// Runs it until it ends.
    fn run(&self, args: &[&str]) -> Output {
        self.start(args).output()
    }
}

/// A peer's end of a connection: its verb, and the options of its key and its service.
struct Theirs<'a> {
    peer: &'static Peer,
    verb: Verb,
    options: &'a [&'a str],
}

impl Theirs<'_> {
    fn serve(&self) -> Process {
        let verb = ["serve", "--verb", self.verb.name()];
        self.peer.start(&[&verb[..], self.options].concat())
    }

    /// Starts it as a client that sends this, and waits until it is connected.
    fn connect(&self, temp: &TempDir, message: &[u8]) -> (Process, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let verb = ["connect", "-", "--verb", self.verb.name()];
        let args = [&verb[..], &["--connect", &address], self.options].concat();
        let input = File::open(temp.key_file("message", message)).unwrap();
        let [program, first @ ..] = self.peer.command else {
            panic!("a peer is a program");
        };
        let mut process = Process::start_with(program, &[first, &args].concat(), input.into());
        let socket = process.accept(&listener);
        (process, socket)
    }

    /// Connects our end to it, and waits until it ends.
    fn meet_client(&self, ours: &Ours, talk: Talk) -> (Result<Got, Failure>, Output) {
        let mut process = self.serve();
        let socket = TcpStream::connect(process.address()).unwrap();
        let outcome = ours.run(socket, talk);
        (outcome, process.output())
    }

    /// Connects it to our end, sends this, and waits until it ends.
    fn meet_server(
        &self,
        message: &[u8],
        ours: &Ours,
        talk: Talk,
    ) -> (Result<Got, Failure>, Output) {
        let temp = TempDir::new();
        let (process, socket) = self.connect(&temp, message);
        let outcome = ours.run(socket, talk);
        (outcome, process.output())
    }
}

/// Our end of a connection.
struct Ours<'a> {
    driver: Driver,
    verb: Verb,
    end: &'a End,
}

/// The options of a peer with the key id `worker-7` and the service `billing/2`.
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
