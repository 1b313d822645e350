//! One fixed-size, checked buffer, and arrays joined into one. The lowest room: it imports nothing.

use core::fmt;

/// At most `N` bytes: those that this end wrote, and behind them those that it receives.
///
/// `start <= len <= end <= N` holds because only this file can change these three and every change
/// is checked. If it ever did not hold, a tag would cover more bytes than it should and never fewer,
/// and the next bytes that are written or received would be refused, which ends the handshake.
#[derive(Clone, Copy)]
pub(crate) struct Buffer<const N: usize> {
    bytes: [u8; N],
    /// Where the bytes that are received begin.
    start: usize,
    len: usize,
    /// How far it may be filled by receiving.
    end: usize,
}

impl<const N: usize> Default for Buffer<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> Buffer<N> {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; N],
        start: 0,
        len: 0,
        end: 0,
    };

    /// An empty buffer, all of which is to be received.
    #[cfg(feature = "std")]
    pub(crate) const AWAITING: Self = Self {
        end: N,
        ..Self::EMPTY
    };

    /// `N` zeros, of which `len` are filled.
    pub(crate) const fn zeros(len: usize) -> Self {
        assert!(len <= N);
        Self {
            bytes: [0; N],
            start: len,
            len,
            end: len,
        }
    }

    /// Forgets all bytes.
    #[inline]
    pub(crate) fn clear(&mut self) {
        (self.start, self.len, self.end) = (0, 0, 0);
    }

    /// All bytes, written and received.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self.bytes.split_at_checked(self.len) {
            Some((filled, _)) => filled,
            None => &self.bytes,
        }
    }

    /// The bytes received since the last that were written.
    #[inline]
    pub(crate) fn received(&self) -> &[u8] {
        self.since(self.start)
    }

    /// How many bytes there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The bytes from the offset `at`, or all bytes if there are fewer.
    #[inline]
    pub(crate) fn since(&self, at: usize) -> &[u8] {
        let filled = self.as_slice();
        match filled.split_at_checked(at) {
            Some((_, since)) => since,
            None => filled,
        }
    }

    /// All bytes, if the buffer is full.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn whole(&self) -> Option<&[u8; N]> {
        (self.len == N).then_some(&self.bytes)
    }

    /// Writes `part` behind the other bytes.
    #[inline]
    pub(crate) fn append(&mut self, part: &[u8]) -> Result<(), StreamError> {
        let end = Self::end(self.len, part.len())?;
        let room = self.bytes.get_mut(self.len..end);
        room.ok_or(StreamError::Overrun {
            room: 0,
            len: part.len(),
        })?
        .copy_from_slice(part);
        (self.start, self.len, self.end) = (end, end, end);
        Ok(())
    }

    /// Writes `LV(part)`: its length in one byte, then `part`.
    #[inline]
    pub(crate) fn append_lv(&mut self, part: &[u8]) -> Result<(), StreamError> {
        let len = part.len();
        let byte = u8::try_from(len).map_err(|_| StreamError::Overrun { room: 255, len })?;
        self.append(&[byte])?;
        self.append(part)
    }

    /// Opens space for `len` received bytes in all since the last that were written.
    #[inline]
    pub(crate) fn expect(&mut self, len: usize) -> Result<(), StreamError> {
        let (room, end) = (self.end, Self::end(self.start, len)?);
        if end < self.len {
            return Err(StreamError::Overrun { room, len });
        }
        self.end = end;
        Ok(())
    }

    /// Where to put received bytes; empty once all that are expected have come.
    #[inline]
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let space = self.bytes.get_mut(self.len..self.end);
        space.unwrap_or(&mut [])
    }

    /// Records that `n` bytes were received into [`space`](Self::space).
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) -> Result<(), StreamError> {
        let room = self.space().len();
        if n > room || self.start > self.len || self.len > self.end || self.end > N {
            return Err(StreamError::Overrun { room, len: n });
        }
        self.len = Self::end(self.len, n)?;
        Ok(())
    }

    /// Whether all bytes that are expected have come.
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.len == self.end
    }

    #[inline]
    fn end(start: usize, len: usize) -> Result<usize, StreamError> {
        let room = N.saturating_sub(start);
        if len > room {
            return Err(StreamError::Overrun { room, len });
        }
        Ok(start + len)
    }
}

/// A stream, or the driver that reads it, that contradicts itself or ends too early.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamError {
    /// The stream ended before the message was complete.
    Ended,
    /// More bytes were reported than there was room for.
    Overrun {
        /// The most there can have been, in bytes.
        room: usize,
        /// How many were reported, in bytes.
        len: usize,
    },
}

impl core::error::Error for StreamError {}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the stream ended before the message was complete"),
            Self::Overrun { room, len } => write!(
                f,
                "the stream is broken: it reports {len} bytes where at most {room} can be"
            ),
        }
    }
}

/// Joins two arrays. Lengths that do not add up fail to compile.
#[inline]
pub(crate) fn join<const A: usize, const B: usize, const N: usize>(
    first: &[u8; A],
    second: &[u8; B],
) -> [u8; N] {
    const { assert!(A + B == N) }
    let mut joined = [0; N];
    let (start, end) = joined.split_at_mut(A);
    start.copy_from_slice(first);
    end.copy_from_slice(second);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_received_stands_behind_what_was_written() -> Result<(), StreamError> {
        let mut buffer = Buffer::<8>::EMPTY;
        buffer.append(b"ab")?;
        assert!(buffer.space().is_empty(), "nothing is expected yet");
        buffer.expect(3)?;
        buffer.space().copy_from_slice(b"cde");
        buffer.advance(2)?;
        assert!(!buffer.is_complete());
        assert_eq!(
            (buffer.as_slice(), buffer.received()),
            (&b"abcd"[..], &b"cd"[..])
        );
        buffer.advance(1)?;
        assert!(buffer.is_complete());
        buffer.append(b"f")?;
        assert_eq!(
            (buffer.as_slice(), buffer.received()),
            (&b"abcdef"[..], &b""[..])
        );
        Ok(())
    }

    #[test]
    fn more_than_fits_is_refused_and_changes_nothing() -> Result<(), StreamError> {
        let mut buffer = Buffer::<4>::EMPTY;
        buffer.append(b"abc")?;
        let overrun = |room, len| Err(StreamError::Overrun { room, len });
        assert_eq!(buffer.append(b"de"), overrun(1, 2));
        assert_eq!(buffer.expect(2), overrun(1, 2));
        buffer.expect(1)?;
        assert_eq!(buffer.advance(2), overrun(1, 2));
        assert_eq!(buffer.expect(usize::MAX), overrun(1, usize::MAX));
        assert_eq!(buffer.as_slice(), b"abc");
        assert_eq!(buffer.space().len(), 1);
        Ok(())
    }

    #[test]
    fn a_length_that_is_wrong_counts_as_full() {
        let wrong = |start, len, end| Buffer {
            bytes: *b"abcd",
            start,
            len,
            end,
        };
        let mut buffer = wrong(0, 5, 5);
        assert_eq!(buffer.as_slice(), b"abcd");
        assert!(buffer.space().is_empty());
        assert!(buffer.append(b"x").is_err() && buffer.advance(1).is_err());
        assert_eq!(wrong(4, 3, 3).received(), b"abc");
        assert!(wrong(0, 3, 2).space().is_empty());
        assert!(wrong(0, 3, 5).space().is_empty());
        for mut buffer in [
            wrong(0, 5, 5),
            wrong(4, 3, 3),
            wrong(0, 3, 2),
            wrong(0, 3, 5),
        ] {
            assert!(buffer.advance(0).is_err(), "even where nothing came");
        }
    }

    #[test]
    fn what_was_received_is_not_expected_away() -> Result<(), StreamError> {
        let mut buffer = Buffer::<8>::EMPTY;
        buffer.expect(4)?;
        buffer.advance(4)?;
        assert_eq!(
            buffer.expect(2),
            Err(StreamError::Overrun { room: 4, len: 2 })
        );
        assert_eq!(buffer.received().len(), 4);
        Ok(())
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_buffer_that_awaits_is_whole_when_it_is_full() -> Result<(), StreamError> {
        let mut buffer = Buffer::<2>::AWAITING;
        buffer.space().copy_from_slice(b"ab");
        assert_eq!(buffer.whole(), None);
        buffer.advance(2)?;
        assert_eq!(buffer.whole(), Some(b"ab"));
        Ok(())
    }
}
