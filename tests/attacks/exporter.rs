//! What sessions export.

use countersign::InvalidInput;
use countersign::handshake::Protect;

use super::prologue;
use crate::support::{AnyMode, Draws, Pair, in_every_mode, key};

#[test]
fn both_ends_export_the_same_and_other_inputs_give_unrelated_outputs() {
    fn in_mode(mode: impl AnyMode) {
        let [client, server] = Pair::of(&key("a")).run_in(mode, mode).sessions();
        let inputs: &[(&[u8], &[u8], usize)] = &[
            (b"ab", b"", 32),
            (b"ab", b"", 33),
            (b"ab", b"", 64),
            (b"ab", b"", 8160),
            (b"ab", b"c", 32),
            (b"a", b"bc", 32),
            (b"a", b"b", 32),
            (b"abc", b"", 32),
            (b"AB", b"", 32),
            (b"ab\0", b"", 32),
            (b"ab", b"\0", 32),
            (b"ab", b"\0\0", 32),
            // These two differ only in the length of the label.
            (b"a\0\x03b", b"", 32),
            (b"a", b"b\0\0", 32),
            (&[b'a'; 255], b"", 32),
            (b"a", &[b'a'; 254], 32),
        ];
        let outputs: Vec<Vec<u8>> = (inputs.iter())
            .map(|(label, context, len)| {
                let [mut ours, mut theirs] = [vec![0; *len], vec![0; *len]];
                client.export(label, context, &mut ours).unwrap();
                server.export(label, context, &mut theirs).unwrap();
                assert_eq!(ours, theirs);
                ours
            })
            .collect();
        for (at, output) in outputs.iter().enumerate() {
            for (other_at, other) in outputs.iter().enumerate().skip(at + 1) {
                let context = (inputs[at], inputs[other_at]);
                assert_ne!(output[..16], other[..16], "{context:?}");
            }
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn handshakes_that_differ_in_anything_have_sessions_that_differ() {
    let key = key("a");
    let pairs = [
        Pair::of(&key),
        Pair {
            client_draws: Draws::from(0xc1),
            ..Pair::of(&key)
        },
        Pair {
            server_draws: Draws::from(0x51),
            ..Pair::of(&key)
        },
        Pair::of(&key).with_prologues(prologue("x"), prologue("x")),
        Pair::of(&key.clone().with_id("x").unwrap()),
        Pair::of(&crate::support::key("b")),
    ];
    let mut sessions: Vec<_> = (pairs.iter())
        .map(|pair| pair.run().assert_accepted())
        .collect();
    sessions.push(pairs[0].run_in(Protect, Protect).assert_accepted());
    #[cfg(feature = "encrypt")]
    {
        use countersign::handshake::Encrypt;

        let exchanged = pairs
            .iter()
            .map(|pair| pair.run_in(Encrypt, Encrypt).assert_accepted());
        sessions.extend(exchanged);
        let other_private = Pair {
            server_private: Draws::from(0xe6),
            ..Pair::of(&key)
        };
        sessions.push(other_private.run_in(Encrypt, Encrypt).assert_accepted());
    }
    for (at, session) in sessions.iter().enumerate() {
        assert!(!sessions[at + 1..].contains(session), "{at}");
    }
    assert_eq!(pairs[0].run().assert_accepted(), sessions[0]);
}

#[test]
fn an_export_of_a_length_out_of_bounds_is_refused_and_writes_nothing() {
    let [session, _] = Pair::of(&key("a")).run().sessions();
    let label = |len| InvalidInput::ExportLabelLength { len };
    let context = |len| InvalidInput::ExportContextTooLong { len };
    let output = |len| InvalidInput::ExportLength { len };
    for (label_len, context_len, output_len, expected) in [
        (1, 0, 1, Ok(())),
        (1, 0, 8160, Ok(())),
        (1, 65_535, 1, Ok(())),
        (255, 0, 1, Ok(())),
        (0, 0, 32, Err(label(0))),
        (256, 0, 32, Err(label(256))),
        (65_537, 0, 32, Err(label(65_537))),
        (1, 65_536, 32, Err(context(65_536))),
        (1, 0, 0, Err(output(0))),
        (1, 0, 8161, Err(output(8161))),
        (1, 0, 65_537, Err(output(65_537))),
    ] {
        // One byte of output may equal the filler. It cannot equal two fillers.
        let outputs = [0x55, 0xaa].map(|filler| {
            let mut output = vec![filler; output_len];
            let (label, context) = (vec![b'l'; label_len], vec![b'c'; context_len]);
            assert_eq!(session.export(label, &context, &mut output), expected);
            if expected.is_err() {
                assert_eq!(output, vec![filler; output_len]);
            }
            output
        });
        if expected.is_ok() {
            assert_eq!(outputs[0], outputs[1]);
        }
    }
}
