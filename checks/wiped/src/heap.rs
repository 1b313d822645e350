//! A heap that frees nothing, so that what a value had there can be read after its drop.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than the program allocates in all, in bytes.
const LEN: usize = 1 << 24;

#[global_allocator]
static HEAP: Heap = Heap {
    bytes: UnsafeCell::new([0; LEN]),
    used: AtomicUsize::new(0),
};

struct Heap {
    bytes: UnsafeCell<[u8; LEN]>,
    /// How many bytes are allocated. The next allocation is behind them.
    used: AtomicUsize,
}

// SAFETY: the bytes are only read and written through what `alloc` returns, and by `Allocated`.
unsafe impl Sync for Heap {}

// SAFETY: no two allocations overlap, since `used` only grows, and each has the size and alignment
// of its layout.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.bytes.get().cast::<u8>();
        let aligned = |used: usize| {
            let address = (start.addr() + used).next_multiple_of(layout.align());
            address - start.addr()
        };
        let end = |used| Some(aligned(used) + layout.size()).filter(|end| *end <= LEN);
        match (self.used).fetch_update(Ordering::Relaxed, Ordering::Relaxed, end) {
            Ok(used) => start.wrapping_add(aligned(used)),
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// What was allocated while a value was made, whether or not it was freed since.
pub struct Allocated {
    start: usize,
    end: usize,
}

/// Returns what `routine` returns, and what it allocates.
pub fn allocated_by<T>(routine: impl FnOnce() -> T) -> (T, Allocated) {
    let start = HEAP.used.load(Ordering::Relaxed);
    let value = routine();
    let end = HEAP.used.load(Ordering::Relaxed);
    (value, Allocated { start, end })
}

impl Allocated {
    /// Returns the bytes as they are now.
    pub fn bytes(&self) -> Vec<u8> {
        let heap = HEAP.bytes.get().cast::<u8>();
        let read = |at| {
            // SAFETY: `at` is within the heap, and no other thread writes to it. The read is
            // volatile so that the compiler reads the memory of a dropped value too.
            unsafe { heap.wrapping_add(at).read_volatile() }
        };
        (self.start..self.end).map(read).collect()
    }
}
