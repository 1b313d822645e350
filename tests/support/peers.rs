//! The programs at the other end of a [`Wire`](super::Wire).

use std::collections::VecDeque;

use countersign::handshake::{Authenticate, Error, Progress, Prologue, Receive};
use countersign::{Key, KeyLookup};

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
