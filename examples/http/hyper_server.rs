//! hyper behind the listener: every connection is authenticated before its first request is read, and
//! the function that answers is given the key id of the client.
//!
//! Run it with `cargo run -p countersign-http --bin hyper_server`. Both ends are authenticated, and
//! all requests and answers are encrypted. What a client may do is up to the function.

use std::convert::Infallible;

use countersign::tokio::{Encrypted, Listener, Server};
use countersign::{Key, KeyId, generate_secret};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

mod client;
use client::Failure;

fn answer(key_id: KeyId, request: &Request<Incoming>) -> Response<String> {
    Response::new(format!("{key_id} requests {}", request.uri().path()))
}

/// Serves each connection with its key id.
async fn serve(listener: Listener<Encrypted<TcpStream>>) {
    while let Ok(stream) = listener.accept().await {
        let key_id = *stream.session().key_id();
        let service =
            service_fn(move |request| async move { Ok::<_, Infallible>(answer(key_id, &request)) });
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
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

    let (status, body) = client::get(address, ours, "/jobs").await?;
    assert_eq!(
        (status, &*body),
        (StatusCode::OK, "worker-7 requests /jobs")
    );
    println!("{body}");

    let stranger = client::get(address, stranger, "/jobs").await;
    assert!(stranger.is_err_and(|error| client::is_denied(&error)));
    println!("A stranger is denied before any request.");
    Ok(())
}
