//! The states of the core, fed from memory.

use countersign::handshake::{Error, Incompatible, Message, Progress, Receive};

/// Feeds `bytes` to a state, at most `piece` at a time, until the state goes on. Returns how far
/// it came, and how many bytes it left.
pub fn feed<R: Receive<Error = Error>>(
    mut state: R,
    mut bytes: &[u8],
    piece: usize,
) -> Result<(Progress<R>, usize), Error> {
    loop {
        let space = state.space();
        assert!(!space.is_empty(), "a state that waits has room");
        let n = space.len().min(bytes.len()).min(piece);
        if n == 0 {
            return Ok((Progress::More(state), 0));
        }
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        match state.advance(n)? {
            Progress::More(same) => state = same,
            done @ Progress::Done(_) => return Ok((done, bytes.len())),
        }
    }
}

/// Feeds a whole message, and returns the next state.
pub fn deliver<R>(state: R, message: impl AsRef<[u8]>) -> Result<R::Next, Error>
where
    R: Receive<Error = Error>,
{
    match feed(state, message.as_ref(), usize::MAX)?.0 {
        Progress::Done(next) => Ok(next),
        Progress::More(state) => panic!("{} is not whole", state.message()),
    }
}

/// Feeds a part of a message, and returns the state, which waits for the rest.
pub fn deliver_part<R: Receive<Error = Error>>(state: R, part: &[u8]) -> R {
    let message = state.message();
    match feed(state, part, usize::MAX).unwrap().0 {
        Progress::More(state) => state,
        Progress::Done(_) => panic!("{message} ended early"),
    }
}

/// The peer does not speak this protocol: these bytes came in place of a message.
pub fn foreign(awaiting: Message, received: &[u8]) -> Incompatible {
    Incompatible::Foreign {
        awaiting,
        beginning: std::array::from_fn(|at| received.get(at).copied()),
    }
}
