//! Runs one side of a handshake, or the hashing that a side cannot do without, for callgrind to
//! count the instructions.
//!
//! Time on a shared machine is noise. Instructions are not: the same program executes the same
//! number each time. `run` counts those of the function that the argument names, and compares.

use std::error::Error;
use std::hint::black_box;

use common::Recorded;
use countersign::Key;
use sha2::block_api::compress256;

fn main() -> Result<(), Box<dyn Error>> {
    // Without a key id, with which the tags would cover more.
    let recorded = Recorded::new(Key::new("what both ends of this one share")?)?;
    match std::env::args().nth(1).as_deref() {
        Some("client_side") => drop(recorded.client_side()?),
        Some("server_side") => drop(recorded.server_side()?),
        Some("nine_compressions") => nine_compressions(),
        _ => return Err("one argument: client_side, server_side or nine_compressions".into()),
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
