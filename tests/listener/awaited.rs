//! Servers over tokio whose look-up of keys is awaited.

use std::borrow::Cow;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use countersign::handshake::Message;
use countersign::tokio::{Awaiting, Server};
use countersign::{Client, Error, KeyLookup, Phase};
use tokio::time::{sleep, timeout};

use super::events::Events;
use super::running::{options, ring, runtime, worker};
use super::verbs::{Serving, Stream, Verb, ping, pong_over_tokio, serve_over_tokio};
use crate::failures::is_denied;
use crate::sockets::{LONG, connect, listener_over_tokio, over_tokio};
use crate::support::{key, tcp_pair};

/// A server that finds the keys of [`ring`], except that one look-up never ends and one fails.
fn server() -> Server<Awaiting> {
    let ring = ring();
    Server::awaiting(move |id| {
        let key = ring.find(id.as_bytes()).map(Cow::into_owned);
        async move {
            match id.as_bytes() {
                b"worker-slow" => pending().await,
                b"worker-broken" => Err(io::Error::other("no database")),
                _ => {
                    sleep(Duration::from_millis(1)).await;
                    Ok(key)
                }
            }
        }
    })
}

fn client(name: &str) -> Client {
    Client::new(worker(name))
}

/// A client that is cut before its verdict learns that it may try again.
fn assert_may_retry(outcome: Result<Box<dyn Stream>, Error>) {
    let error = outcome.err().unwrap();
    let is_cut = matches!(error, Error::Closed(Phase::Awaiting(Message::VERDICT)));
    assert!(is_cut, "{error:?}");
    let sentence = error.to_string();
    let advice = "cut before the server's verdict; it may be overloaded, retry later";
    assert!(sentence.contains(advice), "{sentence}");
}

/// Runs a server over one stream, with a timeout or with none, and answers one ping.
async fn serve(
    verb: Verb,
    mut stream: tokio::net::TcpStream,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let server = server();
    match (verb, timeout) {
        (Verb::Authenticate, None) => {
            server.authenticate(&mut stream).await?;
            pong_over_tokio(stream).await;
        }
        (Verb::Authenticate, Some(timeout)) => {
            server.authenticate_timeout(&mut stream, timeout).await?;
            pong_over_tokio(stream).await;
        }
        (Verb::Protect, None) => pong_over_tokio(server.protect(stream).await?).await,
        (Verb::Protect, Some(timeout)) => {
            pong_over_tokio(server.protect_timeout(stream, timeout).await?).await;
        }
        #[cfg(feature = "encrypt")]
        (Verb::Encrypt, None) => pong_over_tokio(server.encrypt(stream).await?).await,
        #[cfg(feature = "encrypt")]
        (Verb::Encrypt, Some(timeout)) => {
            pong_over_tokio(server.encrypt_timeout(stream, timeout).await?).await;
        }
    }
    Ok(())
}

#[test]
fn every_verb_awaits_a_key_and_counts_a_slow_look_up_against_its_timeout() {
    const TIMEOUT: Duration = Duration::from_millis(300);

    for &verb in Verb::ALL {
        for timeout in [None, Some(LONG)] {
            let (near, far) = tcp_pair();
            let pinging =
                thread::spawn(move || ping(&mut *verb.log_in(&client("7"), near).unwrap()));
            runtime().block_on(async { serve(verb, over_tokio(far), timeout).await.unwrap() });
            pinging.join().unwrap();
        }
        let (near, far) = tcp_pair();
        let slow = thread::spawn(move || verb.log_in(&client("slow"), near));
        let served = runtime().block_on(async {
            let serving = serve(verb, over_tokio(far), Some(TIMEOUT));
            timeout(LONG, serving).await.unwrap()
        });
        let timed_out = matches!(served, Err(Error::TimedOut(Phase::LookingUp)));
        assert!(timed_out, "{verb:?}: {served:?}");
        assert_may_retry(slow.join().unwrap());
    }
}

#[test]
fn a_slow_look_up_holds_only_its_own_connection_and_counts_against_its_deadline() {
    const TIMEOUT: Duration = Duration::from_secs(2);

    for &verb in Verb::ALL {
        let events = Arc::new(Events::default());
        let hook = Arc::clone(&events);
        let options = options().deadline(TIMEOUT).on_event(move |event| {
            hook.record(event);
        });
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let socket = {
            let _runtime = runtime().enter();
            listener_over_tokio(socket)
        };
        let serve = serve_over_tokio!(
            verb,
            [with_options, protected_with_options, encrypted_with_options](
                socket,
                server(),
                options
            )
        );
        let serving = Serving {
            address,
            events,
            serve,
        };
        let log_in = move |client: &Client| verb.log_in(client, connect(address));

        let slow = thread::spawn(move || log_in(&client("slow")));
        for nth in ["1", "2", "3"] {
            let pinging = thread::spawn(move || ping(&mut *log_in(&client(nth)).unwrap()));
            let key_id = (serving.serve)().unwrap();
            assert_eq!(key_id, format!("worker-{nth}").as_str());
            pinging.join().unwrap();
        }
        let stranger = log_in(&Client::new(key("stranger"))).err().unwrap();
        assert!(is_denied(&stranger), "{stranger:?}");
        assert_may_retry(log_in(&client("broken")));
        assert_may_retry(slow.join().unwrap());

        let seen = serving.events.once(|seen| seen.len() == 6);
        let outcomes: Vec<_> = seen.into_iter().map(|seen| seen.outcome).collect();
        let timed_out = format!("timed out {}", Phase::LookingUp);
        assert!(outcomes.contains(&timed_out), "{outcomes:?}");
        let failed = format!("failed while {}: no database", Phase::LookingUp);
        assert!(outcomes.contains(&failed), "{outcomes:?}");
    }
}
