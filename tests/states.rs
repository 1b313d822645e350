//! The states of the core as a program with its own transport or event loop uses them.

use std::io;
use std::sync::Arc;
use std::thread;

use countersign::handshake::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{self, AwaitResponse, Dummy, Identified};
use countersign::handshake::{
    Error, Incompatible, Message, Mode, Progress, Prologue, Receive, Refusal, StreamError,
    Transcript,
};
use countersign::{Key, KeyId};

use crate::support::{AnyMode, Draws, End, Pair, feed, in_every_mode, key};

/// A client of an event loop, between two messages.
enum Client<M: Mode> {
    AwaitsChallenge(AwaitChallenge<Box<Transcript>, Arc<Key>, M>),
    AwaitsVerdict(AwaitVerdict<Box<Transcript>, Arc<Key>, M>),
    Ended(End),
}

impl<M: AnyMode> Client<M> {
    /// Takes a byte. Returns the next state, and what is to be sent.
    fn hears(self, byte: u8) -> (Self, Vec<u8>) {
        match self {
            Self::AwaitsChallenge(state) => match feed(state, &[byte], 1).unwrap().0 {
                Progress::More(same) => (Self::AwaitsChallenge(same), Vec::new()),
                Progress::Done(next) => {
                    let response = next.response().to_vec();
                    (Self::AwaitsVerdict(next), response)
                }
            },
            Self::AwaitsVerdict(state) => {
                let next = match feed(state, &[byte], 1) {
                    Ok((Progress::More(same), _)) => Self::AwaitsVerdict(same),
                    Ok((Progress::Done(established), _)) => Self::Ended(M::accepted(established)),
                    Err(error) => Self::Ended(End::Refused(error)),
                };
                (next, Vec::new())
            }
            Self::Ended(_) => panic!("more bytes than the handshake has"),
        }
    }
}

/// A server of an event loop, between two messages.
enum Server<M: Mode> {
    AwaitsResponse(AwaitResponse<Box<Transcript>, Arc<Dummy>, M>),
    AwaitsKey(Identified<Box<Transcript>, Arc<Dummy>, M>),
    Ended(End),
}

impl<M: AnyMode> Server<M> {
    fn hears(self, byte: u8) -> Self {
        let Self::AwaitsResponse(state) = self else {
            panic!("more bytes than the response has");
        };
        match feed(state, &[byte], 1).unwrap().0 {
            Progress::More(same) => Self::AwaitsResponse(same),
            Progress::Done(next) => Self::AwaitsKey(next),
        }
    }

    /// Takes the key that was found. Returns the next state, and what is to be sent.
    fn finds(self, key: Option<&Key>) -> (Self, Vec<u8>) {
        let Self::AwaitsKey(state) = self else {
            panic!("the response is not whole");
        };
        let (verdict, outcome) = state.verify(key, &mut Draws::from(0xe5)).unwrap();
        let end = outcome.map_or_else(End::Refused, M::accepted);
        (Self::Ended(end), verdict.as_ref().to_vec())
    }
}

/// Runs three handshakes at once. The states live in two lists between any two bytes, and each
/// server verifies on another thread. Returns the ends of the clients and of the servers.
fn interleaved<M: AnyMode>(mode: M, is_known: bool) -> (Vec<End>, Vec<End>) {
    let (key, dummy) = (Arc::new(key("a")), Arc::new(Dummy::new()));
    let prologue = Prologue::new("billing/2").unwrap();
    let rng = &mut Draws::from(0);
    let (mut clients, mut servers, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let state = client::start(Box::default(), key.clone(), &prologue, mode, rng).unwrap();
        clients.push(Client::AwaitsChallenge(state));
        let started = server::start(Box::default(), dummy.clone(), &prologue, mode, rng);
        let (challenge, state) = started.unwrap();
        servers.push(Server::AwaitsResponse(state));
        lines.push(challenge.as_ref().to_vec());
    }
    let client_hears = |clients: &mut Vec<Client<M>>, lines: &[Vec<u8>]| {
        let mut answers = vec![Vec::new(); 3];
        for at in 0..lines[0].len() {
            let heard = (clients.drain(..).zip(lines)).map(|(client, line)| client.hears(line[at]));
            (*clients, answers) = heard.collect();
        }
        answers
    };
    lines = client_hears(&mut clients, &lines);
    for at in 0..lines[0].len() {
        servers = (servers.into_iter().zip(&lines))
            .map(|(server, line)| server.hears(line[at]))
            .collect();
    }
    let looked_up = servers.into_iter().map(|server| {
        let key = Arc::clone(&key);
        let verify = thread::spawn(move || server.finds(is_known.then_some(&*key)));
        verify.join().unwrap()
    });
    (servers, lines) = looked_up.collect();
    client_hears(&mut clients, &lines);
    let client_end = |client| match client {
        Client::Ended(end) => end,
        _ => panic!("a client still waits"),
    };
    let server_end = |server| match server {
        Server::Ended(end) => end,
        _ => panic!("a server still waits"),
    };
    (
        clients.into_iter().map(client_end).collect(),
        servers.into_iter().map(server_end).collect(),
    )
}

#[test]
fn states_that_are_owned_and_kept_between_messages_complete_a_handshake() {
    fn complete<M: AnyMode>(mode: M) {
        let (clients, servers) = interleaved(mode, true);
        assert_ne!(clients[0].exported(), clients[1].exported());
        for (client, server) in clients.into_iter().zip(servers) {
            assert_eq!(client.exported(), server.exported());
            let (End::Accepted(_, client), End::Accepted(_, server)) = (client, server) else {
                panic!("an end that exports is accepted");
            };
            assert_eq!(client.is_some(), M::NUMBER > 0, "records");
            assert_eq!(server.is_some(), M::NUMBER > 0, "records");
            if let (Some(mut client), Some(mut server)) = (client, server) {
                assert_eq!(server.open(&client.seal(b"data")).unwrap(), b"data");
                assert_eq!(client.open(&server.close()).unwrap(), b"");
            }
        }
    }

    in_every_mode!(complete);
}

#[test]
fn states_that_are_owned_and_kept_between_messages_complete_a_denial() {
    fn complete<M: AnyMode>(mode: M) {
        let (clients, servers) = interleaved(mode, false);
        for (client, server) in clients.iter().zip(&servers) {
            assert_eq!(client.refusal(), Some(Error::Denied));
            let (key_id, refusal) = (KeyId::EMPTY, Refusal::UnknownKeyId);
            let unknown = Error::ClientNotAuthentic { key_id, refusal };
            assert_eq!(server.refusal(), Some(unknown));
        }
    }

    in_every_mode!(complete);
}

/// Reads at most `piece` bytes at a time. Returns what the state goes on with, and how often the
/// callback was called.
fn read<R: Receive<Error = Error>>(
    state: R,
    mut bytes: &[u8],
    piece: usize,
) -> (Result<R::Next, Error>, usize) {
    let mut calls = 0;
    let next = state.read(|space| {
        calls += 1;
        let n = space.len().min(bytes.len()).min(piece);
        let (read, rest) = bytes.split_at(n);
        space[..n].copy_from_slice(read);
        bytes = rest;
        Ok::<_, Error>(n)
    });
    (next, calls)
}

#[test]
fn reading_a_state_takes_the_whole_message_and_no_more_however_it_is_cut() {
    fn whole<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key("a"));
        let honest = pair.run_in(mode, mode);
        let session = honest.assert_accepted();
        let [f1, f2, f3] = honest.messages();
        for piece in [1, 7, 200] {
            let (next, calls) = read(pair.client_in(mode), &[f1, b"more"].concat(), piece);
            assert_eq!(next.unwrap().response(), f2);
            assert_eq!(calls, f1.len().div_ceil(piece));
            let (next, _) = read(pair.server_in(mode).1, &[f2, b"more"].concat(), piece);
            let rng = &mut pair.server_private.clone();
            let (verdict, _) = (next.unwrap().verify(pair.server_key.as_ref(), rng)).unwrap();
            assert_eq!(verdict.as_ref(), f3);
            let await_verdict = pair.client_after_in(mode, f1);
            let (next, calls) = read(await_verdict, &[f3, b"more"].concat(), piece);
            assert_eq!(M::accepted(next.unwrap()).exported(), session);
            assert_eq!(calls, f3.len().div_ceil(piece));
        }
    }

    in_every_mode!(whole);
}

#[test]
fn reading_a_state_ends_where_the_callback_reads_no_bytes() {
    fn ends<M: AnyMode>(mode: M) {
        let pair = Pair::of(&key("a"));
        let honest = pair.run_in(mode, mode);
        let [f1, f2, f3] = honest.messages();
        let ended = Some(Error::Stream(StreamError::Ended));
        for len in 0..f1.len() {
            let (next, _) = read(pair.client_in(mode), &f1[..len], 200);
            assert_eq!(next.err(), ended, "{len} bytes of F1");
        }
        for len in 0..f2.len() {
            let (next, _) = read(pair.server_in(mode).1, &f2[..len], 200);
            assert_eq!(next.err(), ended, "{len} bytes of F2");
        }
        for len in 0..f3.len() {
            let (next, _) = read(pair.client_after_in(mode, f1), &f3[..len], 200);
            assert_eq!(next.err(), ended, "{len} bytes of F3");
        }
    }

    in_every_mode!(ends);
}

#[test]
fn reading_a_state_ends_with_the_error_of_the_callback() {
    let broken = || io::Error::new(io::ErrorKind::TimedOut, "the callback's own");
    let pair = Pair::of(&key("a"));
    let f1 = pair.run().sent.swap_remove(0);
    for len in [0, 1, f1.len() - 1] {
        let mut rest = &f1[..len];
        let outcome = pair.client().read(|space| {
            if rest.is_empty() {
                return Err(broken());
            }
            io::Read::read(&mut rest, space)
        });
        let error = outcome.map(drop).unwrap_err();
        assert_eq!(error.kind(), broken().kind());
        assert_eq!(error.to_string(), broken().to_string());
    }
}

#[test]
fn reading_a_state_ends_with_the_error_of_the_message() {
    let version = [b"CSIGN2S\0", &[7; 32][..]].concat();
    let (next, calls) = read(Pair::of(&key("a")).client(), &version, 1);
    assert_eq!(next.err(), Some(Incompatible::Version(b'2').into()));
    assert_eq!(calls, 6, "nothing is read behind the wrong byte");

    // A callback may return the errors of std, and those of the core are turned into them.
    let mut bytes = &version[..];
    let outcome =
        (Pair::of(&key("a")).client()).read::<io::Error>(|space| io::Read::read(&mut bytes, space));
    let error = outcome.map(drop).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let inner = error
        .get_ref()
        .unwrap()
        .downcast_ref::<countersign::Error>();
    assert!(matches!(inner, Some(countersign::Error::Handshake(_))));
}

#[test]
fn a_callback_that_reports_more_than_the_space_is_refused() {
    let overrun = StreamError::Overrun { room: 40, len: 41 };
    let outcome = Pair::of(&key("a"))
        .client()
        .read(|space| Ok::<_, Error>(space.len() + 1));
    assert_eq!(outcome.err(), Some(overrun.into()));
}

#[test]
fn a_state_names_the_message_that_it_awaits() {
    let pair = Pair::of(&key("a"));
    let f1 = &pair.run().sent[0];
    assert_eq!(pair.client().message(), Message::CHALLENGE);
    assert_eq!(pair.server().1.message(), Message::RESPONSE);
    assert_eq!(pair.client_after(f1).message(), Message::VERDICT);
}
