//! What the records of mode 1 cost, against the hashing and the copying that they cannot do
//! without.
//!
//! In memory, sealing and opening records of 16 KiB should have at least 0.95 of the throughput
//! of HMAC-SHA-256 over the same octets. Over TCP on loopback a protected stream should have at
//! least 0.8 of what HMAC-SHA-256 and the copy allow. That is measured twice: as all the hashing
//! and then a copy without any, and as a program that does nothing but hash and make one call to
//! the socket for each record. Both ends share one core, so that every cycle of either counts;
//! then each has its own. At last a gigabyte goes through, with a checksum at both ends.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that panics has measured nothing"
)]

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use countersign::handshake::{Mode, Progress, Prologue, Receive, Transcript, client, server};
use countersign::record::{OVERHEAD, Opened, Opener, PAYLOAD_MAX, Sealer};
use countersign::{Client, Key, Protected, Server};
use hmac::{Hmac, KeyInit, Mac};
use rand::rngs::SysRng;
use sha2::Sha256;

#[path = "common/turns.rs"]
mod turns;
use turns::{Times, in_turn, rounds};

const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;

/// What a tag is made of: the number of the record, which is not sent, its length, and payload.
const COVERED: usize = 8 + 2 + PAYLOAD_MAX;

/// The records of one measurement in memory: a mebibyte, which stays in a cache.
const BATCH: usize = 64;

/// The records of one measurement over TCP: four mebibytes, which is more than the sockets hold.
const SENT: usize = 256;

fn main() {
    // A thread that is pinned knows of its own core only, and those that it starts are pinned too.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (first, last) = (cores.first().copied(), cores.last().copied());
    if !last.is_some_and(core_affinity::set_for_current) {
        println!("NOT pinned: this system does not let a thread be.");
    }
    let rounds_in_memory = rounds(1000);
    let memory = Memory::new();
    let [bare, seal, open] = in_turn(
        rounds_in_memory,
        [
            &mut || memory.bare(BATCH),
            &mut || memory.seal(),
            &mut || memory.open(),
        ],
    );
    println!("Medians (and quartiles) over {rounds_in_memory} rounds of each in turn.");
    println!("In memory, {BATCH} records of 16 KiB:");
    print("HMAC-SHA-256", &bare, BATCH, &[]);
    let than = [(&bare, "HMAC-SHA-256")];
    print("sealing", &seal, BATCH, &than);
    print("opening", &open, BATCH, &than);

    over_tcp("both ends on one core", &memory, [last, last]);
    over_tcp("each end on its own core", &memory, [first, last]);

    // One mebibyte where only the bench itself is tried.
    gigabyte(rounds(1024));
}

/// The hashing of both ends takes turns where they share a core, and else passes at the same time.
fn over_tcp(place: &str, memory: &Memory, ends: [Option<CoreId>; 2]) {
    let rounds = rounds(500);
    let hashed = if ends[0] == ends[1] { 2 * SENT } else { SENT };
    let [copying, hashing, protecting] =
        [Kind::Copy, Kind::HashAndCopy, Kind::Protected].map(|kind| Lane::new(kind, ends));
    in_turn(
        rounds.min(20),
        [&mut || copying.run(), &mut || protecting.run()],
    );
    let [copy, one_by_one, together, protected] = in_turn(
        rounds,
        [
            &mut || copying.run(),
            &mut || memory.bare(hashed) + copying.run(),
            &mut || hashing.run(),
            &mut || protecting.run(),
        ],
    );
    println!("Over TCP, {place}, {SENT} records of 16 KiB, {rounds} rounds:");
    print("copy", &copy, SENT, &[]);
    print("HMAC-SHA-256, then copy", &one_by_one, SENT, &[]);
    print("the same record by record", &together, SENT, &[]);
    let than = [
        (&one_by_one, "HMAC-SHA-256, then copy"),
        (&together, "the same record by record"),
    ];
    print("protected", &protected, SENT, &than);
}

/// Throughputs, and what share they are of others.
fn print(name: &str, times: &Times, records: usize, bases: &[(&Times, &str)]) {
    let mebibytes = u32::try_from(records).unwrap() / 64;
    let each = times.in_units_of(mebibytes * Duration::from_secs(1));
    let [median, lower, upper] = [each.median, each.upper, each.lower].map(|time| 1.0 / time);
    println!("{name:<28}{median:>5.0} MiB/s ({lower:.0} to {upper:.0})");
    for (base, of) in bases {
        println!("{:<28}{} of {of}", "", base.against(times));
    }
}

fn bare_tag(key: &Hmac<Sha256>, octets: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(octets);
    mac.finalize().into_bytes().into()
}

fn bare_key() -> Hmac<Sha256> {
    Hmac::new_from_slice(&[7; 32]).unwrap()
}

/// Both ends of a direction.
struct Memory {
    key: Hmac<Sha256>,
    ends: RefCell<(Sealer, Opener)>,
    /// Sealed in one measurement, opened in the next.
    records: RefCell<Vec<Vec<u8>>>,
}

impl Memory {
    fn new() -> Self {
        Self {
            key: bare_key(),
            ends: RefCell::new(direction()),
            records: RefCell::new(vec![vec![7; RECORD_MAX]; BATCH]),
        }
    }

    /// The tags of so many records, without any records.
    fn bare(&self, count: usize) -> Duration {
        let records = self.records.borrow();
        let start = Instant::now();
        for record in records.iter().cycle().take(count) {
            black_box(bare_tag(&self.key, black_box(&record[..COVERED])));
        }
        start.elapsed()
    }

    fn seal(&self) -> Duration {
        let (sealer, _) = &mut *self.ends.borrow_mut();
        let mut records = self.records.borrow_mut();
        let start = Instant::now();
        for record in records.iter_mut() {
            sealer.seal(black_box(record)).unwrap();
        }
        start.elapsed()
    }

    fn open(&self) -> Duration {
        let (_, opener) = &mut *self.ends.borrow_mut();
        let records = self.records.borrow();
        let start = Instant::now();
        for record in records.iter() {
            let data = opener.open(black_box(record)).unwrap();
            assert!(matches!(black_box(data), Opened::Data(_)));
        }
        start.elapsed()
    }
}

/// The sealer and the opener of what a client sends.
fn direction() -> (Sealer, Opener) {
    let key = Key::new("what both ends of this one share").unwrap();
    let (prologue, mode) = (Prologue::EMPTY, Mode::Protect);
    let config = server::Config::new(prologue.clone());
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let await_challenge = client::start(&mut clients, &prologue, mode, &key, &mut SysRng).unwrap();
    let (f1, await_response) = config.start(&mut servers, mode, &mut SysRng).unwrap();
    let (f2, await_verdict) = deliver(await_challenge, f1.as_ref());
    let (f3, server) = deliver(await_response, f2.as_ref()).verify(Some(&key));
    let mut client = deliver(await_verdict, f3.as_ref());
    let (sealer, _) = client.records().unwrap();
    let (_, opener) = server.unwrap().records().unwrap();
    (sealer, opener)
}

fn deliver<R: Receive>(mut state: R, flight: &[u8]) -> R::Next {
    let space = state.space();
    assert_eq!(space.len(), flight.len());
    space.copy_from_slice(flight);
    match state.advance(flight.len()) {
        Ok(Progress::Done(next)) => next,
        Ok(Progress::More(_)) => panic!("{} is not whole", R::FLIGHT),
        Err(error) => panic!("{error}"),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// Octets, as many as the records have.
    Copy,
    /// The same, with a tag computed over each record at both ends.
    HashAndCopy,
    Protected,
}

/// A connection, and a thread at either end that waits to be told to send or to receive.
struct Lane {
    start: Sender<()>,
    received: Receiver<()>,
}

impl Lane {
    fn new(kind: Kind, ends: [Option<CoreId>; 2]) -> Self {
        let (start, started) = channel();
        let (all_there, received) = channel();
        match kind {
            Kind::Copy | Kind::HashAndCopy => {
                let (near, far) = pair();
                let hashes = matches!(kind, Kind::HashAndCopy);
                on_core(ends[0], move || bare_sender(near, hashes, &started));
                on_core(ends[1], move || bare_receiver(far, hashes, &all_there));
            }
            Kind::Protected => {
                let (near, far) = protected();
                on_core(ends[0], move || sender(near, &started));
                on_core(ends[1], move || receiver(far, &all_there));
            }
        }
        Self { start, received }
    }

    /// Until the receiver has all of it.
    fn run(&self) -> Duration {
        let start = Instant::now();
        self.start.send(()).unwrap();
        self.received.recv().unwrap();
        start.elapsed()
    }
}

/// Left to itself the scheduler has both ends of a socket now on one core and now on two.
fn on_core(core: Option<CoreId>, routine: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        core.map(core_affinity::set_for_current);
        routine();
    });
}

fn bare_sender(mut stream: TcpStream, hashes: bool, started: &Receiver<()>) {
    let key = bare_key();
    let mut octets = vec![7; COVERED + 16];
    while started.recv().is_ok() {
        for _ in 0..SENT {
            if hashes {
                let tag = bare_tag(&key, &octets[..COVERED]);
                octets[COVERED..].copy_from_slice(&tag[..16]);
            }
            stream.write_all(&octets[8..]).unwrap();
        }
    }
}

fn bare_receiver(mut stream: TcpStream, hashes: bool, all_there: &Sender<()>) {
    let key = bare_key();
    let mut octets = vec![7; COVERED + 16];
    loop {
        for _ in 0..SENT {
            if stream.read_exact(&mut octets[8..]).is_err() {
                return;
            }
            if hashes {
                let tag = bare_tag(&key, &octets[..COVERED]);
                assert_eq!(octets[COVERED..], tag[..16]);
            }
        }
        if all_there.send(()).is_err() {
            return;
        }
    }
}

fn sender(mut stream: Protected<TcpStream>, started: &Receiver<()>) {
    let payload = vec![7; PAYLOAD_MAX];
    while started.recv().is_ok() {
        for _ in 0..SENT {
            stream.write_all(&payload).unwrap();
        }
        stream.flush().unwrap();
    }
    stream.close().unwrap();
}

fn receiver(mut stream: Protected<TcpStream>, all_there: &Sender<()>) {
    let mut payload = vec![0; PAYLOAD_MAX];
    loop {
        for _ in 0..SENT {
            if stream.read_exact(&mut payload).is_err() {
                return;
            }
        }
        if all_there.send(()).is_err() {
            return;
        }
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for socket in [&near, &far] {
        socket.set_nodelay(true).unwrap();
    }
    (near, far)
}

fn protected() -> (Protected<TcpStream>, Protected<TcpStream>) {
    let key = Key::new("what both ends of this one share").unwrap();
    let (near, far) = pair();
    let client = Client::new(key.clone());
    let client = thread::spawn(move || client.protect(near).unwrap());
    let server = Server::new(key).protect(far).unwrap();
    (client.join().unwrap(), server)
}

/// Sends so many mebibytes, of which no two words are alike, and compares the checksums.
fn gigabyte(mebibytes: usize) {
    let (mut near, mut far) = protected();
    let start = Instant::now();
    let sent = thread::spawn(move || {
        let (mut word, mut sum) = (1_u64, 0);
        let mut octets = vec![0; 1 << 20];
        for _ in 0..mebibytes {
            for place in octets.as_chunks_mut().0 {
                word = (word.wrapping_mul(6_364_136_223_846_793_005))
                    .wrapping_add(1_442_695_040_888_963_407);
                *place = word.to_ne_bytes();
            }
            sum = checksum(sum, &octets);
            near.write_all(&octets).unwrap();
        }
        near.close().unwrap();
        sum
    });
    let mut received = 0;
    let mut octets = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        far.read_exact(&mut octets).unwrap();
        received = checksum(received, &octets);
    }
    assert_eq!(far.read(&mut octets).unwrap(), 0, "octets behind the last");
    assert_eq!(
        received,
        sent.join().unwrap(),
        "what came is not what was sent"
    );
    println!(
        "{mebibytes} MiB arrived with the checksum {received:016x}, in {:.2?}.",
        start.elapsed()
    );
}

/// What is swapped changes it as what is altered does.
fn checksum(sum: u64, octets: &[u8]) -> u64 {
    let (words, _) = octets.as_chunks();
    words.iter().fold(sum, |sum, word| {
        sum.rotate_left(5) ^ u64::from_ne_bytes(*word)
    })
}
