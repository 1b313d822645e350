//! axum behind the listener: every connection is authenticated before its first request is read, and
//! each handler can ask for the key id of its client.
//!
//! Run it with `cargo run -p countersign-http --bin axum_server`. Both ends are authenticated, and all
//! requests and answers are encrypted. What a client may do is up to the handlers.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};
use countersign::tokio::{Encrypted, Listener, Server};
use countersign::{Key, KeyId, Keyring, generate_secret};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tower::Layer;

mod client;
use client::Failure;

async fn hello(Extension(key_id): Extension<KeyId>) -> String {
    format!("hello, {key_id}")
}

async fn reports(Extension(key_id): Extension<KeyId>) -> Result<&'static str, StatusCode> {
    if key_id == "auditor" {
        Ok("all is well")
    } else {
        Err(StatusCode::FORBIDDEN)
    }
}

/// Serves each connection with its key id in the extensions of every request.
async fn serve(listener: Listener<Encrypted<TcpStream>>, app: Router) {
    while let Ok(stream) = listener.accept().await {
        let key_id = *stream.session().key_id();
        let app = TowerToHyperService::new(Extension(key_id).layer(app.clone()));
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), app);
            if let Err(error) = connection.await {
                eprintln!("key id \"{key_id}\" failed: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let worker = Key::new(generate_secret()?)?.with_id("worker-7")?;
    let auditor = Key::new(generate_secret()?)?.with_id("auditor")?;
    let stranger = Key::new(generate_secret()?)?.with_id("auditor")?;
    let keys = Keyring::new();
    keys.insert(worker.clone());
    keys.insert(auditor.clone());

    let listener = Listener::bind_encrypted("127.0.0.1:0", Server::new(keys)).await?;
    let address = listener.local_addr().ok_or("no address")?;
    let app = Router::new()
        .route("/", get(hello))
        .route("/reports", get(reports));
    tokio::spawn(serve(listener, app));

    for (key, path, status, body) in [
        (worker.clone(), "/", 200, "hello, worker-7"),
        (worker, "/reports", 403, ""),
        (auditor, "/reports", 200, "all is well"),
    ] {
        let key_id = *key.id();
        let answer = client::get(address, key, path).await?;
        assert_eq!(answer, (StatusCode::from_u16(status)?, body.to_owned()));
        println!("{key_id} requests {path}: {status} {body}");
    }
    let stranger = client::get(address, stranger, "/").await;
    assert!(stranger.is_err_and(|error| client::is_denied(&error)));
    println!("A stranger is denied before any request.");
    Ok(())
}
