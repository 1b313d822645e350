//! Measures what the records of mode 1 cost, relative to the hashing and copying that they need.
//!
//! In memory, sealing and opening records of 16 KiB should have at least 0.95 of the throughput of
//! HMAC-SHA-256 over the same bytes. Over TCP on loopback a protected stream should have at least
//! 0.8 of the throughput of HMAC-SHA-256 and the copy. The bench measures this baseline twice: all
//! the hashing and then a bare copy, and a program that only hashes and makes one call to the
//! socket for each record. First both ends share one core, so that every cycle of either counts.
//! Then each has its own core. In the end a gigabyte goes through, with a checksum at both ends.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use countersign::handshake::Protect;
use countersign::record::{Integrity, OVERHEAD, Opened, Opener, PAYLOAD_MAX, Records, Sealer};
use countersign::{Client, Key, Protected, Server};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

#[path = "common/core.rs"]
mod core;
#[path = "common/turns.rs"]
mod turns;
use self::core::Core;
use turns::{Times, in_turn, rounds};

const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;

/// The bytes that a tag covers: the number of the record, which is not sent, its length and payload.
const COVERED: usize = 8 + 2 + PAYLOAD_MAX;

/// The number of records of one measurement in memory: a mebibyte, which fits into a cache.
const BATCH: usize = 64;

/// The number of records of one measurement over TCP: four mebibytes, more than the sockets hold.
const SENT: usize = 256;

fn main() {
    // Asked first: a pinned thread sees only its own core, and the threads that it starts inherit it.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (first, last) = (cores.first().copied(), cores.last().copied());
    if !last.is_some_and(core_affinity::set_for_current) {
        println!("NOT pinned: this system does not pin threads.");
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

/// Measures over TCP. Ends that share a core hash one after the other, so the baseline hashes twice.
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

/// Prints a throughput, and its ratio to others.
fn print(name: &str, times: &Times, records: usize, bases: &[(&Times, &str)]) {
    let mebibytes = u32::try_from(records).unwrap() / 64;
    let each = times.in_units_of(mebibytes * Duration::from_secs(1));
    let [median, lower, upper] = [each.median, each.upper, each.lower].map(|time| 1.0 / time);
    println!("{name:<28}{median:>5.0} MiB/s ({lower:.0} to {upper:.0})");
    for (base, of) in bases {
        println!("{:<28}{} of {of}", "", base.against(times));
    }
}

fn bare_tag(key: &Hmac<Sha256>, bytes: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

fn bare_key() -> Hmac<Sha256> {
    Hmac::new_from_slice(&[7; 32]).unwrap()
}

/// Both ends of a direction, and one end of another whose records nobody opens.
struct Memory {
    key: Hmac<Sha256>,
    sealer: RefCell<Sealer<Integrity>>,
    ends: RefCell<(Sealer<Integrity>, Opener<Integrity>)>,
    records: RefCell<Vec<Vec<u8>>>,
}

impl Memory {
    fn new() -> Self {
        Self {
            key: bare_key(),
            sealer: RefCell::new(direction().0),
            ends: RefCell::new(direction()),
            records: RefCell::new(vec![vec![7; RECORD_MAX]; BATCH]),
        }
    }

    /// Computes the tags of `count` records, without sealing any.
    fn bare(&self, count: usize) -> Duration {
        let records = self.records.borrow();
        let start = Instant::now();
        for record in records.iter().cycle().take(count) {
            black_box(bare_tag(&self.key, black_box(&record[..COVERED])));
        }
        start.elapsed()
    }

    fn seal(&self) -> Duration {
        let sealer = &mut *self.sealer.borrow_mut();
        let mut records = self.records.borrow_mut();
        let start = Instant::now();
        for record in records.iter_mut() {
            sealer.seal(black_box(record)).unwrap();
        }
        start.elapsed()
    }

    fn open(&self) -> Duration {
        let (sealer, opener) = &mut *self.ends.borrow_mut();
        let mut records = self.records.borrow_mut();
        for record in records.iter_mut() {
            sealer.seal(record).unwrap();
        }
        let start = Instant::now();
        for record in records.iter_mut() {
            let data = opener.open(black_box(record)).unwrap();
            assert!(matches!(black_box(data), Opened::Data(_)));
        }
        start.elapsed()
    }
}

/// Returns the sealer and the opener of the records that a client sends.
fn direction() -> (Sealer<Integrity>, Opener<Integrity>) {
    let core = Core::new(Protect);
    let (_, Records { sealer, .. }) = core.client();
    let (_, Records { opener, .. }) = core.server(Some(&core.key)).unwrap();
    (sealer, opener)
}

#[derive(Clone, Copy)]
enum Kind {
    /// Copies as many bytes as the records have.
    Copy,
    /// Copies too, and computes a tag over each record at both ends.
    HashAndCopy,
    Protected,
}

/// A connection with a thread at either end. Each run sends the records once.
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

    /// Sends the records and returns the time until the receiver has all of them.
    fn run(&self) -> Duration {
        let start = Instant::now();
        self.start.send(()).unwrap();
        self.received.recv().unwrap();
        start.elapsed()
    }
}

/// Runs a routine in a thread on this core. Without it the scheduler would move the ends of a socket
/// between one core and two.
fn on_core(core: Option<CoreId>, routine: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        core.map(core_affinity::set_for_current);
        routine();
    });
}

fn bare_sender(mut stream: TcpStream, hashes: bool, started: &Receiver<()>) {
    let key = bare_key();
    let mut bytes = vec![7; COVERED + 16];
    while started.recv().is_ok() {
        for _ in 0..SENT {
            if hashes {
                let tag = bare_tag(&key, &bytes[..COVERED]);
                bytes[COVERED..].copy_from_slice(&tag[..16]);
            }
            stream.write_all(&bytes[8..]).unwrap();
        }
    }
}

fn bare_receiver(mut stream: TcpStream, hashes: bool, all_there: &Sender<()>) {
    let key = bare_key();
    let mut bytes = vec![7; COVERED + 16];
    loop {
        for _ in 0..SENT {
            if stream.read_exact(&mut bytes[8..]).is_err() {
                return;
            }
            if hashes {
                let tag = bare_tag(&key, &bytes[..COVERED]);
                assert_eq!(bytes[COVERED..], tag[..16]);
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

/// Sends this number of mebibytes, in which no two words are equal, and compares the checksums.
fn gigabyte(mebibytes: usize) {
    let (mut near, mut far) = protected();
    let start = Instant::now();
    let sent = thread::spawn(move || {
        let (mut word, mut sum) = (1_u64, 0);
        let mut bytes = vec![0; 1 << 20];
        for _ in 0..mebibytes {
            for place in bytes.as_chunks_mut().0 {
                word = (word.wrapping_mul(6_364_136_223_846_793_005))
                    .wrapping_add(1_442_695_040_888_963_407);
                *place = word.to_ne_bytes();
            }
            sum = checksum(sum, &bytes);
            near.write_all(&bytes).unwrap();
        }
        near.close().unwrap();
        sum
    });
    let mut received = 0;
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        far.read_exact(&mut bytes).unwrap();
        received = checksum(received, &bytes);
    }
    assert_eq!(far.read(&mut bytes).unwrap(), 0, "bytes after the last");
    assert_eq!(
        received,
        sent.join().unwrap(),
        "what arrived is not what was sent"
    );
    println!(
        "{mebibytes} MiB arrived with the checksum {received:016x}, in {:.2?}.",
        start.elapsed()
    );
}

/// Adds words to a checksum, which depends on their order too.
fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks();
    words.iter().fold(sum, |sum, word| {
        sum.rotate_left(5) ^ u64::from_ne_bytes(*word)
    })
}
