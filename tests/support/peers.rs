//! The programs at the other end of a [`Wire`](super::Wire).

use std::collections::VecDeque;

use countersign::handshake::{Authenticate, Error, Progress, Prologue, Receive};
use countersign::{Hint, Key, KeyLookup};

use super::{NoEntropy, OwnedClient, OwnedServer, Pair, feed};

/// The program at the other end of a [`Wire`](super::Wire).
pub trait Peer {
    /// Drains what it reads of `written`, the bytes that were written to the wire. Returns what it
    /// answers.
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8>;
}

/// A peer that sends these bytes at once and then is silent.
pub struct Says(pub Vec<u8>);

impl Peer for Says {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        written.clear();
        std::mem::take(&mut self.0)
    }
}

const HTTP: Option<Hint> = Some(Hint::Http);
const TLS: Option<Hint> = Some(Hint::Tls);
const PROXY: Option<Hint> = Some(Hint::Proxy);
const PYTHON: Option<Hint> = Some(Hint::Multiprocessing);

/// What peers of other protocols send first, the hint at each, and how many of its bytes the hint
/// needs where the protocol of this crate is awaited.
pub const FOREIGN: [(&[u8], Option<Hint>, usize); 22] = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 1),
    (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 1),
    (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 2),
    (b"PUT /a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 2),
    (b"DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 1),
    (b"CONNECT a:443 HTTP/1.1\r\n\r\n", HTTP, 2),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 1),
    (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 1),
    (b"PATCH /a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, 2),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP, 3),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", HTTP, 1),
    // A record of 512 bytes with the version of TLS 1.0, with which TLS always begins.
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", TLS, 1),
    (b"\x15\x03\x03\x00\x02\x02\x28", TLS, 1),
    (b"SSH-2.0-OpenSSH_9.6\r\n", Some(Hint::Ssh), 1),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", PROXY, 3),
    // Of a health check.
    (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", PROXY, 1),
    // The challenges of CPython 3.12, and of CPython 3.11 and earlier, each behind its length. No
    // client begins with one.
    (
        b"\0\0\0\x3b#CHALLENGE#{sha256}ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        PYTHON,
        1,
    ),
    (b"\0\0\0\x1f#CHALLENGE#ZZZZZZZZZZZZZZZZZZZZ", PYTHON, 1),
    // The recipe.
    (
        b"\xb7\x1d\x4e\x90\x06\xfa\x53\xc8\x2b\x9d\x71\xe4\x38\x0f\xa5\x6c\
          \xd2\x87\x14\xbb\x49\xfe\x30\x65\x9a\x02\xcd\x78\x11\xe6\x5f\x83",
        None,
        0,
    ),
    (b"PING\r\n", None, 0),
    (b"220 example.org ESMTP\r\n", None, 0),
    (b"CSIGM1C\0\0", None, 0),
];

/// A peer that sends everything back.
pub struct Echoes;

impl Peer for Echoes {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        written.drain(..).collect()
    }
}

/// Feeds a state what was written to the wire. Returns the next state if there is one. A state that
/// waits for more stays in its place, and one that refused is dropped.
fn take<R>(state: &mut Option<R>, written: &mut VecDeque<u8>) -> Option<R::Next>
where
    R: Receive<Error = Error>,
{
    let bytes = written.make_contiguous();
    let (progress, left) = feed(state.take()?, bytes, usize::MAX).ok()?;
    written.drain(..written.len() - left);
    match progress {
        Progress::Done(next) => Some(next),
        Progress::More(same) => {
            *state = Some(same);
            None
        }
    }
}

/// An honest server, and what it sends behind its verdict.
pub struct HonestServer {
    key: Key,
    /// F1 until it is sent.
    challenge: Option<Vec<u8>>,
    state: Option<OwnedServer<Authenticate>>,
    tail: Vec<u8>,
}

impl HonestServer {
    pub fn new(key: &Key, prologue: Prologue, tail: &[u8]) -> Self {
        let (challenge, state) = Pair::of(key)
            .with_prologues(prologue.clone(), prologue)
            .server();
        Self {
            key: key.clone(),
            challenge: Some(challenge.as_ref().to_vec()),
            state: Some(state),
            tail: tail.to_vec(),
        }
    }
}

impl Peer for HonestServer {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        if let Some(challenge) = self.challenge.take() {
            return challenge;
        }
        let Some(identified) = take(&mut self.state, written) else {
            return Vec::new();
        };
        let key = self.key.find(identified.key_id().as_bytes());
        let (verdict, _) = identified.verify(key.as_deref(), &mut NoEntropy).unwrap();
        [verdict.as_ref(), &self.tail].concat()
    }
}

/// An honest client, and what it sends behind its response, for which a real client would wait
/// for the verdict.
pub struct HonestClient {
    state: Option<OwnedClient<Authenticate>>,
    tail: Vec<u8>,
}

impl HonestClient {
    pub fn new(key: &Key, prologue: Prologue, tail: &[u8]) -> Self {
        let pair = Pair::of(key).with_prologues(prologue.clone(), prologue);
        Self {
            state: Some(pair.client()),
            tail: tail.to_vec(),
        }
    }
}

impl Peer for HonestClient {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        match take(&mut self.state, written) {
            Some(state) => [state.response(), &self.tail].concat(),
            None => Vec::new(),
        }
    }
}
