//! What has to be caught: the two ways in which a comparison of tags tells more than its answer.

use std::hint::black_box;

/// Compares until the first octet that differs.
#[inline(never)]
pub fn branch(expected: &[u8; 32]) -> bool {
    let received = black_box([0_u8; 32]);
    for (ours, theirs) in expected.iter().zip(received) {
        if *ours != theirs {
            return false;
        }
    }
    true
}

/// Looks an octet of the tag up in a table.
#[inline(never)]
pub fn index(expected: &[u8; 32]) -> u8 {
    let table = black_box([0_u8; 256]);
    let [first, ..] = *expected;
    table.get(usize::from(first)).copied().unwrap_or_default()
}
