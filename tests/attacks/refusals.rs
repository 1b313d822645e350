//! Ends that disagree about the mode or the key, and what each learns of it.

use countersign::handshake::{Authenticate, Error, Incompatible, Message, Protect, Refusal};

use crate::support::{AnyMode, DENIAL, End, Pair, key};

#[test]
fn a_client_of_another_mode_sends_nothing() {
    fn in_modes<C: AnyMode, S: AnyMode>(client: C, server: S) {
        let run = Pair::of(&key("a")).run_in(client, server);
        let (ours, theirs) = (C::NUMBER, S::NUMBER);
        let expected = Incompatible::Mode { ours, theirs }.into();
        assert_eq!(run.client.refusal(), Some(expected));
        assert_eq!(run.sent.len(), 1);
        assert!(matches!(run.server, End::Waiting(Message::RESPONSE)));
    }

    in_modes(Authenticate, Protect);
    in_modes(Protect, Authenticate);
}

#[test]
fn a_mode_that_was_changed_on_the_way_is_refused_by_the_server() {
    fn in_modes<C: AnyMode, S: AnyMode>(client: C, server: S) {
        let pair = Pair::of(&key("a"));

        let run = pair.run_through_in(client, server, |message, bytes| {
            if message == Message::CHALLENGE {
                bytes[7] = C::NUMBER;
            }
        });
        let expected = Incompatible::Mode {
            ours: S::NUMBER,
            theirs: C::NUMBER,
        };
        assert_eq!(run.server.refusal(), Some(expected.into()));
        assert_eq!(run.sent.len(), 2);

        let run = pair.run_through_in(client, server, |message, bytes| match message {
            Message::CHALLENGE => bytes[7] = C::NUMBER,
            Message::RESPONSE => bytes[7] = S::NUMBER,
            _ => {}
        });
        run.assert_denied(b"");
    }

    in_modes(Authenticate, Protect);
    in_modes(Protect, Authenticate);
}

#[test]
fn only_the_server_learns_whether_the_key_id_or_the_proof_was_wrong() {
    let claimed = b"w\xf6rker\n\0";
    let client_key = key("a").with_id(claimed).unwrap();
    let runs = [
        (None, Refusal::UnknownKeyId),
        (Some(key("b")), Refusal::WrongProof),
        (
            Some(key("b").with_id(claimed).unwrap()),
            Refusal::WrongProof,
        ),
    ]
    .map(|(server_key, refused_for)| {
        let run = Pair {
            server_key,
            ..Pair::of(&client_key)
        }
        .run();
        let Some(Error::ClientNotAuthentic { key_id, refusal }) = run.server.refusal() else {
            panic!("{run:?}");
        };
        assert_eq!((key_id.as_bytes(), refusal), (&claimed[..], refused_for));
        run
    });
    for run in &runs {
        assert_eq!(run.sent, runs[0].sent);
        assert_eq!(run.sent[2], DENIAL);
        assert_eq!(run.client.refusal(), Some(Error::Denied));
    }
}
