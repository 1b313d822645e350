//! Frames messages with their length, for protocols that leave the framing to their users.

use anyhow::{Result, ensure};

use super::Outbox;

/// More bytes than any framed message has.
const MESSAGE_MAX: usize = 256;

/// The message that is awaited, in any number of pieces.
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

    /// Returns the message once it is complete.
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
        // The ends take turns, so nothing else can have arrived.
        ensure!(self.len == end, "there are bytes after a message");
        self.len = 0;
        Ok(Some(&self.bytes[HEADER..end]))
    }
}

impl Outbox {
    /// Appends the message that `write` writes into the space that it is given. `write` returns the
    /// length.
    pub fn frame(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<()> {
        let (header, body) = self.room().split_at_mut(HEADER);
        let len = write(body)?;
        header.copy_from_slice(&u16::try_from(len)?.to_be_bytes());
        self.add(HEADER + len);
        Ok(())
    }
}
