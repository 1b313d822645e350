//! Messages that are replayed, or delivered in place of others.

use countersign::Key;
use countersign::handshake::{Error, Incompatible, Message};

use crate::support::{
    AnyMode, Draws, End, MESSAGES, Pair, Run, deliver, foreign, in_every_mode, key, wrong_proof,
};

/// Records a handshake. Then runs another, with the same nonces or fresh ones, in which the
/// recorded message replaces the same message. The server's private key of mode 2 is fresh.
fn replay(
    mode: impl AnyMode,
    message: Message,
    servers_repeats: bool,
    clients_repeats: bool,
) -> Run {
    let mut pair = Pair::of(&key("a"));
    let recorded = pair.run_in(mode, mode);
    recorded.assert_accepted();
    let at = MESSAGES.iter().position(|it| *it == message).unwrap();
    if !servers_repeats {
        pair.server_draws = Draws::from(0x51);
    }
    if !clients_repeats {
        pair.client_draws = Draws::from(0xc1);
    }
    pair.server_private = Draws::from(0xe6);
    pair.run_with_in(mode, message, &recorded.sent[at])
}

#[test]
fn a_replayed_response_is_refused_if_the_servers_nonce_is_fresh() {
    fn in_mode(mode: impl AnyMode) {
        for clients_repeats in [false, true] {
            let run = replay(mode, Message::RESPONSE, false, clients_repeats);
            run.assert_denied(b"");
            let run = replay(mode, Message::RESPONSE, true, clients_repeats);
            assert!(run.server.is_accepted(), "{run:?}");
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_replayed_verdict_is_refused_if_either_nonce_is_fresh() {
    fn in_mode<M: AnyMode>(mode: M) {
        for (servers_repeats, clients_repeats) in [(false, false), (false, true), (true, false)] {
            let run = replay(mode, Message::VERDICT, servers_repeats, clients_repeats);
            assert_eq!(run.client.refusal(), Some(Error::ServerNotAuthentic));
        }
        let run = replay(mode, Message::VERDICT, true, true);
        // Both agree, unless the server has another private key than in the recorded handshake.
        assert!(run.client.is_accepted() && run.server.is_accepted());
        let agree = run.client.exported() == run.server.exported();
        assert_eq!(agree, M::NUMBER != 2);
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_message_is_refused_in_place_of_another() {
    fn in_mode<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key("a"));
        let honest = pair.run_in(mode, mode);
        honest.assert_accepted();
        let [f1, f2, f3] = honest.messages();
        let (untagged, tc) = f2.split_at(f2.len() - 32);
        let (accepted, ts) = f3.split_at(f3.len() - 32);
        let echo = Incompatible::Verdict(b'C').into();
        let role = |byte| Some(Incompatible::Role(byte).into());

        for (name, instead, at_client) in [
            ("the client's own F2", f2, Some(echo)),
            ("F1", f1, Some(echo)),
            (
                "Tc as Ts",
                &[accepted, tc].concat(),
                Some(Error::ServerNotAuthentic),
            ),
        ] {
            let run = pair.run_with_in(mode, Message::VERDICT, instead);
            assert_eq!(run.client.refusal(), at_client, "{name} in place of F3");
        }
        for (name, instead, at_server) in [
            ("the server's own F1", f1, role(b'S')),
            ("F3", f3, Some(foreign(Message::RESPONSE, f3).into())),
            ("Ts as Tc", &[untagged, ts].concat(), Some(wrong_proof(b""))),
        ] {
            let run = pair.run_with_in(mode, Message::RESPONSE, instead);
            assert_eq!(run.server.refusal(), at_server, "{name} in place of F2");
        }
        for (name, instead, at_client) in [
            ("F2", f2, role(b'C')),
            ("F3", f3, Some(foreign(Message::CHALLENGE, f3).into())),
        ] {
            let run = pair.run_with_in(mode, Message::CHALLENGE, instead);
            assert_eq!(run.client.refusal(), at_client, "{name} in place of F1");
        }
    }

    in_every_mode!(in_mode);
}

/// Which end receives which message, among two clients and two servers.
#[derive(Clone, Copy, Debug)]
struct Routing {
    /// For each client, the server whose F1 it receives.
    challenge: [usize; 2],
    /// For each server, the client whose F2 it receives.
    response: [usize; 2],
    /// For each client, the server whose F3 it receives.
    verdict: [usize; 2],
}

/// The delivery of a message to the client or server of this number.
type Delivery = (Message, usize);

impl Routing {
    fn all() -> impl Iterator<Item = Self> {
        (0..64).map(|choices| {
            let from = |bit: usize| [choices >> bit & 1, choices >> (bit + 1) & 1];
            Self {
                challenge: from(0),
                response: from(2),
                verdict: from(4),
            }
        })
    }

    /// What must have been delivered before the sender could send this message.
    fn needs(&self, (message, to): Delivery) -> Vec<Delivery> {
        match message {
            Message::CHALLENGE => vec![],
            Message::RESPONSE => vec![(Message::CHALLENGE, self.response[to])],
            Message::VERDICT => vec![
                (Message::CHALLENGE, to),
                (Message::RESPONSE, self.verdict[to]),
            ],
            other => unreachable!("{other} is of another protocol"),
        }
    }

    fn orders(&self) -> Vec<Vec<Delivery>> {
        let mut orders = vec![vec![]];
        for _ in 0..6 {
            orders = (orders.iter())
                .flat_map(|order| {
                    let due = MESSAGES
                        .iter()
                        .flat_map(|message| [(*message, 0), (*message, 1)])
                        .filter(|next| {
                            let ready = |needed| order.contains(needed);
                            !order.contains(next) && self.needs(*next).iter().all(ready)
                        });
                    due.map(|next| [&order[..], &[next]].concat())
                })
                .collect();
        }
        orders
    }

    /// Runs both handshakes in this order. Returns the sessions of the clients and of the servers.
    fn run(&self, mode: impl AnyMode, order: &[Delivery], key: &Key) -> [[Option<[u8; 32]>; 2]; 2] {
        let pairs = [1, 2].map(|at| Pair {
            client_draws: Draws::from(0xc0 + at),
            server_draws: Draws::from(0x50 + at),
            server_private: Draws::from(0xe0 + at),
            ..Pair::of(key)
        });
        let mut clients = pairs.each_ref().map(|pair| Some(pair.client_in(mode)));
        let mut servers = pairs.each_ref().map(|pair| Some(pair.server_in(mode)));
        let challenges = servers.each_ref().map(|it| it.as_ref().unwrap().0.clone());
        let mut responses = [None, None];
        let mut awaiting_verdict = [None, None];
        let mut verdicts = [None, None];
        let mut sessions = [[None; 2]; 2];
        let session = |end: End| end.is_accepted().then(|| end.exported());
        for &(message, to) in order {
            match message {
                Message::CHALLENGE => {
                    let challenge = &challenges[self.challenge[to]];
                    let next = deliver(clients[to].take().unwrap(), challenge).unwrap();
                    responses[to] = Some(next.response().to_vec());
                    awaiting_verdict[to] = Some(next);
                }
                Message::RESPONSE => {
                    let response = responses[self.response[to]].as_ref().unwrap();
                    let (_, state) = servers[to].take().unwrap();
                    let (verdict, end) = pairs[to].verdict(state, response);
                    verdicts[to] = Some(verdict);
                    sessions[1][to] = session(end);
                }
                Message::VERDICT => {
                    let verdict = verdicts[self.verdict[to]].as_ref().unwrap();
                    let outcome = deliver(awaiting_verdict[to].take().unwrap(), verdict);
                    sessions[0][to] = session(end_of(mode, outcome));
                }
                other => unreachable!("{other} is of another protocol"),
            }
        }
        sessions
    }
}

fn end_of<M: AnyMode>(_: M, outcome: Result<M::Established, Error>) -> End {
    outcome.map_or_else(End::Refused, M::accepted)
}

#[test]
fn of_all_ways_to_route_the_messages_of_two_pairs_only_straight_ones_succeed() {
    fn in_mode(mode: impl AnyMode) {
        let key = key("a");
        let mut whole_pairs = 0;
        for routing in Routing::all() {
            let orders = routing.orders();
            assert!(!orders.is_empty());
            for order in orders {
                let [clients, servers] = routing.run(mode, &order, &key);
                let context = format!("{mode:?} {routing:?} {order:?}");
                for (server, session) in servers.iter().enumerate() {
                    let client = routing.response[server];
                    let straight = routing.challenge[client] == server;
                    assert_eq!(session.is_some(), straight, "server {server}: {context}");
                }
                for (client, session) in clients.iter().enumerate() {
                    let server = routing.challenge[client];
                    let straight =
                        routing.verdict[client] == server && routing.response[server] == client;
                    assert_eq!(session.is_some(), straight, "client {client}: {context}");
                    if straight {
                        assert_eq!(*session, servers[server], "{context}");
                        whole_pairs += 1;
                    }
                }
                // Each client has the session of its server, as asserted above. So if the pairs
                // shared a session, two ends of one role would share it.
                for [one, other] in [clients, servers] {
                    assert!(one.is_none() || one != other, "{context}");
                }
            }
        }
        assert!(whole_pairs > 0);
    }

    in_every_mode!(in_mode);
}
