//! The leaks that the check has to catch: two comparisons that tell more than their answer.

use std::hint::black_box;

/// Compares until the first byte that differs.
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

/// Looks up a byte of the tag in a table.
#[inline(never)]
pub fn index(expected: &[u8; 32]) -> u8 {
    let table = black_box([0_u8; 256]);
    let [first, ..] = *expected;
    table.get(usize::from(first)).copied().unwrap_or_default()
}
