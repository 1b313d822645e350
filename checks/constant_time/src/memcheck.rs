//! The requests of a program to valgrind's memcheck, in which it runs.
//!
//! A request is five instructions that do nothing on a processor and that valgrind recognises. One
//! register has the address of six words, and another gets the answer (`valgrind.h`,
//! `memcheck.h`).

use std::ptr;

/// Returns whether this program runs in valgrind.
pub fn is_running() -> bool {
    request([0x1001, 0, 0, 0, 0, 0]) != 0
}

/// Returns how many errors were reported so far. Repeated errors count each time, suppressed errors
/// do not count.
pub fn reports() -> usize {
    request([0x1201, 0, 0, 0, 0, 0])
}

/// Marks bytes as uninitialised. What is computed from them is marked as well, bit by bit, and a
/// branch or an address that depends on such a bit is an error.
pub fn mark_undefined(bytes: &mut [u8]) {
    request([UNDEFINED, address(bytes), bytes.len(), 0, 0, 0]);
}

/// Removes the marks from a value that is public.
pub fn mark_defined<T: ?Sized>(value: &T) {
    request([DEFINED, address(value), size_of_val(value), 0, 0, 0]);
}

/// Returns how many bytes of a value are marked in all bits. Padding may be among them.
pub fn undefined_bytes<T: ?Sized>(value: &T) -> usize {
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
    // SAFETY: the rotations add up to two whole turns, so the only register that changes is the
    // one of the answer. In valgrind the requests above write to no memory except the bits in
    // `undefined_bytes`, which are borrowed there and exposed.
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
