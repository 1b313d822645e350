//! What an event tells of both ends, so that an operator finds out in what they differ.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use countersign::{
    Client, Error, Key, Keyring, Listener, ListenerOptions, Matched, Outcome, Phase, Server,
};

use crate::identity::key_of;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::sockets::listener_over_tokio;
use crate::support::secret;

/// A server with a key that is being rotated, in one driver.
type Start = fn(ListenerOptions) -> (SocketAddr, Box<dyn Send>);

/// Sends the text of each event.
fn options(events: Sender<String>) -> ListenerOptions {
    ListenerOptions::new().on_event(move |event| {
        if let Outcome::Accepted { key_id, matched } = event.outcome {
            assert_eq!(key_id, "worker-7");
            assert_eq!(
                matched == Matched::Accepted,
                event.to_string().contains("accept:")
            );
        }
        // The test may have failed and gone.
        let _ = events.send(event.outcome.to_string() + " | " + &event.server.to_string());
    })
}

fn ring() -> Keyring {
    let ring = Keyring::new();
    let key = Key::new(secret("new"))
        .unwrap()
        .accepting(secret("old"))
        .unwrap();
    ring.insert(key.with_id("worker-7").unwrap());
    ring
}

const DRIVERS: &[Start] = &[
    |options| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = Server::new(ring()).service("billing/2").unwrap();
        let listener = Listener::with_options(socket, server, options).unwrap();
        (address, Box::new(listener))
    },
    #[cfg(feature = "tokio")]
    |options| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let entered = runtime.enter();
        let socket = listener_over_tokio(socket);
        let server = Server::new(ring()).service("billing/2").unwrap();
        let listener = countersign::tokio::Listener::with_options(socket, server.into(), options);
        drop(entered);
        (address, Box::new((listener.unwrap(), runtime)))
    },
];

fn login(address: SocketAddr, key: Key, service: &str) -> Result<(), Error> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap();
    let client = Client::new(key).service(service)?;
    client.authenticate_timeout(&stream, LONG).map(drop)
}

#[test]
fn an_event_says_what_the_client_claimed_and_what_the_server_is() {
    let cases = [
        (
            key_of("new", "worker-7"),
            "billing/2",
            r#"accepted, key id "worker-7""#,
        ),
        (
            key_of("old", "worker-7"),
            "billing/2",
            r#"accepted, key id "worker-7" by its accept: secret"#,
        ),
        (
            key_of("another", "worker-7"),
            "billing/2",
            r#"wrong proof for key id "worker-7""#,
        ),
        (
            key_of("new", "worker-7"),
            "billing/3",
            r#"wrong proof for key id "worker-7""#,
        ),
        (
            key_of("new", "worker-8"),
            "billing/2",
            r#"unknown key id "worker-8""#,
        ),
    ];
    for start in DRIVERS {
        let (send, events) = mpsc::channel();
        let (address, _listener) = start(options(send));
        for (key, service, expected) in &cases {
            let login = login(address, key.clone(), service);
            let event = events.recv_timeout(LONG).unwrap();
            assert!(event.contains(expected), "{event}");
            assert!(
                event.ends_with(r#"| authenticate, service "billing/2", no channel binding"#),
                "{event}"
            );
            assert_eq!(login.is_ok(), expected.starts_with("accepted"), "{event}");
            // The other end of a denial says what it sent.
            if let Err(error) = login {
                let text = error.to_string();
                for part in [
                    format!("key id \"{}\"", key.id()),
                    format!("service \"{service}\""),
                    "no channel binding".into(),
                ] {
                    assert!(text.contains(&part), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_hook_for_failures_hears_of_no_login() {
    for start in DRIVERS {
        let (send, events) = mpsc::channel();
        let options = ListenerOptions::new().on_failure(move |event| {
            let _ = send.send(event.outcome.to_string());
        });
        let (address, _listener) = start(options);
        login(address, key_of("new", "worker-7"), "billing/2").unwrap();
        login(address, key_of("new", "worker-8"), "billing/2").unwrap_err();
        let event = events.recv_timeout(LONG).unwrap();
        assert!(event.contains("unknown key id"), "{event}");
    }
}

#[test]
fn what_an_upgrade_quotes_of_its_peer_does_not_make_a_second_line_of_a_log() {
    let quoted = || io::Error::other("not \"\r\n127.0.0.1:1 accepted, key id \x1b[2Jé\"");
    let refused = Outcome::Refused(Error::Io {
        phase: Phase::Upgrading,
        source: quoted(),
    });
    for outcome in [refused, Outcome::Failed(quoted())] {
        let line = outcome.to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.contains("\\r\\n127.0.0.1:1"), "{line}");
        assert!(line.contains("\\u{1b}[2Jé"), "{line}");
    }
}
