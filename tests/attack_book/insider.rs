//! Attackers who hold a secret, obtain one later, or guess one.

use super::joined;
use super::stage::{Honest, Program, REQUESTS, Relayed, Wire};
use super::table::Fates;
use crate::support::{
    BASE_POINT, EXPORT_LABEL, Exchanged, NO_PROLOGUE, Schedule, export, f1, hmac, key, record,
    secret, x25519,
};

/// One client logs in under the name of another.
pub fn insider_as_client() -> Fates {
    let parent = key("parent");
    let child = |id| Program::on(Wire::Native).knowing(parent.child_secret(id).unwrap());
    Fates::of(|wire| {
        let (alice, carol) = (Program::on(wire).called("alice"), Program::on(wire));
        joined(&carol.called("alice"), &alice)
    })
    .with("with child secrets", {
        assert!(joined(
            &child("alice").called("alice"),
            &child("alice").called("alice")
        ));
        joined(
            &child("carol").called("alice"),
            &child("alice").called("alice"),
        )
    })
}

/// Returns whether a client accepts a false server that knows this secret.
fn is_served_by(client: &Program, known: &[u8]) -> bool {
    if !client.wire.is_native() {
        let server = Program::on(client.wire).knowing(known);
        return Relayed::between(client, &server).client.accepts();
    }
    let (honest, _) = served_by(client, known);
    honest.accepts()
}

/// The private key of a false server.
const PRIVATE: [u8; 32] = [7; 32];

/// Answers a native client as a false server that knows this secret. Returns the client, and F1,
/// F2 and F3.
fn served_by(client: &Program, known: &[u8]) -> (Honest, [Vec<u8>; 3]) {
    let (mode, share) = match client.wire {
        Wire::Encrypted => (2, x25519(PRIVATE, BASE_POINT).to_vec()),
        _ => (0, Vec::new()),
    };
    let mut honest = client.client();
    let f1 = f1(mode, &[7; 32]);
    honest.hears(&f1);
    let f2 = honest.says(73 + client.key_id.len());
    let f3 = Schedule::of(known).acceptance_with(&share, NO_PROLOGUE, &f1, &f2);
    honest.hears(&f3);
    (honest, [f1, f2, f3])
}

/// One client poses as the server to another.
pub fn insider_as_server() -> Fates {
    let parent = key("parent");
    let [alices, carols] = ["alice", "carol"].map(|id| parent.child_secret(id).unwrap());
    let alice = Program::on(Wire::Native).knowing(alices).called("alice");
    Fates::of(|wire| is_served_by(&Program::on(wire), &secret("shared")))
        .with("with child secrets", is_served_by(&alice, carols.as_ref()))
}

/// An attacker who took a client's secret poses as the server to that client.
pub fn key_compromise_impersonation() -> Fates {
    let alices = key("parent").child_secret("alice").unwrap();
    let alice = Program::on(Wire::Native).knowing(&alices).called("alice");
    Fates::of(|wire| is_served_by(&Program::on(wire), &secret("shared")))
        .with("with child secrets", is_served_by(&alice, alices.as_ref()))
        .with(
            "in mode 2",
            is_served_by(&Program::on(Wire::Encrypted), &secret("shared")),
        )
}

/// A login is recorded, and its session is computed once the secret is known.
pub fn secret_learnt_later() -> Fates {
    let computed = |wire: Wire| {
        let mut login = Relayed::on(wire);
        let [request, ..] = wire.requests_of(&mut login.client);
        let exported = login.server.ends().unwrap().exported.unwrap();

        let [f1, f2, f3] = &login.recorded[..] else {
            unreachable!("the native wire has three messages");
        };
        let x = x_of(f1, f2, f3);
        if wire == Wire::Encrypted {
            let shares = [&f2[9..41], &f3[1..33]].map(|share| share.try_into().unwrap());
            // What X25519 makes of the private keys is in no message, so the attacker guesses.
            let guesses = [
                [0; 32],
                x,
                shares[0],
                shares[1],
                x25519(shares[0], shares[1]),
            ];
            return opens(&[x, x], &exported, &request)
                || guesses.iter().any(|z| {
                    let keys = Exchanged::of(&x, z);
                    opens(&[keys.xe, keys.ke], &exported, &request)
                });
        }
        export(&x, EXPORT_LABEL, b"", 32) == exported
            && (wire == Wire::Native || record(&x, "client", 0, REQUESTS[0]) == request)
    };
    assert!(falls_with_a_private_key());
    Fates::of_native(computed(Wire::Native))
        .with("in mode 1", computed(Wire::Protected))
        .with("in mode 2", computed(Wire::Encrypted))
}

fn x_of(f1: &[u8], f2: &[u8], f3: &[u8]) -> [u8; 32] {
    // There is no share in modes 0 and 1.
    let share = &f3[1..f3.len() - 32];
    Schedule::of(&secret("shared")).session_with(share, NO_PROLOGUE, f1, f2)
}

/// Returns whether these Xe and Ke are those of a recorded session in mode 2.
fn opens([xe, ke]: &[[u8; 32]; 2], exported: &[u8], request: &[u8]) -> bool {
    let keys = Exchanged { xe: *xe, ke: *ke };
    export(ke, EXPORT_LABEL, b"", 32) == exported
        || keys.record("client", 0, REQUESTS[0]) == request
}

/// The control: returns whether the same attempt succeeds in mode 2 with a private key.
fn falls_with_a_private_key() -> bool {
    let program = Program::on(Wire::Encrypted);
    let (mut client, [f1, f2, f3]) = served_by(&program, &secret("shared"));
    let [request, ..] = program.wire.requests_of(&mut client);
    let exported = client.ends().unwrap().exported.unwrap();
    let z = x25519(PRIVATE, f2[9..41].try_into().unwrap());
    let keys = Exchanged::of(&x_of(&f1, &f2, &f3), &z);
    export(&keys.ke, EXPORT_LABEL, b"", 32) == exported
        && keys.record("client", 0, REQUESTS[0]) == request
}

/// Guesses of a weak secret are tried against one recorded login.
pub fn offline_guessing() -> Fates {
    const GUESSES: [&[u8]; 3] = [
        b"open sesame, please",
        b"correct horse battery staple",
        b"swordfish swordfish",
    ];
    let guessed = |wire: Wire| {
        let program = Program::on(wire).knowing("correct horse battery staple");
        let recorded = Relayed::between(&program, &program).accepted();
        let (asked, answered) = (&recorded[0][..], &recorded[1][..]);
        GUESSES.into_iter().any(|guess| match wire {
            Wire::Recipe => hmac(guess, asked) == answered,
            Wire::Multiprocessing => hmac(guess, &asked[15..]) == answered[12..],
            Wire::Native | Wire::Protected | Wire::Encrypted => {
                let (untagged, tag) = answered.split_at(41);
                let keys = Schedule::of(guess);
                keys.client_proof(NO_PROLOGUE, asked, untagged) == tag
            }
        })
    };
    Fates::of(guessed)
        .with("in mode 1", guessed(Wire::Protected))
        .with("in mode 2", guessed(Wire::Encrypted))
}
