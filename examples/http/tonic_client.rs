//! A client of gRPC over a connection that has authenticated.

use std::iter::successors;
use std::net::SocketAddr;
use std::time::Duration;

use countersign::tokio::Client;
use countersign::{Error, Key};
use hyper_util::rt::TokioIo;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub type Failure = Box<dyn std::error::Error>;

/// Calls `check` for a service, over a channel that authenticates each time it connects.
pub async fn check(address: SocketAddr, key: Key, service: &str) -> Result<Code, Failure> {
    let client = Client::new(key);
    let connect = tower::service_fn(move |_| {
        let client = client.clone();
        async move { client.connect_encrypted(address).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost").timeout(Duration::from_secs(10));
    let channel = endpoint.connect_with_connector(connect).await?;
    let service = service.to_owned();
    let mut client = HealthClient::new(channel);
    let answer = client.check(HealthCheckRequest { service }).await;
    Ok(answer.map_or_else(|status| status.code(), |_| Code::Ok))
}

/// Returns whether a channel could not connect because the server has denied this client.
pub fn is_denied(error: &Failure) -> bool {
    successors(error.source(), |error| error.source())
        .any(|error| matches!(error.downcast_ref(), Some(Error::Denied(_))))
}
