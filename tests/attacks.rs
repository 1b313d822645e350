//! What an attacker on the line, a member of the group or a careless caller can try, against the
//! core in memory.
//!
//! If a refusal could have another cause than the attack, a control beside it shows that the same
//! steps succeed without the attack.

mod altered;
mod exporter;
mod keys;
mod misplaced;
mod prologues;
mod randomness;
mod receiving;
mod refusals;

use countersign::Key;
use countersign::handshake::Prologue;

use crate::support::key;

/// A key with a key id of `len` bytes.
fn key_with_id_of(len: usize) -> Key {
    key("a").with_id(vec![b'k'; len]).unwrap()
}

fn prologue(service: impl AsRef<[u8]>) -> Prologue {
    Prologue::new(service).unwrap()
}
