//! A client of QUIC that authenticates on the first stream of a connection.

use std::sync::Arc;

use countersign::tokio::Client;
use countersign::{Binding, Key};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use tokio::{io::join, time::timeout};

use crate::{Failure, TIMEOUT};

/// Returns an endpoint that connects with this configuration of TLS.
pub fn endpoint(tls: Arc<rustls::ClientConfig>) -> Result<Endpoint, Failure> {
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Authenticates both ends on the stream that the server opens.
pub async fn log_in(connection: &Connection, key: &Key, binding: &Binding) -> Result<(), Failure> {
    let client = Client::new(key.clone()).bound(Some(binding));
    let (send, receive) = timeout(TIMEOUT, connection.accept_bi()).await??;
    let mut stream = join(receive, send);
    client.authenticate_timeout(&mut stream, TIMEOUT).await?;
    Ok(())
}

/// Sends a request on a stream of its own, and returns the answer.
pub async fn ask(connection: &Connection, request: &str) -> Result<String, Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(request.as_bytes()).await?;
    send.finish()?;
    let answer = timeout(TIMEOUT, receive.read_to_end(1024)).await??;
    Ok(String::from_utf8(answer)?)
}
