//! Honest programs on three wires, with the attacker at the other end of each line.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use countersign::compat::cookbook;
use countersign::compat::multiprocessing::{self, Connection};
use countersign::record::Protection;
use countersign::{Binding, Client, Deadline, Error, Key, Secured, Server};

use crate::support::{exported, secret, tcp_pair};

/// Far longer than a login takes. A test that reaches it fails.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The requests of an honest client after its login.
pub const REQUESTS: [&[u8; 8]; 2] = [b"pay Ann;", b"pay Bob;"];

/// A request that no honest client sends.
pub const FORGED: &[u8; 8] = b"pay me!!";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Recipe,
    Multiprocessing,
    /// In mode 0.
    Native,
    /// Native in mode 1.
    Protected,
    /// Native in mode 2.
    Encrypted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

impl Wire {
    pub fn is_native(self) -> bool {
        matches!(self, Self::Native | Self::Protected | Self::Encrypted)
    }

    /// The sender and the length of each message of a login without a key id.
    pub fn messages(self) -> &'static [(Role, usize)] {
        use Role::{Client, Server};
        match self {
            Self::Recipe => &[(Server, 32), (Client, 32)],
            Self::Multiprocessing => &[
                (Server, 63),
                (Client, 44),
                (Server, 13),
                (Client, 63),
                (Server, 44),
                (Client, 13),
            ],
            Self::Native | Self::Protected => &[(Server, 40), (Client, 73), (Server, 33)],
            Self::Encrypted => &[(Server, 40), (Client, 73), (Server, 65)],
        }
    }

    /// Replays one role of a recorded login, whatever the other says.
    pub fn play(self, role: Role, recorded: &[Vec<u8>], honest: &mut Honest) {
        for (&(sender, len), message) in self.messages().iter().zip(recorded) {
            if sender == role {
                honest.hears(message);
            } else {
                honest.says(len);
            }
        }
    }

    /// A request as it is sent after the login by an attacker who cannot compute its tag.
    pub fn wrapped(self, request: &[u8]) -> Vec<u8> {
        match self {
            Self::Recipe | Self::Native => request.to_vec(),
            Self::Multiprocessing => framed(request),
            Self::Protected | Self::Encrypted => [&[0, 8], request, &[0; 16]].concat(),
        }
    }

    /// Returns what a client sends after its login: each request as it is on the wire, and the
    /// end of its stream.
    pub fn requests_of(self, client: &mut Honest) -> [Vec<u8>; 3] {
        let [request, end] = match self {
            Self::Recipe | Self::Native => [8, 0],
            Self::Multiprocessing => [12, 0],
            Self::Protected | Self::Encrypted => [26, 18],
        };
        [request, request, end].map(|len| client.says(len))
    }
}

/// A message of `multiprocessing`, with its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let len = i32::try_from(message.len()).unwrap();
    [&len.to_be_bytes(), message].concat()
}

/// A challenge of `multiprocessing`.
pub fn challenge(digest: &str, random: &[u8]) -> Vec<u8> {
    framed(&[b"#CHALLENGE#", digest.as_bytes(), random].concat())
}

/// An honest program before it is started. All share one secret unless a test gives another.
#[derive(Clone)]
pub struct Program {
    pub wire: Wire,
    pub secret: Vec<u8>,
    pub key_id: &'static str,
    pub service: &'static str,
    /// What the channel below exports, if the login is bound to it.
    pub channel: Option<[u8; 32]>,
}

impl Program {
    pub fn on(wire: Wire) -> Self {
        Self {
            wire,
            secret: secret("shared"),
            key_id: "",
            service: "",
            channel: None,
        }
    }

    pub fn named(self, service: &'static str) -> Self {
        Self { service, ..self }
    }

    pub fn over(self, channel: [u8; 32]) -> Self {
        Self {
            channel: Some(channel),
            ..self
        }
    }

    pub fn knowing(self, secret: impl AsRef<[u8]>) -> Self {
        Self {
            secret: secret.as_ref().to_vec(),
            ..self
        }
    }

    pub fn called(self, key_id: &'static str) -> Self {
        Self { key_id, ..self }
    }

    /// Logs in, and sends its requests.
    pub fn client(&self) -> Honest {
        let program = self.clone();
        Honest::start(move |stream| program.run_client(stream))
    }

    /// Awaits a login, and receives until there is no more.
    pub fn server(&self) -> Honest {
        let program = self.clone();
        Honest::start(move |stream| program.run_server(stream))
    }

    fn run_client(&self, stream: &mut Deadline<&TcpStream>) -> Result<Login, Error> {
        let mut login = Login::default();
        match self.wire {
            Wire::Recipe => {
                cookbook::client_authenticate(stream, &self.secret)?;
                send(stream);
            }
            Wire::Multiprocessing => {
                let knows = multiprocessing::client_authenticate(stream, &self.secret)?;
                let mut connection = Connection::new(stream, knows);
                // The attacker may have closed the connection.
                let _ = REQUESTS.map(|request| connection.send_bytes(request));
            }
            Wire::Native => {
                let session = self.native_client().authenticate(stream)?;
                login.exported = Some(exported(&session));
                send(stream);
            }
            Wire::Protected => login.send(self.native_client().protect(stream)?),
            Wire::Encrypted => login.send(self.native_client().encrypt(stream)?),
        }
        Ok(login)
    }

    fn run_server(&self, stream: &mut Deadline<&TcpStream>) -> Result<Login, Error> {
        let mut login = Login::default();
        match self.wire {
            Wire::Recipe => {
                let _knows = cookbook::server_authenticate(stream, &self.secret)?;
                login.receive(stream);
            }
            Wire::Multiprocessing => {
                let knows = multiprocessing::server_authenticate(stream, &self.secret)?;
                login.receive_messages(&mut Connection::new(stream, knows));
            }
            Wire::Native => {
                let session = self.native_server().authenticate(stream)?;
                login.exported = Some(exported(&session));
                login.receive(stream);
            }
            Wire::Protected => login.receive_secured(self.native_server().protect(stream)?),
            Wire::Encrypted => login.receive_secured(self.native_server().encrypt(stream)?),
        }
        Ok(login)
    }

    fn native_client(&self) -> Client {
        let client = Client::new(self.key()).service(self.service).unwrap();
        client.bound(self.binding().as_ref())
    }

    fn native_server(&self) -> Server<Key> {
        let server = Server::new(self.key()).service(self.service).unwrap();
        server.bound(self.binding().as_ref())
    }

    fn binding(&self) -> Option<Binding> {
        self.channel.as_ref().map(Binding::tls_exporter)
    }

    fn key(&self) -> Key {
        let key = Key::new(&self.secret).unwrap();
        key.with_id(self.key_id).unwrap()
    }
}

fn send(stream: &mut impl Write) {
    for request in REQUESTS {
        // Each is a record of its own. The attacker may have closed the connection.
        let _ = stream.write_all(request).and_then(|()| stream.flush());
    }
}

/// The outcome of a program that has accepted its peer.
#[derive(Debug)]
pub struct Login {
    /// What the session exports, if there is one.
    pub exported: Option<[u8; 32]>,
    /// The requests that the application received.
    pub received: Vec<u8>,
    /// How the requests ended.
    pub end: io::Result<()>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            exported: None,
            received: Vec::new(),
            end: Ok(()),
        }
    }
}

impl Login {
    fn send<S: Read + Write, P: Protection>(&mut self, mut stream: Secured<S, P>) {
        self.exported = Some(exported(stream.session()));
        send(&mut stream);
        let _ = stream.close();
    }

    fn receive_secured<S: Read + Write, P: Protection>(&mut self, mut stream: Secured<S, P>) {
        self.exported = Some(exported(stream.session()));
        self.receive(&mut stream);
    }

    fn receive(&mut self, stream: &mut impl Read) {
        self.end = stream.read_to_end(&mut self.received).map(drop);
    }

    fn receive_messages(&mut self, connection: &mut Connection<impl Read + Write>) {
        self.end = loop {
            match connection.recv_bytes(REQUESTS[0].len()) {
                Ok(Some(message)) => self.received.extend(message),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
    }
}

/// A login that the attacker has relayed unchanged, and the two programs after it.
pub struct Relayed {
    pub client: Honest,
    pub server: Honest,
    /// The messages of the login.
    pub recorded: Vec<Vec<u8>>,
}

impl Relayed {
    /// Relays a login between two programs that agree in everything.
    pub fn on(wire: Wire) -> Self {
        let program = Program::on(wire);
        Self::between(&program, &program)
    }

    pub fn between(client: &Program, server: &Program) -> Self {
        let wire = client.wire;
        let (mut client, mut server) = (client.client(), server.server());
        let mut recorded = Vec::new();
        for &(sender, len) in wire.messages() {
            let (from, to) = match sender {
                Role::Client => (&mut client, &mut server),
                Role::Server => (&mut server, &mut client),
            };
            let mut message = from.says(len);
            if let (true, Role::Client, Some(&key_id_len)) =
                (wire.is_native(), sender, message.get(8))
            {
                message.extend(from.says(key_id_len.into()));
            }
            to.hears(&message);
            recorded.push(message);
        }
        Self {
            client,
            server,
            recorded,
        }
    }

    /// Returns the messages of a login that both programs accept.
    pub fn accepted(self) -> Vec<Vec<u8>> {
        assert!(self.client.accepts() && self.server.accepts());
        self.recorded
    }
}

/// An honest program in a thread of its own, and the attacker's end of its only connection.
pub struct Honest {
    line: TcpStream,
    program: JoinHandle<Result<Login, Error>>,
}

impl Honest {
    fn start(
        program: impl FnOnce(&mut Deadline<&TcpStream>) -> Result<Login, Error> + Send + 'static,
    ) -> Self {
        let (line, stream) = tcp_pair();
        line.set_read_timeout(Some(2 * LIMIT)).unwrap();
        let program = move || program(&mut Deadline::new(&stream, LIMIT));
        Self {
            line,
            program: thread::spawn(program),
        }
    }

    /// Returns the next `len` bytes that it sends, or fewer if it ends before.
    pub fn says(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let len = u64::try_from(len).unwrap();
        match (&self.line).take(len).read_to_end(&mut bytes) {
            Ok(_) => {}
            // It ended before it had read everything.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
        bytes
    }

    /// Sends it these bytes, whether or not it still reads.
    pub fn hears(&mut self, bytes: &[u8]) {
        let _ = (&self.line).write_all(bytes);
    }

    /// Closes the line to it. Returns its outcome.
    pub fn ends(self) -> Result<Login, Error> {
        // It may have closed the connection already.
        let _ = self.line.shutdown(Shutdown::Write);
        self.program.join().unwrap()
    }

    /// Returns whether it accepted its peer. Panics if it ended without a decision.
    #[track_caller]
    pub fn accepts(self) -> bool {
        match self.ends() {
            Ok(_) => true,
            Err(
                Error::Handshake(_)
                | Error::Denied(_)
                | Error::Cookbook(_)
                | Error::Multiprocessing(_),
            ) => false,
            Err(error) => panic!("{error}"),
        }
    }
}
