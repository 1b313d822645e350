//! The requests that a program can make of valgrind's tool memcheck while it runs in it.
//!
//! One is five instructions that do nothing on a processor and that valgrind recognises: the
//! address of six words in one register, the answer in another (`valgrind.h`, `memcheck.h`).

use std::ptr;

/// Whether this program runs in valgrind.
pub fn is_running() -> bool {
    request([0x1001, 0, 0, 0, 0, 0]) != 0
}

/// How many errors have been reported so far, each as often as it occurred, without those that
/// were suppressed.
pub fn reports() -> usize {
    request([0x1201, 0, 0, 0, 0, 0])
}

/// Marks octets as if nobody had ever written them. What is computed from them is marked as well,
/// bit by bit, and a branch or an address that depends on such a bit is an error.
pub fn mark_undefined(octets: &mut [u8]) {
    request([UNDEFINED, address(octets), octets.len(), 0, 0, 0]);
}

/// Takes the mark off, from what everybody may know.
pub fn mark_defined<T: ?Sized>(value: &T) {
    request([DEFINED, address(value), size_of_val(value), 0, 0, 0]);
}

/// How many octets of a value are marked in all their bits. Padding may be among them.
pub fn undefined_octets<T: ?Sized>(value: &T) -> usize {
    let mut bits = vec![0_u8; size_of_val(value)];
    let (value, into) = (address(value), bits.as_mut_ptr().expose_provenance());
    request([GET_BITS, value, into, bits.len(), 0, 0]);
    bits.into_iter().filter(|bits| *bits == u8::MAX).count()
}

const MEMCHECK: usize = 0x4d43_0000; // "MC"
const UNDEFINED: usize = MEMCHECK + 1;
const DEFINED: usize = MEMCHECK + 2;
const GET_BITS: usize = MEMCHECK + 8;

fn address<T: ?Sized>(value: *const T) -> usize {
    value.cast::<u8>().expose_provenance()
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn request(words: [usize; 6]) -> usize {
    let mut answer = 0;
    // SAFETY: the rotations come to two whole turns, so that no register changes but the one of
    // the answer. In valgrind the requests above write to no memory but the bits of
    // `undefined_octets`, which are borrowed there and exposed.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") ptr::from_ref(&words),
            inout("rdx") answer,
            options(nostack),
        );
    }
    answer
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("the requests to valgrind are written for Linux on x86-64 only");
