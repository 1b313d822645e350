//! Counts the calls on a stream.

use std::cell::Cell;
use std::io::{Read, Result, Write};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Returns the reads and writes of this thread so far.
pub fn calls() -> u64 {
    CALLS.get()
}

/// A stream whose reads and writes are counted. Over a socket each is one system call.
pub struct Counted<S>(pub S);

impl<S: Read> Read for Counted<S> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        CALLS.set(CALLS.get() + 1);
        self.0.read(buf)
    }
}

impl<S: Write> Write for Counted<S> {
    fn write(&mut self, buf: &[u8]) -> Result<usize> {
        CALLS.set(CALLS.get() + 1);
        self.0.write(buf)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}
