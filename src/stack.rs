//! The stack that earlier calls have used, for mode 2.

use core::hint::black_box;

/// More than a key exchange, a derivation or a cipher has for its variables in optimised code, in bytes.
const LEN: usize = 4096;

/// Overwrites what the calls before this one have left on the stack.
///
/// X25519, HMAC and AES wipe their values but not every copy that the compiler makes of them. Such a
/// copy would outlive the session, or come to lie in the unused part of a cipher, which lives for as
/// long as the connection.
#[inline(never)]
pub(crate) fn wipe() {
    black_box(&mut [0_u8; LEN]);
}
