//! Servers over tokio whose look-up of keys is awaited.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use countersign::handshake::Message;
use countersign::tokio::{Listener, Server};
use countersign::{Error, KeyLookup, Phase};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::clients::{is_denied, log_in};
use super::events::Events;
use super::running::{Running, options, ring, runtime, worker};

#[test]
fn a_slow_look_up_holds_only_its_own_connection_and_counts_against_its_deadline() {
    const TIMEOUT: Duration = Duration::from_secs(2);

    let events = Arc::new(Events::default());
    let hook = Arc::clone(&events);
    let options = options().deadline(TIMEOUT).on_event(move |event| {
        hook.record(event);
    });
    let ring = ring();
    let server = Server::awaiting(move |id| {
        let key = ring.find(id.as_bytes()).map(std::borrow::Cow::into_owned);
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
    });
    let (address, listener) = runtime().block_on(async {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (
            address,
            Listener::with_options(socket, server, options).unwrap(),
        )
    });
    let running = Running::new(address, events, Arc::new(listener));

    let slow = std::thread::spawn(move || log_in(address, &worker("slow")).map(drop));
    for nth in 0..3 {
        let client = log_in(address, &worker(nth)).unwrap();
        let _pair = running.accept_from(&client);
    }
    let stranger = crate::support::key("stranger");
    is_denied(address, &stranger);

    // A client that is cut before its verdict learns that it may try again.
    for outcome in [
        log_in(address, &worker("broken")).map(drop),
        slow.join().unwrap(),
    ] {
        let error = outcome.unwrap_err();
        let is_cut = matches!(error, Error::Closed(Phase::Awaiting(Message::VERDICT)));
        assert!(is_cut, "{error:?}");
        let sentence = error.to_string();
        let advice = "cut before the server's verdict; it may be overloaded, retry later";
        assert!(sentence.contains(advice), "{sentence}");
    }
    let seen = running.events.once(|seen| seen.len() == 6);
    let outcomes: Vec<_> = seen.into_iter().map(|seen| seen.outcome).collect();
    let timed_out = format!("timed out {}", Phase::LookingUp);
    assert!(outcomes.contains(&timed_out), "{outcomes:?}");
    let failed =
        |outcome: &String| outcome.contains("LookingUp") && outcome.contains("no database");
    assert!(outcomes.iter().any(failed), "{outcomes:?}");
}
