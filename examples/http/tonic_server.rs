//! tonic behind the listener: every connection is authenticated before its first call is read, and
//! each method finds the key id of its client in the extensions of the request.
//!
//! Run it with `cargo run -p countersign-http --bin tonic_server`. Both ends are authenticated, and
//! all calls and answers are encrypted. What a client may call is up to the methods.

use countersign::tokio::{Encrypted, Listener, Server};
use countersign::{Key, KeyId, generate_secret};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

mod tonic_client;
use tonic_client::{Failure, check, is_denied};

/// A service of which each client may ask for its own health only.
struct OwnHealth;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Health for OwnHealth {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        let key_id = request.extensions().get::<KeyId>();
        if key_id.is_none_or(|key_id| *key_id != *request.get_ref().service) {
            return Err(Status::permission_denied("not your own health"));
        }
        let status = ServingStatus::Serving.into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Answer<Self::WatchStream> {
        Err(Status::unimplemented("call `check` instead"))
    }
}

/// Serves each connection with its key id in the extensions of every request.
async fn serve(listener: Listener<Encrypted<TcpStream>>) {
    while let Ok(stream) = listener.accept().await {
        let key_id = *stream.session().key_id();
        let service = HealthServer::with_interceptor(OwnHealth, move |mut request: Request<()>| {
            request.extensions_mut().insert(key_id);
            Ok(request)
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("key id \"{key_id}\" failed: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let ours = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let stranger = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let listener = Listener::bind_encrypted("127.0.0.1:0", Server::new(ours.clone())).await?;
    let address = listener.local_addr().ok_or("no address")?;
    tokio::spawn(serve(listener));

    for (service, code) in [("worker-7", Code::Ok), ("worker-8", Code::PermissionDenied)] {
        assert_eq!(check(address, ours.clone(), service).await?, code);
        println!("worker-7 asks for the health of {service}: {code:?}");
    }
    let stranger = check(address, stranger, "worker-7").await;
    assert!(stranger.is_err_and(|error| is_denied(&error)));
    println!("A stranger is denied before any call.");
    Ok(())
}
