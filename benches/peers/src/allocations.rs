//! Counts what a thread allocates, whoever does it: Rust's own allocator and the C libraries under
//! some of the peers all end in the C library's. Those of a stricter alignment than `malloc` gives
//! are not counted.

use std::cell::Cell;
use std::ops::{AddAssign, Sub};

thread_local! {
    // Neither is dropped nor made at its first use, so that the allocator may use them at any time.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// How many there were, and of how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    pub count: u64,
    pub bytes: u64,
}

impl Allocations {
    /// All of this thread so far.
    pub fn now() -> Self {
        Self {
            count: COUNT.get(),
            bytes: BYTES.get(),
        }
    }
}

impl AddAssign for Allocations {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

impl Sub for Allocations {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            count: self.count - other.count,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// Whether they are counted on this system.
pub const COUNTED: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Heap in use, in bytes, that of C libraries included.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn in_use() -> u64 {
    // SAFETY: it takes no arguments and only reads the allocator's own state, under its locks.
    let info = unsafe { libc::mallinfo2() };
    u64::try_from(info.uordblks + info.hblkhd).unwrap_or_default()
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn in_use() -> u64 {
    0
}

/// Functions that take the places of glibc's and hand each call on to them.
///
/// The manual of glibc asks whoever replaces `malloc` to supply `free` and the rest as well. That is
/// for another allocator's sake: here every block is still of glibc's own, by its own entry points,
/// and so may go to the functions that are left as they are. Of these `posix_memalign` and
/// `aligned_alloc` allocate too, and are not counted.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod interposed {
    use std::ffi::c_void;

    use super::{BYTES, COUNT};

    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(old: *mut c_void, size: usize) -> *mut c_void;
    }

    fn count(size: usize) {
        COUNT.set(COUNT.get() + 1);
        BYTES.set(BYTES.get() + size as u64);
    }

    // SAFETY: nothing else defines this name but the function that it replaces; its arguments are
    // the same, and what it returns is what that function's own entry point does.
    #[unsafe(no_mangle)]
    extern "C" fn malloc(size: usize) -> *mut c_void {
        count(size);
        // SAFETY: it takes any size.
        unsafe { __libc_malloc(size) }
    }

    // SAFETY: as for `malloc`.
    #[unsafe(no_mangle)]
    extern "C" fn calloc(number: usize, size: usize) -> *mut c_void {
        count(number.saturating_mul(size));
        // SAFETY: it takes any number and size.
        unsafe { __libc_calloc(number, size) }
    }

    // SAFETY: as for `malloc`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
        count(size);
        // SAFETY: what the caller warrants for `realloc`.
        unsafe { __libc_realloc(old, size) }
    }
}
