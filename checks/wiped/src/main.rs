//! Checks that a dropped value leaves no secret in its memory.
//!
//! The crate forbids `unsafe`, without which the memory of a dropped value cannot be read. This
//! program puts a value into a slot, searches the slot and what the value has on the heap for every
//! secret, drops the value in place and searches again. The first search has to *find* what the type
//! holds. If it found nothing, the second would prove nothing.
//!
//! The program computes the secrets a second time, from the specification: the secret itself, the
//! keys derived from it, and the states of SHA-256 that HMAC keeps instead of these keys and that
//! are as valuable. Eight bytes in a row of any of them count as found.
//!
//! It does not check the copies that moving a value leaves behind, which cannot be wiped.

mod heap;

use std::error::Error;
use std::mem::MaybeUninit;
use std::process::ExitCode;

use common::{Ends, Known, deliver};
use countersign::handshake::{Prologue, Protect, Transcript};
use countersign::{Client, Key, Secret, Server};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sha2::block_api::compress256;

const KEY_ID: &str = "worker-7";
const SERVICE: &str = "billing/2";

/// The bytes of the secret.
const SECRET: Known = Known(*b"a secret has exactly these bytes");

/// A second secret for the same key id.
const SECOND: &[u8] = b"a second one, while it is rotated";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let secret = Secret::generate(&mut { SECRET })?;
    let key = Key::new(&secret)?.with_id(KEY_ID)?;
    let rotating = key.clone().accepting(SECOND)?;

    let ends = Ends::new(key.clone(), Prologue::new(SERVICE)?);
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let nonces = [Known::NC, Known::NS];
    let half = ends.half((&mut clients, &mut servers), Protect, nonces)?;
    let (f1, f2) = (half.f1.as_ref(), half.at_client.response().to_vec());
    let identified = deliver(half.at_server, &f2)?;
    let (f3, established) = identified.verify(Some(&ends.key), &mut SysRng)?;
    let (servers_session, servers_records) = established?;
    let (clients_session, clients_records) = deliver(half.at_client, f3.as_ref())?;
    // The other states hold only references here.
    let mut another = Transcript::new();
    let await_challenge = ends.client(&mut another, Protect, &mut { Known::NC })?;

    let mut all = Items::default();
    // The nonces are not secret. They show that the search works in values without any secret.
    all.add_public("Ns", &Known::NS.0);
    all.add_public("Nc", &Known::NC.0);
    let digits = hex(&SECRET.0);
    all.add_secret("the random bytes", &SECRET.0);
    all.add_secret("its digits", &digits);
    let prk = hmac(b"countersign/1", &[&digits]);
    let expand = |label: &[u8]| hmac(&prk, &[label, &[1]]);
    let kx = expand(b"countersign/1 session");
    all.add_key("PRK", &prk);
    all.add_key("Kc", &expand(b"countersign/1 client proof"));
    all.add_key("Ks", &expand(b"countersign/1 server proof"));
    all.add_key("Kx", &kx);
    let second_prk = hmac(b"countersign/1", &[SECOND]);
    let expand = |label: &[u8]| hmac(&second_prk, &[label, &[1]]);
    all.add_key("second PRK", &second_prk);
    all.add_key("second Kc", &expand(b"countersign/1 client proof"));
    all.add_key("second Ks", &expand(b"countersign/1 server proof"));
    all.add_key("second Kx", &expand(b"countersign/1 session"));
    all.add_key("the dummy", b"countersign/1 dummy");
    let service = [&[u8::try_from(SERVICE.len())?], SERVICE.as_bytes()].concat();
    let accepted = [&service, &[0][..], f1, &f2, b"A"];
    let x = hmac(&kx, &accepted);
    all.add_key("X", &x);
    let expand = |label: &[u8]| hmac(&x, &[label, &[1]]);
    all.add_key("Krc", &expand(b"countersign/1 record client"));
    all.add_key("Krs", &expand(b"countersign/1 record server"));

    let keyed = Holds::KeyedStates(&["PRK", "Kc", "Ks", "Kx"]);
    let both = Holds::KeyedStates(&[
        "PRK",
        "Kc",
        "Ks",
        "Kx",
        "second PRK",
        "second Kc",
        "second Ks",
        "second Kx",
    ]);
    let dummy = Holds::KeyedStates(&["the dummy"]);
    let keyed_and_dummy = Holds::KeyedStates(&["PRK", "Kc", "Ks", "Kx", "the dummy"]);
    let directions = Holds::KeyedStates(&["Krc", "Krs"]);
    let digits = Holds::Bytes("its digits");
    let (x, ns, nc) = (
        Holds::Bytes("X"),
        Holds::OnlyPublic("Ns"),
        Holds::OnlyPublic("Nc"),
    );
    let passed = [
        all.check("Secret", || secret, digits),
        all.check("Key", || key.clone(), keyed),
        all.check("Key with a second secret", || rotating, both),
        all.check("Client", || Client::new(key.clone()), keyed),
        all.check("Server", || Server::new(key.clone()), keyed_and_dummy),
        all.check("server::Dummy", || ends.dummy.clone(), dummy),
        all.check("client::AwaitChallenge", || await_challenge, nc),
        all.check("Transcript of the server", || servers, ns),
        all.check("Transcript of the client", || clients, ns),
        all.check("Session of the server", || servers_session, x),
        all.check("Session of the client", || clients_session, x),
        all.check("Records of the server", || servers_records, directions),
        all.check("Records of the client", || clients_records, directions),
    ];
    let passed = passed.into_iter().all(|passed| passed);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a type holds, by name.
#[derive(Clone, Copy)]
enum Holds<'a> {
    /// One secret as it is.
    Bytes(&'a str),
    /// The states that HMAC keeps instead of these keys.
    KeyedStates(&'a [&'a str]),
    /// No secret. This, which is public, shows that the search works.
    OnlyPublic(&'a str),
}

struct Item {
    name: String,
    bytes: Vec<u8>,
    secret: bool,
}

/// What the search looks for.
#[derive(Default)]
struct Items(Vec<Item>);

impl Items {
    fn add(&mut self, name: &str, bytes: &[u8], secret: bool) {
        self.0.push(Item {
            name: name.to_owned(),
            bytes: bytes.to_vec(),
            secret,
        });
    }

    fn add_public(&mut self, name: &str, bytes: &[u8]) {
        self.add(name, bytes, false);
    }

    fn add_secret(&mut self, name: &str, bytes: &[u8]) {
        self.add(name, bytes, true);
    }

    /// Adds the key and the states that HMAC keeps instead of it.
    fn add_key(&mut self, name: &str, key: &[u8]) {
        self.add_secret(name, key);
        self.add_secret(&inner(name), &keyed_state(key, 0x36));
        self.add_secret(&outer(name), &keyed_state(key, 0x5c));
    }

    /// Makes a value and drops it. Returns whether it held what it should before, and no secret
    /// afterwards.
    fn check<T>(&self, name: &str, make: impl FnOnce() -> T, holds: Holds<'_>) -> bool {
        let (value, heap) = heap::allocated_by(make);
        let mut slot = MaybeUninit::new(value);
        let memory = |slot: &MaybeUninit<T>| [bytes(slot), heap.bytes()].concat();
        let before = memory(&slot);
        // SAFETY: the slot was made with a value, and nothing uses it after this drop.
        unsafe { slot.assume_init_drop() };
        let after = memory(&slot);

        let mut complaints;
        let said;
        match holds {
            Holds::Bytes(secret) => {
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

    /// Returns a complaint for each item that is not there as a whole.
    fn missing(&self, memory: &[u8], names: &[String]) -> Vec<String> {
        let is_there = |sought: &String| {
            (self.0.iter()).any(|item| item.name == *sought && contains(memory, &item.bytes))
        };
        (names.iter().filter(|name| !is_there(name)))
            .map(|name| format!("not found before the drop: {name}"))
            .collect()
    }

    /// Returns a complaint for each secret of which eight bytes in a row are there.
    fn secrets_in(&self, memory: &[u8], when: &str) -> Vec<String> {
        let is_there = |item: &Item| item.bytes.windows(8).any(|part| contains(memory, part));
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

fn contains(memory: &[u8], bytes: &[u8]) -> bool {
    memory.windows(bytes.len()).any(|part| part == bytes)
}

/// Returns the memory of the slot, whether or not it still holds a value.
fn bytes<T>(slot: &MaybeUninit<T>) -> Vec<u8> {
    let start = slot.as_ptr().cast::<u8>();
    let read = |at| {
        // SAFETY: `at` lies within the slot, which is borrowed. To the language, padding and unused
        // parts of buffers may be uninitialised. The read is volatile so that the compiler reads
        // the memory instead of assuming any value.
        unsafe { start.add(at).read_volatile() }
    };
    (0..size_of::<T>()).map(read).collect()
}

/// Returns the state of SHA-256 after the key and the pad (RFC 2104, section 2), as it lies in
/// memory.
fn keyed_state(key: &[u8], pad: u8) -> Vec<u8> {
    let mut block = [pad; 64];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
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

fn hex(bytes: &[u8]) -> Vec<u8> {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    let digits = nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16));
    digits.collect::<String>().into_bytes()
}
