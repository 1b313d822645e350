//! Runs whole handshakes and records in a program that has no `std`, no allocator and no panic.
//!
//! `#![no_std]` at the top of a library says nothing about its dependencies: a dependency that
//! links `std` still builds on any host that has `std`. A *program* without `std` is the proof. It
//! has the only panic handler, so a crate that links `std` adds a duplicate. It has no allocator,
//! so a crate that links `alloc` finds none. Either is an error of the compiler. Feature `std`
//! provokes this error, to show that the proof can fail, and `run` requires that it does.
//!
//! The panic handler calls a function that does not exist, so the optimised program links only if
//! it has no path to a panic. All input to the crate goes through [`opaque`]: the compiler must not
//! remove a path because it knows that *these* bytes do not take it. Feature `planted` adds a panic
//! that one byte of a message leads to, and has to break the link.
//!
//! Feature `encrypt` adds mode 2. The crates that it uses have lines that the compiler does not see to
//! be safe, so this program links with panics, and `run` requires that the file `declared` has each
//! line that leads to one.
//!
//! The C library provides only the start of the program and the functions on memory that the
//! compiler calls. The exit status is 0, or the number of the first step that failed.

#![no_std]
#![no_main]

use core::ffi::{c_char, c_int};
use core::fmt::{self, Debug, Display, Write};
use core::hint::black_box;
use core::panic::PanicInfo;

use common::{Ends, Known, take};
#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::{
    Authenticate, Binding, Error, Mode, Prologue, Protect, Receive, Refusal, Transcript, Verdict,
};
use countersign::record::{self, OVERHEAD, Opened, Opener, Protection, Records, Sealer};
use countersign::{Key, KeyId, Secret, Session};

// Has `__libc_start_main` and the functions on memory that the compiler calls.
#[link(name = "c")]
unsafe extern "C" {}

unsafe extern "C" {
    #[cfg_attr(feature = "encrypt", link_name = "abort")]
    safe fn a_panic_is_reachable() -> !;
}

// Never inlined: `run` looks for the calls of it.
#[inline(never)]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}

/// The function that the C library calls.
// SAFETY: no other symbol of this program or of its dependencies has this name, and the signature
// is the one of C's `main`.
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

/// A handshake that does not get as far as F3.
impl From<Error> for Step {
    fn from(_: Error) -> Self {
        Self::Handshake
    }
}

const KEY_ID: &str = "worker-7";

fn check() -> Result<(), Step> {
    let key = |bytes| {
        let secret = Secret::generate(&mut opaque(Known(bytes))).ok()?;
        let master = Key::new(opaque(secret.as_ref())).ok()?;
        let child = master.child_secret(opaque(KEY_ID)).ok()?;
        let key = Key::new(opaque(child.as_ref())).ok()?;
        key.with_id(opaque(KEY_ID)).ok()
    };
    let ours = key([1; 32]).ok_or(Step::Setup)?;
    let another = key([2; 32]).ok_or(Step::Setup)?;

    limits()?;
    let (server, client) = in_mode(&ours, &another, Authenticate)?;
    sessions(&server, &client)?;
    let ((server, at_server), (client, at_client)) = in_mode(&ours, &another, Protect)?;
    sessions(&server, &client)?;
    both_directions(at_server, at_client)?;
    #[cfg(feature = "encrypt")]
    {
        let ((server, at_server), (client, at_client)) = in_mode(&ours, &another, Encrypt)?;
        sessions(&server, &client)?;
        both_directions(at_server, at_client)?;
    }
    Ok(())
}

/// Runs every handshake in this mode. Returns what server and client have after the accepted one.
fn in_mode<M: Mode>(
    ours: &Key,
    another: &Key,
    mode: M,
) -> Result<(M::Established, M::Established), Step> {
    overrun(ours, mode)?;
    let why = Refusal::WrongProof;
    refused(ours, Some(another), mode, why, Step::WrongSecret)?;
    let why = Refusal::UnknownKeyId;
    refused(ours, None, mode, why, Step::UnknownKeyId)?;
    false_server(ours, mode)?;
    match handshake(ours, Some(ours), mode, |_| ())? {
        (_, Ok(server), Ok(client)) => Ok((server, client)),
        _ => Err(Step::Accepted),
    }
}

/// Hides the value from the compiler.
fn opaque<T>(value: T) -> T {
    black_box(value)
}

/// Invalid input is refused, and its errors can be displayed.
fn limits() -> Result<(), Step> {
    let bytes = [b'x'; 300];
    let refused = [
        Key::new(opaque(&bytes[..])).map(drop),
        Key::new(opaque(&bytes[..15])).map(drop),
        KeyId::new(opaque(&bytes[..65])).map(drop),
        Prologue::new(opaque(&bytes[..])).map(drop),
    ];
    for result in refused {
        shown(&result.err().ok_or(Step::Limits)?)?;
    }
    let id = KeyId::new(opaque(&bytes[..64])).map_err(|_| Step::Limits)?;
    shown(&id)
}

/// Reporting more bytes than there is space for is an error. A fingerprint can be displayed.
fn overrun(key: &Key, mode: impl Mode) -> Result<(), Step> {
    shown(&key.fingerprint())?;
    let (mut clients, mut servers) = (Transcript::default(), Transcript::new());
    let ends = Ends::new(key.clone(), Prologue::EMPTY);
    let started = ends.server(&mut servers, mode, &mut opaque(Known::NS));
    let (_, at_server) = started.map_err(|_| Step::Limits)?;
    let started = ends.client(&mut clients, mode, &mut opaque(Known::NC));
    let at_client = started.map_err(|_| Step::Limits)?;
    let n = opaque(usize::MAX);
    match (at_server.advance(n), at_client.advance(n)) {
        (Err(server), Err(client)) => shown(&server).and(shown(&client)),
        _ => Err(Step::Limits),
    }
}

/// Both ends have the client's key id and export the same bytes.
fn sessions(server: &Session, client: &Session) -> Result<(), Step> {
    if *server.key_id() != KEY_ID || *client.key_id() != KEY_ID {
        return Err(Step::KeyId);
    }

    let (mut theirs, mut ours) = ([0; 48], [0; 48]);
    for (session, out) in [(server, &mut theirs), (client, &mut ours)] {
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
    Ok(())
}

/// The server opens what the client sends, and neither opens anything else.
fn both_directions<P: Protection>(
    mut server: Records<P>,
    mut client: Records<P>,
) -> Result<(), Step> {
    records(client.sealer, &mut server.opener).map_err(|_| Step::Records)?;
    // The server's own record is not a record of the client.
    let mut record = [0; OVERHEAD + 5];
    let sealed = server.sealer.seal(opaque(&mut record));
    sealed.map_err(|_| Step::Records)?;
    match server.opener.open(opaque(&mut record)) {
        Err(error) => shown(&error)?,
        Ok(_) => return Err(Step::Records),
    }
    // The client has not received the server's first record, so the second is not the next.
    records(server.sealer, &mut client.opener).map_or(Ok(()), |()| Err(Step::Records))
}

/// Sends a record and the end of a direction.
fn records<P: Protection>(
    mut sealer: Sealer<P>,
    opener: &mut Opener<P>,
) -> Result<(), record::Error> {
    let mut buffer = [b'x'; OVERHEAD + 100];
    let record = opaque(&mut buffer[..]);
    sealer.seal(record)?;
    let header = record.first_chunk().ok_or(record::Error::BadTag)?;
    let (len, whole) = (record::len_of(opaque(*header))?, record.len());
    if opener.open(opaque(record))? != Opened::Data(&[b'x'; 100]) || len != whole {
        return Err(record::Error::BadTag);
    }
    let mut end = sealer.close()?;
    if opener.open(opaque(&mut end))? != Opened::Close {
        return Err(record::Error::BadTag);
    }
    Ok(())
}

/// The server looks up another key than the client's: both ends learn that the client is refused.
fn refused(
    ours: &Key,
    found: Option<&Key>,
    mode: impl Mode,
    why: Refusal,
    step: Step,
) -> Result<(), Step> {
    let (verdict, servers, clients) = handshake(ours, found, mode, |_| ())?;
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

/// The client does not accept a server whose proof is wrong.
fn false_server(key: &Key, mode: impl Mode) -> Result<(), Step> {
    let forge = |verdict: &mut [u8]| {
        if let Some(byte) = verdict.last_mut() {
            *byte ^= 1;
        }
    };
    match handshake(key, Some(key), mode, forge)? {
        (_, Ok(_), Err(Error::ServerNotAuthentic)) => Ok(()),
        _ => Err(Step::FalseServer),
    }
}

/// The server's F3, and how the handshake ended for the server and for the client.
type Outcome<T> = (Verdict, Result<T, Error>, Result<T, Error>);

/// Runs a whole handshake in which `alter` alters F3 on its way. Returns an error only if the two
/// do not get as far as F3.
fn handshake<M: Mode>(
    key: &Key,
    found: Option<&Key>,
    mode: M,
    alter: impl FnOnce(&mut [u8]),
) -> Result<Outcome<M::Established>, Step> {
    let binding = Binding::tls_exporter(opaque(&[7; 32]));
    let prologue = Prologue::new(opaque("billing/2")).map_err(|_| Step::Setup)?;
    let ends = Ends::new(key.clone(), prologue.bound(Some(&binding)));
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let at_client = ends.client(&mut clients, mode, &mut opaque(Known::NC))?;
    let (challenge, at_server) = ends.server(&mut servers, mode, &mut opaque(Known::NS))?;
    let at_client = deliver(at_client, challenge.as_ref())?;
    let identified = deliver(at_server, at_client.response())?;
    let (verdict, servers) = identified.verify(found, &mut opaque(Known::ES))?;

    let mut altered = [0; 65];
    let altered = altered.get_mut(..verdict.as_ref().len());
    let altered = altered.ok_or(Step::Handshake)?;
    for (to, from) in altered.iter_mut().zip(verdict.as_ref()) {
        *to = *from;
    }
    alter(altered);
    let clients = deliver(at_client, altered);
    Ok((verdict, servers, clients))
}

/// Delivers a message in pieces, so that the states have to wait for more.
fn deliver<R: Receive>(state: R, message: &[u8]) -> Result<R::Next, R::Error> {
    let mut message = opaque(message);
    #[cfg(feature = "planted")]
    assert!(message.first() != Some(&0xff), "planted");
    state.read(|space| {
        let (piece, _) = space.split_at_mut(space.len().min(7));
        Ok(opaque(take(&mut message, piece)))
    })
}

/// The value can be displayed, and the text is not empty.
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
