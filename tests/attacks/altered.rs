//! Messages that are altered on their way.

use countersign::handshake::{Error, Incompatible, Message};

use super::key_with_id_of;
use crate::support::{AnyMode, End, MESSAGES, Pair, denial, in_every_mode, key};

#[test]
fn a_flipped_bit_in_any_message_is_fatal() {
    fn in_mode<M: AnyMode>(mode: M) {
        for id_len in [0, 5, 64] {
            let pair = Pair::of(&key_with_id_of(id_len));
            let undisturbed = pair.run_in(mode, mode);
            undisturbed.assert_accepted();
            for (message, sent) in MESSAGES.into_iter().zip(&undisturbed.sent) {
                for bit in 0..sent.len() * 8 {
                    let mut altered = sent.clone();
                    altered[bit / 8] ^= 1 << (bit % 8);
                    let run = pair.run_with_in(mode, message, &altered);
                    let context =
                        format!("{mode:?}, bit {bit} of {message}, key id of {id_len}: {run:?}");
                    assert!(!run.client.is_accepted(), "{context}");
                    // The server does not learn what happened to its verdict.
                    let last = message == Message::VERDICT;
                    assert_eq!(run.server.is_accepted(), last, "{context}");
                    if let Some(verdict) = run.sent.get(2) {
                        assert_eq!(*verdict == denial(M::NUMBER), !last, "{context}");
                    }
                }
            }
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn no_verdict_but_a_accepts() {
    fn in_mode<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key("a"));
        let proved = &pair.run_in(mode, mode).sent[2][1..];
        for verdict in 0..=u8::MAX {
            let instead = [&[verdict], proved].concat();
            let run = pair.run_with_in(mode, Message::VERDICT, &instead);
            let expected = match verdict {
                b'A' => None,
                b'D' => Some(Error::Denied),
                _ => Some(Incompatible::Verdict(verdict).into()),
            };
            assert_eq!(run.client.refusal(), expected, "{mode:?}, {verdict}");
            assert_eq!(
                run.client.is_accepted(),
                expected.is_none(),
                "{mode:?}, {verdict}"
            );
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_denial_is_known_by_its_d_and_only_when_its_last_byte_has_come() {
    fn in_mode<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key("a"));
        for filler in [0, 0xff] {
            let mut denial = denial(M::NUMBER);
            denial[1..].fill(filler);
            let run = pair.run_with_in(mode, Message::VERDICT, &denial);
            assert_eq!(run.client.refusal(), Some(Error::Denied));
            for len in 0..denial.len() {
                let run = pair.run_with_in(mode, Message::VERDICT, &denial[..len]);
                assert!(
                    matches!(run.client, End::Waiting(Message::VERDICT)),
                    "{mode:?}, {len}"
                );
            }
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_message_that_is_cut_anywhere_is_awaited_and_nothing_is_accepted() {
    fn in_mode<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key_with_id_of(5));
        for (message, sent) in MESSAGES.into_iter().zip(pair.run_in(mode, mode).sent) {
            for len in 0..sent.len() {
                let run = pair.run_with_in(mode, message, &sent[..len]);
                let (awaiting, accepted) = match message {
                    Message::RESPONSE => (&run.server, run.client.is_accepted()),
                    Message::CHALLENGE => (&run.client, run.server.is_accepted()),
                    // The server has accepted when it sends its verdict.
                    _ => (&run.client, run.client.is_accepted()),
                };
                let context = format!("{mode:?}, {len} bytes of {message}");
                assert!(
                    matches!(awaiting, End::Waiting(it) if *it == message),
                    "{context}"
                );
                assert!(!accepted, "{context}");
            }
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_byte_moved_between_key_id_and_nonce_is_denied() {
    fn in_mode<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key("a").with_id("worker-7").unwrap());
        let honest = pair.run_in(mode, mode);
        honest.assert_accepted();
        let (header, rest) = honest.sent[1].split_at(9);

        let shorter = [&header[..8], &[7], rest].concat();
        let run = pair.run_with_in(mode, Message::RESPONSE, &shorter);
        run.assert_denied(b"worker-");

        let first_of_nonce = rest[8];
        for filler in 0..=u8::MAX {
            let longer = [&header[..8], &[9], rest, &[filler]].concat();
            let run = pair.run_with_in(mode, Message::RESPONSE, &longer);
            run.assert_denied(&[&b"worker-7"[..], &[first_of_nonce]].concat());
        }
    }

    in_every_mode!(in_mode);
}
