//! Attackers who hold a secret, obtain one later, or guess one.

use super::joined;
use super::stage::{Program, REQUESTS, Relayed, Wire};
use super::table::Fates;
use crate::support::{EXPORT_LABEL, NO_PROLOGUE, Schedule, export, f1, hmac, key, record, secret};

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
    if client.wire != Wire::Native {
        let server = Program::on(client.wire).knowing(known);
        return Relayed::between(client, &server).client.accepts();
    }
    let mut honest = client.client();
    let f1 = f1(0, &[7; 32]);
    honest.hears(&f1);
    let f2 = honest.says(73 + client.key_id.len());
    honest.hears(&Schedule::of(known).acceptance(NO_PROLOGUE, &f1, &f2));
    honest.accepts()
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
}

/// A login is recorded, and its session is computed once the secret is known.
pub fn secret_learnt_later() -> Fates {
    let computed = |wire: Wire| {
        let mut login = Relayed::on(wire);
        let [request, ..] = wire.requests_of(&mut login.client);
        let exported = login.server.ends().unwrap().exported.unwrap();

        let [f1, f2] = [0, 1].map(|at| &login.recorded[at]);
        let x = Schedule::of(&secret("shared")).session(NO_PROLOGUE, f1, f2);
        export(&x, EXPORT_LABEL, b"", 32) == exported
            && (wire == Wire::Native || record(&x, "client", 0, REQUESTS[0]) == request)
    };
    Fates::of_native(computed(Wire::Native)).with("in mode 1", computed(Wire::Protected))
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
            Wire::Native | Wire::Protected => {
                let (untagged, tag) = answered.split_at(41);
                let keys = Schedule::of(guess);
                keys.client_proof(NO_PROLOGUE, asked, untagged) == tag
            }
        })
    };
    Fates::of(guessed).with("in mode 1", guessed(Wire::Protected))
}
