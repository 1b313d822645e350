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
use countersign::handshake::{Mode, Progress, Prologue, Receive, Transcript, client, server};
use countersign::{Binding, Key, Session};

use super::harness::{Draws, feed, mode};

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
    let [a, b, c, d] = &settings;
    let configs = [c, d].map(|server| server::Config::new(server.prologue()));
    let [ta, tb, tc, td] = &mut [const { Transcript::new() }; 4];

    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut ends = [
        End::client(a, ta, draws),
        End::client(b, tb, draws),
        End::server(c, &configs[0], tc, draws, &mut messages),
        End::server(d, &configs[1], td, draws, &mut messages),
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

/// Bytes on their way to one of the four ends.
struct Delivery {
    to: usize,
    bytes: Vec<u8>,
    piece: usize,
}

impl Delivery {
    fn from(choices: &mut Unstructured<'_>, messages: &[Vec<u8>]) -> Result<Self> {
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
    mode: Mode,
}

impl Settings {
    /// Reads the settings from one byte. A server has a key for this id, and for no other.
    fn from(choices: &mut Unstructured<'_>) -> Result<Self> {
        let byte = usize::from(choices.arbitrary::<u8>()?);
        Ok(Self {
            secret: byte % SECRETS,
            id: byte / 3 % IDS.len(),
            service: byte / 9 % 3,
            bound: byte / 27 % 2 == 1,
            mode: mode(byte / 54 % 2 == 1),
        })
    }

    fn key(&self) -> &'static Key {
        &KEYS[self.secret][self.id]
    }

    fn prologue(&self) -> Prologue {
        let prologue = Prologue::new(["", "billing/2", "billing/3"][self.service]).unwrap();
        if self.bound {
            prologue.bound(&Binding::tls_exporter(&[7; 32]))
        } else {
            prologue
        }
    }

    fn agree(&self, other: &Self) -> bool {
        let parts = |s: &Self| (s.secret, s.id, s.service, s.bound, s.mode as u8);
        parts(self) == parts(other)
    }
}

/// One of the four ends, and what it received and sent.
struct End<'h> {
    state: State<'h>,
    key: &'static Key,
    /// The messages that it received. The last may be incomplete.
    received: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

enum State<'h> {
    AwaitsChallenge(client::AwaitChallenge<'h>),
    AwaitsVerdict(client::AwaitVerdict<'h>),
    AwaitsResponse(server::AwaitResponse<'h>),
    Succeeded(Session),
    Failed,
}

impl<'h> End<'h> {
    fn client(settings: &Settings, transcript: &'h mut Transcript, draws: &mut Draws) -> Self {
        let (key, prologue) = (settings.key(), settings.prologue());
        let state = client::start(transcript, &prologue, settings.mode, key, draws).unwrap();
        Self {
            state: State::AwaitsChallenge(state),
            key,
            received: vec![Vec::new()],
            sent: Vec::new(),
        }
    }

    fn server(
        settings: &Settings,
        config: &'h server::Config,
        transcript: &'h mut Transcript,
        draws: &mut Draws,
        messages: &mut Vec<Vec<u8>>,
    ) -> Self {
        let (f1, state) = config.start(transcript, settings.mode, draws).unwrap();
        let mut server = Self {
            state: State::AwaitsResponse(state),
            key: settings.key(),
            received: vec![Vec::new()],
            sent: Vec::new(),
        };
        server.send(f1.as_ref(), messages);
        server
    }

    fn send(&mut self, message: &[u8], messages: &mut Vec<Vec<u8>>) {
        self.sent.push(message.to_vec());
        messages.push(message.to_vec());
    }

    /// Receives these bytes, except those after the handshake.
    fn receive(&mut self, mut bytes: &[u8], messages: &mut Vec<Vec<u8>>) {
        while !bytes.is_empty() {
            self.state = match std::mem::replace(&mut self.state, State::Failed) {
                State::AwaitsChallenge(state) => match self.feed(state, &mut bytes) {
                    None => State::Failed,
                    Some(Progress::More(state)) => State::AwaitsChallenge(state),
                    Some(Progress::Done((f2, state))) => {
                        self.send(f2.as_ref(), messages);
                        self.received.push(Vec::new());
                        State::AwaitsVerdict(state)
                    }
                },
                State::AwaitsVerdict(state) => match self.feed(state, &mut bytes) {
                    None => State::Failed,
                    Some(Progress::More(state)) => State::AwaitsVerdict(state),
                    Some(Progress::Done(session)) => State::Succeeded(session),
                },
                State::AwaitsResponse(state) => match self.feed(state, &mut bytes) {
                    None => State::Failed,
                    Some(Progress::More(state)) => State::AwaitsResponse(state),
                    Some(Progress::Done(identified)) => {
                        let found = (identified.key_id() == self.key.id()).then_some(self.key);
                        let (f3, outcome) = identified.verify(found);
                        self.send(f3.as_ref(), messages);
                        outcome.map_or(State::Failed, State::Succeeded)
                    }
                },
                // These bytes do not belong to the handshake.
                end @ (State::Succeeded(_) | State::Failed) => {
                    self.state = end;
                    return;
                }
            };
        }
    }

    fn feed<R: Receive>(&mut self, state: R, bytes: &mut &[u8]) -> Option<Progress<R>> {
        let before = *bytes;
        let progress = feed(state, bytes, usize::MAX);
        let taken = &before[..before.len() - bytes.len()];
        self.received.last_mut().unwrap().extend(taken);
        progress.ok()
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Succeeded(session) => Some(session),
            _ => None,
        }
    }
}

fn judge(settings: &[Settings; 4], ends: &[End<'_>; 4]) {
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
