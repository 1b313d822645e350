//! An actor that owns the state of a handshake, and takes what arrives from its mailbox: the core in
//! a struct, without I/O of its own, as in an event loop. Run it with `cargo run --example actor`.
//!
//! Both ends are authenticated. What follows is not protected (mode 0). A deadline is yours to add.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;

use countersign::handshake::server::{AwaitResponse, Dummy, start};
use countersign::handshake::{Authenticate, Progress, Prologue, Receive, Transcript};
use countersign::{Client, Key, KeyLookup, Session, generate_secret};
use rand::rngs::SysRng;

type Failure = Box<dyn std::error::Error + Send + Sync>;

enum Actor {
    Login(AwaitResponse<Box<Transcript>, Dummy, Authenticate>),
    Open(Session),
}

impl Actor {
    /// Takes a message of any size, and sends what answers it. An error ends the connection.
    fn receive(self, mut arrived: &[u8], key: &Key, out: &mut TcpStream) -> Result<Self, Failure> {
        match self {
            // The last of the response may have more behind it, which is for the application.
            _ if arrived.is_empty() => Ok(self),
            Self::Login(mut login) => {
                let n = arrived.read(login.space())?;
                let next = match login.advance(n)? {
                    Progress::More(login) => Self::Login(login),
                    Progress::Done(client) => {
                        let key = key.find(client.key_id().as_bytes());
                        let (verdict, outcome) = client.verify(key.as_deref(), &mut SysRng)?;
                        out.write_all(verdict.as_ref())?;
                        Self::Open(outcome?)
                    }
                };
                next.receive(arrived, key, out)
            }
            Self::Open(session) => {
                println!("{} sends {} byte.", session.key_id(), arrived.len());
                out.write_all(arrived)?;
                Ok(Self::Open(session))
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (client, address) = (Client::new(key.clone()), listener.local_addr()?);
    let client = thread::spawn(move || -> Result<(), Failure> {
        let (mut stream, _session) = client.connect(address)?;
        stream.write_all(b"!")?;
        Ok(stream.read_exact(&mut [0])?)
    });
    let (mut socket, _) = listener.accept()?;
    // The messages are single bytes, to show that any size will do.
    let (mailbox, messages) = channel();
    let reader = BufReader::new(socket.try_clone()?);
    let mut bytes = reader.bytes().map_while(Result::ok);
    thread::spawn(move || bytes.try_for_each(|byte| mailbox.send([byte])));

    let (transcript, dummy) = (Box::new(Transcript::new()), Dummy::new());
    let prologue = &Prologue::EMPTY;
    let (challenge, login) = start(transcript, dummy, prologue, Authenticate, &mut SysRng)?;
    socket.write_all(challenge.as_ref())?;
    (messages.iter()).try_fold(Actor::Login(login), |actor, message| {
        actor.receive(&message, &key, &mut socket)
    })?;
    client.join().map_err(|_| "the client panicked")?
}
