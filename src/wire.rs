//! Compatibility protocols as states without I/O.

pub(crate) mod cookbook;
#[cfg(feature = "multiprocessing")]
pub(crate) mod multiprocessing;

use crate::buffer::StreamError;
use crate::handshake::{Message, Progress, Receive, Sealed};

/// Awaits one message, and continues with what `then` makes of it.
pub(crate) struct Await<F, T> {
    message: Message,
    frame: F,
    then: T,
}

/// What is made of the payload of a message.
pub(crate) trait Then<'a, F: Frame, N>:
    FnOnce(&F::Payload) -> Result<N, F::Error> + 'a
{
}

impl<'a, F: Frame, N, T> Then<'a, F, N> for T where
    T: FnOnce(&F::Payload) -> Result<N, F::Error> + 'a
{
}

/// Where a message ends.
pub(crate) trait Frame {
    type Payload: ?Sized;
    type Error: From<StreamError>;

    fn space(&mut self) -> &mut [u8];

    /// Records that `n` bytes came, and returns the payload once it is complete.
    fn advance(&mut self, n: usize) -> Result<Option<&Self::Payload>, Self::Error>;
}

impl<F, T> Sealed for Await<F, T> {}

impl<F, T, N> Receive for Await<F, T>
where
    F: Frame,
    T: FnOnce(&F::Payload) -> Result<N, F::Error>,
{
    type Next = N;
    type Error = F::Error;

    fn message(&self) -> Message {
        self.message
    }

    fn space(&mut self) -> &mut [u8] {
        self.frame.space()
    }

    fn advance(mut self, n: usize) -> Result<Progress<Self>, F::Error> {
        match self.frame.advance(n)? {
            Some(payload) => (self.then)(payload).map(Progress::Done),
            None => Ok(Progress::More(self)),
        }
    }
}
