//! Whole handshakes between two cores in memory, with a hook for each message.

use std::fmt;

#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{self, AwaitResponse, Dummy, Identified};
use countersign::handshake::{
    Authenticate, Challenge, Error, Message, Mode, Progress, Prologue, Protect, Receive, Refusal,
    Transcript, Verdict,
};
use countersign::record::{self, OVERHEAD, Opened, Protection, Records};
use countersign::{Key, KeyId, Session};

use super::{Draws, deliver, feed};

/// The three messages of a handshake, in their order.
pub const MESSAGES: [Message; 3] = [Message::CHALLENGE, Message::RESPONSE, Message::VERDICT];

/// F3 of a server that denies, in modes 0 and 1.
pub const DENIAL: [u8; 33] = *b"D\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// F3 of a server that denies in the mode of this number.
pub fn denial(mode: u8) -> Vec<u8> {
    let no_share = if mode == 2 { 32 } else { 0 };
    [&DENIAL[..], &vec![0; no_share]].concat()
}

/// Calls a generic function with every mode.
macro_rules! in_every_mode {
    ($function:ident) => {{
        $function(countersign::handshake::Authenticate);
        $function(countersign::handshake::Protect);
        #[cfg(feature = "encrypt")]
        $function(countersign::handshake::Encrypt);
    }};
}
pub(crate) use in_every_mode;

/// Calls a generic function with every two modes that differ.
macro_rules! in_every_two_modes {
    ($function:ident) => {{
        use countersign::handshake::{Authenticate, Protect};

        $function(Authenticate, Protect);
        $function(Protect, Authenticate);
        #[cfg(feature = "encrypt")]
        {
            use countersign::handshake::Encrypt;

            $function(Authenticate, Encrypt);
            $function(Protect, Encrypt);
            $function(Encrypt, Authenticate);
            $function(Encrypt, Protect);
        }
    }};
}
pub(crate) use in_every_two_modes;

/// What the two ends of a handshake in memory are given.
#[derive(Clone)]
pub struct Pair {
    pub client_key: Key,
    /// What the server finds for the key id of the client, whatever that id is.
    pub server_key: Option<Key>,
    pub client_prologue: Prologue,
    pub server_prologue: Prologue,
    /// The client's nonce or, in mode 2, its private key.
    pub client_draws: Draws,
    /// The server's nonce.
    pub server_draws: Draws,
    /// The server's private key in mode 2.
    pub server_private: Draws,
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
            server_private: Draws::from(0xe5),
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
        self.client_after_in(Authenticate, f1)
    }

    /// Like [`client_after`](Self::client_after), in this mode.
    pub fn client_after_in<M: Mode>(
        &self,
        mode: M,
        f1: &[u8],
    ) -> AwaitVerdict<Box<Transcript>, Key, M> {
        deliver(self.client_in(mode), f1).unwrap()
    }

    /// The outcome of the server of this state for this F2, and its F3.
    pub fn verdict<M: AnyMode>(&self, server: OwnedServer<M>, f2: &[u8]) -> (Verdict, End) {
        self.decide(deliver(server, f2).unwrap())
    }

    fn decide<M: AnyMode>(
        &self,
        identified: Identified<Box<Transcript>, Dummy, M>,
    ) -> (Verdict, End) {
        let mut draws = self.server_private.clone();
        let decision = identified.verify(self.server_key.as_ref(), &mut draws);
        let (verdict, outcome) = decision.unwrap();
        let end = outcome.map_or_else(End::Refused, M::accepted);
        // A private key is drawn in mode 2 only, and only once the client's proof has verified.
        let exchanges = M::NUMBER == 2 && !end.is_of_a_stranger();
        assert_eq!(draws.count, usize::from(exchanges), "{end:?}");
        (verdict, end)
    }

    /// Runs the handshake undisturbed, and returns what it yields to the client and the server.
    pub fn establish<M: Mode>(&self, mode: M) -> [M::Established; 2] {
        let (challenge, server) = self.server_in(mode);
        let client = self.client_after_in(mode, challenge.as_ref());
        let identified = deliver(server, client.response()).unwrap();
        let rng = &mut self.server_private.clone();
        let (verdict, outcome) = identified.verify(self.server_key.as_ref(), rng).unwrap();
        [deliver(client, verdict).unwrap(), outcome.unwrap()]
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
            #[cfg(feature = "encrypt")]
            Encrypt::NUMBER => self.run_in(Encrypt, Encrypt),
            _ => panic!("there is no mode {number}"),
        }
    }

    /// Runs the handshake in mode 0, with other bytes in place of one message.
    pub fn run_with(&self, message: Message, instead: &[u8]) -> Run {
        self.run_with_in(Authenticate, message, instead)
    }

    /// Like [`run_with`](Self::run_with), in this mode.
    pub fn run_with_in(&self, mode: impl AnyMode, message: Message, instead: &[u8]) -> Run {
        self.run_through_in(mode, mode, |passing, bytes| {
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
        let (verdict, end) = self.decide(identified);
        run.server = end;
        let f3 = pass(&mut run.sent, Message::VERDICT, verdict.as_ref());

        run.client = C::accepted(run.client.hear(await_verdict, &f3)?);
        Some(())
    }
}

/// The state of a client before F1.
pub type OwnedClient<M> = AwaitChallenge<Box<Transcript>, Key, M>;

/// The state of a server behind F1.
pub type OwnedServer<M> = AwaitResponse<Box<Transcript>, Dummy, M>;

/// Any mode, with one type for what all yield.
pub trait AnyMode: Mode {
    fn accepted(established: Self::Established) -> End;
}

impl AnyMode for Authenticate {
    fn accepted(session: Session) -> End {
        End::Accepted(session, None)
    }
}

impl AnyMode for Protect {
    fn accepted((session, records): Self::Established) -> End {
        End::Accepted(session, Some(Box::new(records)))
    }
}

#[cfg(feature = "encrypt")]
impl AnyMode for Encrypt {
    fn accepted((session, records): Self::Established) -> End {
        End::Accepted(session, Some(Box::new(records)))
    }
}

/// The records of an end, whatever protects them.
pub trait AnyRecords: fmt::Debug + Send {
    fn seal(&mut self, payload: &[u8]) -> Vec<u8>;

    fn close(&mut self) -> Vec<u8>;

    /// Returns the payload, which is empty for the record that ends a direction.
    fn open(&mut self, record: &[u8]) -> Result<Vec<u8>, record::Error>;
}

impl<P: Protection> AnyRecords for Records<P>
where
    Self: fmt::Debug,
{
    fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut record = vec![0; payload.len() + OVERHEAD];
        record[2..][..payload.len()].copy_from_slice(payload);
        self.sealer.seal(&mut record).unwrap();
        record
    }

    fn close(&mut self) -> Vec<u8> {
        self.sealer.close().unwrap().to_vec()
    }

    fn open(&mut self, record: &[u8]) -> Result<Vec<u8>, record::Error> {
        Ok(match self.opener.open(&mut record.to_vec())? {
            Opened::Data(payload) => payload.to_vec(),
            Opened::Close => Vec::new(),
        })
    }
}

/// How one end of a handshake in memory ended.
#[derive(Debug)]
pub enum End {
    /// There are no records in mode 0.
    Accepted(Session, Option<Box<dyn AnyRecords>>),
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

    /// Returns whether this is a server whose client did not prove a secret.
    fn is_of_a_stranger(&self) -> bool {
        matches!(
            self,
            Self::Refused(Error::ClientNotAuthentic {
                refusal: Refusal::WrongProof | Refusal::UnknownKeyId,
                ..
            })
        )
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

    /// What the handshake yields to the client and the server. There are no records in mode 0.
    #[track_caller]
    pub fn established(self) -> [(Session, Option<Box<dyn AnyRecords>>); 2] {
        [self.client, self.server].map(|end| match end {
            End::Accepted(session, records) => (session, records),
            other => panic!("{other:?}"),
        })
    }

    /// The sessions of the client and the server.
    #[track_caller]
    pub fn sessions(self) -> [Session; 2] {
        self.established().map(|(session, _)| session)
    }

    /// The records of the client and the server.
    #[track_caller]
    pub fn records(self) -> [Box<dyn AnyRecords>; 2] {
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
        assert_eq!(self.sent[2], denial(self.sent[0][7]));
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
