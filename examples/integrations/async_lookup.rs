//! A server whose keys are in a database that has to be awaited.
//!
//! The library's servers look up a key with a plain function, so this program drives the handshake
//! itself. The core says what to send and how much to read. Between the client's response and the
//! verdict the program can await anything. The exit status is 0 only if each of three clients ends
//! as it should.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use countersign::handshake::server::{self, Dummy};
use countersign::handshake::{Authenticate, Error, Progress, Prologue, Receive, Transcript};
use countersign::tokio::Client;
use countersign::{Key, KeyId, Session, generate_secret};
use rand::rngs::SysRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SERVICE: &str = "billing/2";
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let ours = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let stranger = ours.clone().with_id("worker-8")?;
    let other = Key::new(generate_secret()?)?.with_id("worker-7")?;

    let database = Database(HashMap::from([(*ours.id(), ours.clone())]));
    // One of each is enough for all connections.
    let (prologue, dummy) = (Prologue::new(SERVICE)?, Dummy::new());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    for (what, key, accepted) in [
        ("a key that is in the database", ours, true),
        ("a key id that is not in it", stranger, false),
        ("another secret", other, false),
    ] {
        let mut near = TcpStream::connect(listener.local_addr()?).await?;
        let (mut far, _) = listener.accept().await?;
        let client = Client::new(key).service(SERVICE)?;
        // One deadline for the whole handshake, with the look-up.
        let (server, client) = tokio::join!(
            timeout(
                DEADLINE,
                authenticate(&mut far, &prologue, &dummy, &database)
            ),
            client.authenticate_timeout(&mut near, DEADLINE),
        );
        println!("A client with {what}.");
        match (server?, client) {
            (Ok(session), Ok(_)) if accepted => {
                println!("   The server accepted key id \"{}\".", session.key_id());
            }
            (Err(error), Err(countersign::Error::Denied(_))) if !accepted => {
                let Some(Error::ClientNotAuthentic { .. }) = error.downcast_ref() else {
                    return Err(error);
                };
                println!("   The server's error: {error}.");
            }
            outcome => return Err(format!("server and client ended with {outcome:?}").into()),
        }
    }
    Ok(())
}

/// A map in the place of a database on the network.
struct Database(HashMap<KeyId, Key>);

impl Database {
    /// Returns the key with this id. A real database that cannot be reached would give `None` too,
    /// so that the client is denied.
    async fn find(&self, key_id: &KeyId) -> Option<Key> {
        // An unknown id takes as long as a known one, so that the time does not tell them apart.
        sleep(Duration::from_millis(1)).await;
        self.0.get(key_id).cloned()
    }
}

/// Like `countersign::tokio::Server::authenticate`, but awaits the look-up.
async fn authenticate<S>(
    stream: &mut S,
    prologue: &Prologue,
    dummy: &Dummy,
    database: &Database,
) -> Result<Session, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut transcript = Transcript::new();
    let (challenge, await_response) =
        server::start(&mut transcript, dummy, prologue, Authenticate, &mut SysRng)?;
    send(stream, challenge.as_ref()).await?;
    let identified = receive(stream, await_response).await?;

    let key = database.find(identified.key_id()).await;

    // A denial is sent too. Its reason is a better error than that the client did not stay for it.
    let (verdict, outcome) = identified.verify(key.as_ref(), &mut SysRng)?;
    let sent = send(stream, verdict.as_ref()).await;
    let session = outcome?;
    sent?;
    Ok(session)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.flush().await
}

/// Reads one message and no byte more, since the next byte read is application data.
async fn receive<S, R>(stream: &mut S, mut state: R) -> Result<R::Next, Failure>
where
    S: AsyncRead + Unpin,
    R: Receive<Error = Error>,
{
    loop {
        // The space is no larger than what is certain to belong to the message.
        let n = stream.read(state.space()).await?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // The first wrong byte is an error, without waiting for the rest.
        match state.advance(n)? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}
