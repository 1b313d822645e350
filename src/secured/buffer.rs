//! Buffers that a stream has only while bytes are under way.

use core::cell::Cell;
use core::ops::Range;
use std::boxed::Box;
use std::thread_local;
use std::vec;
use std::vec::Vec;

use zeroize::optimization_barrier;

use crate::record::{Error, OVERHEAD, PAYLOAD_MAX};

/// The longest record.
pub(super) const RECORD_MAX: usize = PAYLOAD_MAX + OVERHEAD;

/// How many of the longest records a buffer has room for. The rest of one and the next come in one
/// read, and a large write sends two at once. With four, the time that calls take is not made up for:
/// the buffers leave the cache.
pub(super) const RECORDS: usize = 2;

const LEN: usize = RECORDS * RECORD_MAX;

/// How many buffers a thread keeps: both directions of two streams, as a proxy has.
const SPARE_MAX: usize = 4;

thread_local! {
    /// The buffers of this thread that no stream needs now.
    static SPARE: Cell<Vec<Box<[u8]>>> = const { Cell::new(Vec::new()) };
}

/// A buffer, or none: a stream that is idle holds no memory for its records.
#[derive(Default)]
pub(super) struct Buffer(Option<Box<[u8]>>);

impl Buffer {
    /// Takes a buffer if there is none, and returns all of it. Its content is arbitrary.
    pub(super) fn hold(&mut self) -> &mut [u8] {
        self.0.get_or_insert_with(take)
    }

    /// Gives the buffer to the next stream of this thread. No secret may be left in it.
    pub(super) fn release(&mut self) {
        if let Some(bytes) = self.0.take() {
            give(bytes);
        }
    }

    /// A range that lies outside would be a mistake of this room, and is an error.
    pub(super) fn get(&self, range: &Range<usize>) -> Result<&[u8], Error> {
        let len = range.len();
        let bytes = self.0.as_deref().and_then(|it| it.get(range.clone()));
        bytes.ok_or(Error::Length { len })
    }

    /// Like [`get`](Self::get).
    pub(super) fn get_mut(&mut self, range: &Range<usize>) -> Result<&mut [u8], Error> {
        let len = range.len();
        let bytes = (self.0.as_deref_mut()).and_then(|it| it.get_mut(range.clone()));
        bytes.ok_or(Error::Length { len })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

/// Wipes a payload. `Zeroize` writes each byte on its own, which takes several times as long.
pub(super) fn wipe(payload: &mut [u8]) {
    payload.fill(0);
    optimization_barrier(payload);
}

/// Allocates only if this thread has no spare buffer, or is ending.
fn take() -> Box<[u8]> {
    let spare = SPARE.try_with(|spares| {
        let mut held = spares.take();
        let spare = held.pop();
        spares.set(held);
        spare
    });
    (spare.ok().flatten()).unwrap_or_else(|| vec![0; LEN].into_boxed_slice())
}

fn give(bytes: Box<[u8]>) {
    // A thread that is ending keeps nothing.
    let _ = SPARE.try_with(|spares| {
        let mut held = spares.take();
        if held.len() < SPARE_MAX {
            held.push(bytes);
        }
        spares.set(held);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_the_buffers_of_two_streams_and_no_more() {
        let mut buffers: Vec<_> = (0..6).map(|_| Buffer::default()).collect();
        for buffer in &mut buffers {
            assert_eq!(buffer.hold().len(), LEN);
        }
        drop(buffers);
        let kept = SPARE.take();
        assert_eq!(kept.len(), SPARE_MAX);
        assert_eq!(SPARE_MAX, 4);
    }

    #[test]
    fn a_buffer_that_is_given_back_is_the_next_that_is_taken() {
        let (mut one, mut another) = (Buffer::default(), Buffer::default());
        let bytes = one.hold().as_ptr();
        one.release();
        assert_eq!(another.hold().as_ptr(), bytes);
        assert!(one.get(&(0..1)).is_err());
        assert!(another.get(&(0..LEN + 1)).is_err());
    }
}
