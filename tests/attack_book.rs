//! The attack book: known attacks under their own names, each carried out against three wires.
//!
//! The last part of `EVIDENCE.md` explains each attack, and says which wire falls to it. Here each attack is one
//! function, and a test compares its outcome with the table. Honest programs run in threads of
//! their own, each with the attacker at the other end of its connection. The function is the
//! attacker. An attack *succeeds* if the attacker achieves its aim. Two attacks need a server with
//! a broken random number generator, which the first two wires cannot be given. There the test
//! computes what such a server would compare, and the book says so.

mod door;
mod generator;
mod insider;
mod line;
mod stage;
mod stranger;
mod table;

use self::stage::{Honest, Program, Relayed, challenge, framed};
use self::table::{compare, explained, rows};
use crate::support::f1;

/// Makes one test for each attack, and the list of their names.
macro_rules! contents {
    ($($part:ident::$attack:ident: $name:literal,)*) => {
        const CONTENTS: &[&str] = &[$($name),*];

        mod ends_as_the_book_tells {
            $(
                #[test]
                fn $attack() {
                    super::compare($name, &super::$part::$attack());
                }
            )*
        }
    };
}

contents! {
    stranger::replay: "Replay",
    stranger::rogue_server: "Rogue server",
    stranger::oracle_session: "Oracle session",
    stranger::reflection: "Reflection",
    stranger::selfie: "Selfie",
    stranger::rerouting: "Rerouting",
    stranger::mafia_fraud: "Mafia fraud",
    stranger::identity_misbinding: "Identity misbinding",
    stranger::downgrade: "Downgrade",
    stranger::message_splicing: "Message splicing",
    stranger::chosen_protocol: "Chosen protocol",
    stranger::equivalent_hmac_keys: "Equivalent HMAC keys",
    line::eavesdropping: "Eavesdropping",
    line::session_hijacking: "Session hijacking",
    line::truncation: "Truncation",
    line::stream_modification: "Stream modification",
    door::slowloris: "Slowloris",
    door::enumeration: "Enumeration of key ids",
    insider::insider_as_client: "Insider posing as another client",
    insider::insider_as_server: "Insider posing as the server",
    insider::key_compromise_impersonation: "Key-compromise impersonation",
    insider::secret_learnt_later: "Secret learnt later",
    insider::offline_guessing: "Offline guessing",
    generator::pre_play: "Pre-play",
    generator::reset: "Reset",
}

#[test]
fn every_row_of_the_book_has_a_test_and_a_paragraph_and_no_test_lacks_a_row() {
    let told: Vec<_> = rows().iter().map(|row| row[0]).collect();
    assert_eq!(told, CONTENTS);
    assert_eq!(explained(), CONTENTS);
}

/// Returns whether these two accept each other when an attacker on the line joins them.
fn joined(client: &Program, server: &Program) -> bool {
    let login = Relayed::between(client, server);
    let (client, server) = (login.client.accepts(), login.server.accepts());
    client && server
}

/// Welcomes a client of `multiprocessing` whatever it answers to a challenge. Returns its answer
/// and its own challenge.
fn digest_and_challenge(client: &mut Honest) -> (Vec<u8>, Vec<u8>) {
    client.hears(&challenge("{sha256}", &[7; 40]));
    let digest = client.says(44);
    client.hears(&framed(b"#WELCOME#"));
    (digest, client.says(63))
}

/// Returns F2 of a native client for this nonce.
fn answer_to(client: &mut Honest, nonce: &[u8]) -> Vec<u8> {
    client.hears(&f1(0, nonce));
    client.says(73)
}
