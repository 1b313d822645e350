//! A server whose keys are in a database that has to be awaited.
//!
//! Run it with `cargo run --features tokio --example async_lookup`. The exit status is 0 only if each
//! of three clients ends as it should.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use countersign::handshake::Error::ClientNotAuthentic;
use countersign::tokio::{Client, Server};
use countersign::{Error, Key, KeyId, generate_secret};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SERVICE: &str = "billing/2";
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let ours = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let stranger = ours.clone().with_id("worker-8")?;
    let other = Key::new(generate_secret()?)?.with_id("worker-7")?;

    let database = Arc::new(Database(HashMap::from([(*ours.id(), ours.clone())])));
    // A `Listener` takes such a server too.
    let server = Server::awaiting(move |key_id| {
        let database = Arc::clone(&database);
        async move { database.find(&key_id).await }
    });
    let server = server.service(SERVICE)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    for (what, key, accepted) in [
        ("a key that is in the database", ours, true),
        ("a key id that is not in it", stranger, false),
        ("another secret", other, false),
    ] {
        let mut near = TcpStream::connect(listener.local_addr()?).await?;
        let (mut far, _) = listener.accept().await?;
        let client = Client::new(key).service(SERVICE)?;
        // The look-up counts against the timeout of the server.
        let ends = tokio::join!(
            server.authenticate_timeout(&mut far, DEADLINE),
            client.authenticate_timeout(&mut near, DEADLINE),
        );
        println!("A client with {what}.");
        match ends {
            (Ok(session), Ok(_)) if accepted => {
                println!("   The server accepted key id \"{}\".", session.key_id());
            }
            (Err(error @ Error::Handshake(ClientNotAuthentic { .. })), Err(Error::Denied(_)))
                if !accepted =>
            {
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
    /// Returns the key with this id. A real database that cannot be reached returns its error: then
    /// the connection ends without a verdict, and the client can try again.
    async fn find(&self, key_id: &KeyId) -> io::Result<Option<Key>> {
        // An unknown id takes as long as a known one, so that the time does not tell them apart.
        sleep(Duration::from_millis(1)).await;
        Ok(self.0.get(key_id).cloned())
    }
}
