//! Who is accepted and who is refused, and what the two ends send each other.

use std::net::TcpStream;
use std::thread;

use countersign::compat::multiprocessing::{self, KnowsAuthkey, Problem};
use countersign::{Deadline, Error, Hint, InvalidInput};

use super::{
    AUTHKEY, CHALLENGE, Digest, FAILURE, Far, Message, TAIL, WELCOME, beginning, ends, framed,
    problem, unframe,
};
use crate::side::Side;
use crate::sockets::LONG;
use crate::support::{Driver, FOREIGN, Says, Wire, tcp_pair};

/// Runs two ends on a TCP connection, each with a deadline.
pub fn meet<C: Send, S>(
    client: impl FnOnce(&mut Deadline<&TcpStream>) -> C + Send,
    server: impl FnOnce(&mut Deadline<&TcpStream>) -> S,
) -> (C, S) {
    let (near, far) = tcp_pair();
    thread::scope(|scope| {
        let client = scope.spawn(move || client(&mut Deadline::new(&near, LONG)));
        let server = server(&mut Deadline::new(&far, LONG));
        drop(far);
        (client.join().unwrap(), server)
    })
}

#[test]
fn client_and_listener_with_one_authkey_meet() {
    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate(stream, AUTHKEY),
        |stream| multiprocessing::server_authenticate(stream, AUTHKEY),
    );
    let _: (KnowsAuthkey, KnowsAuthkey) = (client.unwrap(), server.unwrap());
}

#[test]
fn client_and_listener_with_different_authkeys_fail_at_the_clients_digest() {
    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate(stream, b"another password"),
        |stream| multiprocessing::server_authenticate(stream, AUTHKEY),
    );
    assert_eq!(problem(client), Problem::Rejected);
    assert_eq!(problem(server), Problem::WrongDigest);
}

#[test]
fn an_honest_peer_is_accepted_and_no_application_data_is_read() {
    for (driver, side) in ends() {
        for digest in [Digest::Sha256, Digest::Sha384] {
            let mut wire = Far::opposite(side).with_digest(digest).wire();
            // Our own challenge is in SHA-256, and may be answered in SHA-384.
            let _knows = side.run(driver, &mut wire).unwrap();
            assert_eq!(wire.rest(), TAIL, "{driver:?} {side:?} {digest:?}");
        }
    }
}

#[test]
fn a_peer_with_another_authkey_is_refused_by_the_end_that_verifies_first() {
    for (driver, side) in ends() {
        let mut wire = Far::opposite(side).with_authkey(b"other").wire();
        let expected = match side {
            Side::Client => Problem::Rejected,
            Side::Server => Problem::WrongDigest,
        };
        assert_eq!(problem(side.run(driver, &mut wire)), expected);
    }
}

#[test]
fn a_listener_that_welcomes_every_client_is_refused_by_its_digest() {
    for &driver in Driver::ALL {
        let far = Far::opposite(Side::Client).with_authkey(b"other");
        let mut wire = far.saying(Message::Welcome, WELCOME).wire();
        let outcome = Side::Client.run(driver, &mut wire);
        assert_eq!(problem(outcome), Problem::WrongDigest);
        assert!(wire.written.ends_with(&framed(FAILURE)));
    }
}

#[test]
fn the_answer_is_an_hmac_of_the_challenge_with_the_name_of_its_digest() {
    for &driver in Driver::ALL {
        for digest in [Digest::Sha256, Digest::Sha384] {
            let random: Vec<u8> = (100..140).collect();
            let challenge = [digest.name(), &random].concat();
            let wire = &mut Wire::to(Says(framed([CHALLENGE, &challenge].concat())));
            let outcome = Side::Client.run(driver, wire);
            assert!(matches!(outcome, Err(Error::TimedOut(_))));
            let answer = framed(digest.answer(AUTHKEY, &challenge));
            assert_eq!(wire.written, answer, "{driver:?} {digest:?}");
        }
    }
}

#[test]
fn our_challenge_names_sha256_and_has_40_random_bytes() {
    for &driver in Driver::ALL {
        let challenges = [(); 2].map(|()| {
            let mut wire = Far::opposite(Side::Server).wire();
            let _knows = Side::Server.run(driver, &mut wire).unwrap();
            unframe(&mut wire.written.into()).unwrap()
        });
        for challenge in &challenges {
            assert!(challenge.starts_with(b"#CHALLENGE#{sha256}"));
            assert_eq!(challenge.len(), 11 + 8 + 40);
        }
        assert_ne!(challenges[0], challenges[1]);
    }
}

#[test]
fn a_length_outside_the_handshakes_range_is_refused_at_the_header() {
    for (driver, side) in ends() {
        for number in 0..3 {
            for len in [257, 65536, i32::MAX, -1, -2, i32::MIN] {
                // Behind it, a length of 59 in the long form.
                let bytes = [&len.to_be_bytes()[..], &59_u64.to_be_bytes(), &[0; 59]].concat();
                let mut wire = Far::opposite(side).instead(number, bytes).wire();
                let outcome = side.run(driver, &mut wire);
                assert_eq!(problem(outcome), Problem::MessageLength(len));
                assert_eq!(wire.read, beginning(side, number) + 4);
            }
        }
    }
}

#[test]
fn a_message_of_the_handshake_may_have_256_bytes() {
    for &driver in Driver::ALL {
        let challenge = [CHALLENGE, b"{sha256}", &[0x5a; 237]].concat();
        assert_eq!(challenge.len(), 256);
        let far = Far::opposite(Side::Client).saying(Message::Challenge, &challenge);
        let mut wire = far.wire();
        let outcome = Side::Client.run(driver, &mut wire);
        // The honest listener verifies against its own challenge.
        assert_eq!(problem(outcome), Problem::Rejected);
        let answer = Digest::Sha256.answer(AUTHKEY, &challenge[CHALLENGE.len()..]);
        assert_eq!(wire.written, framed(answer));
    }
}

#[test]
fn anything_but_a_welcome_refuses_the_handshake() {
    let rows: [(&[u8], Problem); 6] = [
        (FAILURE, Problem::Rejected),
        (b"", Problem::NotAWelcome),
        (b"#WELCOME", Problem::NotAWelcome),
        (b"#WELCOME##", Problem::NotAWelcome),
        (b"#welcome#", Problem::NotAWelcome),
        (CHALLENGE, Problem::NotAWelcome),
    ];
    for (driver, side) in ends() {
        for (verdict, expected) in rows {
            let far = Far::opposite(side).saying(Message::Welcome, verdict);
            assert_eq!(problem(side.run(driver, &mut far.wire())), expected);
        }
    }
}

#[test]
fn a_message_of_the_handshake_is_one_write_and_one_flush() {
    for (driver, side) in ends() {
        let mut wire = Far::opposite(side).wire();
        let _knows = side.run(driver, &mut wire).unwrap();
        assert_eq!(wire.writes, side.sent().map(Message::len));
        assert_eq!(wire.flushes, 3);
    }
}

/// HMAC fills its key with zeros, so the last two are one key.
#[test]
fn an_authkey_without_a_byte_that_counts_is_refused_before_anything_is_sent_or_read() {
    let rows: [(&[u8], InvalidInput); 3] = [
        (b"", InvalidInput::SecretTooShort { len: 0 }),
        (b"\0", InvalidInput::SecretConstant { len: 1 }),
        (&[0; 32], InvalidInput::SecretConstant { len: 32 }),
    ];
    for (driver, side) in ends() {
        for (authkey, expected) in rows {
            let mut wire = Far::opposite(side).with_authkey(authkey).wire();
            let outcome = side.run_with(driver, &mut wire, authkey);
            assert!(matches!(outcome, Err(Error::InvalidInput(reason)) if reason == expected));
            assert!(wire.written.is_empty());
            assert!(wire.offered.is_empty());
        }
        // The controls: passwords, which need not be good.
        for authkey in [&b"a"[..], b"\0\x01"] {
            let mut wire = Far::opposite(side).with_authkey(authkey).wire();
            let _knows = side.run_with(driver, &mut wire, authkey).unwrap();
        }
    }
}

#[test]
fn a_peer_of_another_protocol_is_named_by_its_first_four_bytes() {
    let native = [&b"CSIGN1S\0"[..], b"CSIGN1C\0"].map(|says| (says, Some(Hint::Native), 4));
    // What begins with a zero has the length of a message.
    let other =
        (FOREIGN.into_iter()).filter(|(says, ..)| says[0] != 0 && !says.starts_with(b"CSIG"));
    for (driver, side) in ends() {
        for ((says, hint, _), piece) in (other.clone().chain(native))
            .flat_map(|row| [1, 3, usize::MAX].map(|piece| (row, piece)))
        {
            let mut wire = Wire::to(Says(says.to_vec())).dripping(piece);
            let error = side.run(driver, &mut wire).unwrap_err();
            assert_eq!(error.hint(), hint, "{}", says.escape_ascii());
            assert_eq!(wire.read, 4);
            let advice = hint.map(|hint| format!("; {hint}"));
            let end = format!("at most 256{}", advice.unwrap_or_default());
            assert!(error.to_string().ends_with(&end), "{error}");
        }
        // The control: a length that is wrong and nothing else.
        let error = side.run(driver, &mut Wire::to(Says(vec![0, 1, 0, 0])));
        assert_eq!(error.unwrap_err().hint(), None);
    }
}

#[test]
fn a_peer_that_sends_nothing_may_have_no_authkey() {
    for (driver, side) in ends() {
        let error = side.run(driver, &mut Wire::to(Says(vec![]))).unwrap_err();
        assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
        let names_it = error.to_string().ends_with("without an authkey sends none");
        assert_eq!(names_it, side == Side::Client, "{error}");
    }
}
