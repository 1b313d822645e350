//! Ends that disagree about the mode or the key, and what each learns of it.

use countersign::handshake::{Error, Flight, Incompatible, Mode, Refusal};

use crate::support::{DENIAL, End, MODES, Pair, key};

#[test]
fn a_client_of_another_mode_sends_nothing() {
    for [ours, other] in [MODES, [MODES[1], MODES[0]]] {
        let run = Pair::of(&key("a")).in_modes(ours, other).run();
        let theirs = u8::from(other == Mode::Protect);
        let expected = Incompatible::Mode { ours, theirs }.into();
        assert_eq!(run.client.refusal(), Some(expected));
        assert_eq!(run.sent.len(), 1);
        assert!(matches!(run.server, End::Waiting(Flight::Response)));
    }
}

#[test]
fn a_mode_that_was_changed_on_the_way_is_refused_by_the_server() {
    for [at_client, at_server] in [MODES, [MODES[1], MODES[0]]] {
        let [client_byte, server_byte] =
            [at_client, at_server].map(|mode| u8::from(mode == Mode::Protect));
        let pair = Pair::of(&key("a")).in_modes(at_client, at_server);

        let run = pair.run_through(|message, bytes| {
            if message == Flight::Challenge {
                bytes[7] = client_byte;
            }
        });
        let expected = Incompatible::Mode {
            ours: at_server,
            theirs: client_byte,
        };
        assert_eq!(run.server.refusal(), Some(expected.into()));
        assert_eq!(run.sent.len(), 2);

        let run = pair.run_through(|message, bytes| match message {
            Flight::Challenge => bytes[7] = client_byte,
            Flight::Response => bytes[7] = server_byte,
            _ => {}
        });
        run.assert_denied(b"");
    }
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
