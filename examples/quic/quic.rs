//! QUIC with quinn: the first stream of each connection authenticates both ends of all its streams.
//!
//! Run it with `cargo run -p countersign-quic`. QUIC encrypts, and nobody verifies its certificates.
//! The binding ties the handshake to its connection, so a man in the middle is denied. How many
//! connections may be pending is for you to limit: quinn can refuse one.

use std::{sync::Arc, time::Duration};

use countersign::tokio::Server;
use countersign::{Binding, Error, Key, Session, generate_secret};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, Incoming, ServerConfig};
use tokio::{io::join, time::timeout};

mod client;
#[path = "../integrations/tls.rs"]
mod tls;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the channel binding `tls-exporter` (RFC 9266): 32 bytes that only the two ends share.
fn binding(connection: &Connection) -> Result<Binding, Failure> {
    let (label, mut bytes) = (b"EXPORTER-Channel-Binding", [0; 32]);
    let exported = connection.export_keying_material(&mut bytes, label, b"");
    exported.map_err(|_| "nothing was exported")?;
    Ok(Binding::tls_exporter(&bytes))
}

/// Opens the first stream, because the server speaks first, and accepts none before it is done.
async fn accept(server: Server<Key>, incoming: Incoming) -> Result<(Connection, Session), Failure> {
    let connection = incoming.await?;
    let server = server.bound(Some(&binding(&connection)?));
    let (send, receive) = connection.open_bi().await?;
    let mut stream = join(receive, send);
    let session = server.authenticate_timeout(&mut stream, TIMEOUT).await?;
    Ok((connection, session))
}

/// Answers each request of an authenticated client, with its key id.
async fn serve(server: Server<Key>, incoming: Incoming) -> Result<(), Failure> {
    let (connection, session) = timeout(TIMEOUT, accept(server, incoming)).await??;
    while let Ok((mut answer, mut request)) = connection.accept_bi().await {
        let request = request.read_to_end(1024).await?;
        let text = format!("{} asks for {}", session.key_id(), request.escape_ascii());
        answer.write_all(text.as_bytes()).await?;
        answer.finish()?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let (server_tls, client_tls) = tls::configurations()?;
    let server_tls = QuicServerConfig::try_from(server_tls)?;
    let config = ServerConfig::with_crypto(Arc::new(server_tls));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse()?)?;
    let (address, server) = (endpoint.local_addr()?, Server::new(key.clone()));
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let serving = serve(server.clone(), incoming);
            tokio::spawn(async { serving.await.map_err(|error| eprintln!("{error}")) });
        }
    });

    let endpoint = client::endpoint(client_tls)?;
    let connection = endpoint.connect(address, "localhost")?.await?;
    client::log_in(&connection, &key, &binding(&connection)?).await?;
    println!("{}", client::ask(&connection, "the time").await?);

    let other = endpoint.connect(address, "localhost")?.await?;
    let denied = client::log_in(&other, &key, &binding(&connection)?).await;
    assert!(denied.is_err_and(|error| matches!(error.downcast_ref(), Some(Error::Denied(_)))));
    println!("A client that is bound to another connection is denied.");
    Ok(())
}
