//! Messages with their length before them, for protocols that leave that to whoever uses them.

use anyhow::{Result, ensure};

use super::Outbox;

/// More than any message that is framed here.
const MESSAGE_MAX: usize = 256;

/// The one message that is awaited, in however many pieces it comes.
pub struct Inbox {
    bytes: [u8; HEADER + MESSAGE_MAX],
    len: usize,
}

const HEADER: usize = 2;

impl Inbox {
    pub const fn new() -> Self {
        Self {
            bytes: [0; HEADER + MESSAGE_MAX],
            len: 0,
        }
    }

    /// The message, once all of it is there.
    pub fn take(&mut self, received: &[u8]) -> Result<Option<&[u8]>> {
        let room = &mut self.bytes[self.len..];
        ensure!(received.len() <= room.len(), "a message is too long");
        room[..received.len()].copy_from_slice(received);
        self.len += received.len();
        if self.len < HEADER {
            return Ok(None);
        }
        let end = HEADER + usize::from(u16::from_be_bytes([self.bytes[0], self.bytes[1]]));
        if self.len < end {
            return Ok(None);
        }
        // Each end speaks in turn, so that nothing else can have come.
        ensure!(self.len == end, "there is something behind a message");
        self.len = 0;
        Ok(Some(&self.bytes[HEADER..end]))
    }
}

impl Outbox {
    /// Adds the message that `write` puts where it is told, and says the length of.
    pub fn frame(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<()> {
        let (header, body) = self.room().split_at_mut(HEADER);
        let len = write(body)?;
        header.copy_from_slice(&u16::try_from(len)?.to_be_bytes());
        self.add(HEADER + len);
        Ok(())
    }
}
