//! Attackers who know no secret.

use countersign::handshake::{Authenticate, Encrypt, Message, Protect};

use super::stage::{FORGED, Honest, Program, Relayed, Role, Wire, challenge, framed};
use super::table::{Fates, fate};
use super::{answer_to, digest_and_challenge, joined};
use crate::support::{
    End, NO_PROLOGUE, Pair, Schedule, expand_32, f1, hmac, key, secret, untagged_f2,
};

/// A login is recorded, and either side of it is replayed to the other.
pub fn replay() -> Fates {
    Fates::of(|wire| {
        let program = Program::on(wire);
        let recorded = Relayed::on(wire).accepted();

        let again = |role, mut honest: Honest| {
            wire.play(role, &recorded, &mut honest);
            honest.accepts()
        };
        let as_client = again(Role::Client, program.server());
        // A client of the recipe verifies nothing.
        as_client || wire != Wire::Recipe && again(Role::Server, program.client())
    })
}

/// An attacker without the secret listens in place of the server.
pub fn rogue_server() -> Fates {
    Fates::of(|wire| match wire {
        Wire::Recipe => {
            let mut client = Program::on(wire).client();
            client.hears(&[7; 32]);
            client.accepts()
        }
        Wire::Multiprocessing => {
            let genuine = genuine_last_word(wire, 4);
            let attempts: [&Forgery<'_>; 5] = [
                &|_, _| framed(&[&b"{sha256}"[..], &[0; 32]].concat()),
                &|its_own_digest, _| its_own_digest.to_vec(),
                &|_, _| genuine.clone(),
                &|_, challenge| {
                    let digest = hmac(&secret("other"), &challenge[15..]);
                    framed(&[b"{sha256}", &digest[..]].concat())
                },
                &|_, _| framed(b"#WELCOME#"),
            ];
            attempts.into_iter().any(|forgery| {
                let mut client = Program::on(wire).client();
                let (digest, challenge) = digest_and_challenge(&mut client);
                client.hears(&forgery(&digest, &challenge));
                client.accepts()
            })
        }
        Wire::Native | Wire::Protected | Wire::Encrypted => {
            let genuine = genuine_last_word(wire, 2);
            let accepting = |tag: &[u8]| [b"A", tag].concat();
            let attempts: [&Forgery<'_>; 6] = [
                &|_, _| accepting(&[0; 32]),
                &|_, f2| accepting(&f2[41..]),
                &|_, _| genuine.clone(),
                &|_, f2| accepting(&denial_of(f2)[1..]),
                &|f1, f2| {
                    let keys = Schedule::of(&secret("other"));
                    accepting(&keys.client_proof(NO_PROLOGUE, f1, &f2[..41]))
                },
                &|f1, f2| Schedule::of(&secret("other")).acceptance(NO_PROLOGUE, f1, f2),
            ];
            attempts.into_iter().any(|forgery| {
                let mut client = Program::on(wire).client();
                let f2 = answer_to(&mut client, &[7; 32]);
                client.hears(&forgery(&f1(0, &[7; 32]), &f2));
                client.accepts()
            })
        }
    })
}

/// Forges the proof of a server from the last two messages before it.
type Forgery<'a> = dyn Fn(&[u8], &[u8]) -> Vec<u8> + 'a;

/// Returns the message with which a server that knows the secret has proved itself to another
/// client.
fn genuine_last_word(wire: Wire, at: usize) -> Vec<u8> {
    Relayed::on(wire).accepted().swap_remove(at)
}

/// Returns what a server that knows the secret answers to an F2 for another server.
fn denial_of(f2: &[u8]) -> Vec<u8> {
    let mut server = Program::on(Wire::Native).server();
    server.says(40);
    server.hears(f2);
    let denial = server.says(33);
    assert_eq!(denial[0], b'D');
    denial
}

/// One program is made to compute the proof that another wants.
pub fn oracle_session() -> Fates {
    Fates::of(|wire| {
        let program = Program::on(wire);
        match wire {
            Wire::Recipe => {
                let (mut server, mut oracle) = (program.server(), program.client());
                oracle.hears(&server.says(32));
                server.hears(&oracle.says(32));
                server.accepts()
            }
            Wire::Multiprocessing => {
                let (mut client, mut oracle) = (program.client(), program.client());
                let (_, challenge) = digest_and_challenge(&mut client);
                oracle.hears(&challenge);
                client.hears(&oracle.says(44));
                client.accepts()
            }
            Wire::Native | Wire::Protected | Wire::Encrypted => {
                // The oracle is challenged with each part of what the client said.
                [0..32, 9..41, 41..73].into_iter().any(|part| {
                    let (mut client, mut oracle) = (program.client(), program.client());
                    let f2 = answer_to(&mut client, &[7; 32]);
                    let proved = answer_to(&mut oracle, &f2[part]);
                    client.hears(&[b"A", &proved[41..]].concat());
                    client.accepts()
                })
            }
        }
    })
}

/// A program receives what it has just sent on the same connection.
pub fn reflection() -> Fates {
    Fates::of(|wire| {
        let (mut server, mut client) = (Program::on(wire).server(), Program::on(wire).client());
        let (_, len) = wire.messages()[0];
        let own = server.says(len);
        server.hears(&own);

        let client_accepts = match wire {
            // It verifies nothing that could be reflected.
            Wire::Recipe => false,
            Wire::Multiprocessing => {
                let (_, own) = digest_and_challenge(&mut client);
                client.hears(&own);
                client.accepts()
            }
            Wire::Native | Wire::Protected | Wire::Encrypted => {
                let own = answer_to(&mut client, &[7; 32]);
                client.hears(&[b"A", &own[41..]].concat());
                client.accepts()
            }
        };
        client_accepts || server.accepts()
    })
}

/// A node that is client and server is joined to itself.
pub fn selfie() -> Fates {
    let named = |name| Program::on(Wire::Native).named(name);
    Fates::of(|wire| {
        let node = Program::on(wire);
        joined(&node, &node)
    })
    .with("with a name for each node", {
        assert!(joined(&named("node-8"), &named("node-8")));
        joined(&named("node-8"), &named("node-7"))
    })
}

/// A client is led to a server with the same secret that it did not mean.
pub fn rerouting() -> Fates {
    let named = |name| Program::on(Wire::Native).named(name);
    Fates::of(|wire| {
        let [meant, reached] = [Program::on(wire), Program::on(wire)];
        joined(&meant, &reached)
    })
    .with("with a service name", {
        assert!(joined(&named("billing/2"), &named("billing/2")));
        joined(&named("billing/2"), &named("archive/1"))
    })
}

/// A login is relayed unchanged between two lines, and the relay then uses the connection.
pub fn mafia_fraud() -> Fates {
    let relayed = |client: &Program, server: &Program| {
        let wire = client.wire;
        let Relayed {
            client, mut server, ..
        } = Relayed::between(client, server);
        server.hears(&wire.wrapped(FORGED));
        let login = server.ends();
        // Either both detect the relay or neither does.
        assert_eq!(client.accepts(), login.is_ok());
        login.is_ok_and(|login| login.received == FORGED)
    };
    let [native, protected, encrypted] =
        [Wire::Native, Wire::Protected, Wire::Encrypted].map(Program::on);
    Fates::of(|wire| relayed(&Program::on(wire), &Program::on(wire)))
        .with("in mode 1", relayed(&protected, &protected))
        .with("in mode 2", relayed(&encrypted, &encrypted))
        .with("with a channel binding", {
            let [one, other] = [[1; 32], [2; 32]];
            assert!(joined(&native.clone().over(one), &native.clone().over(one)));
            relayed(&native.clone().over(one), &native.clone().over(other))
        })
}

/// A client is renamed on the way to a server that knows the same secret under both names.
pub fn identity_misbinding() -> Fates {
    let one_secret_for_all = Pair {
        server_key: Some(key("shared")),
        ..Pair::of(&key("shared").with_id("alice").unwrap())
    };
    assert!(one_secret_for_all.run().server.is_accepted());
    let renamed = one_secret_for_all.run_through(|message, f2| {
        if message == Message::RESPONSE {
            f2[9..14].copy_from_slice(b"carol");
        }
    });
    Fates::of_native(renamed.server.is_accepted())
}

/// The messages are altered so that each end believes that the other wants a weaker mode.
pub fn downgrade() -> Fates {
    let multiprocessing = ["{md5}", "{sha384}"].into_iter().any(|digest| {
        let program = Program::on(Wire::Multiprocessing);
        let (mut client, mut server) = (program.client(), program.server());
        let random = &server.says(63)[23..];
        client.hears(&challenge(digest, random));
        if digest == "{md5}" {
            // An answer in the weaker digest would be enough.
            let answered = !client.says(1).is_empty();
            return answered || client.accepts();
        }
        server.hears(&client.says(60));
        server.accepts()
    });

    // What the client takes for the mode of the server, and the server for the mode of the client.
    let weaken = |to_client, to_server| {
        move |message, bytes: &mut Vec<u8>| match message {
            Message::CHALLENGE => bytes[7] = to_client,
            Message::RESPONSE => bytes[7] = to_server,
            _ => {}
        }
    };
    let pair = Pair::of(&key("shared"));
    let native = [
        pair.run_through_in(Protect, Protect, weaken(0, 1)),
        pair.run_through_in(Authenticate, Protect, weaken(0, 1)),
        pair.run_through_in(Encrypt, Encrypt, weaken(0, 2)),
        pair.run_through_in(Authenticate, Encrypt, weaken(0, 2)),
        pair.run_through_in(Protect, Encrypt, weaken(1, 2)),
    ]
    .iter()
    .any(|run| run.client.is_accepted() || run.server.is_accepted());
    Fates {
        multiprocessing: fate(multiprocessing),
        ..Fates::of_native(native)
    }
}

/// The border between two fields is moved by a byte.
pub fn message_splicing() -> Fates {
    let program = Program::on(Wire::Multiprocessing);
    let (mut client, mut server) = (program.client(), program.server());
    client.hears(&server.says(63));
    let mut digest = client.says(44);
    digest[3] -= 1;
    server.hears(&digest);

    let pair = Pair::of(&key("shared").with_id("worker-7").unwrap());
    let any_id = Pair {
        server_key: Some(key("shared")),
        ..pair
    };
    assert!(any_id.run().server.is_accepted());
    let spliced = any_id.run_through(|message, f2| {
        if message == Message::RESPONSE {
            f2[8] = 7;
            // The nonce loses its last byte, so that the tag keeps its place.
            f2.remove(48);
        }
    });
    assert!(!matches!(spliced.server, End::Waiting(_)));
    Fates {
        multiprocessing: fate(server.accepts()),
        ..Fates::of_native(spliced.server.is_accepted())
    }
}

/// A client of another protocol with the same secret is made to compute a proof for this one.
pub fn chosen_protocol() -> Fates {
    // The control: such a client answers under the bare secret.
    let digest = asked_of(Wire::Recipe, &[7; 32]);
    assert_eq!(digest, hmac(&secret("shared"), &[7; 32]));

    let recipe = {
        let mut server = Program::on(Wire::Recipe).server();
        let asked = server.says(32);
        server.hears(&asked_of(Wire::Multiprocessing, &asked));
        server.accepts()
    };
    let multiprocessing = [15..47, 23..55].into_iter().any(|part| {
        let mut server = Program::on(Wire::Multiprocessing).server();
        let asked = server.says(63);
        let digest = asked_of(Wire::Recipe, &asked[part]);
        server.hears(&framed(&[b"{sha256}", &digest[..]].concat()));
        server.accepts()
    });
    let native = [Wire::Recipe, Wire::Multiprocessing]
        .into_iter()
        .any(opens_native);
    Fates {
        recipe: fate(recipe),
        multiprocessing: fate(multiprocessing),
        ..Fates::of_native(native)
    }
}

/// Returns what a client of this wire, which is not the native one, answers to a challenge.
fn asked_of(wire: Wire, challenge: &[u8]) -> Vec<u8> {
    let mut client = Program::on(wire).client();
    if wire == Wire::Recipe {
        client.hears(challenge);
        client.says(32)
    } else {
        client.hears(&super::stage::challenge("{sha256}", challenge));
        client.says(44)[12..].to_vec()
    }
}

/// Makes a proof for this F1.
type Attempt<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// Returns whether a native server accepts an answer of such a client as the proof, as the key of
/// the proof, or as the key above that.
fn opens_native(oracle: Wire) -> bool {
    let label = b"countersign/1 client proof";
    let padded = [&label[..], &[1; 6]].concat();
    let f2 = untagged_f2(0, b"", &[7; 32]);
    let proof = |kc: &[u8], f1: &[u8]| hmac(kc, &[NO_PROLOGUE, f1, &f2].concat()).to_vec();
    let attempts: [&Attempt<'_>; 3] = [
        &|f1| asked_of(oracle, &f1[8..]),
        &|f1| proof(&asked_of(oracle, &padded), f1),
        &|f1| proof(&expand_32(&asked_of(oracle, &padded), label), f1),
    ];
    attempts.into_iter().any(|attempt| {
        let mut server = Program::on(Wire::Native).server();
        let f1 = server.says(40);
        server.hears(&[&f2[..], &attempt(&f1)].concat());
        server.accepts()
    })
}

/// The holder of another secret is accepted because both are one key to HMAC.
pub fn equivalent_hmac_keys() -> Fates {
    Fates::of(|wire| {
        let program = Program::on(wire);
        let with_zero = [&program.secret[..], &[0]].concat();
        joined(&program.clone().knowing(with_zero), &program)
    })
}
