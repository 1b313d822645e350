//! A public line.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::memcheck;

/// One end of a connection. Bytes lose their marks when they are written, because from then on they
/// are public.
#[derive(Debug)]
pub struct Line(UnixStream);

impl Line {
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        Ok((Self(a), Self(b)))
    }
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        memcheck::mark_defined(buf);
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
