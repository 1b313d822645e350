//! A codec of tokio-util over a protected stream: messages in place of bytes.
//!
//! Run it with `cargo run --features tokio --example framed`. Both ends are authenticated, and
//! messages arrive unaltered, in order and once. An end that the peer did not send is an error, so a
//! connection that is cut does not look complete. Nothing is encrypted.

use std::io;
use std::time::Duration;

use countersign::tokio::{Client, Listener, Protected, Server};
use countersign::{Key, generate_secret, record};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Puts the length in front of each message: 4 bytes. A longer message than the limit is an error.
fn framed(stream: Protected<TcpStream>) -> Framed<Protected<TcpStream>, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder()
        .max_frame_length(64 * 1024)
        .new_framed(stream)
}

/// Returns each message to its sender until the client closes, and returns how many they were.
async fn echo(stream: Protected<TcpStream>) -> io::Result<usize> {
    let (mut messages, mut count) = (framed(stream), 0);
    while let Some(message) = messages.next().await {
        messages.send(message?.freeze()).await?;
        count += 1;
    }
    messages.into_inner().finish(Duration::from_secs(5)).await?;
    Ok(count)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let listener = Listener::bind_protected("127.0.0.1:0", Server::new(key.clone())).await?;
    let address = listener.local_addr().ok_or("no address")?;
    let client = Client::new(key);

    let mut messages = framed(client.connect_protected(address).await?);
    let server = tokio::spawn(echo(listener.accept().await?));
    let sent = ["a message", "", "and another"].map(Bytes::from);
    for message in &sent {
        messages.send(message.clone()).await?;
    }
    messages.get_mut().close().await?;
    for message in sent {
        let echo = messages.next().await.ok_or("no echo")??;
        assert_eq!(echo, message);
        println!("The echo is \"{}\".", echo.escape_ascii());
    }
    assert!(messages.next().await.is_none());
    println!("The server has returned {} messages.", server.await??);

    let mut messages = framed(client.connect_protected(address).await?);
    let server = tokio::spawn(echo(listener.accept().await?));
    messages.send(Bytes::from("a message")).await?;
    messages.next().await.ok_or("no echo")??;
    // Without `close`, as if the connection were cut.
    drop(messages);
    let error = server.await?.err().ok_or("the end was not noticed")?;
    assert!(matches!(
        record::Error::of(&error),
        Some(record::Error::Truncated)
    ));
    println!("The server's error: {error}.");
    Ok(())
}
