//! Whole handshakes in a program that has no `std` and no allocator.
//!
//! `#![no_std]` at the top of a library says nothing about its dependencies: one that links
//! `std` still builds, on any host that has it. A *program* without `std` is the proof. It brings
//! the only panic handler there may be, so that a crate that links `std`, which has one too,
//! makes it a duplicate; and it brings no allocator, so that a crate that links `alloc` does not
//! find one. Either is an error of the compiler. Feature `std` asks for just that, to show that
//! the proof can fail; `run` requires that it does.
//!
//! Only `main` and `abort` come from the C library. The exit status is 0, or that of the first
//! step that failed.

#![no_std]
#![no_main]

use core::convert::Infallible;
use core::ffi::{c_char, c_int};
use core::panic::PanicInfo;

use countersign::handshake::{
    Error, Mode, Progress, Prologue, Receive, Refusal, Transcript, Verdict, client, server,
};
use countersign::{Key, Secret, Session};
use rand::{TryCryptoRng, TryRng};

#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
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
    Handshake,
    Accepted,
    KeyId,
    Export,
    WrongSecret,
    UnknownKeyId,
    FalseServer,
}

const KEY_ID: &str = "worker-7";
const MODE: Mode = Mode::Authenticate;

fn check() -> Result<(), Step> {
    let mut rng = Sequence(1);
    let mut key = || {
        let secret = Secret::generate(&mut rng).ok()?;
        Key::new(&secret).ok()?.with_id(KEY_ID).ok()
    };
    let ours = key().ok_or(Step::Setup)?;
    let another = key().ok_or(Step::Setup)?;

    accepted(&ours)?;
    refused(
        &ours,
        Some(&another),
        Refusal::WrongProof,
        Step::WrongSecret,
    )?;
    refused(&ours, None, Refusal::UnknownKeyId, Step::UnknownKeyId)?;
    false_server(&ours)
}

/// Both ends hold the secret and export the same octets.
fn accepted(key: &Key) -> Result<(), Step> {
    let (_, servers, clients) = handshake(key, Some(key), |_| ()).map_err(|_| Step::Handshake)?;
    let servers = servers.map_err(|_| Step::Accepted)?;
    let clients = clients.map_err(|_| Step::Accepted)?;
    if *servers.key_id() != KEY_ID || *clients.key_id() != KEY_ID {
        return Err(Step::KeyId);
    }

    let (mut theirs, mut ours) = ([0; 48], [0; 48]);
    for (session, out) in [(&servers, &mut theirs), (&clients, &mut ours)] {
        session
            .export("example.org cookie", b"context", out)
            .map_err(|_| Step::Export)?;
    }
    if ours != theirs || ours == [0; 48] {
        return Err(Step::Export);
    }
    Ok(())
}

/// What the server found is not the client's key: both ends learn that it is refused.
fn refused(ours: &Key, found: Option<&Key>, why: Refusal, step: Step) -> Result<(), Step> {
    let (verdict, servers, clients) =
        handshake(ours, found, |_| ()).map_err(|_| Step::Handshake)?;
    let denied = verdict.as_ref().first() == Some(&b'D');
    match (servers, clients) {
        (Err(Error::ClientNotAuthentic { refusal, .. }), Err(Error::Denied))
            if denied && refusal == why =>
        {
            Ok(())
        }
        _ => Err(step),
    }
}

/// A server that accepts without the proof is found out.
fn false_server(key: &Key) -> Result<(), Step> {
    let forge = |flight: &mut [u8]| {
        if let Some(octet) = flight.last_mut() {
            *octet ^= 1;
        }
    };
    match handshake(key, Some(key), forge).map_err(|_| Step::Handshake)? {
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
    alter: impl FnOnce(&mut [u8]),
) -> Result<Outcome, Error> {
    let mut rng = Sequence(100);
    let prologue = Prologue::new("billing/2")?;
    let config = server::Config::new(prologue.clone());

    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let await_challenge = client::start(&mut clients, &prologue, MODE, key, &mut rng)?;
    let (challenge, await_response) = config.start(&mut servers, MODE, &mut rng)?;
    let (response, await_verdict) = deliver(await_challenge, challenge.as_ref())?;
    let identified = deliver(await_response, response.as_ref())?;
    let (verdict, servers) = identified.verify(found);

    let mut flight = [0; 33];
    flight.copy_from_slice(verdict.as_ref());
    alter(&mut flight);
    let clients = deliver(await_verdict, &flight);
    Ok((verdict, servers, clients))
}

/// Delivers a flight in pieces, so that the states wait too.
fn deliver<R: Receive>(mut state: R, mut flight: &[u8]) -> Result<R::Next, Error> {
    loop {
        let space = state.space();
        let (piece, rest) = flight.split_at(space.len().min(flight.len()).min(7));
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
