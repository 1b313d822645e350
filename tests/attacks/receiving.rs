//! Messages that arrive in parts: what a state refuses early, and how much it asks for.

use countersign::handshake::{Error, Incompatible, Message, Progress, Receive, StreamError};

use super::key_with_id_of;
use crate::support::{
    AnyMode, Pair, deliver, deliver_part, exported, feed, foreign, in_every_mode, key,
};

/// Feeds bytes until the state refuses them. Returns how many it was given by then, and the error.
fn refused_after<R>(mut state: R, bytes: &[u8], piece: usize) -> (usize, Error)
where
    R: Receive<Error = Error>,
{
    let mut read = 0;
    for piece in bytes.chunks(piece) {
        read += piece.len();
        match feed(state, piece, usize::MAX) {
            Ok((Progress::More(same), _)) => state = same,
            Ok((Progress::Done(_), _)) => break,
            Err(error) => return (read, error),
        }
    }
    panic!("it was not refused: {bytes:02x?}");
}

/// How what was received of F1 or F2 is refused if the byte at this place is not the expected one.
fn expected_of_header(awaiting: Message, ours: u8, at: usize, received: &[u8]) -> Error {
    let byte = received[at];
    let incompatible = match at {
        5 => Incompatible::Version(byte),
        6 => Incompatible::Role(byte),
        7 => Incompatible::Mode { ours, theirs: byte },
        _ => foreign(awaiting, received),
    };
    incompatible.into()
}

/// Asserts that a state refuses every header other than the header of `honest`, at the first byte
/// that differs and however the message is split.
fn assert_checks_header<R>(start: impl Fn() -> R, honest: &[u8], mode: u8)
where
    R: Receive<Error = Error>,
{
    let awaiting = start().message();
    for at in 0..8 {
        for byte in (0..=u8::MAX).filter(|byte| *byte != honest[at]) {
            // Further faults behind the first change nothing.
            let message = [&honest[..at], &[byte], &[0xff; 64]].concat();
            for piece in [1, 3, message.len()] {
                let (read, error) = refused_after(start(), &message, piece);
                assert_eq!(read, ((at / piece + 1) * piece).min(message.len()));
                let expected = expected_of_header(awaiting, mode, at, &message[..read]);
                assert_eq!(error, expected);
            }
        }
    }
}

#[test]
fn the_first_byte_that_cannot_belong_ends_the_handshake_however_a_message_is_split() {
    fn in_mode<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key("a"));
        let honest = pair.run_in(mode, mode);
        honest.assert_accepted();
        let [f1, f2, _] = honest.messages();
        assert_checks_header(|| pair.client_in(mode), f1, M::NUMBER);
        assert_checks_header(|| pair.server_in(mode).1, f2, M::NUMBER);
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_key_id_of_more_than_64_bytes_is_refused_at_its_length() {
    fn in_mode<M: AnyMode>(mode: M) {
        for len in 65..=u8::MAX {
            let message = [b"CSIGN1C", &[M::NUMBER, len][..], &[0xff; 64]].concat();
            let expected = Error::from(Incompatible::KeyIdLength(len));
            for (piece, expected_read) in [(1, 9), (message.len(), message.len())] {
                let (_, state) = Pair::of(&key("a")).server_in(mode);
                let (read, error) = refused_after(state, &message, piece);
                assert_eq!((read, error), (expected_read, expected));
            }
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_message_has_the_same_outcome_however_it_is_split() {
    fn in_mode<M: AnyMode>(mode: M) {
        for id_len in [0, 5, 64] {
            let key = key_with_id_of(id_len);
            let pair = Pair::of(&key);
            let honest = pair.run_in(mode, mode);
            let session = honest.assert_accepted();
            let [f1, f2, f3] = honest.messages();

            for cut in Cut::all(f1.len()) {
                let next = cut.deliver(pair.client_in(mode), f1);
                assert_eq!(next.response(), f2, "{cut:?}");
            }
            for cut in Cut::all(f2.len()) {
                let identified = cut.deliver(pair.server_in(mode).1, f2);
                assert_eq!(identified.key_id(), key.id(), "{cut:?}");
                let (verdict, outcome) = identified
                    .verify(Some(&key), &mut pair.server_private.clone())
                    .unwrap();
                assert_eq!(verdict.as_ref(), f3, "{cut:?}");
                assert_eq!(exported(M::session(&outcome.unwrap())), session, "{cut:?}");
            }
            for cut in Cut::all(f3.len()) {
                let outcome = cut.deliver(pair.client_after_in(mode, f1), f3);
                assert_eq!(exported(M::session(&outcome)), session, "{cut:?}");
            }
        }
    }

    in_every_mode!(in_mode);
}

/// How a message is cut into reads.
#[derive(Clone, Copy, Debug)]
enum Cut {
    At(usize),
    EveryByte,
}

impl Cut {
    fn all(len: usize) -> impl Iterator<Item = Self> {
        (0..=len).map(Self::At).chain([Self::EveryByte])
    }

    fn deliver<R: Receive<Error = Error>>(self, state: R, message: &[u8]) -> R::Next {
        match self {
            Self::At(at) => match feed(state, &message[..at], usize::MAX).unwrap() {
                (Progress::More(state), _) => deliver(state, &message[at..]).unwrap(),
                (Progress::Done(next), left) => {
                    assert_eq!((at, left), (message.len(), 0));
                    next
                }
            },
            Self::EveryByte => match feed(state, message, 1).unwrap().0 {
                Progress::Done(next) => next,
                Progress::More(state) => panic!("{} is not whole", state.message()),
            },
        }
    }
}

/// How many bytes the state asks for before each byte of a message, up to the last.
fn rooms<R: Receive<Error = Error>>(mut state: R, message: &[u8]) -> Vec<usize> {
    let mut rooms = Vec::new();
    for byte in message {
        rooms.push(state.space().len());
        match feed(state, &[*byte], 1).unwrap().0 {
            Progress::More(same) => state = same,
            Progress::Done(_) => break,
        }
    }
    rooms
}

#[test]
fn no_byte_is_asked_for_that_may_not_belong_to_the_message() {
    fn in_mode<M: AnyMode>(mode: M) {
        for id_len in [0, 5, 64] {
            let pair = Pair::of(&key_with_id_of(id_len));
            let honest = pair.run_in(mode, mode);
            let [f1, f2, f3] = honest.messages();

            let down_from = |len| (1..=len).rev().collect::<Vec<usize>>();
            assert_eq!(rooms(pair.client_in(mode), f1), down_from(40));
            // The length of the key id is the ninth byte.
            let before = (0..9).map(|read| 73 - read);
            let after = (9..73 + id_len).map(|read| 73 + id_len - read);
            let expected: Vec<usize> = before.chain(after).collect();
            assert_eq!(rooms(pair.server_in(mode).1, f2), expected);
            assert_eq!(
                rooms(pair.client_after_in(mode, f1), f3),
                down_from(f3.len())
            );
        }
    }

    in_every_mode!(in_mode);
}

/// Asserts, before each byte of a message, that a step beyond the room is refused and that a step
/// of no bytes changes nothing.
fn probe_steps<R>(start: impl Fn() -> R, message: &[u8], check: impl Fn(R::Next))
where
    R: Receive<Error = Error>,
{
    for read in 0..message.len() {
        let begun = || deliver_part(start(), &message[..read]);
        let room = begun().space().len();
        for len in [room + 1, room + 2, usize::MAX] {
            let error = begun().advance(len).map(drop).unwrap_err();
            assert_eq!(error, StreamError::Overrun { room, len }.into());
        }
        let stepped = match begun().advance(0).unwrap() {
            Progress::More(state) => state,
            Progress::Done(_) => panic!("it ended early, after {read} bytes"),
        };
        check(deliver(stepped, &message[read..]).unwrap());
    }
}

#[test]
fn a_step_beyond_the_room_is_refused_and_a_step_of_no_bytes_changes_nothing() {
    fn in_mode<M: AnyMode>(mode: M) {
        let key = key_with_id_of(5);
        let pair = Pair::of(&key);
        let honest = pair.run_in(mode, mode);
        let session = honest.assert_accepted();
        let [f1, f2, f3] = honest.messages();

        probe_steps(
            || pair.client_in(mode),
            f1,
            |next| assert_eq!(next.response(), f2),
        );
        probe_steps(
            || pair.server_in(mode).1,
            f2,
            |identified| {
                let (verdict, _) = identified
                    .verify(Some(&key), &mut pair.server_private.clone())
                    .unwrap();
                assert_eq!(verdict.as_ref(), f3);
            },
        );
        probe_steps(
            || pair.client_after_in(mode, f1),
            f3,
            |outcome| {
                assert_eq!(exported(M::session(&outcome)), session);
            },
        );
    }

    in_every_mode!(in_mode);
}
