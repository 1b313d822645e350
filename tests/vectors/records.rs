//! What an end delivers of the records that it is sent.

use countersign::Key;
use countersign::record::{Error, len_of};

use super::file::{Fields, run};
use crate::support::{AnyRecords, Draws, Pair};

#[test]
fn every_record_of_the_kit_is_delivered_or_refused_as_it_states() {
    run("records.txt", check);
}

/// Compares a case with the crate, if its mode is built.
fn check(text: &str) -> Result<(), String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    fields.text("section")?;
    let expect = fields.text("expect")?;
    let role = fields.text("role")?;
    let mode = fields.number("mode")?;
    let key = Key::new(fields.bytes("secret")?).unwrap();
    let pair = Pair::of(&key.with_id(fields.bytes("key-id")?).unwrap());
    let prologue = countersign::handshake::Prologue::new(fields.bytes("service")?).unwrap();
    let encrypts = mode == 2;
    let pair = Pair {
        client_draws: Draws::of(fields.array("client-draw")?),
        server_draws: Draws::of(fields.array("server-draw")?),
        server_private: if encrypts {
            Draws::of(fields.array("server-second-draw")?)
        } else {
            pair.server_private.clone()
        },
        ..pair.with_prologues(prologue.clone(), prologue)
    };
    let skip = fields.number("skip")?;
    // The crate shows no key and no state.
    fields.array("state")?;
    let sent = fields.bytes("receives")?;
    let expected = fields.bytes("delivers")?;
    fields.none_left()?;
    if encrypts && !cfg!(feature = "encrypt") {
        return Ok(());
    }

    let mode = u8::try_from(mode).unwrap();
    let [mut client, mut server] = pair.run_in_mode(mode).records();
    let (sender, receiver) = match role {
        "client" => (&mut server, &mut client),
        "server" => (&mut client, &mut server),
        other => return Err(format!("role: {other}")),
    };
    for _ in 0..skip {
        receiver.open(&sender.seal(b"x")).unwrap();
    }
    let (delivered, ended) = receive(receiver.as_mut(), &sent);
    if (&delivered, ended) != (&expected, expect) {
        return Err(format!("{ended}, behind {} bytes", delivered.len()));
    }
    Ok(())
}

/// Returns what is delivered, and how the direction ends.
fn receive(receiver: &mut dyn AnyRecords, mut bytes: &[u8]) -> (Vec<u8>, &'static str) {
    let mut delivered = Vec::new();
    loop {
        let Some(header) = bytes.first_chunk() else {
            return (delivered, "truncated");
        };
        let Ok(len) = len_of(*header) else {
            return (delivered, "bad length");
        };
        let Some((record, rest)) = bytes.split_at_checked(len) else {
            return (delivered, "truncated");
        };
        match receiver.open(record) {
            Ok(payload) if payload.is_empty() => {
                // Nothing that follows is opened.
                let later = receiver.open(rest.first_chunk::<18>().unwrap_or(&[0; 18]));
                assert_eq!(later, Err(Error::Closed));
                return (delivered, "close");
            }
            Ok(payload) => delivered.extend(payload),
            Err(Error::BadTag) => {
                // The right record would be refused now too.
                let later = rest
                    .split_at_checked(len)
                    .map(|(next, _)| receiver.open(next));
                assert!(later.is_none_or(|opened| opened == Err(Error::BadTag)));
                return (delivered, "bad tag");
            }
            Err(error) => panic!("{error}"),
        }
        bytes = rest;
    }
}
