//! Ends that disagree about the mode or the key, and what each learns of it.

use countersign::handshake::{Error, Incompatible, Message, Refusal, client};

use crate::support::{
    AnyMode, End, Pair, deliver, denial, in_every_mode, in_every_two_modes, key, wrong_proof,
};

#[test]
fn a_client_of_another_mode_sends_nothing() {
    fn in_modes<C: AnyMode, S: AnyMode>(client: C, server: S) {
        let run = Pair::of(&key("a")).run_in(client, server);
        let (ours, theirs) = (C::NUMBER, S::NUMBER);
        let expected = Incompatible::Mode { ours, theirs };
        assert_eq!(run.client.refusal(), Some(expected.into()));
        assert_eq!(run.sent.len(), 1);
        assert!(matches!(run.server, End::Waiting(Message::RESPONSE)));
    }

    in_every_two_modes!(in_modes);
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
        assert_eq!(run.server.refusal(), Some(wrong_proof(b"")));
        assert_eq!(run.sent[2], denial(S::NUMBER));
        // A verdict of mode 0 or 1 is shorter than the one that a client in mode 2 awaits.
        let awaits_more = C::NUMBER == 2;
        let denied = (!awaits_more).then_some(Error::Denied);
        assert_eq!(run.client.refusal(), denied);
        assert!(!run.client.is_accepted());
    }

    in_every_two_modes!(in_modes);
}

#[test]
fn a_client_of_another_mode_and_its_server_name_the_verbs_of_both() {
    fn in_modes<C: AnyMode, S: AnyMode>(client: C, server: S) {
        let pair = Pair::of(&key("a"));
        let at_client = pair.run_in(client, server).client.refusal().unwrap();
        // What a driver sends before it drops the stream.
        let header = client::header(client);
        let (_, state) = pair.server_in(server);
        let at_server = deliver(state, header).map(drop).unwrap_err();
        let [at_c, at_s] = [(C::VERB, C::NUMBER), (S::VERB, S::NUMBER)]
            .map(|(verb, number)| format!("{verb} (mode {number})"));
        for (error, ours, theirs) in [(at_client, &at_c, &at_s), (at_server, &at_s, &at_c)] {
            let message = error.to_string();
            let expected = format!("the peer wants {theirs} and this end {ours};");
            assert!(message.starts_with(&expected), "{message}");
        }
    }

    in_every_two_modes!(in_modes);
}

#[test]
fn only_the_server_learns_whether_the_key_id_or_the_proof_was_wrong() {
    fn in_mode<M: AnyMode>(mode: M) {
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
            .run_in(mode, mode);
            let Some(Error::ClientNotAuthentic { key_id, refusal }) = run.server.refusal() else {
                panic!("{run:?}");
            };
            assert_eq!((key_id.as_bytes(), refusal), (&claimed[..], refused_for));
            run
        });
        for run in &runs {
            assert_eq!(run.sent, runs[0].sent);
            assert_eq!(run.sent[2], denial(M::NUMBER));
            assert_eq!(run.client.refusal(), Some(Error::Denied));
        }
    }

    in_every_mode!(in_mode);
}
