//! Measures one login over TCP on loopback, from `connect` until both ends succeed, relative to the
//! same three messages with constants instead of cryptography and randomness.
//!
//! Both ends share one core, so that every cycle of either counts. Each login of one kind is
//! compared with its neighbours of the other kinds. The bench also measures what no handshake of
//! this protocol can avoid, a nonce and nine compressions a side, and a handshake under a
//! [`Deadline`], in which each read that has to wait needs another call that waits.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{Deadline, Key, client_authenticate, server_authenticate};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::block_api::compress256;

#[path = "common/turns.rs"]
mod turns;
use turns::{Times, in_turn, rounds};

const MICROSECOND: Duration = Duration::from_micros(1);

fn main() {
    // Before there is a second thread, which inherits the core.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.last() {
        Some(&core) if core_affinity::set_for_current(core) => println!("Both ends on one core."),
        _ => println!("NOT on one core: this system does not pin threads."),
    }

    let ends = Ends::new();
    let rounds = rounds(4000);
    in_turn(rounds / 10, [&mut || ends.login(Kind::Constants)]);
    let [constants, alone, handshake, deadline] = in_turn(
        rounds,
        [
            &mut || ends.login(Kind::Constants),
            &mut || ends.login(Kind::NoncesAndCompressions),
            &mut || ends.login(Kind::Handshake),
            &mut || ends.login(Kind::HandshakeUnderDeadline),
        ],
    );

    println!("Medians (and quartiles) over {rounds} rounds of one login of each kind in turn.");
    let print = |name: &str, times: &Times| {
        let microseconds = times.in_units_of(MICROSECOND);
        println!("{name:<30}{microseconds:.1} us");
        microseconds.median
    };
    let base = print("constants", &constants);
    for (name, times) in [
        ("nonces and compressions alone", &alone),
        ("handshake", &handshake),
        ("handshake under a deadline", &deadline),
    ] {
        let median = print(name, times);
        let ratio = times.against(&constants);
        println!("{:<30}{ratio} times the constants", "");
        println!("{:<30}{:.3} by the two medians", "", median / base);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Constants,
    /// The constants, and what no handshake of this protocol can avoid: a nonce and nine compressions
    /// a side.
    NoncesAndCompressions,
    Handshake,
    HandshakeUnderDeadline,
}

impl Kind {
    fn client(self, stream: &mut TcpStream, key: &Key) {
        match self {
            Self::Constants => constants_client(stream).unwrap(),
            Self::NoncesAndCompressions => {
                generate_and_compress();
                constants_client(stream).unwrap();
            }
            Self::Handshake => drop(client_authenticate(stream, key).unwrap()),
            Self::HandshakeUnderDeadline => {
                let mut stream = Deadline::new(stream, FIVE_SECONDS);
                drop(client_authenticate(&mut stream, key).unwrap());
            }
        }
    }

    fn server(self, stream: &mut TcpStream, key: &Key) {
        match self {
            Self::Constants => constants_server(stream).unwrap(),
            Self::NoncesAndCompressions => {
                generate_and_compress();
                constants_server(stream).unwrap();
            }
            Self::Handshake => drop(server_authenticate(stream, key).unwrap()),
            Self::HandshakeUnderDeadline => {
                let mut stream = Deadline::new(stream, FIVE_SECONDS);
                drop(server_authenticate(&mut stream, key).unwrap());
            }
        }
    }
}

const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// A client, and a thread that serves one connection after the other.
struct Ends {
    key: Key,
    address: SocketAddr,
    /// What the server does on the next connection.
    kind: Arc<Mutex<Kind>>,
    /// The time at which the server succeeded. It has closed the connection by then.
    succeeded: Receiver<Instant>,
}

impl Ends {
    fn new() -> Self {
        let key = Key::new("what both ends of this one share").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let kind = Arc::new(Mutex::new(Kind::Constants));
        let (success, succeeded) = mpsc::channel();
        let (servers_key, servers_kind) = (key.clone(), kind.clone());
        thread::spawn(move || serve(&listener, &servers_key, &servers_kind, &success));
        Self {
            key,
            address,
            kind,
            succeeded,
        }
    }

    /// Returns the time of one login, until both ends have succeeded.
    ///
    /// It includes neither the closing of the connection nor the channel between the threads.
    fn login(&self, kind: Kind) -> Duration {
        *self.kind.lock().unwrap() = kind;
        let start = Instant::now();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        kind.client(&mut stream, &self.key);
        let clients = Instant::now();
        let servers = self.succeeded.recv().unwrap();
        clients.max(servers) - start
    }
}

fn serve(listener: &TcpListener, key: &Key, kind: &Mutex<Kind>, success: &Sender<Instant>) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let kind = *kind.lock().unwrap();
        kind.server(&mut stream, key);
        let servers = Instant::now();
        drop(stream);
        success.send(servers).unwrap();
    }
}

const F1: [u8; 40] = [1; 40];
const F2: [u8; 73] = [2; 73];
const F3: [u8; 33] = [3; 33];

fn constants_client(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; F1.len()])?;
    stream.write_all(&F2)?;
    stream.flush()?;
    stream.read_exact(&mut [0; F3.len()])
}

fn constants_server(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&F1)?;
    stream.flush()?;
    stream.read_exact(&mut [0; F2.len()])?;
    stream.write_all(&F3)?;
    stream.flush()
}

fn generate_and_compress() {
    let mut nonce = [0; 32];
    SysRng.try_fill_bytes(&mut nonce).unwrap();
    black_box(nonce);
    for _ in 0..3 {
        let mut state = black_box([0x6a09_e667; 8]);
        compress256(&mut state, black_box(&[[0x36; 64]; 2]));
        compress256(&mut state, black_box(&[[0x5c; 64]]));
        black_box(state);
    }
}
