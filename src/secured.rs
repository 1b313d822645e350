//! Streams of records, over whatever reads and writes: what both drivers do, once.

mod buffers;

use std::io::{self, Read, Write};

use crate::record;

use self::buffers::Ready;
pub(crate) use self::buffers::{Incoming, Outgoing, buffers};

impl Incoming {
    pub(crate) fn read(&mut self, stream: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match self.ready()? {
                Ready::Payload => return Ok(self.take(out)?),
                Ready::End => return Ok(0),
                Ready::Nothing => match stream.read(self.space()?) {
                    Ok(n) => self.advance(n)?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }
}

impl Outgoing {
    pub(crate) fn write(&mut self, stream: &mut impl Write, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        loop {
            self.drain(stream)?;
            match self.fill(data)? {
                0 => self.seal()?,
                n => return Ok(n),
            }
        }
    }

    pub(crate) fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        self.send(stream)?;
        loop {
            match stream.flush() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                flushed => return flushed,
            }
        }
    }

    /// Sends what was written, then the record that ends the direction.
    pub(crate) fn finish(&mut self, stream: &mut impl Write) -> io::Result<()> {
        self.send(stream)?;
        self.close()?;
        self.flush(stream)
    }

    /// Sends what was written.
    fn send(&mut self, stream: &mut impl Write) -> io::Result<()> {
        self.drain(stream)?;
        self.seal()?;
        self.drain(stream)
    }

    /// Sends the rest of a record.
    fn drain(&mut self, stream: &mut impl Write) -> io::Result<()> {
        loop {
            let unsent = self.unsent()?;
            if unsent.is_empty() {
                return Ok(());
            }
            match stream.write(unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent(n)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl From<record::Error> for io::Error {
    fn from(error: record::Error) -> Self {
        let kind = match error {
            record::Error::Truncated => io::ErrorKind::UnexpectedEof,
            record::Error::Closed => io::ErrorKind::BrokenPipe,
            record::Error::Exhausted => io::ErrorKind::Other,
            record::Error::BadTag
            | record::Error::TooLong { .. }
            | record::Error::Length { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
