//! Two clients and two servers, all honest, and an attacker who carries their messages.
//!
//! The server finishes first, so the rules for the two ends differ:
//!
//! - A server succeeds if and only if one client, with the same secret, key id, prologue and mode,
//!   received exactly this server's F1, and the server received exactly this client's F2. The server
//!   does not learn whether F3 arrives.
//! - A client succeeds if and only if one server succeeded with its F2, and the client received
//!   exactly this server's F3. The two then have the same exporter outputs.
//!
//! So an end fails if any byte that it receives was altered, left out, inserted or taken from another
//! message. How messages are cut into pieces makes no difference.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{self, AwaitResponse, Dummy};
use countersign::handshake::{
    Authenticate, Mode, Progress, Prologue, Protect, Receive, Transcript,
};
#[cfg(feature = "encrypt")]
use countersign::record::Encryption;
use countersign::record::{Integrity, Records};
use countersign::{Binding, Key, Session};

use super::harness::{Draws, feed};

const SECRETS: usize = 3;
const IDS: [&str; 3] = ["", "worker-7", "worker-8"];

/// Each secret under each id.
static KEYS: LazyLock<[[Key; IDS.len()]; SECRETS]> = LazyLock::new(|| {
    ["ours", "theirs", "another"].map(|name| IDS.map(|id| super::harness::key(name, id)))
});

/// An input is four bytes, the settings of the four ends, and then the deliveries.
pub fn body(input: &[u8]) {
    // A delivery that the input does not complete is not made.
    let _ = run(&mut Unstructured::new(input), &mut Draws::of(input));
}

fn run(choices: &mut Unstructured<'_>, draws: &mut Draws) -> Result<()> {
    let settings = [
        Settings::from(choices)?,
        Settings::from(choices)?,
        Settings::from(choices)?,
        Settings::from(choices)?,
    ];
    let mut messages = Messages::new();
    let mut start = |settings: &Settings, is_server| {
        let messages = &mut messages;
        match settings.mode {
            0 => End::start(Authenticate, is_server, settings, draws, messages),
            1 => End::start(Protect, is_server, settings, draws, messages),
            #[cfg(feature = "encrypt")]
            2 => End::start(Encrypt, is_server, settings, draws, messages),
            mode => unreachable!("mode {mode}"),
        }
    };
    let [a, b, c, d] = &settings;
    let mut ends = [
        start(a, false),
        start(b, false),
        start(c, true),
        start(d, true),
    ];
    let mut deliveries = 0;
    while !choices.is_empty() && deliveries < 64 {
        deliveries += 1;
        let Ok(Delivery { to, bytes, piece }) = Delivery::from(choices, &messages) else {
            break;
        };
        for piece in bytes.chunks(piece) {
            ends[to].receive(piece, &mut messages);
        }
    }
    judge(&settings, &ends);
    Ok(())
}

/// All messages that were sent.
type Messages = Vec<Vec<u8>>;

/// Bytes on their way to one of the four ends.
struct Delivery {
    to: usize,
    bytes: Vec<u8>,
    piece: usize,
}

impl Delivery {
    fn from(choices: &mut Unstructured<'_>, messages: &Messages) -> Result<Self> {
        let first: u8 = choices.arbitrary()?;
        let message = |choices: &mut Unstructured<'_>| -> Result<Vec<u8>> {
            let n = usize::from(choices.arbitrary::<u8>()?) % messages.len();
            Ok(messages[n].clone())
        };
        let bytes = match first >> 3 & 7 {
            // A part of a message.
            0 => {
                let message = message(choices)?;
                let start = usize::from(choices.arbitrary::<u8>()?).min(message.len());
                let len = usize::from(choices.arbitrary::<u8>()?).min(message.len() - start);
                message[start..start + len].to_vec()
            }
            // A message with one byte altered.
            1 => {
                let mut message = message(choices)?;
                let at = usize::from(choices.arbitrary::<u8>()?) % message.len();
                message[at] ^= choices.arbitrary::<u8>()?;
                message
            }
            // Bytes that no end sent.
            2 => {
                let len = usize::from(choices.arbitrary::<u8>()?).min(choices.len());
                choices.bytes(len)?.to_vec()
            }
            // Two messages in one delivery.
            3 => [message(choices)?, message(choices)?].concat(),
            _ => message(choices)?,
        };
        Ok(Self {
            to: usize::from(first & 3),
            bytes,
            piece: if first & 4 == 0 { usize::MAX } else { 1 },
        })
    }
}

/// The settings of an end.
struct Settings {
    secret: usize,
    id: usize,
    service: usize,
    bound: bool,
    mode: usize,
}

const MODES: usize = if cfg!(feature = "encrypt") { 3 } else { 2 };

impl Settings {
    /// Reads the settings from one byte. A server has a key for this id, and for no other.
    fn from(choices: &mut Unstructured<'_>) -> Result<Self> {
        let byte = usize::from(choices.arbitrary::<u8>()?);
        Ok(Self {
            secret: byte % SECRETS,
            id: byte / 3 % IDS.len(),
            service: byte / 9 % 3,
            bound: byte / 27 % 2 == 1,
            mode: byte / 54 % MODES,
        })
    }

    fn key(&self) -> &'static Key {
        &KEYS[self.secret][self.id]
    }

    fn prologue(&self) -> Prologue {
        let prologue = Prologue::new(["", "billing/2", "billing/3"][self.service]).unwrap();
        let binding = self.bound.then(|| Binding::tls_exporter(&[7; 32]));
        prologue.bound(binding.as_ref())
    }

    fn agree(&self, other: &Self) -> bool {
        let parts = |s: &Self| (s.secret, s.id, s.service, s.bound, s.mode);
        parts(self) == parts(other)
    }
}

/// One of the four ends, and what it received and sent.
struct End {
    state: State,
    key: &'static Key,
    /// The generator of a server's private key.
    draws: Draws,
    /// The messages that it received. The last may be incomplete.
    received: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

enum State {
    Waits(Box<dyn Waits>),
    Succeeded(Session),
    Failed,
}

impl End {
    fn start<M: Yields>(
        mode: M,
        is_server: bool,
        settings: &Settings,
        draws: &mut Draws,
        messages: &mut Messages,
    ) -> Self {
        let (transcript, key, prologue) = (Transcript::new(), settings.key(), settings.prologue());
        let mut end = Self {
            state: State::Failed,
            key,
            draws: draws.fork(),
            received: vec![Vec::new()],
            sent: Vec::new(),
        };
        end.state = State::Waits(if is_server {
            let started = server::start(transcript, Dummy::new(), &prologue, mode, draws);
            let (f1, state) = started.unwrap();
            end.send(f1.as_ref(), messages);
            Box::new(state)
        } else {
            Box::new(client::start(transcript, key, &prologue, mode, draws).unwrap())
        });
        end
    }

    fn send(&mut self, message: &[u8], messages: &mut Messages) {
        self.sent.push(message.to_vec());
        messages.push(message.to_vec());
    }

    /// Receives these bytes, except those after the handshake.
    fn receive(&mut self, mut bytes: &[u8], messages: &mut Messages) {
        while !bytes.is_empty() {
            self.state = match std::mem::replace(&mut self.state, State::Failed) {
                State::Waits(state) => state.receive(self, &mut bytes, messages),
                // These bytes do not belong to the handshake.
                end @ (State::Succeeded(_) | State::Failed) => {
                    self.state = end;
                    return;
                }
            };
        }
    }

    /// Feeds bytes to a state, and continues with `then` once its message is complete.
    fn feed<R: Receive + Waits + 'static>(
        &mut self,
        state: R,
        bytes: &mut &[u8],
        then: impl FnOnce(&mut Self, R::Next) -> State,
    ) -> State {
        let before = *bytes;
        let progress = feed(state, bytes, usize::MAX);
        let taken = &before[..before.len() - bytes.len()];
        self.received.last_mut().unwrap().extend(taken);
        match progress {
            Ok(Progress::More(state)) => State::Waits(Box::new(state)),
            Ok(Progress::Done(next)) => then(self, next),
            Err(_) => State::Failed,
        }
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Succeeded(session) => Some(session),
            _ => None,
        }
    }
}

/// A state that waits for a message, in any mode.
trait Waits {
    /// Receives what it can of these bytes, and returns the state after them.
    fn receive(self: Box<Self>, end: &mut End, bytes: &mut &[u8], messages: &mut Messages)
    -> State;
}

impl<M: Yields> Waits for AwaitChallenge<Transcript, &'static Key, M> {
    fn receive(
        self: Box<Self>,
        end: &mut End,
        bytes: &mut &[u8],
        messages: &mut Messages,
    ) -> State {
        end.feed(*self, bytes, |end, state| {
            end.send(state.response(), messages);
            end.received.push(Vec::new());
            State::Waits(Box::new(state))
        })
    }
}

impl<M: Yields> Waits for AwaitVerdict<Transcript, &'static Key, M> {
    fn receive(self: Box<Self>, end: &mut End, bytes: &mut &[u8], _: &mut Messages) -> State {
        end.feed(*self, bytes, |_, established| {
            State::Succeeded(M::into_session(established))
        })
    }
}

impl<M: Yields> Waits for AwaitResponse<Transcript, Dummy, M> {
    fn receive(
        self: Box<Self>,
        end: &mut End,
        bytes: &mut &[u8],
        messages: &mut Messages,
    ) -> State {
        end.feed(*self, bytes, |end, identified| {
            let found = (identified.key_id() == end.key.id()).then_some(end.key);
            let (f3, outcome) = identified.verify(found, &mut end.draws).unwrap();
            end.send(f3.as_ref(), messages);
            outcome.map_or(State::Failed, |established| {
                State::Succeeded(M::into_session(established))
            })
        })
    }
}

/// A mode, and the session that it yields.
trait Yields: Mode {
    fn into_session(established: Self::Established) -> Session;
}

impl Yields for Authenticate {
    fn into_session(session: Session) -> Session {
        session
    }
}

#[cfg(feature = "encrypt")]
impl Yields for Encrypt {
    fn into_session((session, _): (Session, Records<Encryption>)) -> Session {
        session
    }
}

impl Yields for Protect {
    fn into_session((session, _): (Session, Records<Integrity>)) -> Session {
        session
    }
}

fn judge(settings: &[Settings; 4], ends: &[End; 4]) {
    let (clients, servers) = ends.split_at(2);
    let (client_settings, server_settings) = settings.split_at(2);
    let mut partners = Vec::new();
    for (server, server_settings) in servers.iter().zip(server_settings) {
        let mut heard = clients.iter().zip(client_settings).enumerate().filter(
            |(_, (client, client_settings))| {
                client_settings.agree(server_settings)
                    && client.received[0] == server.sent[0]
                    && client.sent.first() == server.received.first()
            },
        );
        let partner = heard.next();
        assert!(heard.next().is_none(), "two clients have sent one F2");
        assert_eq!(server.session().is_some(), partner.is_some(), "server");
        partners.push(partner.map(|(n, _)| n));
    }
    assert!(
        partners[0].is_none() || partners[0] != partners[1],
        "one F2 was accepted twice"
    );

    for (n, client) in clients.iter().enumerate() {
        let partner = partners.iter().position(|&partner| partner == Some(n));
        let heard = partner.map(|partner| &servers[partner]);
        let heard = heard.filter(|server| client.received.get(1) == server.sent.get(1));
        assert_eq!(client.session().is_some(), heard.is_some(), "client");
        if let (Some(client), Some(server)) = (client.session(), heard.and_then(End::session)) {
            assert_eq!(client.key_id(), server.key_id());
            assert_eq!(exported(client), exported(server));
        }
    }
    // Two handshakes never have the same secret.
    if let [Some(a), Some(b)] = [&servers[0], &servers[1]].map(End::session) {
        assert_ne!(exported(a), exported(b));
    }
}

fn exported(session: &Session) -> [u8; 32] {
    let mut out = [0; 32];
    session.export("fuzz", b"", &mut out).unwrap();
    out
}
