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
//! It also counts the copies that are left on the stack by a handshake in mode 2, where moving a value
//! copies it, and does not judge them: they cannot all be wiped.

mod heap;

use std::error::Error;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::process::ExitCode;

use common::{Ends, Known, deliver};
use countersign::handshake::{Encrypt, Progress, Prologue, Protect, Receive, Transcript};
use countersign::record::{OVERHEAD, Opened};
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

/// The names of the keys that are derived from a secret.
const DERIVED: [&str; 4] = ["PRK", "Kc", "Ks", "Kx"];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let secret = Secret::generate(&mut { SECRET })?;
    let key = Key::new(&secret)?.with_id(KEY_ID)?;
    let rotating = key.clone().accepting(SECOND)?;
    let ends = Ends::new(key.clone(), Prologue::new(SERVICE)?);

    let mut all = Items::default();
    // The server's nonce is not secret. It shows that the search works in values without any secret.
    all.add("Ns", &Known::NS.0, false);
    let digits = hex(&SECRET.0);
    all.add("the random bytes", &SECRET.0, true);
    all.add("its digits", &digits, true);
    let kx = all.add_derived("", &digits);
    all.add_derived("second ", SECOND);
    all.add_key("the dummy", b"countersign/1 dummy");

    let keyed = keyed_states(&DERIVED);
    let second = DERIVED.map(|name| format!("second {name}"));
    let both = [keyed.clone(), keyed_states(&second)].concat();
    let dummy = keyed_states(&["the dummy"]);
    let keyed_and_dummy = [keyed.clone(), dummy.clone()].concat();
    all.check("Secret", || secret, &["its digits"]);
    all.check("Key", || key.clone(), &keyed);
    all.check("Key with a second secret", || rotating, &both);
    all.check("Client", || Client::new(key.clone()), &keyed);
    all.check("Server", || Server::new(key.clone()), &keyed_and_dummy);
    all.check("server::Dummy", || ends.dummy.clone(), &dummy);

    protected(&mut all, &ends, &kx)?;
    encrypted(&mut all, &ends, &kx)?;
    Ok(if all.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Checks what there is in mode 1.
fn protected(all: &mut Items, ends: &Ends, kx: &[u8]) -> Result<(), Box<dyn Error>> {
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let nonces = [Known::NC, Known::NS];
    let half = ends.half((&mut clients, &mut servers), Protect, nonces)?;
    let (f1, f2) = (half.f1.as_ref(), half.at_client.response().to_vec());
    let identified = deliver(half.at_server, &f2)?;
    // The generator is not used in this mode.
    let (f3, established) = identified.verify(Some(&ends.key), &mut { Known::ES })?;
    let (servers_session, servers_records) = established?;
    let (clients_session, clients_records) = deliver(half.at_client, f3.as_ref())?;
    // The other states hold only references here.
    let mut another = Transcript::new();
    let await_challenge = ends.client(&mut another, Protect, &mut { Known::NC })?;

    all.add("Nc", &Known::NC.0, false);
    let x = hmac(kx, &[&prologue()?, f1, &f2, b"A"]);
    all.add_key("X", &x);
    all.add_key("Krc", &expand(&x, b"countersign/1 record client"));
    all.add_key("Krs", &expand(&x, b"countersign/1 record server"));

    let directions = keyed_states(&["Krc", "Krs"]);
    all.check("client::AwaitChallenge", || await_challenge, &["Nc"]);
    all.check("Transcript of the server", || servers, &["Ns"]);
    all.check("Transcript of the client", || clients, &["Ns"]);
    all.check("Session of the server", || servers_session, &["X"]);
    all.check("Session of the client", || clients_session, &["X"]);
    all.check("Records of the server", || servers_records, &directions);
    all.check("Records of the client", || clients_records, &directions);
    Ok(())
}

/// Checks what there is in mode 2.
fn encrypted(all: &mut Items, ends: &Ends, kx: &[u8]) -> Result<(), Box<dyn Error>> {
    println!("mode 2");
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let draws = [Known::EC, Known::NS];
    let half = ends.half((&mut clients, &mut servers), Encrypt, draws)?;
    let (f1, f2) = (half.f1, half.at_client.response().to_vec());
    let identified = deliver(half.at_server, &f2)?;
    let (f3, established) = identified.verify(Some(&ends.key), &mut { Known::ES })?;
    let (servers_session, servers_records) = established?;
    let (clients_session, clients_records) = deliver(half.at_client, f3.as_ref())?;

    let (accepted, _) = f3.as_ref().split_at(1 + 32);
    let gs = *accepted.last_chunk().ok_or("F3 is too short")?;
    let x = hmac(kx, &[&prologue()?, f1.as_ref(), &f2, accepted]);
    let z = x25519_dalek::x25519(Known::EC.0, gs);
    let xe = hmac(&x, &[&z]);
    all.add("ec", &Known::EC.0, true);
    all.add("es", &Known::ES.0, true);
    all.add("Z", &z, true);
    all.add_key("X of mode 2", &x);
    all.add_key("Xe", &xe);
    all.add_key("Ke", &expand(&xe, b"countersign/1 encrypt export"));
    for direction in ["client", "server"] {
        let label = format!("countersign/1 encrypt {direction}");
        let state = expand(&xe, label.as_bytes());
        all.add_step(direction, 0, &state);
        let state = expand(&state, b"countersign/1 encrypt next");
        all.add_step(direction, 1, &state);
    }

    for (name, received) in [("", 0), (", half of F1 received", 20)] {
        let mut another = Transcript::new();
        let state = ends.client(&mut another, Encrypt, &mut { Known::EC })?;
        let state = part(state, f1.as_ref().split_at(received).0)?;
        all.check(&format!("client::AwaitChallenge{name}"), || state, &["ec"]);
    }
    for (name, received) in [("", 0), (", half of F3 received", 40)] {
        let mut another = Transcript::new();
        let state = ends.client(&mut another, Encrypt, &mut { Known::EC })?;
        let state = part(
            deliver(state, f1.as_ref())?,
            f3.as_ref().split_at(received).0,
        )?;
        all.check(&format!("client::AwaitVerdict{name}"), || state, &["ec"]);
    }
    all.check("Transcript of the server", || servers, &["Ns"]);
    all.check("Transcript of the client", || clients, &["Ns"]);
    all.check("Session of the server", || servers_session, &["Ke"]);
    all.check("Session of the client", || clients_session, &["Ke"]);

    let (mut sealer, mut opener) = (clients_records.sealer, servers_records.opener);
    let step = of_step("server", 0);
    all.check_blank("Sealer of the server", || servers_records.sealer, &step);
    all.check_blank("Opener of the client", || clients_records.opener, &step);
    let mut record = [0; 1 + OVERHEAD];
    for _ in 0..1 << 16 {
        sealer.seal(&mut record)?;
        if !matches!(opener.open(&mut record)?, Opened::Data(_)) {
            return Err("no data".into());
        }
    }
    let step = of_step("client", 1);
    all.check_blank("Sealer of the client, after a step", || sealer, &step);
    all.check_blank("Opener of the server, after a step", || opener, &step);

    all.survey("a client that is dropped", || {
        let mut transcript = Transcript::new();
        drop(ends.client(&mut transcript, Encrypt, &mut { Known::EC }));
    });
    for (name, f3) in [
        (
            "a client that is denied",
            &[b"D", &[0; 64][..]].concat()[..],
        ),
        ("a client that succeeds", f3.as_ref()),
    ] {
        all.survey(name, || {
            let mut transcript = Transcript::new();
            let started = ends.client(&mut transcript, Encrypt, &mut { Known::EC });
            let await_verdict = started.and_then(|state| deliver(state, f1.as_ref()));
            drop(await_verdict.and_then(|state| deliver(state, f3)));
        });
    }
    all.survey("a server that succeeds", || {
        let mut transcript = Transcript::new();
        let started = ends.server(&mut transcript, Encrypt, &mut { Known::NS });
        let identified = started.and_then(|(_, state)| deliver(state, &f2));
        drop(identified.map(|it| it.verify(Some(&ends.key), &mut { Known::ES })));
    });
    Ok(())
}

/// Feeds a part of a message to a state.
fn part<R>(mut state: R, part: &[u8]) -> Result<R, Box<dyn Error>>
where
    R: Receive<Error = countersign::handshake::Error>,
{
    if part.is_empty() {
        return Ok(state);
    }
    let space = state.space().get_mut(..part.len());
    space.ok_or("no space")?.copy_from_slice(part);
    match state.advance(part.len())? {
        Progress::More(state) => Ok(state),
        Progress::Done(_) => Err("the message was whole".into()),
    }
}

/// Returns what both transcripts begin with.
fn prologue() -> Result<Vec<u8>, Box<dyn Error>> {
    let service = u8::try_from(SERVICE.len())?;
    Ok([&[service], SERVICE.as_bytes(), &[0]].concat())
}

/// Returns the names of the states that HMAC keeps instead of these keys.
fn keyed_states(keys: &[impl AsRef<str>]) -> Vec<String> {
    let states = keys.iter().map(AsRef::as_ref);
    states.flat_map(|key| [inner(key), outer(key)]).collect()
}

/// Returns the names of what a direction holds in this step.
fn of_step(direction: &str, step: usize) -> Vec<String> {
    let mut names = keyed_states(&[format!("S_{direction}[{step}]")]);
    names.push(format!("the round keys of K_{direction}[{step}]"));
    names
}

struct Item {
    name: String,
    bytes: Vec<u8>,
    secret: bool,
}

/// What the search looks for.
#[derive(Default)]
struct Items {
    items: Vec<Item>,
    failed: bool,
}

impl Items {
    fn add(&mut self, name: &str, bytes: &[u8], secret: bool) {
        self.items.push(Item {
            name: name.to_owned(),
            bytes: bytes.to_vec(),
            secret,
        });
    }

    /// Adds the key and the states that HMAC keeps instead of it.
    fn add_key(&mut self, name: &str, key: &[u8]) {
        self.add(name, key, true);
        self.add(&inner(name), &keyed_state(key, 0x36), true);
        self.add(&outer(name), &keyed_state(key, 0x5c), true);
    }

    /// Adds what is derived from a secret, and returns the key that makes X.
    fn add_derived(&mut self, prefix: &str, secret: &[u8]) -> [u8; 32] {
        let prk = hmac(b"countersign/1", &[secret]);
        let [kc, ks, kx] = ["client proof", "server proof", "session"]
            .map(|label| expand(&prk, format!("countersign/1 {label}").as_bytes()));
        for (name, key) in DERIVED.iter().zip([prk, kc, ks, kx]) {
            self.add_key(&format!("{prefix}{name}"), &key);
        }
        kx
    }

    /// Adds what a direction of mode 2 has in this step: the state, the key of AES-256, which is also
    /// its first two round keys, and the key of GHASH.
    fn add_step(&mut self, direction: &str, step: usize, state: &[u8; 32]) {
        let key = expand(state, b"countersign/1 encrypt key");
        self.add_key(&format!("S_{direction}[{step}]"), state);
        let name = format!("the round keys of K_{direction}[{step}]");
        self.add(&name, &round_keys(&key), true);
    }

    /// Like [`check`](Self::check), for a cipher: it also holds what the program does not compute, as
    /// the key of GHASH, so no eight bytes in a row may be other than zero after the drop.
    fn check_blank<T>(&mut self, name: &str, make: impl FnOnce() -> T, holds: &[String]) {
        let after = self.check(name, make, holds);
        if after.windows(8).any(|part| !part.contains(&0)) {
            println!("{name}: FAILED: not all is zero after the drop");
            self.failed = true;
        }
    }

    /// Prints how often each private key and each secret of mode 2 is left on the stack by `routine`.
    fn survey(&self, name: &str, routine: impl FnOnce()) {
        wipe_stack();
        routine();
        let memory = below();
        let copies = ["ec", "es", "Z", "X of mode 2", "Xe"].map(|secret| {
            let item = self.items.iter().find(|item| item.name == secret);
            // In the middle of a private key, since X25519 sets bits of the ends.
            let part = item.and_then(|item| item.bytes.get(8..16));
            let is_there = |bytes: &&[u8]| Some(*bytes) == part;
            let times = memory.windows(8).filter(is_there).count();
            format!("{secret} {times}")
        });
        println!("copies on the stack after {name}: {}", copies.join(", "));
    }

    /// Makes a value and drops it. It has to hold these items, and no secret else, before the drop,
    /// and no secret after it. Returns its memory after it.
    fn check<T>(
        &mut self,
        name: &str,
        make: impl FnOnce() -> T,
        holds: &[impl AsRef<str>],
    ) -> Vec<u8> {
        let holds: Vec<_> = holds.iter().map(AsRef::as_ref).collect();
        let (value, heap) = heap::allocated_by(make);
        let mut slot = MaybeUninit::new(value);
        let memory = |slot: &MaybeUninit<T>| [bytes(slot), heap.bytes()].concat();
        let before = memory(&slot);
        // SAFETY: the slot was made with a value, and nothing uses it after this drop.
        unsafe { slot.assume_init_drop() };
        let after = memory(&slot);

        let mut complaints = self.missing(&before, &holds);
        complaints.extend(self.secrets_in(&before, "before the drop", &holds));
        complaints.extend(self.secrets_in(&after, "after the drop", &[]));
        if complaints.is_empty() {
            let holds = holds.join("; ");
            println!("{name}: held {holds}, and no secret after the drop");
        }
        for complaint in &complaints {
            println!("{name}: FAILED: {complaint}");
        }
        self.failed |= !complaints.is_empty();
        after
    }

    /// Returns a complaint for each item that is not there as a whole.
    fn missing(&self, memory: &[u8], names: &[&str]) -> Vec<String> {
        let is_there = |sought: &str| {
            (self.items.iter()).any(|item| item.name == sought && contains(memory, &item.bytes))
        };
        (names.iter().filter(|name| !is_there(name)))
            .map(|name| format!("not found before the drop: {name}"))
            .collect()
    }

    /// Returns a complaint for each secret, but for these, of which eight bytes in a row are there.
    fn secrets_in(&self, memory: &[u8], when: &str, but: &[&str]) -> Vec<String> {
        let is_there = |item: &Item| item.bytes.windows(8).any(|part| contains(memory, part));
        let secrets = self.items.iter().filter(|item| item.secret);
        (secrets.filter(|item| !but.contains(&&*item.name) && is_there(item)))
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

/// More than a handshake takes of the stack without optimisation, in bytes.
const DEPTH: usize = 65_536;

/// Returns what the last call has left on the stack.
#[inline(never)]
fn below() -> Vec<u8> {
    bytes(&MaybeUninit::<[u8; DEPTH]>::uninit())
}

#[allow(clippy::large_stack_arrays, reason = "it is the stack that is meant")]
#[inline(never)]
fn wipe_stack() {
    black_box(&mut [0_u8; 2 * DEPTH]);
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

/// `HKDF-Expand(prk, label, 32)`
fn expand(prk: &[u8], label: &[u8]) -> [u8; 32] {
    hmac(prk, &[label, &[1]])
}

/// Returns the round keys of AES-256, as they lie in memory (FIPS 197, section 5.2).
#[allow(
    clippy::indexing_slicing,
    reason = "there are always 32 bytes to look back at"
)]
fn round_keys(key: &[u8; 32]) -> Vec<u8> {
    let mut bytes = key.to_vec();
    let mut constant = 1;
    while bytes.len() < 15 * 16 {
        let mut word = bytes[bytes.len() - 4..].to_vec();
        if bytes.len().is_multiple_of(32) {
            word.rotate_left(1);
        }
        if bytes.len().is_multiple_of(16) {
            for byte in &mut word {
                *byte = substituted(*byte);
            }
        }
        if bytes.len().is_multiple_of(32) {
            word[0] ^= constant;
            constant = doubled(constant);
        }
        for byte in word {
            bytes.push(bytes[bytes.len() - 32] ^ byte);
        }
    }
    bytes
}

/// The S-box of AES: the inverse in its field, `byte` to the power of 254, and an affine map.
fn substituted(byte: u8) -> u8 {
    let inverse = (0..254).fold(1, |power, _| product(power, byte));
    let turned = (1..5).fold(inverse, |sum, n| sum ^ inverse.rotate_left(n));
    turned ^ 0x63
}

/// The product in the field of AES.
fn product(mut a: u8, b: u8) -> u8 {
    let mut sum = 0;
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            sum ^= a;
        }
        a = doubled(a);
    }
    sum
}

fn doubled(byte: u8) -> u8 {
    (byte << 1) ^ if byte & 0x80 == 0 { 0 } else { 0x1b }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    let digits = nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16));
    digits.collect::<String>().into_bytes()
}
