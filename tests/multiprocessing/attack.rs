//! The attack that succeeds against this handshake and fails against the native one: a listener
//! without the key lets the clients answer each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use countersign::compat::multiprocessing::{KnowsAuthkey, Problem};
use countersign::{Client, Error, Session};

use super::{AUTHKEY, CHALLENGE, Digest, WELCOME, framed, problem, unframe};
use crate::failures::is_impostor;
use crate::support::{Driver, Peer, Wire, key};

type Outcomes = Arc<Mutex<Vec<Result<KnowsAuthkey, Error>>>>;

/// Runs clients against a listener that has no key, and needs none.
///
/// It sends `challenge` to the first client, and returns that client's answer. The client's own
/// challenge goes to the next client, whose answer is the one to send back. Each outcome is added
/// to `outcomes`, the last client's first.
fn attack(driver: Driver, clients: usize, challenge: &[u8], outcomes: &Outcomes) -> Vec<u8> {
    struct NoKey<F> {
        challenge: Option<Vec<u8>>,
        clients_answer: Arc<Mutex<Vec<u8>>>,
        ask_the_next: F,
    }

    impl<F: Fn(&[u8]) -> Vec<u8>> Peer for NoKey<F> {
        fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
            if let Some(challenge) = self.challenge.take() {
                return framed(challenge);
            }
            match unframe(written) {
                Some(challenge) if challenge.starts_with(CHALLENGE) => {
                    framed((self.ask_the_next)(&challenge))
                }
                Some(answer) if answer.starts_with(b"{") => {
                    *self.clients_answer.lock().unwrap() = answer;
                    framed(WELCOME)
                }
                _ => vec![],
            }
        }
    }

    let clients_answer = Arc::default();
    let mut wire = Wire::to(NoKey {
        challenge: Some(challenge.to_vec()),
        clients_answer: Arc::clone(&clients_answer),
        ask_the_next: {
            let outcomes = Arc::clone(outcomes);
            move |challenge: &[u8]| match clients {
                1 => [b"{sha256}", &[0; 32][..]].concat(),
                // This runs within the client's call below, whose thread may be in a runtime.
                _ => attack(Driver::Blocking, clients - 1, challenge, &outcomes),
            }
        },
    });
    let outcome = driver.multiprocessing_client(&mut wire, AUTHKEY);
    outcomes.lock().unwrap().push(outcome);
    let answer = clients_answer.lock().unwrap();
    answer.clone()
}

#[test]
fn a_listener_without_the_key_is_accepted_by_every_client_but_the_last() {
    for &driver in Driver::ALL {
        for clients in [1, 2, 3] {
            let outcomes = Arc::default();
            attack(driver, clients, &Digest::Sha256.challenge(), &outcomes);
            let mut outcomes = outcomes.lock().unwrap().drain(..).collect::<Vec<_>>();
            assert_eq!(outcomes.len(), clients);
            let last = outcomes.remove(0);
            assert_eq!(problem(last), Problem::WrongDigest);
            for accepted in outcomes {
                // The client has accepted the attacker.
                let _: KnowsAuthkey = accepted.unwrap();
            }
        }
    }
}

/// Runs a native client against a server that has no key. The server sends `nonce` in F1, and in F3
/// what `verdict` makes of F2.
fn native_client(
    driver: Driver,
    nonce: &[u8],
    verdict: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
) -> Result<Session, Error> {
    struct NoKey<F> {
        f1: Option<Vec<u8>>,
        verdict: F,
    }

    impl<F: Fn(&[u8]) -> Vec<u8>> Peer for NoKey<F> {
        fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
            if let Some(f1) = self.f1.take() {
                return f1;
            }
            let f2: Vec<u8> = written.drain(..).collect();
            if f2.is_empty() {
                vec![]
            } else {
                (self.verdict)(&f2)
            }
        }
    }

    let f1 = Some([b"CSIGN1S\0", nonce].concat());
    let client = Client::new(key("one secret"));
    driver.client(&mut Wire::to(NoKey { f1, verdict }), &client)
}

#[test]
fn in_the_native_handshake_no_relay_between_two_clients_replaces_the_secret() {
    /// F2 without a key id.
    const F2_LEN: usize = 73;

    // The second client's challenge: the first's nonce, its tag, or the beginning of its F2.
    let asked = [9..41, 41..73, 0..32];
    // The first client's verdict: every part of what the two clients sent, either as it is or as
    // the proof behind an acceptance.
    let answers = (0..=2 * F2_LEN - 33).flat_map(|at| [(at, false), (at, true)]);
    for ((at, as_proof), asked) in answers.flat_map(|answer| asked.clone().map(|it| (answer, it))) {
        for &driver in Driver::ALL {
            let outcome = native_client(driver, &[0x50; 32], {
                let asked = asked.clone();
                move |first: &[u8]| {
                    assert_eq!(first.len(), F2_LEN);
                    let seconds = Arc::<Mutex<Vec<u8>>>::default();
                    let outcome = native_client(Driver::Blocking, &first[asked.clone()], {
                        let (first, seconds) = (first.to_vec(), Arc::clone(&seconds));
                        move |second: &[u8]| {
                            *seconds.lock().unwrap() = second.to_vec();
                            // The verdict is the first client's tag of the same challenge.
                            [b"A", &first[41..]].concat()
                        }
                    });
                    assert!(is_impostor(&outcome.unwrap_err()));
                    let said = [&seconds.lock().unwrap()[..], first].concat();
                    if as_proof {
                        [b"A", &said[at..at + 32]].concat()
                    } else {
                        said[at..at + 33].to_vec()
                    }
                }
            });
            let error = outcome.unwrap_err();
            assert!(
                !as_proof || is_impostor(&error),
                "{asked:?}, {at}: {error:?}"
            );
        }
    }
}
