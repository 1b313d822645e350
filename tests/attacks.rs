//! What an attacker on the line, a member of the group or a careless caller can try, against the
//! core in memory.
//!
//! Where a refusal could have another cause than the one it is there for, a control beside it
//! shows that the same steps succeed without that cause.

use countersign::handshake::{
    Error, Flight, Hint, Incompatible, InvalidInput, Mode, Progress, Prologue, Receive, Refusal,
    client, server,
};
use countersign::{Binding, Key, KeyId, Session};

use crate::support::{
    Draws, End, Fed, NoEntropy, Pair, Run, deliver, feed, hmac, key, secret, transcript,
};

const FLIGHTS: [Flight; 3] = [Flight::Challenge, Flight::Response, Flight::Verdict];
const MODES: [Mode; 2] = [Mode::Authenticate, Mode::Protect];

/// The one F3 of a server that denies.
const DENIAL: [u8; 33] = *b"D\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A key with a key id of this many octets.
fn key_with_id_of(len: usize) -> Key {
    key("a").with_id(vec![b'k'; len]).unwrap()
}

fn prologue(service: impl AsRef<[u8]>) -> Prologue {
    Prologue::new(service).unwrap()
}

/// What a session is, as far as it can be seen from outside.
fn exported(session: &Session) -> [u8; 32] {
    let mut output = [0; 32];
    session.export("session", b"", &mut output).unwrap();
    output
}

fn refusal(end: &End) -> Option<Error> {
    match end {
        End::Refused(error) => Some(*error),
        _ => None,
    }
}

fn wrong_proof(key_id: &[u8]) -> Error {
    Error::ClientNotAuthentic {
        key_id: KeyId::new(key_id).unwrap(),
        refusal: Refusal::WrongProof,
    }
}

fn foreign(awaiting: Flight, hint: Option<Hint>) -> Error {
    Incompatible::Foreign { awaiting, hint }.into()
}

impl Pair {
    /// Runs the handshake with other octets in the place of one flight.
    fn run_with(&self, flight: Flight, instead: &[u8]) -> Run {
        self.run_through(|at, octets| {
            if at == flight {
                *octets = instead.to_vec();
            }
        })
    }
}

impl Run {
    #[track_caller]
    fn assert_accepted(&self) -> [u8; 32] {
        let (End::Accepted(client), End::Accepted(server)) = (&self.client, &self.server) else {
            panic!("{self:?}");
        };
        assert_eq!(exported(client), exported(server));
        exported(client)
    }

    #[track_caller]
    fn assert_denied(&self, key_id: &[u8]) {
        assert_eq!(refusal(&self.server), Some(wrong_proof(key_id)));
        assert_eq!(self.sent[2], DENIAL);
        assert_eq!(refusal(&self.client), Some(Error::Denied));
    }
}

// Altered flights.

#[test]
fn a_flipped_bit_in_any_flight_is_fatal() {
    for id_len in [0, 5, 64] {
        let pair = Pair::of(&key_with_id_of(id_len));
        let undisturbed = pair.run();
        undisturbed.assert_accepted();
        for (flight, sent) in FLIGHTS.into_iter().zip(&undisturbed.sent) {
            for bit in 0..sent.len() * 8 {
                let mut altered = sent.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                let run = pair.run_with(flight, &altered);
                let context = format!("bit {bit} of {flight}, key id of {id_len}: {run:?}");
                assert!(!run.client.is_accepted(), "{context}");
                // The server cannot know what becomes of its verdict.
                let last = flight == Flight::Verdict;
                assert_eq!(run.server.is_accepted(), last, "{context}");
                if let Some(verdict) = run.sent.get(2) {
                    assert_eq!(*verdict == DENIAL, !last, "{context}");
                }
            }
        }
    }
}

#[test]
fn no_verdict_but_a_accepts() {
    let pair = Pair::of(&key("a"));
    let proved = &pair.run().sent[2][1..];
    for verdict in 0..=u8::MAX {
        let run = pair.run_with(Flight::Verdict, &[&[verdict], proved].concat());
        let expected = match verdict {
            b'A' => None,
            b'D' => Some(Error::Denied),
            b'C' => Some(foreign(Flight::Verdict, Some(Hint::Echo))),
            _ => Some(foreign(Flight::Verdict, None)),
        };
        assert_eq!(refusal(&run.client), expected, "{verdict}");
        assert_eq!(run.client.is_accepted(), expected.is_none(), "{verdict}");
    }
}

#[test]
fn a_denial_is_one_whatever_stands_behind_the_d_but_not_before_its_last_octet() {
    let pair = Pair::of(&key("a"));
    for filler in [0, 0xff] {
        let denial = [&b"D"[..], &[filler; 32]].concat();
        let run = pair.run_with(Flight::Verdict, &denial);
        assert_eq!(refusal(&run.client), Some(Error::Denied));
        for len in 0..33 {
            let run = pair.run_with(Flight::Verdict, &denial[..len]);
            assert!(matches!(run.client, End::Waiting(Flight::Verdict)), "{len}");
        }
    }
}

#[test]
fn an_octet_moved_between_key_id_and_nonce_is_denied() {
    let pair = Pair::of(&key("a").with_id("worker-7").unwrap());
    let honest = pair.run();
    honest.assert_accepted();
    let (header, rest) = honest.sent[1].split_at(9);

    let shorter = [&header[..8], &[7], rest].concat();
    let run = pair.run_with(Flight::Response, &shorter);
    run.assert_denied(b"worker-");

    let first_of_nonce = rest[8];
    for filler in 0..=u8::MAX {
        let longer = [&header[..8], &[9], rest, &[filler]].concat();
        let run = pair.run_with(Flight::Response, &longer);
        run.assert_denied(&[&b"worker-7"[..], &[first_of_nonce]].concat());
    }
}

// Flights out of their place.

/// A recorded handshake, and one with the same or fresh nonces in which this flight is replaced
/// by the recorded one.
fn replay(flight: Flight, servers_repeats: bool, clients_repeats: bool) -> Run {
    let mut pair = Pair::of(&key("a"));
    let recorded = pair.run();
    recorded.assert_accepted();
    let at = FLIGHTS.iter().position(|it| *it == flight).unwrap();
    if !servers_repeats {
        pair.server_draws = Draws::from(0x51);
    }
    if !clients_repeats {
        pair.client_draws = Draws::from(0xc1);
    }
    pair.run_with(flight, &recorded.sent[at])
}

#[test]
fn a_replayed_response_is_refused_where_the_servers_nonce_is_fresh() {
    for clients_repeats in [false, true] {
        let run = replay(Flight::Response, false, clients_repeats);
        run.assert_denied(b"");
        let run = replay(Flight::Response, true, clients_repeats);
        assert!(run.server.is_accepted(), "{run:?}");
    }
}

#[test]
fn a_replayed_verdict_is_refused_where_either_nonce_is_fresh() {
    for (servers_repeats, clients_repeats) in [(false, false), (false, true), (true, false)] {
        let run = replay(Flight::Verdict, servers_repeats, clients_repeats);
        assert_eq!(refusal(&run.client), Some(Error::ServerNotAuthentic));
    }
    replay(Flight::Verdict, true, true).assert_accepted();
}

#[test]
fn a_flight_is_worth_nothing_in_the_place_of_another() {
    let pair = Pair::of(&key("a"));
    let honest = pair.run();
    honest.assert_accepted();
    let [f1, f2, f3] = &honest.sent[..] else {
        panic!("{honest:?}");
    };
    let (untagged, tc) = f2.split_at(f2.len() - 32);
    let echo = foreign(Flight::Verdict, Some(Hint::Echo));
    let role = |octet| Some(Incompatible::Role(octet).into());

    for (name, instead, at_client) in [
        ("the client's own F2", &f2[..], Some(echo)),
        ("F1", f1, Some(echo)),
        (
            "Tc as Ts",
            &[b"A", tc].concat(),
            Some(Error::ServerNotAuthentic),
        ),
    ] {
        let run = pair.run_with(Flight::Verdict, instead);
        assert_eq!(refusal(&run.client), at_client, "{name} in place of F3");
    }
    for (name, instead, at_server) in [
        ("the server's own F1", &f1[..], role(b'S')),
        ("F3", f3, Some(foreign(Flight::Response, None))),
        (
            "Ts as Tc",
            &[untagged, &f3[1..]].concat(),
            Some(wrong_proof(b"")),
        ),
    ] {
        let run = pair.run_with(Flight::Response, instead);
        assert_eq!(refusal(&run.server), at_server, "{name} in place of F2");
    }
    for (name, instead, at_client) in [
        ("F2", f2, role(b'C')),
        ("F3", f3, Some(foreign(Flight::Challenge, None))),
    ] {
        let run = pair.run_with(Flight::Challenge, instead);
        assert_eq!(refusal(&run.client), at_client, "{name} in place of F1");
    }
}

/// Who is given whose flight among two clients and two servers.
#[derive(Clone, Copy, Debug)]
struct Routing {
    /// For each client, the server whose F1 it is given.
    challenge: [usize; 2],
    /// For each server, the client whose F2 it is given.
    response: [usize; 2],
    /// For each client, the server whose F3 it is given.
    verdict: [usize; 2],
}

/// The delivery of a flight to the client or server of this number.
type Delivery = (Flight, usize);

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

    /// What must have been delivered before: nobody sends what is not due.
    fn needs(&self, (flight, to): Delivery) -> Vec<Delivery> {
        match flight {
            Flight::Challenge => vec![],
            Flight::Response => vec![(Flight::Challenge, self.response[to])],
            Flight::Verdict => vec![
                (Flight::Challenge, to),
                (Flight::Response, self.verdict[to]),
            ],
            other => unreachable!("{other} is of another wire"),
        }
    }

    fn orders(&self) -> Vec<Vec<Delivery>> {
        let mut orders = vec![vec![]];
        for _ in 0..6 {
            orders = (orders.iter())
                .flat_map(|order| {
                    let due = FLIGHTS
                        .iter()
                        .flat_map(|flight| [(*flight, 0), (*flight, 1)])
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

    /// Runs both handshakes in this order, and gives the sessions of the clients and servers.
    fn run(&self, order: &[Delivery], key: &Key) -> [[Option<[u8; 32]>; 2]; 2] {
        let mode = Mode::Authenticate;
        let config = server::Config::new(Prologue::EMPTY);
        let start = |first| {
            Some(
                config
                    .start(transcript(), mode, &mut Draws::from(first))
                    .unwrap(),
            )
        };
        let mut servers = [start(0x51), start(0x52)];
        let challenges = servers.each_ref().map(|it| it.as_ref().unwrap().0.clone());
        let start = |first| {
            let rng = &mut Draws::from(first);
            Some(client::start(transcript(), &Prologue::EMPTY, mode, key, rng).unwrap())
        };
        let mut clients = [start(0xc1), start(0xc2)];
        let mut responses = [None, None];
        let mut awaiting_verdict = [None, None];
        let mut verdicts = [None, None];
        let mut sessions = [[None; 2]; 2];
        for &(flight, to) in order {
            match flight {
                Flight::Challenge => {
                    let challenge = &challenges[self.challenge[to]];
                    let (response, next) = deliver(clients[to].take().unwrap(), challenge).unwrap();
                    responses[to] = Some(response);
                    awaiting_verdict[to] = Some(next);
                }
                Flight::Response => {
                    let response = responses[self.response[to]].as_ref().unwrap();
                    let (_, state) = servers[to].take().unwrap();
                    let (verdict, outcome) = deliver(state, response).unwrap().verify(Some(key));
                    verdicts[to] = Some(verdict);
                    sessions[1][to] = outcome.ok().as_ref().map(exported);
                }
                Flight::Verdict => {
                    let verdict = verdicts[self.verdict[to]].as_ref().unwrap();
                    let outcome = deliver(awaiting_verdict[to].take().unwrap(), verdict);
                    sessions[0][to] = outcome.ok().as_ref().map(exported);
                }
                other => unreachable!("{other} is of another wire"),
            }
        }
        sessions
    }
}

#[test]
fn of_all_ways_to_route_the_flights_of_two_pairs_only_straight_ones_succeed() {
    let key = key("a");
    let mut whole_pairs = 0;
    for routing in Routing::all() {
        let orders = routing.orders();
        assert!(!orders.is_empty());
        for order in orders {
            let [clients, servers] = routing.run(&order, &key);
            let context = format!("{routing:?} {order:?}");
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
            // What a client holds, its server does; so sharing shows among ends of one kind.
            for [one, other] in [clients, servers] {
                assert!(one.is_none() || one != other, "{context}");
            }
        }
    }
    assert!(whole_pairs > 0);
}

// The prologue.

#[test]
fn a_client_is_not_rerouted_to_a_server_that_it_did_not_mean() {
    let names = ["billing/2@node-7", "billing/2@node-8"];
    for meant in names {
        for reached in names {
            let run = Pair {
                client_prologue: prologue(meant),
                server_prologue: prologue(reached),
                ..Pair::of(&key("a"))
            }
            .run();
            if meant == reached {
                run.assert_accepted();
            } else {
                run.assert_denied(b"");
            }
        }
    }
}

#[test]
fn a_node_with_a_name_of_its_own_is_not_joined_to_itself() {
    // Somebody on the line hands what node 7 sends to node 8 back to node 7, which is a server
    // too and has the same key.
    let relayed = |own_name: &str, peer: &str| {
        Pair {
            client_prologue: prologue(peer),
            server_prologue: prologue(own_name),
            ..Pair::of(&key("a"))
        }
        .run()
    };
    relayed("billing/2@node-7", "billing/2@node-8").assert_denied(b"");
    // Without names the node takes itself for its peer.
    relayed("", "").assert_accepted();
}

#[test]
fn ends_whose_prologues_differ_in_any_octet_or_border_deny_each_other() {
    let (exported, other) = ([7; 32], [8; 32]);
    let binding = Binding::tls_exporter(&exported);
    let text = [&b"tls-exporter:"[..], &exported].concat();
    let prologues = [
        ("empty", Prologue::EMPTY),
        ("service", prologue("x")),
        ("other case", prologue("X")),
        ("zero octet appended", prologue("x\0")),
        ("composed", prologue("\u{e9}")),
        ("decomposed", prologue("e\u{301}")),
        ("longest", prologue([b'x'; 255])),
        ("binding", Prologue::EMPTY.bound(&binding)),
        (
            "other binding",
            Prologue::EMPTY.bound(&Binding::tls_exporter(&other)),
        ),
        ("service and binding", prologue("x").bound(&binding)),
        ("binding as service", prologue(&text)),
        (
            "binding joined to service",
            prologue([&b"x"[..], &text].concat()),
        ),
        // With the octet of the binding's length, which stands between the two.
        (
            "border as service",
            prologue([&b"x\x2d"[..], &text].concat()),
        ),
        ("longest and binding", prologue([b'x'; 255]).bound(&binding)),
    ];
    for (client, client_prologue) in &prologues {
        for (server, server_prologue) in &prologues {
            let run = Pair {
                client_prologue: client_prologue.clone(),
                server_prologue: server_prologue.clone(),
                ..Pair::of(&key("a"))
            }
            .run();
            let accepted = run.client.is_accepted() && run.server.is_accepted();
            assert_eq!(accepted, client == server, "{client}, {server}");
            if !accepted {
                run.assert_denied(b"");
            }
        }
    }
}

#[test]
fn a_handshake_is_bound_to_the_channel_that_was_given_last() {
    let (one, other) = ([1; 32], [2; 32]);
    let [one, other] = [one, other].map(|exported| Binding::tls_exporter(&exported));
    let mode = Mode::Authenticate;
    let key = key("a");
    let at_client = prologue("x").bound(&one);
    let unbound = server::Config::new(prologue("x"));
    for (config, accepted) in [
        (unbound.bound(&one), true),
        (unbound.bound(&other).bound(&one), true),
        (unbound.bound(&one).bound(&other), false),
        (unbound.bound(&other), false),
        (unbound.clone(), false),
    ] {
        let (f1, state) = config
            .start(transcript(), mode, &mut Draws::from(0x50))
            .unwrap();
        let client =
            client::start(transcript(), &at_client, mode, &key, &mut Draws::from(0xc0)).unwrap();
        let (f2, _) = deliver(client, f1).unwrap();
        let (_, outcome) = deliver(state, f2).unwrap().verify(Some(&key));
        assert_eq!(outcome.is_ok(), accepted);
    }
}

// What is told from a part of a flight.

/// Feeds octets until the state refuses them; how many it was given by then, and the error.
fn refused_after<R: Receive>(mut state: R, octets: &[u8], piece: usize) -> (usize, Error) {
    let mut read = 0;
    for piece in octets.chunks(piece) {
        read += piece.len();
        match feed(state, piece, usize::MAX) {
            Ok(Fed::Waiting(same)) => state = same,
            Ok(Fed::Done(..)) => break,
            Err(error) => return (read, error),
        }
    }
    panic!("{} was not refused: {octets:02x?}", R::FLIGHT);
}

/// What every octet other than the expected one comes to, at this place of F1 or F2.
fn expected_of_header(awaiting: Flight, ours: Mode, at: usize, octet: u8) -> Incompatible {
    match at {
        5 => return Incompatible::Version(octet),
        6 => return Incompatible::Role(octet),
        7 => {
            return Incompatible::Mode {
                ours,
                theirs: octet,
            };
        }
        _ => {}
    }
    let hint = match (at, octet) {
        (0, b'D' | b'G' | b'H' | b'O' | b'P' | b'T') | (1, b'O') => Some(Hint::Http),
        (0, b'S') => Some(Hint::Ssh),
        (0, 21 | 22) => Some(Hint::Tls),
        (0, 0) if awaiting == Flight::Challenge => Some(Hint::Multiprocessing),
        _ => None,
    };
    Incompatible::Foreign { awaiting, hint }
}

#[test]
fn the_first_octet_that_cannot_belong_ends_the_handshake_however_they_are_split() {
    let key = key("a");
    let config = server::Config::new(Prologue::EMPTY);
    for mode in MODES {
        let honest = Pair {
            client_mode: mode,
            server_mode: mode,
            ..Pair::of(&key)
        }
        .run();
        honest.assert_accepted();
        let await_challenge = || {
            client::start(
                transcript(),
                &Prologue::EMPTY,
                mode,
                &key,
                &mut Draws::from(0xc0),
            )
            .unwrap()
        };
        let await_response = || {
            config
                .start(transcript(), mode, &mut Draws::from(0x50))
                .unwrap()
                .1
        };
        let [f1, f2, _] = &honest.sent[..] else {
            panic!("{honest:?}");
        };
        for at in 0..8 {
            for octet in (0..=u8::MAX).filter(|octet| *octet != f1[at]) {
                let expected = expected_of_header(Flight::Challenge, mode, at, octet);
                // Faults behind the first one, too, change nothing.
                let flight = [&f1[..at], &[octet], &[0xff; 32]].concat();
                let (read, error) = refused_after(await_challenge(), &flight, 1);
                assert_eq!((read, error), (at + 1, expected.into()));
                for piece in [3, flight.len()] {
                    let (_, error) = refused_after(await_challenge(), &flight, piece);
                    assert_eq!(error, expected.into());
                }
            }
            for octet in (0..=u8::MAX).filter(|octet| *octet != f2[at]) {
                let expected = expected_of_header(Flight::Response, mode, at, octet);
                let flight = [&f2[..at], &[octet], &[0xff; 64]].concat();
                let (read, error) = refused_after(await_response(), &flight, 1);
                assert_eq!((read, error), (at + 1, expected.into()));
                for piece in [3, flight.len()] {
                    let (_, error) = refused_after(await_response(), &flight, piece);
                    assert_eq!(error, expected.into());
                }
            }
        }
    }
}

#[test]
fn a_key_id_of_more_than_64_octets_is_refused_at_its_length() {
    let config = server::Config::new(Prologue::EMPTY);
    for len in 65..=u8::MAX {
        let flight = [&b"CSIGN1C\0"[..], &[len], &[0xff; 64]].concat();
        let expected = Error::from(Incompatible::KeyIdLength(len));
        for (piece, expected_read) in [(1, 9), (flight.len(), flight.len())] {
            let rng = &mut Draws::from(0x50);
            let (_, state) = config.start(transcript(), Mode::Authenticate, rng).unwrap();
            let (read, error) = refused_after(state, &flight, piece);
            assert_eq!((read, error), (expected_read, expected));
        }
    }
}

#[test]
fn every_split_of_a_flight_gives_what_the_whole_flight_gives() {
    for id_len in [0, 5, 64] {
        let key = key_with_id_of(id_len);
        let honest = Pair::of(&key).run();
        let session = honest.assert_accepted();
        let [f1, f2, f3] = &honest.sent[..] else {
            panic!("{honest:?}");
        };
        let config = server::Config::new(Prologue::EMPTY);
        let mode = Mode::Authenticate;
        let await_challenge = || {
            client::start(
                transcript(),
                &Prologue::EMPTY,
                mode,
                &key,
                &mut Draws::from(0xc0),
            )
            .unwrap()
        };
        let await_response = || {
            config
                .start(transcript(), mode, &mut Draws::from(0x50))
                .unwrap()
                .1
        };
        let await_verdict = || deliver(await_challenge(), f1).unwrap().1;

        for cut in Cut::all(f1.len()) {
            let (response, _) = cut.deliver(await_challenge(), f1);
            assert_eq!(response.as_ref(), f2, "{cut:?}");
        }
        for cut in Cut::all(f2.len()) {
            let identified = cut.deliver(await_response(), f2);
            assert_eq!(identified.key_id(), key.id(), "{cut:?}");
            let (verdict, outcome) = identified.verify(Some(&key));
            assert_eq!(verdict.as_ref(), f3, "{cut:?}");
            assert_eq!(exported(&outcome.unwrap()), session, "{cut:?}");
        }
        for cut in Cut::all(f3.len()) {
            let outcome = cut.deliver(await_verdict(), f3);
            assert_eq!(exported(&outcome), session, "{cut:?}");
        }
    }
}

/// How a flight is cut into reads.
#[derive(Clone, Copy, Debug)]
enum Cut {
    At(usize),
    EveryOctet,
}

impl Cut {
    fn all(len: usize) -> impl Iterator<Item = Self> {
        (0..=len).map(Self::At).chain([Self::EveryOctet])
    }

    fn deliver<R: Receive>(self, state: R, flight: &[u8]) -> R::Next {
        match self {
            Self::At(at) => match feed(state, &flight[..at], usize::MAX).unwrap() {
                Fed::Waiting(state) => deliver(state, &flight[at..]).unwrap(),
                Fed::Done(next, rest) => {
                    assert_eq!((at, rest), (flight.len(), 0));
                    next
                }
            },
            Self::EveryOctet => feed(state, flight, 1).unwrap().done(),
        }
    }
}

/// The room that the state has before each octet of a flight, up to the last.
fn rooms<R: Receive>(mut state: R, flight: &[u8]) -> Vec<usize> {
    let mut rooms = Vec::new();
    for octet in flight {
        rooms.push(state.space().len());
        match feed(state, &[*octet], 1).unwrap() {
            Fed::Waiting(same) => state = same,
            Fed::Done(..) => break,
        }
    }
    rooms
}

#[test]
fn no_octet_is_asked_for_that_may_not_belong_to_the_flight() {
    for id_len in [0, 5, 64] {
        let key = key_with_id_of(id_len);
        let sent = Pair::of(&key).run().sent;
        let config = server::Config::new(Prologue::EMPTY);
        let mode = Mode::Authenticate;
        let client = || {
            client::start(
                transcript(),
                &Prologue::EMPTY,
                mode,
                &key,
                &mut Draws::from(0xc0),
            )
        };
        let (_, await_response) = config
            .start(transcript(), mode, &mut Draws::from(0x50))
            .unwrap();
        let (_, await_verdict) = deliver(client().unwrap(), &sent[0]).unwrap();

        let down_from = |len| (1..=len).rev().collect::<Vec<usize>>();
        assert_eq!(rooms(client().unwrap(), &sent[0]), down_from(40));
        // The length of the key id is the ninth octet.
        let before = (0..9).map(|read| 73 - read);
        let after = (9..73 + id_len).map(|read| 73 + id_len - read);
        let expected: Vec<usize> = before.chain(after).collect();
        assert_eq!(rooms(await_response, &sent[1]), expected);
        assert_eq!(rooms(await_verdict, &sent[2]), down_from(33));
    }
}

/// Each step beyond the room is refused, and a step of nothing leaves all as it is.
fn probe_steps<R: Receive>(start: impl Fn() -> R, flight: &[u8], check: impl Fn(R::Next)) {
    for read in 0..flight.len() {
        let begun = || match feed(start(), &flight[..read], usize::MAX).unwrap() {
            Fed::Waiting(state) => state,
            Fed::Done(..) => panic!("{} ended early", R::FLIGHT),
        };
        let room = begun().space().len();
        for len in [room + 1, room + 2, usize::MAX] {
            let Err(error) = begun().advance(len) else {
                panic!("{} took {len} octets into {room}", R::FLIGHT);
            };
            assert_eq!(error, InvalidInput::Overrun { room, len }.into());
        }
        let stepped = match begun().advance(0).unwrap() {
            Progress::More(state) => state,
            Progress::Done(_) => panic!("{} ended early", R::FLIGHT),
        };
        check(deliver(stepped, &flight[read..]).unwrap());
    }
}

#[test]
fn a_step_beyond_the_room_is_refused_and_a_step_of_nothing_changes_nothing() {
    let key = key_with_id_of(5);
    let honest = Pair::of(&key).run();
    let session = honest.assert_accepted();
    let [f1, f2, f3] = &honest.sent[..] else {
        panic!("{honest:?}");
    };
    let config = server::Config::new(Prologue::EMPTY);
    let mode = Mode::Authenticate;
    let await_challenge = || {
        client::start(
            transcript(),
            &Prologue::EMPTY,
            mode,
            &key,
            &mut Draws::from(0xc0),
        )
        .unwrap()
    };
    let await_response = || {
        config
            .start(transcript(), mode, &mut Draws::from(0x50))
            .unwrap()
            .1
    };
    let await_verdict = || deliver(await_challenge(), f1).unwrap().1;

    probe_steps(await_challenge, f1, |(response, _)| {
        assert_eq!(response.as_ref(), f2);
    });
    probe_steps(await_response, f2, |identified| {
        let (verdict, _) = identified.verify(Some(&key));
        assert_eq!(verdict.as_ref(), f3);
    });
    probe_steps(await_verdict, f3, |outcome| {
        assert_eq!(exported(&outcome), session);
    });
}

// Modes, key ids and randomness.

#[test]
fn a_client_of_another_mode_sends_nothing() {
    for [ours, other] in [MODES, [MODES[1], MODES[0]]] {
        let run = Pair {
            client_mode: ours,
            server_mode: other,
            ..Pair::of(&key("a"))
        }
        .run();
        let theirs = u8::from(other == Mode::Protect);
        let expected = Incompatible::Mode { ours, theirs }.into();
        assert_eq!(refusal(&run.client), Some(expected));
        assert_eq!(run.sent.len(), 1);
        assert!(matches!(run.server, End::Waiting(Flight::Response)));
    }
}

#[test]
fn a_mode_that_was_changed_on_the_way_is_refused_by_the_server() {
    for [at_client, at_server] in [MODES, [MODES[1], MODES[0]]] {
        let [client_octet, server_octet] =
            [at_client, at_server].map(|mode| u8::from(mode == Mode::Protect));
        let pair = Pair {
            client_mode: at_client,
            server_mode: at_server,
            ..Pair::of(&key("a"))
        };

        let run = pair.run_through(|flight, octets| {
            if flight == Flight::Challenge {
                octets[7] = client_octet;
            }
        });
        let expected = Incompatible::Mode {
            ours: at_server,
            theirs: client_octet,
        };
        assert_eq!(refusal(&run.server), Some(expected.into()));
        assert_eq!(run.sent.len(), 2);

        let run = pair.run_through(|flight, octets| match flight {
            Flight::Challenge => octets[7] = client_octet,
            Flight::Response => octets[7] = server_octet,
            _ => {}
        });
        run.assert_denied(b"");
    }
}

#[test]
fn only_the_server_learns_whether_the_key_id_or_the_proof_was_wrong() {
    let claimed = b"w\xf6rker\n\0";
    let client_key = key("a").with_id(claimed).unwrap();
    let runs = [
        (None, Refusal::UnknownKeyId),
        (Some(key("b")), Refusal::WrongProof),
        (
            Some(key("b").with_id(claimed).unwrap()),
            Refusal::WrongProof,
        ),
    ]
    .map(|(server_key, refused_for)| {
        let run = Pair {
            server_key,
            ..Pair::of(&client_key)
        }
        .run();
        let Some(Error::ClientNotAuthentic { key_id, refusal }) = refusal(&run.server) else {
            panic!("{run:?}");
        };
        assert_eq!((key_id.as_bytes(), refusal), (&claimed[..], refused_for));
        run
    });
    for run in &runs {
        assert_eq!(run.sent, runs[0].sent);
        assert_eq!(run.sent[2], DENIAL);
        assert_eq!(refusal(&run.client), Some(Error::Denied));
    }
}

#[test]
fn without_randomness_there_is_no_handshake() {
    let (prologue, mode) = (Prologue::EMPTY, Mode::Authenticate);
    let started = client::start(transcript(), &prologue, mode, &key("a"), &mut NoEntropy).map(drop);
    assert_eq!(started, Err(Error::NoRandomness));
    let config = server::Config::new(prologue);
    let started = config.start(transcript(), mode, &mut NoEntropy).map(drop);
    assert_eq!(started, Err(Error::NoRandomness));
}

#[test]
fn each_side_draws_one_nonce_and_sends_it() {
    let (prologue, mode, key) = (Prologue::EMPTY, Mode::Authenticate, key("a"));
    let (mut at_server, mut at_client) = (Draws::from(0x50), Draws::from(0xc0));
    let config = server::Config::new(prologue.clone());
    // The second handshake of the same ends has nonces of its own.
    for drawn in [1, 2] {
        let client = client::start(transcript(), &prologue, mode, &key, &mut at_client).unwrap();
        let (f1, server) = config.start(transcript(), mode, &mut at_server).unwrap();
        let octet = u8::try_from(drawn).unwrap() - 1;
        assert_eq!(f1.as_ref()[8..], [0x50 + octet; 32]);
        let (f2, client) = deliver(client, f1).unwrap();
        assert_eq!(f2.as_ref()[9..41], [0xc0 + octet; 32]);
        let (f3, outcome) = deliver(server, f2).unwrap().verify(Some(&key));
        let at_both = [outcome.unwrap(), deliver(client, f3).unwrap()];
        assert_eq!(exported(&at_both[0]), exported(&at_both[1]));
        assert_eq!((at_server.count, at_client.count), (drawn, drawn));
    }
}

// Secrets.

/// Octets that are not all equal.
fn octets(len: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(len).collect()
}

#[test]
fn a_secret_is_refused_if_it_is_short_or_constant() {
    for len in [0, 1, 15] {
        let error = Key::new(octets(len)).unwrap_err();
        assert_eq!(error, InvalidInput::SecretTooShort { len });
    }
    for (octet, len) in [(0, 16), (0xff, 32), (b'a', 1000)] {
        let constant = vec![octet; len];
        let error = Key::new(&constant).unwrap_err();
        assert_eq!(error, InvalidInput::SecretConstant { len });
        // One other octet, wherever it is, is enough.
        for at in [0, len / 2, len - 1] {
            let mut secret = constant.clone();
            secret[at] ^= 1;
            assert!(Key::new(&secret).is_ok(), "{octet} {len} {at}");
        }
    }
}

#[test]
fn secrets_that_are_one_hmac_key_do_not_authenticate_to_each_other() {
    let lens = [16, 63, 64, 65, 1000];
    for secret in lens.map(octets) {
        let own = Key::new(&secret).unwrap();
        Pair::of(&own).run().assert_accepted();

        let mut extended = secret.clone();
        extended.push(0);
        // HMAC fills up a key of less than its block, and hashes one of more.
        let as_key = |secret| hmac(secret, b"message");
        assert_eq!(as_key(&secret) == as_key(&extended), secret.len() < 64);
        let hashed = sha256(&secret);
        assert_eq!(as_key(&secret) == as_key(&hashed), secret.len() > 64);

        for other in [&extended[..], &hashed] {
            let other = Key::new(other).unwrap();
            let between = |client_key: &Key, server_key: &Key| {
                Pair {
                    server_key: Some(server_key.clone()),
                    ..Pair::of(client_key)
                }
                .run()
                .assert_denied(b"");
            };
            between(&own, &other);
            between(&other, &own);
        }
    }
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(octets).into()
}

// Members of a group.

/// F3 as whoever knows the secret can make it, for the empty prologue.
fn forged_verdict(secret: &[u8], f1: &[u8], f2: &[u8]) -> Vec<u8> {
    let prk = hmac(b"countersign/1", secret);
    let ks = hmac(&prk, b"countersign/1 server proof\x01");
    let ts = hmac(&ks, &[b"\0\0", f1, f2, b"A"].concat());
    [b"A", &ts[..]].concat()
}

#[test]
fn the_holder_of_a_child_secret_is_neither_another_child_nor_the_server() {
    let parent = key("parent");
    let [secret_a, secret_b] = ["a", "b"].map(|id| parent.child_secret(id).unwrap());
    let child_b = Key::new(&secret_b).unwrap().with_id("b").unwrap();

    let as_another = Pair {
        client_key: Key::new(&secret_a).unwrap().with_id("b").unwrap(),
        ..Pair::of(&child_b)
    };
    as_another.run().assert_denied(b"b");

    let to_another = Pair::of(&child_b);
    let honest = to_another.run();
    honest.assert_accepted();
    let forged = forged_verdict(secret_a.as_ref(), &honest.sent[0], &honest.sent[1]);
    let run = to_another.run_with(Flight::Verdict, &forged);
    assert_eq!(refusal(&run.client), Some(Error::ServerNotAuthentic));
    // What was forged is a verdict, to those who share the secret it was made with.
    let forged = forged_verdict(secret_b.as_ref(), &honest.sent[0], &honest.sent[1]);
    let run = to_another.run_with(Flight::Verdict, &forged);
    run.assert_accepted();
}

#[test]
fn the_holder_of_a_group_secret_is_whoever_it_says() {
    let member = key("group").with_id("b").unwrap();
    let pair = Pair {
        server_key: Some(key("group")),
        ..Pair::of(&member)
    };
    let honest = pair.run();
    honest.assert_accepted();
    let forged = forged_verdict(&secret("group"), &honest.sent[0], &honest.sent[1]);
    let run = pair.run_with(Flight::Verdict, &forged);
    run.assert_accepted();
}

#[test]
fn a_parent_secret_and_its_child_do_not_authenticate_to_each_other() {
    let parent = key("parent").with_id("a").unwrap();
    let child = Key::new(parent.child_secret("a").unwrap()).unwrap();
    let child = child.with_id("a").unwrap();
    for [client_key, server_key] in [[&parent, &child], [&child, &parent]] {
        Pair {
            server_key: Some(server_key.clone()),
            ..Pair::of(client_key)
        }
        .run()
        .assert_denied(b"a");
    }
}

// The exporter.

/// The sessions of both ends.
fn sessions(pair: &Pair) -> [Session; 2] {
    let run = pair.run();
    run.assert_accepted();
    let (End::Accepted(client), End::Accepted(server)) = (run.client, run.server) else {
        unreachable!("both have accepted");
    };
    [client, server]
}

#[test]
fn both_ends_export_the_same_and_other_inputs_give_unrelated_outputs() {
    let [client, server] = sessions(&Pair::of(&key("a")));
    let inputs: &[(&[u8], &[u8], usize)] = &[
        (b"ab", b"", 32),
        (b"ab", b"", 33),
        (b"ab", b"", 64),
        (b"ab", b"", 8160),
        (b"ab", b"c", 32),
        (b"a", b"bc", 32),
        (b"a", b"b", 32),
        (b"abc", b"", 32),
        (b"AB", b"", 32),
        (b"ab\0", b"", 32),
        (b"ab", b"\0", 32),
        (b"ab", b"\0\0", 32),
        // These two are the same octets but for the length of the label.
        (b"a\0\x03b", b"", 32),
        (b"a", b"b\0\0", 32),
        (&[b'a'; 255], b"", 32),
        (b"a", &[b'a'; 254], 32),
    ];
    let outputs: Vec<Vec<u8>> = (inputs.iter())
        .map(|(label, context, len)| {
            let [mut ours, mut theirs] = [vec![0; *len], vec![0; *len]];
            client.export(label, context, &mut ours).unwrap();
            server.export(label, context, &mut theirs).unwrap();
            assert_eq!(ours, theirs);
            ours
        })
        .collect();
    for (at, output) in outputs.iter().enumerate() {
        for (other_at, other) in outputs.iter().enumerate().skip(at + 1) {
            let context = (inputs[at], inputs[other_at]);
            assert_ne!(output[..16], other[..16], "{context:?}");
        }
    }
}

#[test]
fn handshakes_that_differ_in_anything_have_sessions_that_differ() {
    let key = key("a");
    let pairs = [
        Pair::of(&key),
        Pair {
            client_draws: Draws::from(0xc1),
            ..Pair::of(&key)
        },
        Pair {
            server_draws: Draws::from(0x51),
            ..Pair::of(&key)
        },
        Pair {
            client_mode: Mode::Protect,
            server_mode: Mode::Protect,
            ..Pair::of(&key)
        },
        Pair {
            client_prologue: prologue("x"),
            server_prologue: prologue("x"),
            ..Pair::of(&key)
        },
        Pair::of(&key.clone().with_id("x").unwrap()),
        Pair::of(&crate::support::key("b")),
    ];
    let sessions: Vec<_> = (pairs.iter())
        .map(|pair| pair.run().assert_accepted())
        .collect();
    for (at, session) in sessions.iter().enumerate() {
        assert!(!sessions[at + 1..].contains(session), "{at}");
    }
    assert_eq!(pairs[0].run().assert_accepted(), sessions[0]);
}

#[test]
fn an_export_of_a_length_out_of_bounds_is_refused_and_writes_nothing() {
    let [session, _] = sessions(&Pair::of(&key("a")));
    let label = |len| InvalidInput::ExportLabelLength { len };
    let context = |len| InvalidInput::ExportContextTooLong { len };
    let output = |len| InvalidInput::ExportLength { len };
    for (label_len, context_len, output_len, expected) in [
        (1, 0, 1, Ok(())),
        (1, 0, 8160, Ok(())),
        (1, 65_535, 1, Ok(())),
        (255, 0, 1, Ok(())),
        (0, 0, 32, Err(label(0))),
        (256, 0, 32, Err(label(256))),
        (65_537, 0, 32, Err(label(65_537))),
        (1, 65_536, 32, Err(context(65_536))),
        (1, 0, 0, Err(output(0))),
        (1, 0, 8161, Err(output(8161))),
        (1, 0, 65_537, Err(output(65_537))),
    ] {
        // One octet of output can come to what was there before: two fillers cannot.
        let outputs = [0x55, 0xaa].map(|filler| {
            let mut output = vec![filler; output_len];
            let (label, context) = (vec![b'l'; label_len], vec![b'c'; context_len]);
            assert_eq!(session.export(label, &context, &mut output), expected);
            if expected.is_err() {
                assert_eq!(output, vec![filler; output_len]);
            }
            output
        });
        if expected.is_ok() {
            assert_eq!(outputs[0], outputs[1]);
        }
    }
}

#[test]
fn a_channel_binding_survives_a_service_name_that_is_given_after_it() {
    let binding = Binding::tls_exporter(&[7; 32]);
    let bound_first = Prologue::EMPTY
        .bound(&binding)
        .service("billing/2")
        .unwrap();
    let bound_last = Prologue::new("billing/2").unwrap().bound(&binding);
    let unbound = Prologue::new("billing/2").unwrap();
    for (server, accepted) in [(&bound_last, true), (&unbound, false)] {
        let pair = Pair {
            client_prologue: bound_first.clone(),
            server_prologue: server.clone(),
            ..Pair::of(&key("one secret"))
        };
        assert_eq!(pair.run().client.is_accepted(), accepted);
    }
}
