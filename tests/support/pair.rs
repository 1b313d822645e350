//! Whole handshakes between two cores in memory, with a hook for each message.

use countersign::handshake::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{self, AwaitResponse, Dummy};
use countersign::handshake::{
    Authenticate, Challenge, Error, Message, Mode, Progress, Prologue, Protect, Receive, Refusal,
    Transcript,
};
use countersign::record::{Integrity, Records};
use countersign::{Key, KeyId, Session};

use super::{Draws, NoEntropy, deliver, feed};

/// The three messages of a handshake, in their order.
pub const MESSAGES: [Message; 3] = [Message::CHALLENGE, Message::RESPONSE, Message::VERDICT];

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
            client_draws: Draws::from(0xc0),
            server_draws: Draws::from(0x50),
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
    pub fn client(&self) -> OwnedClient<Authenticate> {
        self.client_in(Authenticate)
    }

    /// Like [`client`](Self::client), in this mode.
    pub fn client_in<M: Mode>(&self, mode: M) -> OwnedClient<M> {
        let (transcript, key) = (Box::default(), self.client_key.clone());
        let rng = &mut self.client_draws.clone();
        client::start(transcript, key, &self.client_prologue, mode, rng).unwrap()
    }

    /// The state of the client between this F1 and F3.
    pub fn client_after(&self, f1: &[u8]) -> AwaitVerdict<Box<Transcript>, Key, Authenticate> {
        deliver(self.client(), f1).unwrap()
    }

    /// F1, and the state of the server behind it.
    pub fn server(&self) -> (Challenge, OwnedServer<Authenticate>) {
        self.server_in(Authenticate)
    }

    /// Like [`server`](Self::server), in this mode.
    pub fn server_in<M: Mode>(&self, mode: M) -> (Challenge, OwnedServer<M>) {
        let (transcript, dummy) = (Box::default(), Dummy::new());
        let rng = &mut self.server_draws.clone();
        server::start(transcript, dummy, &self.server_prologue, mode, rng).unwrap()
    }

    /// Runs the handshake in mode 0, undisturbed.
    pub fn run(&self) -> Run {
        self.run_in(Authenticate, Authenticate)
    }

    /// Runs the handshake undisturbed, in the modes of the client and of the server.
    pub fn run_in(&self, client: impl AnyMode, server: impl AnyMode) -> Run {
        self.run_through_in(client, server, |_, _| {})
    }

    /// Runs the handshake undisturbed, in the mode of this number at both ends.
    pub fn run_in_mode(&self, number: u8) -> Run {
        match number {
            Authenticate::NUMBER => self.run(),
            Protect::NUMBER => self.run_in(Protect, Protect),
            _ => panic!("there is no mode {number}"),
        }
    }

    /// Runs the handshake in mode 0, with other bytes in place of one message.
    pub fn run_with(&self, message: Message, instead: &[u8]) -> Run {
        self.run_through(|passing, bytes| {
            if passing == message {
                *bytes = instead.to_vec();
            }
        })
    }

    /// Runs the handshake in mode 0. `middle` is called with each message on its way, which it may
    /// alter, or empty for a message that does not arrive.
    pub fn run_through(&self, middle: impl FnMut(Message, &mut Vec<u8>)) -> Run {
        self.run_through_in(Authenticate, Authenticate, middle)
    }

    /// Like [`run_through`](Self::run_through), in the modes of the client and of the server.
    pub fn run_through_in(
        &self,
        client: impl AnyMode,
        server: impl AnyMode,
        middle: impl FnMut(Message, &mut Vec<u8>),
    ) -> Run {
        let mut run = Run {
            client: End::Waiting(Message::CHALLENGE),
            server: End::Waiting(Message::RESPONSE),
            sent: Vec::new(),
        };
        // How a handshake ended early is recorded in the ends.
        let _ = self.run_into(&mut run, client, server, middle);
        run
    }

    fn run_into<C: AnyMode, S: AnyMode>(
        &self,
        run: &mut Run,
        client: C,
        server: S,
        mut middle: impl FnMut(Message, &mut Vec<u8>),
    ) -> Option<()> {
        let mut pass = |sent: &mut Vec<Vec<u8>>, message, bytes: &[u8]| {
            let mut passed = bytes.to_vec();
            sent.push(passed.clone());
            middle(message, &mut passed);
            passed
        };

        let (challenge, await_response) = self.server_in(server);
        let f1 = pass(&mut run.sent, Message::CHALLENGE, challenge.as_ref());

        let await_verdict = run.client.hear(self.client_in(client), &f1)?;
        run.client = End::Waiting(Message::VERDICT);
        let f2 = pass(&mut run.sent, Message::RESPONSE, await_verdict.response());

        let identified = run.server.hear(await_response, &f2)?;
        let (verdict, outcome) = identified
            .verify(self.server_key.as_ref(), &mut NoEntropy)
            .unwrap();
        run.server = outcome.map_or_else(End::Refused, S::accepted);
        let f3 = pass(&mut run.sent, Message::VERDICT, verdict.as_ref());

        run.client = C::accepted(run.client.hear(await_verdict, &f3)?);
        Some(())
    }
}

/// The state of a client before F1.
pub type OwnedClient<M> = AwaitChallenge<Box<Transcript>, Key, M>;

/// The state of a server behind F1.
pub type OwnedServer<M> = AwaitResponse<Box<Transcript>, Dummy, M>;

/// Either mode, with one type for what both yield.
pub trait AnyMode: Mode {
    fn accepted(established: Self::Established) -> End;
}

impl AnyMode for Authenticate {
    fn accepted(session: Session) -> End {
        End::Accepted(session, None)
    }
}

impl AnyMode for Protect {
    fn accepted((session, records): (Session, Records<Integrity>)) -> End {
        End::Accepted(session, Some(Box::new(records)))
    }
}

/// How one end of a handshake in memory ended.
#[derive(Debug)]
pub enum End {
    /// There are records in mode 1 only.
    Accepted(Session, Option<Box<Records<Integrity>>>),
    Refused(Error),
    /// It still waits for this message.
    Waiting(Message),
}

impl End {
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(..))
    }

    /// Returns what the session of this end exports.
    #[track_caller]
    pub fn exported(&self) -> [u8; 32] {
        let Self::Accepted(session, _) = self else {
            panic!("{self:?}");
        };
        exported(session)
    }

    /// Returns the error with which this end ended, if it did.
    pub fn refusal(&self) -> Option<Error> {
        match self {
            Self::Refused(error) => Some(*error),
            _ => None,
        }
    }

    /// Feeds what arrived to the state of this end. Returns the next state if there is one.
    fn hear<R: Receive<Error = Error>>(&mut self, state: R, bytes: &[u8]) -> Option<R::Next> {
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

    /// What the handshake yields to the client and the server. There are records in mode 1 only.
    #[track_caller]
    pub fn established(self) -> [(Session, Option<Records<Integrity>>); 2] {
        [self.client, self.server].map(|end| match end {
            End::Accepted(session, records) => (session, records.map(|it| *it)),
            other => panic!("{other:?}"),
        })
    }

    /// The sessions of the client and the server.
    #[track_caller]
    pub fn sessions(self) -> [Session; 2] {
        self.established().map(|(session, _)| session)
    }

    /// The records of the client and the server in mode 1.
    #[track_caller]
    pub fn records(self) -> [Records<Integrity>; 2] {
        self.established().map(|(_, records)| records.unwrap())
    }

    /// Asserts that both ends have one session, and returns what it exports.
    #[track_caller]
    pub fn assert_accepted(&self) -> [u8; 32] {
        let session = self.client.exported();
        assert_eq!(self.server.exported(), session);
        session
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
