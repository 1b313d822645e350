//! Counts the allocations of a thread, in Rust and in the C libraries of some peers: all of them
//! call the C library's allocator. Allocations with a stricter alignment than `malloc` guarantees
//! are not counted.

use std::cell::Cell;
use std::ops::{AddAssign, Sub};

thread_local! {
    // Initialised at compile time and never dropped, so that the allocator can use them at any
    // time.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// A number of allocations, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    pub count: u64,
    pub bytes: u64,
}

impl Allocations {
    /// Returns the allocations of this thread so far.
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

/// Whether allocations are counted on this system.
pub const COUNTED: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Returns the bytes of heap in use, including the heap of C libraries.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn in_use() -> u64 {
    // SAFETY: the function has no arguments and only reads the allocator's own state, under its
    // locks.
    let info = unsafe { libc::mallinfo2() };
    u64::try_from(info.uordblks + info.hblkhd).unwrap_or_default()
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn in_use() -> u64 {
    0
}

/// Functions that replace glibc's and pass each call on to them.
///
/// The manual of glibc requires a replacement of `malloc` to replace `free` and the others as well.
/// That is for other allocators: here every block still comes from glibc's own entry points, so the
/// functions that are not replaced can free it. Two of these, `posix_memalign` and `aligned_alloc`,
/// allocate too, and are not counted.
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

    // SAFETY: only the function that it replaces has this name. Its arguments are the same, and it
    // returns what that function's own entry point returns.
    #[unsafe(no_mangle)]
    extern "C" fn malloc(size: usize) -> *mut c_void {
        count(size);
        // SAFETY: every size is allowed.
        unsafe { __libc_malloc(size) }
    }

    // SAFETY: as for `malloc`.
    #[unsafe(no_mangle)]
    extern "C" fn calloc(number: usize, size: usize) -> *mut c_void {
        count(number.saturating_mul(size));
        // SAFETY: every number and size is allowed.
        unsafe { __libc_calloc(number, size) }
    }

    // SAFETY: as for `malloc`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
        count(size);
        // SAFETY: the caller upholds the contract of `realloc`.
        unsafe { __libc_realloc(old, size) }
    }
}
