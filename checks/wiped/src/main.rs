//! What holds a secret holds none of it after it was dropped.
//!
//! The crate forbids `unsafe`, and without it nobody can look at the memory of a value that is
//! gone. This program does: it puts a value into a slot, looks for every secret, drops the value
//! in place and looks again. Beforehand it has to *find* what the type is known to hold; a search
//! that finds nothing then would prove nothing later.
//!
//! The secrets are computed here a second time, from the specification: the secret itself, the
//! keys derived from it, and the states of SHA-256 that HMAC keeps in their place, which are worth
//! as much as the keys. Eight octets in a row of any of them count as found.
//!
//! It says nothing of the copies that moving a value leaves behind: those nobody can wipe.

use std::convert::Infallible;
use std::error::Error;
use std::mem::MaybeUninit;
use std::process::ExitCode;

use countersign::handshake::{self, Mode, Progress, Prologue, Receive, Transcript, client, server};
use countersign::{Client, Key, Secret, Server};
use hmac::{Hmac, KeyInit, Mac};
use rand::{TryCryptoRng, TryRng};
use sha2::Sha256;
use sha2::block_api::compress256;

const KEY_ID: &str = "worker-7";
const SERVICE: &str = "billing/2";
const MODE: Mode = Mode::Authenticate;

/// The seeds of what is drawn: the secret and the two nonces.
const SECRET: u64 = 1;
const NS: u64 = 2;
const NC: u64 = 3;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let secret = || Secret::generate(&mut Sequence(SECRET));
    let key = || -> Result<Key, Box<dyn Error>> { Ok(Key::new(secret()?)?.with_id(KEY_ID)?) };

    // One handshake with known nonces.
    let ours = key()?;
    let prologue = Prologue::new(SERVICE)?;
    let config = server::Config::new(prologue.clone());
    let (mut servers, mut clients) = (Transcript::new(), Transcript::new());
    let (f1, await_response) = config.start(&mut servers, MODE, &mut Sequence(NS))?;
    let await_challenge = client::start(&mut clients, &prologue, MODE, &ours, &mut Sequence(NC))?;
    let (f2, await_verdict) = deliver(await_challenge, f1.as_ref())?;
    let identified = deliver(await_response, f2.as_ref())?;
    let (f3, servers_session) = identified.verify(Some(&ours));
    let clients_session = deliver(await_verdict, f3.as_ref())?;
    // The other states hold no more than references.
    let mut another = Transcript::new();
    let await_challenge = client::start(&mut another, &prologue, MODE, &ours, &mut Sequence(NC))?;

    let mut all = Items::default();
    // What is no secret shows that the search works where nothing else is to be found.
    all.add_public("Ns", &Sequence(NS).draw());
    all.add_public("Nc", &Sequence(NC).draw());
    let drawn = Sequence(SECRET).draw();
    let digits = hex(&drawn);
    all.add_secret("the octets drawn", &drawn);
    all.add_secret("its digits", &digits);
    let prk = hmac(b"countersign/1", &[&digits]);
    let expand = |label: &[u8]| hmac(&prk, &[label, &[1]]);
    let kx = expand(b"countersign/1 session");
    all.add_key("PRK", &prk);
    all.add_key("Kc", &expand(b"countersign/1 client proof"));
    all.add_key("Ks", &expand(b"countersign/1 server proof"));
    all.add_key("Kx", &kx);
    all.add_key("the dummy", b"countersign/1 dummy");
    let service = [&[u8::try_from(SERVICE.len())?], SERVICE.as_bytes()].concat();
    let accepted = [&service, &[0][..], f1.as_ref(), f2.as_ref(), b"A"];
    all.add_key("X", &hmac(&kx, &accepted));

    let keyed = Holds::KeyedStates(&["PRK", "Kc", "Ks", "Kx"]);
    let dummy = Holds::KeyedStates(&["the dummy"]);
    let keyed_and_dummy = Holds::KeyedStates(&["PRK", "Kc", "Ks", "Kx", "the dummy"]);
    let digits = Holds::Octets("its digits");
    let (x, ns, nc) = (
        Holds::Octets("X"),
        Holds::OnlyPublic("Ns"),
        Holds::OnlyPublic("Nc"),
    );
    let passed = [
        all.check("Secret", secret()?, digits),
        all.check("Key", key()?, keyed),
        all.check("Client", Client::new(key()?), keyed),
        all.check("Server", Server::new(key()?), keyed_and_dummy),
        all.check("server::Config", config.clone(), dummy),
        all.check("client::AwaitChallenge", await_challenge, nc),
        all.check("Transcript of the server", servers, ns),
        all.check("Transcript of the client", clients, ns),
        all.check("Session of the server", servers_session?, x),
        all.check("Session of the client", clients_session, x),
    ];
    let passed = passed.into_iter().all(|passed| passed);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a type is known to hold, by name.
#[derive(Clone, Copy)]
enum Holds<'a> {
    /// One secret as it is.
    Octets(&'a str),
    /// The states that HMAC keeps of these keys.
    KeyedStates(&'a [&'a str]),
    /// No secret, but this, which is none.
    OnlyPublic(&'a str),
}

struct Item {
    name: String,
    octets: Vec<u8>,
    secret: bool,
}

/// Everything that is looked for.
#[derive(Default)]
struct Items(Vec<Item>);

impl Items {
    fn add(&mut self, name: &str, octets: &[u8], secret: bool) {
        self.0.push(Item {
            name: name.to_owned(),
            octets: octets.to_vec(),
            secret,
        });
    }

    fn add_public(&mut self, name: &str, octets: &[u8]) {
        self.add(name, octets, false);
    }

    fn add_secret(&mut self, name: &str, octets: &[u8]) {
        self.add(name, octets, true);
    }

    /// The key, and what HMAC makes of it.
    fn add_key(&mut self, name: &str, key: &[u8]) {
        self.add_secret(name, key);
        self.add_secret(&inner(name), &keyed_state(key, 0x36));
        self.add_secret(&outer(name), &keyed_state(key, 0x5c));
    }

    /// Drops the value and tells whether it held what it should, and nothing afterwards.
    fn check<T>(&self, name: &str, value: T, holds: Holds<'_>) -> bool {
        let mut slot = MaybeUninit::new(value);
        let before = octets(&slot);
        // SAFETY: the value was put there above, and nothing uses it afterwards.
        unsafe { slot.assume_init_drop() };
        let after = octets(&slot);

        let mut complaints;
        let said;
        match holds {
            Holds::Octets(secret) => {
                complaints = self.missing(&before, &[secret.to_owned()]);
                said = format!("held {secret}, and none of it after the drop");
            }
            Holds::KeyedStates(keys) => {
                let states: Vec<_> = keys
                    .iter()
                    .flat_map(|key| [inner(key), outer(key)])
                    .collect();
                complaints = self.missing(&before, &states);
                let n = states.len();
                said = format!("held its {n} keyed states, and none after the drop");
            }
            Holds::OnlyPublic(public) => {
                complaints = self.missing(&before, &[public.to_owned()]);
                complaints.extend(self.secrets_in(&before, "before the drop"));
                said = format!("held {public} and no secret, and none after the drop");
            }
        }
        complaints.extend(self.secrets_in(&after, "after the drop"));

        if complaints.is_empty() {
            println!("{name}: {said}");
        }
        for complaint in &complaints {
            println!("{name}: FAILED: {complaint}");
        }
        complaints.is_empty()
    }

    /// What is not to be found as a whole.
    fn missing(&self, memory: &[u8], names: &[String]) -> Vec<String> {
        let is_there = |sought: &String| {
            (self.0.iter()).any(|item| item.name == *sought && contains(memory, &item.octets))
        };
        (names.iter().filter(|name| !is_there(name)))
            .map(|name| format!("not found before the drop: {name}"))
            .collect()
    }

    /// The secrets of which eight octets in a row are to be found.
    fn secrets_in(&self, memory: &[u8], when: &str) -> Vec<String> {
        let is_there = |item: &Item| item.octets.windows(8).any(|part| contains(memory, part));
        (self.0.iter().filter(|item| item.secret && is_there(item)))
            .map(|item| format!("found {when}: {}", item.name))
            .collect()
    }
}

fn inner(key: &str) -> String {
    format!("{key}, inner state")
}

fn outer(key: &str) -> String {
    format!("{key}, outer state")
}

fn contains(memory: &[u8], octets: &[u8]) -> bool {
    memory.windows(octets.len()).any(|part| part == octets)
}

/// What the memory of the slot holds, whether or not it is still a value.
fn octets<T>(slot: &MaybeUninit<T>) -> Vec<u8> {
    let start = slot.as_ptr().cast::<u8>();
    let read = |at| {
        // SAFETY: `at` lies within the slot, which is borrowed. Padding and buffers that are not
        // filled may have no value that the language knows of; this asks for the one in memory,
        // and the read is volatile to keep the compiler from knowing better.
        unsafe { start.add(at).read_volatile() }
    };
    (0..size_of::<T>()).map(read).collect()
}

/// The state of SHA-256 once it has absorbed the key and the pad (RFC 2104, section 2), as it
/// lies in memory.
fn keyed_state(key: &[u8], pad: u8) -> Vec<u8> {
    let mut block = [pad; 64];
    for (octet, key) in block.iter_mut().zip(key) {
        *octet ^= key;
    }
    // FIPS 180-4, section 5.3.3.
    let mut state = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    compress256(&mut state, &[block]);
    state.into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn hmac(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.chain_update(message.concat())
        .finalize()
        .into_bytes()
        .into()
}

fn hex(octets: &[u8]) -> Vec<u8> {
    let nibbles = octets.iter().flat_map(|octet| [octet >> 4, octet & 0x0f]);
    let digits = nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16));
    digits.collect::<String>().into_bytes()
}

fn deliver<R: Receive>(mut state: R, mut flight: &[u8]) -> Result<R::Next, handshake::Error> {
    loop {
        let space = state.space();
        let (piece, rest) = flight.split_at(space.len().min(flight.len()));
        for (to, from) in space.iter_mut().zip(piece) {
            *to = *from;
        }
        flight = rest;
        match state.advance(piece.len())? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}

/// A generator of known octets without a pattern, so that nothing is found by chance
/// (`SplitMix64`).
struct Sequence(u64);

impl Sequence {
    fn draw(mut self) -> [u8; 32] {
        let mut octets = [0; 32];
        let Ok(()) = self.try_fill_bytes(&mut octets);
        octets
    }
}

impl TryRng for Sequence {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let [a, b, c, d, ..] = self.try_next_u64()?.to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        // So far apart that no two seeds give the same octets at another place.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for part in dst.chunks_mut(8) {
            for (to, from) in part.iter_mut().zip(self.try_next_u64()?.to_le_bytes()) {
                *to = from;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Sequence {}
