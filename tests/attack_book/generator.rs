//! Attacks on a server whose random number generator is broken.

use countersign::handshake::{Authenticate, Encrypt, Protect};

use super::stage::{FORGED, Program, REQUESTS, Relayed, Wire, challenge, framed};
use super::table::Fates;
use crate::support::{
    AnyMode, Draws, End, NO_PROLOGUE, Pair, Schedule, f1, hmac, key, record, secret,
};

/// The byte that the broken generator repeats.
const FORESEEN: u8 = 0x50;

/// A client answers today the challenge that the server will send tomorrow.
pub fn pre_play() -> Fates {
    let today = |wire: Wire| {
        let asked = match wire {
            Wire::Recipe => vec![FORESEEN; 32],
            Wire::Multiprocessing => challenge("{sha256}", &[FORESEEN; 40]),
            Wire::Native => f1(0, &[FORESEEN; 32]),
            Wire::Protected => f1(1, &[FORESEEN; 32]),
            Wire::Encrypted => f1(2, &[FORESEEN; 32]),
        };
        let mut client = Program::on(wire).client();
        client.hears(&asked);
        let (_, len) = wire.messages()[1];
        let answered = client.says(len);
        (asked, answered)
    };
    let (f1, f2) = today(Wire::Protected);
    let logged_in = end_of_server(&f1, &f2).is_accepted();
    if logged_in {
        let of_another = Schedule::of(&secret("other")).session(NO_PROLOGUE, &f1, &f2);
        for record in [
            Wire::Protected.wrapped(FORGED),
            [&[0, 8], &FORGED[..], &f2[41..57]].concat(),
            record(&of_another, "client", 0, FORGED),
        ] {
            assert!(!is_opened(&f1, &f2, &record, FORGED));
        }
        let known = Schedule::of(&secret("shared")).session(NO_PROLOGUE, &f1, &f2);
        let record = record(&known, "client", 0, FORGED);
        assert!(is_opened(&f1, &f2, &record, FORGED));
    }
    Fates::of(|wire| {
        let (asked, answered) = today(wire);
        is_content(wire, &asked, &answered)
    })
    .computed()
    .with("in mode 1", logged_in)
    .with("in mode 2", {
        let (f1, f2) = today(Wire::Encrypted);
        let forged = Wire::Encrypted.wrapped(FORGED);
        assert!(!is_opened(&f1, &f2, &forged, FORGED));
        end_of_server(&f1, &f2).is_accepted()
    })
}

/// A server repeats a challenge, and the attacker repeats the answer.
pub fn reset() -> Fates {
    let recorded = |wire: Wire| {
        let mut login = Relayed::on(wire);
        (login.recorded, wire.requests_of(&mut login.client))
    };
    Fates::of(|wire| {
        let (messages, _) = recorded(wire);
        is_content(wire, &messages[0], &messages[1])
    })
    .computed()
    .with("in mode 1", {
        let (messages, [request, ..]) = recorded(Wire::Protected);
        is_opened(&messages[0], &messages[1], &request, REQUESTS[0])
    })
    .with("in mode 2 with a fresh private key", reset_in_mode_2(0x77))
    .with(
        "in mode 2 with a repeated private key",
        reset_in_mode_2(0x66),
    )
}

/// Records a login in mode 2 and a request, and repeats them to a server that repeats its nonce and
/// draws this private key. The private key in the recording is 66 66 .. 66. Returns whether the
/// server receives the request.
fn reset_in_mode_2(private: u8) -> bool {
    let recorded = Pair {
        server_private: Draws::from(0x66),
        ..Pair::of(&key("shared"))
    };
    let run = recorded.run_in(Encrypt, Encrypt);
    let f2 = run.sent[1].clone();
    let [mut client, _] = run.records();
    let request = client.seal(REQUESTS[0]);

    let again = Pair {
        server_private: Draws::from(private),
        ..recorded
    };
    let (_, server) = again.server_in(Encrypt);
    let End::Accepted(_, Some(mut records)) = again.verdict(server, &f2).1 else {
        panic!("the login is repeated");
    };
    records.open(&request).is_ok()
}

/// Returns whether a server that sent this challenge accepts this answer. For a native server the
/// crate decides. For the others the test computes what they would compare.
fn is_content(wire: Wire, asked: &[u8], answered: &[u8]) -> bool {
    let secret = secret("shared");
    match wire {
        Wire::Recipe => answered == hmac(&secret, asked),
        Wire::Multiprocessing => {
            let digest = hmac(&secret, &asked[15..]);
            answered == framed(&[b"{sha256}", &digest[..]].concat())
        }
        Wire::Native | Wire::Protected | Wire::Encrypted => {
            end_of_server(asked, answered).is_accepted()
        }
    }
}

/// Returns whether such a native server accepts, and then opens this record as the first request.
fn is_opened(f1: &[u8], f2: &[u8], record: &[u8], request: &[u8]) -> bool {
    match end_of_server(f1, f2) {
        End::Accepted(_, Some(mut records)) => {
            records.open(record).is_ok_and(|opened| opened == request)
        }
        _ => false,
    }
}

/// Returns how a native server ends whose generator gave it the nonce of this F1.
fn end_of_server(f1: &[u8], f2: &[u8]) -> End {
    fn in_mode<M: AnyMode>(mode: M, f1: &[u8], f2: &[u8]) -> End {
        let pair = Pair {
            server_draws: Draws::of(f1[8..].try_into().unwrap()),
            ..Pair::of(&key("shared"))
        };
        let (challenge, state) = pair.server_in(mode);
        assert_eq!(challenge.as_ref(), f1);
        pair.verdict(state, f2).1
    }

    match f1[7] {
        0 => in_mode(Authenticate, f1, f2),
        1 => in_mode(Protect, f1, f2),
        _ => in_mode(Encrypt, f1, f2),
    }
}
