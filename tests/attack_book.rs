//! The attack book: known attacks under their own names, each carried out on three wires side by
//! side.
//!
//! `ATTACKS.md` tells who falls and who stands, and what each attack is. Here each attack is one
//! function that finds out, and a test that compares what came with what is told. Honest programs
//! run in threads of their own, on the other end of a line that the attacker holds; the attacker
//! is what stands in the function. An attack *succeeds* where the attacker got what it is for. Two
//! need a server with a broken generator, which the first two wires cannot be given: what such a
//! server would compare is computed by hand there, and the book says so.

mod by_hand;
mod stage;
mod table;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use countersign::compat::{cookbook, multiprocessing};
use countersign::handshake::{Flight, Mode, Prologue, server};
use countersign::record::Opened;
use countersign::{
    Client, Deadline, Listener, ListenerOptions, Server, Session, server_authenticate,
};

use self::stage::{FORGED, Honest, LIMIT, Program, REQUESTS, Role, Wire, challenge, framed};
use self::table::{Fates, compare, explained, fate, rows};
use crate::support::{End, Nonce, Pair, deliver, hmac, key, secret, transcript};

/// Makes the table of contents: one test for each attack, and the names of all.
macro_rules! contents {
    ($($attack:ident: $name:literal,)*) => {
        const CONTENTS: &[&str] = &[$($name),*];

        mod ends_as_the_book_tells {
            $(
                #[test]
                fn $attack() {
                    super::compare($name, &super::$attack());
                }
            )*
        }
    };
}

contents! {
    replay: "Replay",
    rogue_server: "Rogue server",
    oracle_session: "Oracle session",
    reflection: "Reflection",
    selfie: "Selfie",
    rerouting: "Rerouting",
    mafia_fraud: "Mafia fraud",
    identity_misbinding: "Identity misbinding",
    downgrade: "Downgrade",
    message_splicing: "Message splicing",
    chosen_protocol: "Chosen protocol",
    equivalent_hmac_keys: "Equivalent HMAC keys",
    session_hijacking: "Session hijacking",
    truncation: "Truncation",
    stream_modification: "Stream modification",
    slowloris: "Slowloris",
    enumeration: "Enumeration of key ids",
    insider_as_client: "Insider posing as another client",
    insider_as_server: "Insider posing as the server",
    key_compromise_impersonation: "Key-compromise impersonation",
    secret_learnt_later: "Secret learnt later",
    offline_guessing: "Offline guessing",
    pre_play: "Pre-play",
    reset: "Reset",
}

#[test]
fn every_row_of_the_book_has_a_test_and_a_paragraph_and_no_test_lacks_a_row() {
    let told: Vec<_> = rows().iter().map(|row| row[0]).collect();
    assert_eq!(told, CONTENTS);
    assert_eq!(explained(), CONTENTS);
}

// Somebody without a secret.

/// A login is recorded, and either side of it is played again to the other.
fn replay() -> Fates {
    Fates::of(|wire| {
        let program = Program::on(wire);
        let (mut client, mut server) = (program.client(), program.server());
        let recorded = wire.relay(&mut client, &mut server);
        assert!(client.accepts() && server.accepts());

        let again = |role, mut honest: Honest| {
            wire.play(role, &recorded, &mut honest);
            honest.accepts()
        };
        let as_client = again(Role::Client, program.server());
        // A client of the recipe does not look at what it is sent.
        as_client || wire != Wire::Recipe && again(Role::Server, program.client())
    })
}

/// Somebody without the secret listens where the server should.
fn rogue_server() -> Fates {
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
        Wire::Native | Wire::Protected => {
            let genuine = genuine_last_word(wire, 2);
            let accepting = |tag: &[u8]| [b"A", tag].concat();
            let attempts: [&Forgery<'_>; 6] = [
                &|_, _| accepting(&[0; 32]),
                &|_, f2| accepting(&f2[41..]),
                &|_, _| genuine.clone(),
                &|_, f2| accepting(&denial_of(f2)[1..]),
                &|f1, f2| {
                    let kc =
                        by_hand::expand(&by_hand::prk(&secret("other")), by_hand::CLIENT_PROOF);
                    accepting(&by_hand::client_proof(&kc, f1, &f2[..41]))
                },
                &|f1, f2| by_hand::acceptance(&secret("other"), f1, f2),
            ];
            attempts.into_iter().any(|forgery| {
                let mut client = Program::on(wire).client();
                let f2 = answer_to(&mut client, &[7; 32]);
                client.hears(&forgery(&by_hand::f1(&[7; 32]), &f2));
                client.accepts()
            })
        }
    })
}

/// What a server is to prove itself with, made of the last two messages before it.
type Forgery<'a> = dyn Fn(&[u8], &[u8]) -> Vec<u8> + 'a;

/// With what a server that knows the secret has proved itself to another client.
fn genuine_last_word(wire: Wire, flight: usize) -> Vec<u8> {
    let program = Program::on(wire);
    let (mut client, mut server) = (program.client(), program.server());
    let recorded = wire.relay(&mut client, &mut server);
    assert!(client.accepts() && server.accepts());
    recorded[flight].clone()
}

/// What a server that knows the secret answers to an F2 that was meant for another.
fn denial_of(f2: &[u8]) -> Vec<u8> {
    let mut server = Program::on(Wire::Native).server();
    server.says(40);
    server.hears(f2);
    let denial = server.says(33);
    assert_eq!(denial[0], b'D');
    denial
}

/// What has to be proved to one program, another is made to prove.
fn oracle_session() -> Fates {
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
            Wire::Native | Wire::Protected => {
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

/// A program is sent on the same connection what it has just sent itself.
fn reflection() -> Fates {
    Fates::of(|wire| {
        let (mut server, mut client) = (Program::on(wire).server(), Program::on(wire).client());
        let (_, len) = wire.flights()[0];
        let own = server.says(len);
        server.hears(&own);

        let client_accepts = match wire {
            // It checks nothing that could be reflected.
            Wire::Recipe => false,
            Wire::Multiprocessing => {
                let (_, own) = digest_and_challenge(&mut client);
                client.hears(&own);
                client.accepts()
            }
            Wire::Native | Wire::Protected => {
                let own = answer_to(&mut client, &[7; 32]);
                client.hears(&[b"A", &own[41..]].concat());
                client.accepts()
            }
        };
        client_accepts || server.accepts()
    })
}

/// What a client of `multiprocessing` answers to a challenge, and, once it is welcomed whatever
/// that was, its own challenge.
fn digest_and_challenge(client: &mut Honest) -> (Vec<u8>, Vec<u8>) {
    client.hears(&challenge("{sha256}", &[7; 40]));
    let digest = client.says(44);
    client.hears(&framed(b"#WELCOME#"));
    (digest, client.says(63))
}

/// What a native client answers to this nonce.
fn answer_to(client: &mut Honest, nonce: &[u8]) -> Vec<u8> {
    client.hears(&by_hand::f1(nonce));
    client.says(73)
}

/// Whether these two accept each other when somebody on the line joins them.
fn joined(client: &Program, server: &Program) -> bool {
    let wire = client.wire;
    let (mut client, mut server) = (client.client(), server.server());
    wire.relay(&mut client, &mut server);
    let (client, server) = (client.accepts(), server.accepts());
    client && server
}

/// A node that is client and server is joined to itself.
fn selfie() -> Fates {
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

/// A client is led to another server than the one that it means, under the same secret.
fn rerouting() -> Fates {
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

/// A login is passed on unchanged between two lines, and its end is then used by whoever passed
/// it on.
fn mafia_fraud() -> Fates {
    let relayed = |client: &Program, server: &Program| {
        let wire = client.wire;
        let (mut client, mut server) = (client.client(), server.server());
        wire.relay(&mut client, &mut server);
        server.hears(&wire.wrapped(FORGED));
        let login = server.ends();
        // Both find the relay out, or neither does.
        assert_eq!(client.accepts(), login.is_ok());
        login.is_ok_and(|login| login.received == FORGED)
    };
    let protected = Program::on(Wire::Protected);
    let native = Program::on(Wire::Native);
    Fates::of(|wire| relayed(&Program::on(wire), &Program::on(wire)))
        .with("in mode 1", relayed(&protected, &protected))
        .with("with a channel binding", {
            let [one, other] = [[1; 32], [2; 32]];
            assert!(joined(&native.clone().over(one), &native.clone().over(one)));
            relayed(&native.clone().over(one), &native.clone().over(other))
        })
}

/// A client is renamed on the way, to a server that knows the same secret under either name.
fn identity_misbinding() -> Fates {
    let one_secret_for_all = Pair {
        server_key: Some(key("shared")),
        ..Pair::of(&key("shared").with_id("alice").unwrap())
    };
    assert!(one_secret_for_all.run().server.is_accepted());
    let renamed = one_secret_for_all.run_through(|flight, f2| {
        if flight == Flight::Response {
            f2[9..14].copy_from_slice(b"carol");
        }
    });
    Fates::of_native(renamed.server.is_accepted())
}

/// The two ends are told on the way that the other wants less than it does.
fn downgrade() -> Fates {
    let multiprocessing = ["{md5}", "{sha384}"].into_iter().any(|digest| {
        let program = Program::on(Wire::Multiprocessing);
        let (mut client, mut server) = (program.client(), program.server());
        let random = &server.says(63)[23..];
        client.hears(&challenge(digest, random));
        if digest == "{md5}" {
            // In the weaker digest an answer would be enough.
            let answered = !client.says(1).is_empty();
            return answered || client.accepts();
        }
        server.hears(&client.says(60));
        server.accepts()
    });

    let native = [Mode::Protect, Mode::Authenticate].into_iter().any(|mode| {
        let pair = Pair {
            client_mode: mode,
            server_mode: Mode::Protect,
            ..Pair::of(&key("shared"))
        };
        let run = pair.run_through(|flight, octets| match flight {
            Flight::Challenge => octets[7] = 0,
            Flight::Response => octets[7] = 1,
            _ => {}
        });
        run.client.is_accepted() || run.server.is_accepted()
    });
    Fates {
        multiprocessing: fate(multiprocessing),
        ..Fates::of_native(native)
    }
}

/// The border between two fields is moved by an octet.
fn message_splicing() -> Fates {
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
    let spliced = any_id.run_through(|flight, f2| {
        if flight == Flight::Response {
            f2[8] = 7;
            // The last of the nonce makes room, and the tag stays where it is due.
            f2.remove(48);
        }
    });
    assert!(!matches!(spliced.server, End::Waiting(_)));
    Fates {
        multiprocessing: fate(server.accepts()),
        ..Fates::of_native(spliced.server.is_accepted())
    }
}

/// A client of another protocol, under the same secret, is made to compute what is wanted here.
fn chosen_protocol() -> Fates {
    // They answer, under the bare secret.
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

/// What a client of this wire, which is not the native one, makes of a challenge.
fn asked_of(wire: Wire, challenge: &[u8]) -> Vec<u8> {
    let mut client = Program::on(wire).client();
    if wire == Wire::Recipe {
        client.hears(challenge);
        client.says(32)
    } else {
        client.hears(&stage::challenge("{sha256}", challenge));
        client.says(44)[12..].to_vec()
    }
}

/// What is made of F1 for a proof.
type Attempt<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// Whether a native server accepts what is made of the answers of such a client: the proof, the
/// key of the proof, or the key above that.
fn opens_native(oracle: Wire) -> bool {
    let label = by_hand::CLIENT_PROOF;
    let padded = [label, &[1; 6]].concat();
    let f2 = by_hand::untagged_f2(&[7; 32]);
    let proof = |kc: &[u8], f1: &[u8]| by_hand::client_proof(kc, f1, &f2).to_vec();
    let attempts: [&Attempt<'_>; 3] = [
        &|f1| asked_of(oracle, &f1[8..]),
        &|f1| proof(&asked_of(oracle, &padded), f1),
        &|f1| proof(&by_hand::expand(&asked_of(oracle, &padded), label), f1),
    ];
    attempts.into_iter().any(|attempt| {
        let mut server = Program::on(Wire::Native).server();
        let f1 = server.says(40);
        server.hears(&[&f2[..], &attempt(&f1)].concat());
        server.accepts()
    })
}

/// The holder of another secret is accepted, since the two are one key to HMAC.
fn equivalent_hmac_keys() -> Fates {
    Fates::of(|wire| {
        let program = Program::on(wire);
        let with_zero = [&program.secret[..], &[0]].concat();
        joined(&program.clone().knowing(with_zero), &program)
    })
}

// Somebody on the line, after the login.

/// The line is taken over from a client that has logged in and is at work.
fn session_hijacking() -> Fates {
    let taken_over = |wire: Wire| {
        let program = Program::on(wire);
        let (mut client, mut server) = (program.client(), program.server());
        wire.relay(&mut client, &mut server);
        let [first, ..] = wire.requests_of(&mut client);
        server.hears(&[first, wire.wrapped(FORGED)].concat());
        let received = server.ends().unwrap().received;
        assert!(received.starts_with(REQUESTS[0]));
        received.ends_with(FORGED)
    };
    Fates::of(taken_over).with("in mode 1", taken_over(Wire::Protected))
}

/// The line is cut between two requests, and the server takes that for the end.
fn truncation() -> Fates {
    let cut = |wire: Wire| {
        let program = Program::on(wire);
        let (mut client, mut server) = (program.client(), program.server());
        wire.relay(&mut client, &mut server);
        let [first, ..] = wire.requests_of(&mut client);
        server.hears(&first);
        let login = server.ends().unwrap();
        assert_eq!(login.received, REQUESTS[0]);
        login.end.is_ok()
    };
    Fates::of(cut).with("in mode 1", cut(Wire::Protected))
}

/// Requests are left out, swapped and repeated.
fn stream_modification() -> Fates {
    let modified = |wire: Wire| {
        let arrives = |order: &[usize]| {
            let program = Program::on(wire);
            let (mut client, mut server) = (program.client(), program.server());
            wire.relay(&mut client, &mut server);
            let [first, second, end] = wire.requests_of(&mut client);
            let sent = [first, second];
            for &at in order {
                server.hears(&sent[at]);
            }
            server.hears(&end);
            let expected: Vec<_> = order.iter().flat_map(|&at| *REQUESTS[at]).collect();
            let login = server.ends().unwrap();
            login.received == expected && login.end.is_ok()
        };
        assert!(arrives(&[0, 1]));
        [&[1][..], &[1, 0], &[0, 0, 1]].into_iter().any(arrives)
    };
    Fates::of(modified).with("in mode 1", modified(Wire::Protected))
}

// A stranger at the door.

/// Somebody connects, sends next to nothing and stays, and the next in the queue is not served.
fn slowloris() -> Fates {
    let secret = secret("shared");
    let recipe = |stream: &mut dyn Stream| drop(cookbook::server_authenticate(stream, &secret));
    let multiprocessing =
        |stream: &mut dyn Stream| drop(multiprocessing::server_authenticate(stream, &secret));
    let native = |stream: &mut dyn Stream| drop(server_authenticate(stream, &key("shared")));

    let told = |login: &Login| {
        let [bare, timed] = [None, Some(LOGIN_TIME)].map(|time| fate(blocks(time, login)));
        format!("{bare}; {timed} with a deadline")
    };
    Fates {
        recipe: told(&recipe),
        multiprocessing: told(&multiprocessing),
        ..Fates::of_native(blocks(None, &native))
    }
    .with("with a deadline", blocks(Some(LOGIN_TIME), &native))
    .with("behind a `Listener`", blocks_a_listener())
}

const LOGIN_TIME: Duration = Duration::from_millis(20);

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// What a server does with each connection.
type Login<'l> = dyn Fn(&mut dyn Stream) + Sync + 'l;

/// Whether an honest client waits in vain where a slow one is before it, and each login is given
/// so much time.
fn blocks(time: Option<Duration>, login: &Login) -> bool {
    // Where the slow one is given all the time it wants, waiting longer would change nothing.
    let patience = time.map_or(Duration::from_millis(100), |_| LIMIT);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = || TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let (mut slow, mut honest) = (connect(), connect());
    slow.write_all(b"C").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let (mut stream, _) = socket.accept().unwrap();
                match time {
                    None => login(&mut stream),
                    Some(time) => login(&mut Deadline::new(&stream, time).unwrap()),
                }
            }
        });
        let mut is_served_within = |time| {
            honest.set_read_timeout(Some(time)).unwrap();
            honest.read_exact(&mut [0; 32]).is_ok()
        };
        let served = is_served_within(patience);
        drop(slow);
        assert!(served || is_served_within(LIMIT));
        // So that its own login ends too.
        drop(honest);
        !served
    })
}

/// Whether an honest client is kept out by more silent ones than may be pending, which have much
/// time.
fn blocks_a_listener() -> bool {
    const MAX_PENDING: usize = 4;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let connect = || TcpStream::connect(address).unwrap();
    let silent: Vec<_> = (0..2 * MAX_PENDING).map(|_| connect()).collect();
    let options = ListenerOptions::new()
        .deadline(2 * LIMIT)
        .max_pending(MAX_PENDING);
    let server = Server::new(key("shared"));
    let _listener = Listener::with_options(socket, server, options).unwrap();
    let honest = connect();
    let login = Client::new(key("shared")).authenticate_within(&honest, LIMIT);

    // The cap was reached: the oldest was given up.
    let mut oldest = &silent[0];
    oldest.set_read_timeout(Some(LIMIT)).unwrap();
    oldest.read_to_end(&mut Vec::new()).unwrap();
    login.is_err()
}

/// Whether a key id exists is read from the answer to a client that has no key.
fn enumeration() -> Fates {
    let answered = |key_id| {
        let program = Program::on(Wire::Native).called("worker-7");
        let mut server = program.server();
        let mut stranger = program.knowing(secret("other")).called(key_id).client();
        let f1 = server.says(40);
        stranger.hears(&f1);
        server.hears(&stranger.says(73 + key_id.len()));
        let answer = server.says(1000);
        assert!(!server.accepts());
        answer
    };
    Fates::of_native(answered("worker-7") != answered("worker-8"))
}

// Somebody who holds a secret.

/// One client logs in under the name of another.
fn insider_as_client() -> Fates {
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

/// A false server that knows this secret, to a client that trusts its own.
fn is_served_by(client: &Program, known: &[u8]) -> bool {
    let mut honest = client.client();
    if client.wire == Wire::Native {
        let f1 = by_hand::f1(&[7; 32]);
        honest.hears(&f1);
        let f2 = honest.says(73 + client.key_id.len());
        honest.hears(&by_hand::acceptance(known, &f1, &f2));
    } else {
        let mut server = Program::on(client.wire).knowing(known).server();
        client.wire.relay(&mut honest, &mut server);
    }
    honest.accepts()
}

/// One client is the server to another.
fn insider_as_server() -> Fates {
    let parent = key("parent");
    let [alices, carols] = ["alice", "carol"].map(|id| parent.child_secret(id).unwrap());
    let alice = Program::on(Wire::Native).knowing(alices).called("alice");
    Fates::of(|wire| is_served_by(&Program::on(wire), &secret("shared")))
        .with("with child secrets", is_served_by(&alice, carols.as_ref()))
}

/// Whoever took a client's secret is the server to that same client.
fn key_compromise_impersonation() -> Fates {
    let alices = key("parent").child_secret("alice").unwrap();
    let alice = Program::on(Wire::Native).knowing(&alices).called("alice");
    Fates::of(|wire| is_served_by(&Program::on(wire), &secret("shared")))
        .with("with child secrets", is_served_by(&alice, alices.as_ref()))
}

/// A login is recorded today, and its session computed when the secret has become known.
fn secret_learnt_later() -> Fates {
    let computed = |wire: Wire| {
        let program = Program::on(wire);
        let (mut client, mut server) = (program.client(), program.server());
        let recorded = wire.relay(&mut client, &mut server);
        let [request, ..] = wire.requests_of(&mut client);
        let exported = server.ends().unwrap().exported.unwrap();

        let x = by_hand::session(&program.secret, &recorded[0], &recorded[1]);
        let output = by_hand::expand(&x, b"countersign/1 export\x08the book\0\0\0\x20");
        output == exported
            && (wire == Wire::Native || by_hand::first_record(&x, REQUESTS[0]) == request)
    };
    Fates::of_native(computed(Wire::Native)).with("in mode 1", computed(Wire::Protected))
}

/// Guesses at a weak secret are tried against one recorded login.
fn offline_guessing() -> Fates {
    const GUESSES: [&[u8]; 3] = [
        b"open sesame, please",
        b"correct horse battery staple",
        b"swordfish swordfish",
    ];
    let guessed = |wire: Wire| {
        let program = Program::on(wire).knowing("correct horse battery staple");
        let (mut client, mut server) = (program.client(), program.server());
        let recorded = wire.relay(&mut client, &mut server);
        assert!(client.accepts() && server.accepts());
        let (asked, answered) = (&recorded[0][..], &recorded[1][..]);
        GUESSES.into_iter().any(|guess| match wire {
            Wire::Recipe => hmac(guess, asked) == answered,
            Wire::Multiprocessing => hmac(guess, &asked[15..]) == answered[12..],
            Wire::Native | Wire::Protected => {
                let (untagged, tag) = answered.split_at(41);
                let kc = by_hand::expand(&by_hand::prk(guess), by_hand::CLIENT_PROOF);
                by_hand::client_proof(&kc, asked, untagged) == tag
            }
        })
    };
    Fates::of(guessed).with("in mode 1", guessed(Wire::Protected))
}

// A server whose generator is broken.

/// What the broken generator gives, each time.
const FORESEEN: u8 = 0x50;

/// A client is asked today what a server will ask tomorrow, and is not there when it does.
fn pre_play() -> Fates {
    let today = |wire: Wire| {
        let asked = match wire {
            Wire::Recipe => vec![FORESEEN; 32],
            Wire::Multiprocessing => challenge("{sha256}", &[FORESEEN; 40]),
            Wire::Native => [b"CSIGN1S\0", &[FORESEEN; 32][..]].concat(),
            Wire::Protected => [b"CSIGN1S\x01", &[FORESEEN; 32][..]].concat(),
        };
        let mut client = Program::on(wire).client();
        client.hears(&asked);
        let (_, len) = wire.flights()[1];
        let answered = client.says(len);
        (asked, answered)
    };
    let (f1, f2) = today(Wire::Protected);
    let logged_in = session_of_server(&f1, &f2).is_some();
    if logged_in {
        let of_another = by_hand::session(&secret("other"), &f1, &f2);
        for record in [
            Wire::Protected.wrapped(FORGED),
            [&[0, 8], &FORGED[..], &f2[41..57]].concat(),
            by_hand::first_record(&of_another, FORGED),
        ] {
            assert!(!is_opened(&f1, &f2, &record, FORGED));
        }
        let known = by_hand::session(&secret("shared"), &f1, &f2);
        let record = by_hand::first_record(&known, FORGED);
        assert!(is_opened(&f1, &f2, &record, FORGED));
    }
    Fates::of(|wire| {
        let (asked, answered) = today(wire);
        is_content(wire, &asked, &answered)
    })
    .computed()
    .with("in mode 1", logged_in)
}

/// A server asks again what it has asked before, and is told what it was told before.
fn reset() -> Fates {
    let recorded = |wire: Wire| {
        let program = Program::on(wire);
        let (mut client, mut server) = (program.client(), program.server());
        let flights = wire.relay(&mut client, &mut server);
        (flights, wire.requests_of(&mut client))
    };
    Fates::of(|wire| {
        let (flights, _) = recorded(wire);
        is_content(wire, &flights[0], &flights[1])
    })
    .computed()
    .with("in mode 1", {
        let (flights, [request, ..]) = recorded(Wire::Protected);
        is_opened(&flights[0], &flights[1], &request, REQUESTS[0])
    })
}

/// Whether a server that came to ask this is content with that answer: a native one by its own
/// judgement, the others by what they would compare.
fn is_content(wire: Wire, asked: &[u8], answered: &[u8]) -> bool {
    let secret = secret("shared");
    match wire {
        Wire::Recipe => answered == hmac(&secret, asked),
        Wire::Multiprocessing => {
            let digest = hmac(&secret, &asked[15..]);
            answered == framed(&[b"{sha256}", &digest[..]].concat())
        }
        Wire::Native | Wire::Protected => session_of_server(asked, answered).is_some(),
    }
}

/// Whether such a native server, once it accepts, takes this record for the first request.
fn is_opened(f1: &[u8], f2: &[u8], record: &[u8], request: &[u8]) -> bool {
    session_of_server(f1, f2).is_some_and(|mut session| {
        let (_, mut opener) = session.records().unwrap();
        opener.open(record) == Ok(Opened::Data(request))
    })
}

/// The session of a native server whose generator gave it the nonce of this F1.
fn session_of_server(f1: &[u8], f2: &[u8]) -> Option<Session> {
    let config = server::Config::new(Prologue::EMPTY);
    let mode = if f1[7] == 0 {
        Mode::Authenticate
    } else {
        Mode::Protect
    };
    let generator = &mut Nonce(f1[8..].try_into().unwrap());
    let (challenge, state) = config.start(transcript(), mode, generator).unwrap();
    assert_eq!(challenge.as_ref(), f1);
    let (_, outcome) = deliver(state, f2).unwrap().verify(Some(&key("shared")));
    outcome.ok()
}
