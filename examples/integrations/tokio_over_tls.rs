//! A listener inside TLS, each handshake bound to its TLS connection, over tokio.
//!
//! Run it with `cargo run --features tokio --example tokio_over_tls`. TLS encrypts, and nobody
//! verifies its certificates. The handshake authenticates both ends, and the binding ties it to this
//! TLS connection, so a man in the middle is denied. The example `over_tls` shows one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use countersign::tokio::{Client, Listener, Server, bind_tcp};
use countersign::{Binding, Error, Key, ListenerOptions, generate_secret};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ConnectionCommon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

mod tls;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Returns the channel binding `tls-exporter` (RFC 9266): 32 bytes that only the two ends of one TLS
/// connection share.
fn binding<Side>(connection: &ConnectionCommon<Side>) -> io::Result<Binding> {
    let exported =
        connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
    exported
        .map(|exported| Binding::tls_exporter(&exported))
        .map_err(io::Error::other)
}

async fn connect(
    listener: &std::net::SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Failure> {
    let socket = TcpStream::connect(listener).await?;
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::clone(config))
        .connect(name, socket)
        .await?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let (server_config, client_config) = tls::configurations()?;
    let acceptor = TlsAcceptor::from(server_config);
    let socket = bind_tcp("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let (server, options) = (Server::new(key.clone()), ListenerOptions::new());
    let listener = Listener::upgraded(socket, server, options, move |stream| {
        let accepting = acceptor.accept(stream);
        async move {
            let stream = accepting.await?;
            let binding = binding(stream.get_ref().1)?;
            Ok((stream, Some(binding)))
        }
    })?;
    let client = Client::new(key);
    let timeout = Duration::from_secs(10);

    let mut stream = connect(&address, &client_config).await?;
    let bound = client.bound(Some(&binding(stream.get_ref().1)?));
    bound.authenticate_timeout(&mut stream, timeout).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let (mut stream, session) = listener.accept().await?;
    let mut received = String::new();
    stream.read_to_string(&mut received).await?;
    println!("{} sends \"{received}\".", session.key_id());

    let mut stream = connect(&address, &client_config).await?;
    let unbound = client.authenticate_timeout(&mut stream, timeout).await;
    assert!(matches!(unbound, Err(Error::Denied(_))));
    println!("A client that does not bind is denied.");
    Ok(())
}
