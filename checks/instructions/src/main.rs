//! Runs one side of a handshake, or the hashing that a side cannot do without, for callgrind to
//! count the instructions.
//!
//! Time on a shared machine is noise. Instructions are not: the same program executes the same
//! number each time. `run` counts those of the function that the first argument names, and compares.

use std::error::Error;
use std::hint::black_box;

use common::Recorded;
use countersign::Key;
use countersign::handshake::{Authenticate, Encrypt, Error as Refused, Mode, Protect};
use sha2::block_api::compress256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["nine_compressions"] => nine_compressions(),
        [side, "authenticate", client] => run(side, Authenticate, client)?,
        [side, "protect", client] => run(side, Protect, client)?,
        [side, "encrypt", client] => run(side, Encrypt, client)?,
        _ => return Err("nine_compressions, or a side, a mode, and friend or stranger".into()),
    }
    Ok(())
}

/// Runs one side of a handshake with a client that has the secret, or with a stranger.
fn run(side: &str, mode: impl Mode, client: &str) -> Result<(), Box<dyn Error>> {
    // Without a key id, with which the tags would cover more.
    let recorded = Recorded::new(Key::new("what both ends of this one share")?, mode)?;
    match (side, client) {
        ("client_side", "friend") => drop(recorded.client_side()?),
        ("server_side", "friend") => drop(recorded.server_side()?),
        ("server_side", "stranger") => match recorded.with_wrong_proof().server_side() {
            Err(Refused::ClientNotAuthentic { .. }) => {}
            outcome => return Err(format!("a stranger got {outcome:?}").into()),
        },
        _ => return Err(format!("there is no {side} with a {client}").into()),
    }
    Ok(())
}

/// Compresses what three tags over 83, 116 and 116 bytes compress: two blocks inside and one
/// outside each.
#[inline(never)]
fn nine_compressions() {
    for _ in 0..3 {
        let mut state = black_box([0x6a09_e667; 8]);
        compress256(&mut state, black_box(&[[0x36; 64]; 2]));
        compress256(&mut state, black_box(&[[0x5c; 64]]));
        black_box(state);
    }
}
