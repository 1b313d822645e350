//! axum behind the listener: every connection is authenticated before its first request is read, and
//! each handler can ask for the key id of its client.
//!
//! Run it with `cargo run -p countersign-http --bin axum_server 127.0.0.1:7000 keys`, once a key is
//! there. For curl, a tunnel logs in. Both need the program of `cargo install --path cli`:
//!
//!     mkdir -m 700 keys && countersign keygen --key-id auditor keys
//!     countersign tunnel client --listen 127.0.0.1:8000 --to 127.0.0.1:7000 --key-file keys/auditor.key --key-id auditor
//!     curl http://127.0.0.1:8000/reports
//!
//! Both ends are authenticated, and all requests and answers are encrypted. What a client may do is up
//! to the handlers. SIGTERM or ctrl-c ends pending logins, and finishes the requests that have begun,
//! however long they take.

use std::{env, future::pending, io};

use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, serve, serve::ListenerExt};
use countersign::tokio::{Encrypted, Listener, Server};
use countersign::{KeyId, Keyring, ListenerOptions};
use tokio::{net::TcpStream, select, signal};

/// The listener as axum needs it, with a client's key id for its address.
struct Door(Listener<Encrypted<TcpStream>>);

impl serve::Listener for Door {
    type Io = Encrypted<TcpStream>;
    type Addr = KeyId;

    async fn accept(&mut self) -> (Self::Io, KeyId) {
        // It fails only after `shutdown`, and axum stops by dropping the listener instead.
        let Ok(stream) = self.0.accept().await else {
            return pending().await;
        };
        let key_id = *stream.session().key_id();
        (stream, key_id)
    }

    fn local_addr(&self) -> io::Result<KeyId> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

async fn work(ConnectInfo(key_id): ConnectInfo<KeyId>, job: String) -> String {
    format!("{key_id} wants {job}")
}

async fn reports(ConnectInfo(key_id): ConnectInfo<KeyId>) -> Result<&'static str, StatusCode> {
    let is_allowed = key_id == "auditor";
    is_allowed
        .then_some("all is well")
        .ok_or(StatusCode::FORBIDDEN)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, address, keys] = &env::args().collect::<Vec<_>>()[..] else {
        return Err("give an address to listen at, and a directory of keys".into());
    };
    #[cfg(unix)]
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut terminate = signal::windows::ctrl_shutdown()?;
    let server = Server::new(Keyring::from_dir(keys)?);
    let log = ListenerOptions::new().on_event(|event| eprintln!("{event}"));
    let listener = Listener::bind_encrypted_with_options(address, server, log).await?;
    let address = listener.local_addr().ok_or("no address")?;
    println!("listening on {address}");

    let app = Router::new().route("/jobs", post(work));
    let app = app.route("/reports", get(reports));
    let app = app.into_make_service_with_connect_info::<KeyId>();
    // Through `tap_io`, axum offers the address as `ConnectInfo`.
    let serving = serve(Door(listener).tap_io(|_| {}), app).with_graceful_shutdown(async move {
        select! { _ = terminate.recv() => {} _ = signal::ctrl_c() => {} }
    });
    Ok(serving.await?)
}
