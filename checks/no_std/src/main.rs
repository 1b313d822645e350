//! Whole handshakes and records in a program that has no `std`, no allocator and no panic.
//!
//! `#![no_std]` at the top of a library says nothing about its dependencies: one that links
//! `std` still builds, on any host that has it. A *program* without `std` is the proof. It brings
//! the only panic handler there may be, so that a crate that links `std`, which has one too,
//! makes it a duplicate; and it brings no allocator, so that a crate that links `alloc` does not
//! find one. Either is an error of the compiler. Feature `std` asks for just that, to show that
//! the proof can fail; `run` requires that it does.
//!
//! The panic handler calls a function that exists nowhere, so the optimised program can be linked
//! only if no path to a panic is left in it. All that the crate is given goes through [`opaque`]:
//! the compiler must not drop a path because it knows that *these* octets do not take it. Feature
//! `planted` adds a panic that one octet of a flight leads to, and has to break the link.
//!
//! From the C library come only what calls `main` and the functions on memory that the compiler
//! calls. The exit status is 0, or that of the first step that failed.

#![no_std]
#![no_main]

use core::convert::Infallible;
use core::ffi::{c_char, c_int};
use core::fmt::{self, Debug, Display, Write};
use core::hint::black_box;
use core::panic::PanicInfo;

use countersign::handshake::{
    Binding, Error, Mode, Progress, Prologue, Receive, Refusal, Transcript, Verdict, client, server,
};
use countersign::record::{self, OVERHEAD, Opened, Opener, Sealer};
use countersign::{Key, KeyId, Secret, Session};
use rand::{TryCryptoRng, TryRng};

// It has `__libc_start_main`, and the functions on memory that the compiler calls.
#[link(name = "c")]
unsafe extern "C" {}

unsafe extern "C" {
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}

/// What the C library calls.
// SAFETY: no other symbol of this program or of its dependencies has this name, and the
// signature is the one that C gives it.
#[unsafe(no_mangle)]
pub extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    match check() {
        Ok(()) => 0,
        Err(step) => step as c_int,
    }
}

/// The step that failed, as the exit status.
#[derive(Clone, Copy)]
enum Step {
    Setup = 1,
    Limits,
    Handshake,
    Accepted,
    KeyId,
    Export,
    Records,
    WrongSecret,
    UnknownKeyId,
    FalseServer,
    Shown,
}

const KEY_ID: &str = "worker-7";

fn check() -> Result<(), Step> {
    let mut rng = Sequence(opaque(1));
    let mut key = || {
        let secret = Secret::generate(&mut rng).ok()?;
        let master = Key::new(opaque(secret.as_ref())).ok()?;
        let child = master.child_secret(opaque(KEY_ID)).ok()?;
        let key = Key::new(opaque(child.as_ref())).ok()?;
        key.with_id(opaque(KEY_ID)).ok()
    };
    let ours = key().ok_or(Step::Setup)?;
    let another = key().ok_or(Step::Setup)?;

    limits()?;
    for mode in [Mode::Authenticate, Mode::Protect] {
        let mode = opaque(mode);
        overrun(&ours, mode)?;
        accepted(&ours, mode)?;
        let why = Refusal::WrongProof;
        refused(&ours, Some(&another), mode, why, Step::WrongSecret)?;
        let why = Refusal::UnknownKeyId;
        refused(&ours, None, mode, why, Step::UnknownKeyId)?;
        false_server(&ours, mode)?;
    }
    Ok(())
}

/// What the program does not know of what it is given, the compiler does not know either.
fn opaque<T>(value: T) -> T {
    black_box(value)
}

/// Input that is refused, and what shows it.
fn limits() -> Result<(), Step> {
    let octets = [b'x'; 300];
    let refused = [
        Key::new(opaque(&octets[..])).map(drop),
        Key::new(opaque(&octets[..15])).map(drop),
        KeyId::new(opaque(&octets[..65])).map(drop),
        Prologue::new(opaque(&octets[..])).map(drop),
    ];
    for result in refused {
        shown(&result.err().ok_or(Step::Limits)?)?;
    }
    let id = KeyId::new(opaque(&octets[..64])).map_err(|_| Step::Limits)?;
    shown(&id)
}

/// A caller that reports more than there was room for, and a fingerprint.
fn overrun(key: &Key, mode: Mode) -> Result<(), Step> {
    shown(&key.fingerprint())?;
    let mut rng = Sequence(opaque(7));
    let (mut clients, mut servers) = (Transcript::default(), Transcript::new());
    let config = server::Config::new(Prologue::EMPTY).service(opaque("billing/2"));
    let config = config.map_err(|_| Step::Limits)?;
    let started = config.start(&mut servers, mode, &mut rng);
    let (_, at_server) = started.map_err(|_| Step::Limits)?;
    let started = client::start(&mut clients, &Prologue::EMPTY, mode, key, &mut rng);
    let at_client = started.map_err(|_| Step::Limits)?;
    let n = opaque(usize::MAX);
    match (at_server.advance(n), at_client.advance(n)) {
        (Err(server), Err(client)) => shown(&server).and(shown(&client)),
        _ => Err(Step::Limits),
    }
}

/// Both ends hold the secret, export the same octets and, in mode 1, open each other's records.
fn accepted(key: &Key, mode: Mode) -> Result<(), Step> {
    let (_, servers, clients) =
        handshake(key, Some(key), mode, |_| ()).map_err(|_| Step::Handshake)?;
    let mut servers = servers.map_err(|_| Step::Accepted)?;
    let mut clients = clients.map_err(|_| Step::Accepted)?;
    if *servers.key_id() != KEY_ID || *clients.key_id() != KEY_ID {
        return Err(Step::KeyId);
    }

    let (mut theirs, mut ours) = ([0; 48], [0; 48]);
    for (session, out) in [(&servers, &mut theirs), (&clients, &mut ours)] {
        session
            .export(
                opaque("example.org cookie"),
                opaque(b"context"),
                opaque(&mut out[..]),
            )
            .map_err(|_| Step::Export)?;
    }
    if ours != theirs || ours == [0; 48] {
        return Err(Step::Export);
    }

    match (servers.records(), clients.records(), mode) {
        (None, None, Mode::Authenticate) => Ok(()),
        (Some((mut to_client, mut at_server)), Some((to_server, at_client)), Mode::Protect) => {
            records(to_server, &mut at_server).map_err(|_| Step::Records)?;
            // Its own record is not one of its peer's.
            let mut record = [0; OVERHEAD + 5];
            to_client
                .seal(opaque(&mut record))
                .map_err(|_| Step::Records)?;
            let mut opener = at_server;
            match opener.open(opaque(&record)) {
                Err(error) => shown(&error)?,
                Ok(_) => return Err(Step::Records),
            }
            records(to_client, &mut { at_client }).map_or(Ok(()), |()| Err(Step::Records))
        }
        _ => Err(Step::Records),
    }
}

/// A record and the end of a direction, or why not.
fn records(mut sealer: Sealer, opener: &mut Opener) -> Result<(), record::Error> {
    let mut buffer = [b'x'; OVERHEAD + 100];
    let record = opaque(&mut buffer[..]);
    sealer.seal(record)?;
    let header = record.first_chunk().ok_or(record::Error::BadTag)?;
    let len = Opener::len_of(opaque(*header))?;
    if opener.open(opaque(record))? != Opened::Data(&[b'x'; 100]) || len != record.len() {
        return Err(record::Error::BadTag);
    }
    let end = sealer.close()?;
    if opener.open(opaque(&end))? != Opened::Close {
        return Err(record::Error::BadTag);
    }
    Ok(())
}

/// What the server found is not the client's key: both ends learn that it is refused.
fn refused(
    ours: &Key,
    found: Option<&Key>,
    mode: Mode,
    why: Refusal,
    step: Step,
) -> Result<(), Step> {
    let (verdict, servers, clients) =
        handshake(ours, found, mode, |_| ()).map_err(|_| Step::Handshake)?;
    let denied = verdict.as_ref().first() == Some(&b'D');
    let (Err(servers), Err(clients)) = (servers, clients) else {
        return Err(step);
    };
    shown(&servers)?;
    shown(&clients)?;
    match (servers, clients) {
        (Error::ClientNotAuthentic { refusal, .. }, Error::Denied) if denied && refusal == why => {
            Ok(())
        }
        _ => Err(step),
    }
}

/// A server that accepts without the proof is found out.
fn false_server(key: &Key, mode: Mode) -> Result<(), Step> {
    let forge = |flight: &mut [u8]| {
        if let Some(octet) = flight.last_mut() {
            *octet ^= 1;
        }
    };
    match handshake(key, Some(key), mode, forge).map_err(|_| Step::Handshake)? {
        (_, Ok(_), Err(Error::ServerNotAuthentic)) => Ok(()),
        _ => Err(Step::FalseServer),
    }
}

/// F3 as the server gave it, and what came out at the server and at the client.
type Outcome = (Verdict, Result<Session, Error>, Result<Session, Error>);

/// A whole handshake, with F3 as `alter` leaves it. It is an error only where the two do not get
/// as far as the verdict.
fn handshake(
    key: &Key,
    found: Option<&Key>,
    mode: Mode,
    alter: impl FnOnce(&mut [u8]),
) -> Result<Outcome, Error> {
    let mut rng = Sequence(opaque(100));
    let binding = Binding::tls_exporter(opaque(&[7; 32]));
    let prologue = Prologue::new(opaque("billing/2"))?.bound(&binding);
    let config = server::Config::new(prologue.clone());

    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let await_challenge = client::start(&mut clients, &prologue, mode, key, &mut rng)?;
    let (challenge, await_response) = config.start(&mut servers, mode, &mut rng)?;
    let (response, await_verdict) = deliver(await_challenge, challenge.as_ref())?;
    let identified = deliver(await_response, response.as_ref())?;
    let (verdict, servers) = identified.verify(found);

    let mut flight = [0; 33];
    for (to, from) in flight.iter_mut().zip(verdict.as_ref()) {
        *to = *from;
    }
    alter(&mut flight);
    let clients = deliver(await_verdict, &flight);
    Ok((verdict, servers, clients))
}

/// Delivers a flight in pieces, so that the states wait too.
fn deliver<R: Receive>(mut state: R, mut flight: &[u8]) -> Result<R::Next, Error> {
    loop {
        let space = state.space();
        let (piece, rest) = flight.split_at(space.len().min(flight.len()).min(7));
        for (to, from) in space.iter_mut().zip(opaque(piece)) {
            *to = *from;
        }
        #[cfg(feature = "planted")]
        assert!(opaque(piece).first() != Some(&0xff), "planted");
        flight = rest;
        match state.advance(opaque(piece.len()))? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}

/// What is shown to people shows something.
fn shown(value: &(impl Display + Debug)) -> Result<(), Step> {
    let mut counted = Counted(0);
    write!(counted, "{value} {value:?}").map_err(|_| Step::Shown)?;
    if counted.0 > 1 {
        Ok(())
    } else {
        Err(Step::Shown)
    }
}

struct Counted(usize);

impl Write for Counted {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(opaque(part).len());
        Ok(())
    }
}

/// A generator of known octets: there is no operating system to ask, and nothing here is to be
/// kept secret.
struct Sequence(u8);

impl TryRng for Sequence {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets)?;
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets)?;
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for octet in dst {
            *octet = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Sequence {}
