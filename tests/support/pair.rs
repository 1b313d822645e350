//! Whole handshakes between two cores in memory, with a hook for each message.

use countersign::handshake::{
    Challenge, Error, Flight, Mode, Progress, Prologue, Receive, Refusal, Transcript, client,
    server,
};
use countersign::{Key, KeyId, Session};
use rand::TryCryptoRng;

use super::{Draws, deliver, feed, transcript};

/// The three messages of a handshake, in their order.
pub const MESSAGES: [Flight; 3] = [Flight::Challenge, Flight::Response, Flight::Verdict];

pub const MODES: [Mode; 2] = [Mode::Authenticate, Mode::Protect];

/// F3 of a server that denies.
pub const DENIAL: [u8; 33] = *b"D\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// What the two ends of a handshake in memory are given.
#[derive(Clone)]
pub struct Pair {
    pub client_key: Key,
    /// What the server finds for the key id of the client, whatever that id is.
    pub server_key: Option<Key>,
    pub client_prologue: Prologue,
    pub server_prologue: Prologue,
    pub client_mode: Mode,
    pub server_mode: Mode,
    pub client_draws: Draws,
    pub server_draws: Draws,
}

impl Pair {
    /// Two ends that agree in everything.
    pub fn of(key: &Key) -> Self {
        Self::between(key, key)
    }

    /// Two ends that agree in everything but their keys.
    pub fn between(client_key: &Key, server_key: &Key) -> Self {
        Self {
            client_key: client_key.clone(),
            server_key: Some(server_key.clone()),
            client_prologue: Prologue::EMPTY,
            server_prologue: Prologue::EMPTY,
            client_mode: Mode::Authenticate,
            server_mode: Mode::Authenticate,
            client_draws: Draws::from(0xc0),
            server_draws: Draws::from(0x50),
        }
    }

    pub fn in_modes(self, client_mode: Mode, server_mode: Mode) -> Self {
        Self {
            client_mode,
            server_mode,
            ..self
        }
    }

    pub fn with_prologues(self, client_prologue: Prologue, server_prologue: Prologue) -> Self {
        Self {
            client_prologue,
            server_prologue,
            ..self
        }
    }

    /// The state of the client before F1.
    pub fn client(&self) -> client::AwaitChallenge<'_> {
        let rng = &mut self.client_draws.clone();
        self.client_in(transcript(), rng).unwrap()
    }

    /// Like [`client`](Self::client), in a transcript and with a generator of the test's own.
    pub fn client_in<'h>(
        &'h self,
        transcript: &'h mut Transcript,
        rng: &mut impl TryCryptoRng,
    ) -> Result<client::AwaitChallenge<'h>, Error> {
        let (prologue, mode) = (&self.client_prologue, self.client_mode);
        client::start(transcript, prologue, mode, &self.client_key, rng)
    }

    /// The state of the client between this F1 and F3.
    pub fn client_after(&self, f1: &[u8]) -> client::AwaitVerdict<'_> {
        deliver(self.client(), f1).unwrap().1
    }

    /// F1, and the state of the server behind it.
    pub fn server(&self) -> (Challenge, server::AwaitResponse<'static>) {
        // The state borrows it for as long as a test likes.
        let config = Box::leak(Box::new(self.config()));
        let rng = &mut self.server_draws.clone();
        self.server_in(config, transcript(), rng).unwrap()
    }

    /// Like [`server`](Self::server), in a transcript and with a generator of the test's own.
    pub fn server_in<'h>(
        &self,
        config: &'h server::Config,
        transcript: &'h mut Transcript,
        rng: &mut impl TryCryptoRng,
    ) -> Result<(Challenge, server::AwaitResponse<'h>), Error> {
        config.start(transcript, self.server_mode, rng)
    }

    pub fn config(&self) -> server::Config {
        server::Config::new(self.server_prologue.clone())
    }

    /// Runs the handshake undisturbed.
    pub fn run(&self) -> Run {
        self.run_through(|_, _| {})
    }

    /// Runs the handshake with other bytes in place of one message.
    pub fn run_with(&self, message: Flight, instead: &[u8]) -> Run {
        self.run_through(|passing, bytes| {
            if passing == message {
                *bytes = instead.to_vec();
            }
        })
    }

    /// Runs the handshake. `middle` is called with each message on its way, which it may alter,
    /// or empty for a message that does not arrive.
    pub fn run_through(&self, middle: impl FnMut(Flight, &mut Vec<u8>)) -> Run {
        let mut run = Run {
            client: End::Waiting(Flight::Challenge),
            server: End::Waiting(Flight::Response),
            sent: Vec::new(),
        };
        // How a handshake ended early is recorded in the ends.
        let _ = self.run_into(&mut run, middle);
        run
    }

    fn run_into(&self, run: &mut Run, mut middle: impl FnMut(Flight, &mut Vec<u8>)) -> Option<()> {
        let mut pass = |sent: &mut Vec<Vec<u8>>, message, bytes: &[u8]| {
            let mut passed = bytes.to_vec();
            sent.push(passed.clone());
            middle(message, &mut passed);
            passed
        };

        let (challenge, await_response) = self.server();
        let f1 = pass(&mut run.sent, Flight::Challenge, challenge.as_ref());

        let (response, await_verdict) = run.client.hear(self.client(), &f1)?;
        run.client = End::Waiting(Flight::Verdict);
        let f2 = pass(&mut run.sent, Flight::Response, response.as_ref());

        let identified = run.server.hear(await_response, &f2)?;
        let (verdict, outcome) = identified.verify(self.server_key.as_ref());
        run.server = outcome.map_or_else(End::Refused, End::Accepted);
        let f3 = pass(&mut run.sent, Flight::Verdict, verdict.as_ref());

        run.client = End::Accepted(run.client.hear(await_verdict, &f3)?);
        Some(())
    }
}

/// How one end of a handshake in memory ended.
#[derive(Debug)]
pub enum End {
    Accepted(Session),
    Refused(Error),
    /// It still waits for this message.
    Waiting(Flight),
}

impl End {
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// Returns the error with which this end ended, if it did.
    pub fn refusal(&self) -> Option<Error> {
        match self {
            Self::Refused(error) => Some(*error),
            _ => None,
        }
    }

    /// Feeds what arrived to the state of this end. Returns the next state if there is one.
    fn hear<R: Receive>(&mut self, state: R, bytes: &[u8]) -> Option<R::Next> {
        match feed(state, bytes, usize::MAX) {
            Ok((Progress::Done(next), _)) => return Some(next),
            Ok((Progress::More(_), _)) => {}
            Err(error) => *self = Self::Refused(error),
        }
        None
    }
}

/// A handshake in memory that has ended.
#[derive(Debug)]
pub struct Run {
    pub client: End,
    pub server: End,
    /// F1, F2 and F3 as their senders sent them, as far as they were sent.
    pub sent: Vec<Vec<u8>>,
}

impl Run {
    /// The three messages of a handshake that was not cut short.
    #[track_caller]
    pub fn messages(&self) -> [&[u8]; 3] {
        let [f1, f2, f3] = &self.sent[..] else {
            panic!("{self:?}");
        };
        [f1, f2, f3]
    }

    /// The sessions of the client and the server.
    #[track_caller]
    pub fn sessions(self) -> [Session; 2] {
        match (self.client, self.server) {
            (End::Accepted(client), End::Accepted(server)) => [client, server],
            other => panic!("{other:?}"),
        }
    }

    /// Asserts that both ends have one session, and returns what it exports.
    #[track_caller]
    pub fn assert_accepted(&self) -> [u8; 32] {
        let (End::Accepted(client), End::Accepted(server)) = (&self.client, &self.server) else {
            panic!("{self:?}");
        };
        assert_eq!(exported(client), exported(server));
        exported(client)
    }

    /// Asserts that the server found a wrong proof for this key id, and denied.
    #[track_caller]
    pub fn assert_denied(&self, key_id: &[u8]) {
        assert_eq!(self.server.refusal(), Some(wrong_proof(key_id)));
        assert_eq!(self.sent[2], DENIAL);
        assert_eq!(self.client.refusal(), Some(Error::Denied));
    }
}

/// The server's error if a client proved another secret.
pub fn wrong_proof(key_id: &[u8]) -> Error {
    Error::ClientNotAuthentic {
        key_id: KeyId::new(key_id).unwrap(),
        refusal: Refusal::WrongProof,
    }
}

/// The label of [`exported`].
pub const EXPORT_LABEL: &[u8] = b"session";

/// What tells one session from another.
pub fn exported(session: &Session) -> [u8; 32] {
    let mut output = [0; 32];
    session.export(EXPORT_LABEL, b"", &mut output).unwrap();
    output
}
