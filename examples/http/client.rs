//! A client of HTTP/1 over a connection that has authenticated.

use std::net::SocketAddr;
use std::time::Duration;

use countersign::tokio::Client;
use countersign::{Error, Key};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Requests a path over a connection of its own, and returns the status and the body of the answer.
pub async fn get(
    address: SocketAddr,
    key: Key,
    path: &str,
) -> Result<(StatusCode, String), Failure> {
    let stream = Client::new(key).connect_encrypted(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header("Host", "localhost");
    let request = request.body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec())?))
    };
    // The connection is closed once `sender` is dropped.
    let both = async { tokio::join!(exchange, connection) };
    let (answer, closed) = timeout(Duration::from_secs(10), both).await?;
    closed?;
    answer
}

/// Returns whether there was no connection because the server has denied this client.
pub fn is_denied(error: &Failure) -> bool {
    matches!(error.downcast_ref(), Some(Error::Denied(_)))
}
