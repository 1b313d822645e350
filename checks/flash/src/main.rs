//! A client for a microcontroller, whose size is what the crate takes of its flash.
//!
//! It is linked for `thumbv7em-none-eabi` by `.ci/platforms`, and never run. The bytes that it sends
//! and receives go through [`black_box`], so that the linker keeps all that a real client needs. As in
//! `checks/no_std`, the panic handler calls a function that does not exist, so that without mode 2 it
//! links only if it has no path to a panic.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use common::{Known, deliver};
use countersign::handshake::{self, Prologue, Transcript, client};
use countersign::{Key, KeyId, Secret};

#[cfg(not(feature = "records"))]
use countersign::handshake::Authenticate as Chosen;
#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt as Chosen;
#[cfg(all(feature = "records", not(feature = "encrypt")))]
use countersign::handshake::Protect as Chosen;

#[cfg(not(feature = "encrypt"))]
unsafe extern "C" {
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    #[cfg(not(feature = "encrypt"))]
    a_panic_is_reachable();
    #[cfg(feature = "encrypt")]
    loop {}
}

/// Where the program begins.
// SAFETY: no other symbol of this program or of its dependencies has this name.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    i32::from(run().is_none())
}

fn run() -> Option<()> {
    let secret = Secret::generate(&mut black_box(Known([1; 32]))).ok()?;
    let id = KeyId::new(black_box("worker-7")).ok()?;
    let key = Key::new(secret.as_ref()).ok()?.with_id(id).ok()?;
    black_box(log_in(&key)?);
    Some(())
}

#[cfg(not(feature = "records"))]
fn log_in(key: &Key) -> Option<countersign::Session> {
    established(key).ok()
}

/// Sends a record, and opens one.
#[cfg(feature = "records")]
fn log_in(key: &Key) -> Option<countersign::Session> {
    let (session, mut records) = established(key).ok()?;
    let mut record = [0; countersign::record::OVERHEAD + 64];
    records.sealer.seal(black_box(&mut record)).ok()?;
    black_box(records.opener.open(black_box(&mut record)).ok()?);
    black_box(records.sealer.close().ok()?);
    Some(session)
}

fn established(key: &Key) -> Result<<Chosen as handshake::Mode>::Established, handshake::Error> {
    let mut transcript = Transcript::new();
    let prologue = Prologue::EMPTY;
    let rng = &mut black_box(Known::NC);
    let state = client::start(&mut transcript, key, &prologue, Chosen, rng)?;
    let state = deliver(state, black_box(&[0; 64][..]))?;
    black_box(state.response());
    deliver(state, black_box(&[0; 96][..]))
}
