//! A server whose keys are in a database that has to be awaited.
//!
//! The look-up of the drivers is a plain function, so this one drives the handshake itself: the
//! core says what to send and how much to read, and between the client's flight and the verdict
//! the program may await whatever it likes. The exit status is 0 only if each of three clients
//! ends as it should.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use countersign::handshake::{Error, Mode, Progress, Prologue, Receive, Transcript, server};
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
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("this should not have happened: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<(), Failure> {
    let ours = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let stranger = ours.clone().with_id("worker-8")?;
    let other = Key::new(generate_secret()?)?.with_id("worker-7")?;

    let database = Database(HashMap::from([(*ours.id(), ours.clone())]));
    // Made once: it serves all connections.
    let config = server::Config::new(Prologue::new(SERVICE)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    for (what, key, accepted) in [
        ("a key that is in the database", ours, true),
        ("a key id that is not in it", stranger, false),
        ("another secret", other, false),
    ] {
        let mut near = TcpStream::connect(listener.local_addr()?).await?;
        let (mut far, _) = listener.accept().await?;
        let client = Client::new(key).service(SERVICE)?;
        // One deadline over all of it, the look-up included.
        let (server, client) = tokio::join!(
            timeout(DEADLINE, authenticate(&mut far, &config, &database)),
            client.authenticate_within(&mut near, DEADLINE),
        );
        println!("A client with {what}.");
        match (server?, client) {
            (Ok(session), Ok(_)) if accepted => {
                println!("   The server accepted key id \"{}\".", session.key_id());
            }
            (Err(error), Err(countersign::Error::Denied)) if !accepted => {
                let Some(Error::ClientNotAuthentic { .. }) = error.downcast_ref() else {
                    return Err(error);
                };
                println!("   The server knows: {error}.");
            }
            outcome => return Err(format!("server and client ended with {outcome:?}").into()),
        }
    }
    Ok(())
}

/// Stands in for a store somewhere on the network.
struct Database(HashMap<KeyId, Key>);

impl Database {
    /// Where a real one cannot be asked, that is `None` too: the client is denied all the same.
    async fn find(&self, key_id: &KeyId) -> Option<Key> {
        // As long for an id that is not there, or the time would tell strangers which ones are.
        sleep(Duration::from_millis(1)).await;
        self.0.get(key_id).cloned()
    }
}

/// What `countersign::tokio::Server::authenticate` does, with a look-up that is awaited.
async fn authenticate<S>(
    stream: &mut S,
    config: &server::Config,
    database: &Database,
) -> Result<Session, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut transcript = Transcript::new();
    let (challenge, await_response) =
        config.start(&mut transcript, Mode::Authenticate, &mut SysRng)?;
    send(stream, challenge.as_ref()).await?;
    let identified = receive(stream, await_response).await?;

    let key = database.find(identified.key_id()).await;

    // The verdict is sent whatever it is, and the reason of a denial says more than that the
    // client did not stay to hear of it.
    let (verdict, outcome) = identified.verify(key.as_ref());
    let sent = send(stream, verdict.as_ref()).await;
    let session = outcome?;
    sent?;
    Ok(session)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, flight: &[u8]) -> io::Result<()> {
    stream.write_all(flight).await?;
    stream.flush().await
}

/// Reads one flight and no octet more: the next is the application's.
async fn receive<S, R>(stream: &mut S, mut state: R) -> Result<R::Next, Failure>
where
    S: AsyncRead + Unpin,
    R: Receive,
{
    loop {
        // The space is as large as what is certain to belong to the flight.
        let n = stream.read(state.space()).await?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // One octet that does not belong there ends it, without waiting for the rest.
        match state.advance(n)? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}
