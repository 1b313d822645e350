//! Listeners that upgrade their connections before the handshake.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{
    Binding, Client, Deadline, Error, Listener, ListenerOptions, Pending, Phase, Server,
};

use super::clients::{F1_LEN, F3_LEN, response};
use super::events::Events;
use super::running::{options, ring, worker};
use super::verbs::{Serve, Serving, Stream, Verb, ping, pong};
use crate::failures::is_denied;
use crate::identity::key_of;
#[cfg(feature = "tokio")]
use crate::sockets::listener_over_tokio;
use crate::sockets::{LONG, assert_closed, connect, until};
use crate::support::Driver;

/// The first byte of a connection, which says what its upgrade does.
const GOES_ON: u8 = b'g';
const FAILS: u8 = b'f';
const HAS_ENDED: u8 = b'e';
const PANICS: u8 = b'p';

type Upgraded<S> = io::Result<(S, Option<Binding>)>;

/// What no other connection is bound to, as far as these tests are concerned.
fn binding() -> Binding {
    Binding::tls_exporter(&[7; 32])
}

fn upgraded<S>(first: u8, stream: S) -> Upgraded<S> {
    match first {
        GOES_ON => Ok((stream, Some(binding()))),
        FAILS => Err(io::Error::other("no such wire")),
        HAS_ENDED => Err(io::ErrorKind::ConnectionAborted.into()),
        _ => panic!("an upgrade of this test panics"),
    }
}

/// Its deadline cannot be reached in the box.
fn upgrade(mut stream: Deadline<Pending<TcpStream>>) -> Upgraded<Box<dyn Stream>> {
    let mut first = [0];
    stream.read_exact(&mut first)?;
    upgraded(first[0], Box::new(stream))
}

#[cfg(feature = "tokio")]
mod over_tokio {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
    use tokio::net::TcpStream;

    use super::{Upgraded, upgraded};

    pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

    impl Stream for TcpStream {}

    pub(super) async fn upgrade(mut stream: TcpStream) -> Upgraded<Box<dyn Stream>> {
        let first = stream.read_u8().await?;
        upgraded(first, Box::new(stream))
    }
}

/// Starts a listener whose upgrade counts its calls, and panics at once in the first of them if it
/// is told to.
fn listen(
    driver: Driver,
    verb: Verb,
    options: ListenerOptions,
    panics_first: bool,
) -> (Serving, Arc<AtomicUsize>) {
    let events = Arc::new(Events::default());
    let hook = Arc::clone(&events);
    let options = options.on_event(move |event| {
        hook.record(event);
    });
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = Server::new(ring());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let count = move || {
        let nth = counted.fetch_add(1, Ordering::Relaxed);
        assert!(nth > 0 || !panics_first, "the first upgrade panics at once");
    };
    let serve = match driver {
        Driver::Blocking => {
            let upgrade = move |stream| {
                count();
                upgrade(stream)
            };
            serve_blocking(verb, socket, server, options, upgrade)
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let upgrade = move |stream| {
                count();
                over_tokio::upgrade(stream)
            };
            let socket = {
                let _runtime = super::running::runtime().enter();
                listener_over_tokio(socket)
            };
            super::verbs::serve_over_tokio!(
                verb,
                [upgraded, upgraded_protected, upgraded_encrypted](
                    socket,
                    server.into(),
                    options,
                    upgrade
                )
            )
        }
    };
    let serving = Serving {
        address,
        events,
        serve,
    };
    (serving, calls)
}

fn serve_blocking(
    verb: Verb,
    socket: TcpListener,
    server: Server<countersign::Keyring>,
    options: ListenerOptions,
    upgrade: impl Fn(Deadline<Pending<TcpStream>>) -> Upgraded<Box<dyn Stream>> + Send + Sync + 'static,
) -> Serve {
    macro_rules! secured {
        ($constructor:ident) => {{
            let listener = Listener::$constructor(socket, server, options, upgrade).unwrap();
            Box::new(move || {
                let mut stream = listener.accept()?;
                pong(&mut stream);
                Ok(*stream.session().key_id())
            })
        }};
    }
    match verb {
        Verb::Authenticate => {
            let listener = Listener::upgraded(socket, server, options, upgrade).unwrap();
            Box::new(move || {
                let (stream, session) = listener.accept()?;
                pong(stream);
                Ok(*session.key_id())
            })
        }
        Verb::Protect => secured!(upgraded_protected),
        #[cfg(feature = "encrypt")]
        Verb::Encrypt => secured!(upgraded_encrypted),
    }
}

/// Connects, and sends the first byte.
fn begin(address: SocketAddr, first: u8) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(&[first]).unwrap();
    stream
}

fn log_in(verb: Verb, address: SocketAddr, client: &Client) -> Result<Box<dyn Stream>, Error> {
    verb.log_in(client, begin(address, GOES_ON))
}

/// A client that is bound as the server is.
fn client() -> Client {
    Client::new(worker(7)).bound(Some(&binding()))
}

fn assert_served(verb: Verb, serving: &Serving) {
    let mut stream = log_in(verb, serving.address, &client()).unwrap();
    let pinging = thread::spawn(move || ping(&mut *stream));
    assert_eq!((serving.serve)().unwrap(), "worker-7");
    pinging.join().unwrap();
}

#[test]
fn every_verb_upgrades_within_the_deadline_which_ends_with_the_handshake() {
    let timeout = Duration::from_millis(700);
    for &driver in Driver::ALL {
        for &verb in Verb::ALL {
            let (serving, _) = listen(driver, verb, options().deadline(timeout), false);
            let outcome = |stream: &TcpStream| {
                let seen = serving.events.of(stream.local_addr().unwrap());
                assert_closed(stream);
                seen.outcome
            };
            let silent = connect(serving.address);
            assert_eq!(outcome(&silent), format!("timed out {}", Phase::Upgrading));
            let failed = outcome(&begin(serving.address, FAILS));
            assert!(
                failed.contains(&Phase::Upgrading.to_string()) && failed.contains("no such wire")
            );
            assert_eq!(outcome(&begin(serving.address, HAS_ENDED)), "closed");

            let unbound = Client::new(worker(7));
            let error = log_in(verb, serving.address, &unbound).err().unwrap();
            assert!(is_denied(&error), "{driver:?} {verb:?}: {error:?}");

            let mut stream = log_in(verb, serving.address, &client()).unwrap();
            let pinging = thread::spawn(move || {
                thread::sleep(timeout);
                ping(&mut *stream);
            });
            assert_eq!((serving.serve)().unwrap(), "worker-7");
            pinging.join().unwrap();
        }
    }
}

#[test]
fn an_upgrade_that_panics_costs_its_own_connection_only() {
    for &driver in Driver::ALL {
        let verb = Verb::Authenticate;
        let (serving, _) = listen(driver, verb, options(), true);
        // It panics before it looks at the stream, and this one after that.
        assert_closed(&connect(serving.address));
        assert_closed(&begin(serving.address, PANICS));
        assert_served(verb, &serving);
        assert_eq!(serving.events.now().len(), 1);
    }
}

#[test]
fn a_denial_arrives_through_an_upgraded_stream_that_sends_more() {
    for &driver in Driver::ALL {
        let (serving, _) = listen(driver, Verb::Authenticate, options(), false);
        let mut stream = begin(serving.address, GOES_ON);
        let mut challenge = [0; F1_LEN];
        stream.read_exact(&mut challenge).unwrap();
        let impostor = key_of("another secret", "worker-7");
        let response = response(&impostor, &challenge, &vec![7; 20_000]);
        stream.write_all(&response).unwrap();
        let peer = stream.local_addr().unwrap();
        assert_eq!(serving.events.of(peer).outcome, "WrongProof");
        // The server has nothing more to say by now.
        thread::sleep(Duration::from_millis(50));
        let mut verdict = Vec::new();
        stream.read_to_end(&mut verdict).unwrap();
        assert_eq!(verdict, [&b"D"[..], &[0; F3_LEN - 1]].concat());
    }
}

#[test]
fn an_upgrade_is_pending_and_can_be_evicted() {
    for &driver in Driver::ALL {
        let verb = Verb::Authenticate;
        let (serving, calls) = listen(driver, verb, options().max_pending(1), false);
        let evicted = connect(serving.address);
        until(|| calls.load(Ordering::Relaxed) == 1);
        assert_served(verb, &serving);
        assert_closed(&evicted);
        let peer = evicted.local_addr().unwrap();
        assert_eq!(serving.events.of(peer).outcome, "evicted");
    }
}

/// Shutting a socket down leaves what has arrived before. Over tokio the task ends where it waits.
#[test]
fn an_upgrade_that_was_evicted_reads_nothing_more() {
    let (begun, begins) = mpsc::channel();
    let (go, goes_on) = mpsc::channel::<()>();
    let (done, result) = mpsc::channel();
    let goes_on = Mutex::new(Some(goes_on));
    let upgrade = move |mut stream: Deadline<Pending<TcpStream>>| {
        let first = goes_on.lock().unwrap().take();
        begun.send(()).unwrap();
        if let Some(goes_on) = first {
            goes_on.recv_timeout(LONG).unwrap();
            done.send(stream.read(&mut [0])).unwrap();
        }
        Err::<(TcpStream, _), _>(io::ErrorKind::ConnectionAborted.into())
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let options = options().max_pending(1);
    let _listener = Listener::upgraded(socket, Server::new(ring()), options, upgrade).unwrap();
    let _evicted = begin(address, GOES_ON);
    begins.recv_timeout(LONG).unwrap();
    let _newer = connect(address);
    begins.recv_timeout(LONG).unwrap();
    go.send(()).unwrap();
    let read = result.recv_timeout(LONG).unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
}

#[test]
fn a_dropped_listener_ends_upgrades_and_upgraded_handshakes_and_frees_its_port() {
    /// How long the port may still be taken.
    const FREED: Duration = Duration::from_millis(100);

    for &driver in Driver::ALL {
        for &verb in Verb::ALL {
            let mut times = Vec::new();
            for _ in 0..3 {
                let (serving, calls) = listen(driver, verb, options(), false);
                let address = serving.address;
                let mut pending: Vec<_> = (0..10).map(|_| connect(address)).collect();
                for _ in 0..10 {
                    let mut challenged = begin(address, GOES_ON);
                    challenged.read_exact(&mut [0; F1_LEN]).unwrap();
                    pending.push(challenged);
                }
                until(|| calls.load(Ordering::Relaxed) == pending.len());

                let began = Instant::now();
                drop(serving.serve);
                until(|| TcpListener::bind(address).is_ok());
                times.push(began.elapsed());
                pending.iter().for_each(assert_closed);
                serving.events.once(|seen| seen.len() == pending.len());
                assert_eq!(serving.events.count("shut down"), pending.len());
            }
            // Not all of them: another process may take a port that is free.
            times.sort();
            assert!(times[1] <= FREED, "{driver:?} {verb:?}: {times:?}");
        }
    }
}
