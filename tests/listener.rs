//! Listeners among honest clients, strangers and attackers: one table for both kinds.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::{Flight, Incompatible, Prologue};
use countersign::{
    Client, Error, Event, Key, Keyring, Keys, Listener, ListenerOptions, Outcome, Phase, Server,
    Session, keys_fn,
};

use crate::support::{HonestClient, Peer, key, tcp_pair};

/// A time that is over only where a test would hang.
const LONG: Duration = Duration::from_secs(20);
/// How long a test watches for what must not happen.
const WATCH: Duration = Duration::from_millis(200);
/// How long a flood waits for one connection, which a listener with a full queue leaves unanswered.
const SOON: Duration = Duration::from_millis(20);
/// How long the port of a listener that has ended may still be taken.
const FREED: Duration = Duration::from_millis(100);

const F1_LEN: usize = 40;
const F3_LEN: usize = 33;

fn key_of(name: &str, id: &str) -> Key {
    key(name).with_id(id).unwrap()
}

/// The ring of most tests, a master for all: every id has a key of its own.
fn ring() -> Keyring {
    let ring = Keyring::new();
    ring.insert_master("worker-", key("master")).unwrap();
    ring
}

/// The options of most tests: no handshake ends by itself before the test does.
fn options() -> ListenerOptions {
    ListenerOptions::new().deadline(2 * LONG)
}

fn worker(nth: impl fmt::Display) -> Key {
    let id = format!("worker-{nth}");
    let secret = key("master").child_secret(&id).unwrap();
    Key::new(secret).unwrap().with_id(id).unwrap()
}

/// How a connection ended, in the words of the tables.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(key_id) => format!("accepted {key_id}"),
        Outcome::Refused(Error::Closed(_)) => "closed".into(),
        Outcome::Refused(Error::TimedOut(phase)) => format!("timed out {phase}"),
        Outcome::Refused(Error::ClientNotAuthentic { refusal, .. }) => format!("{refusal:?}"),
        Outcome::Refused(Error::Incompatible(Incompatible::Foreign { hint, .. })) => {
            format!("foreign {hint:?}")
        }
        Outcome::Refused(Error::Incompatible(other)) => format!("{other:?}"),
        Outcome::GivenUp => "given up".into(),
        Outcome::Stopped => "stopped".into(),
        Outcome::Failed(_) => "failed".into(),
        other => format!("{other:?}"),
    }
}

#[derive(Clone, Debug)]
struct Seen {
    peer: Option<SocketAddr>,
    outcome: String,
    duration: Duration,
    at: Instant,
}

/// Everything that a hook was told.
#[derive(Default)]
struct Events {
    seen: Mutex<Vec<Seen>>,
    more: Condvar,
}

impl Events {
    fn record(&self, event: &Event) {
        self.seen.lock().unwrap().push(Seen {
            peer: event.peer,
            outcome: told(&event.outcome),
            duration: event.duration,
            at: Instant::now(),
        });
        self.more.notify_all();
    }

    fn now(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until what was seen is enough.
    fn once(&self, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        let (seen, waited) = (self.more)
            .wait_timeout_while(seen, LONG, |seen| !enough(seen))
            .unwrap();
        assert!(!waited.timed_out(), "it never came: {seen:#?}");
        seen.clone()
    }

    /// Waits for an event of this connection, and for no more than one.
    fn of(&self, peer: SocketAddr) -> Seen {
        let seen = self.once(|seen| seen.iter().any(|seen| seen.peer == Some(peer)));
        let mut of_peer = seen.into_iter().filter(|seen| seen.peer == Some(peer));
        let first = of_peer.next().unwrap();
        assert_eq!(of_peer.count(), 0);
        first
    }

    fn count(&self, outcome: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.outcome == outcome).count()
    }

    fn accepted(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        let accepted = |seen: &&Seen| seen.outcome.starts_with("accepted");
        seen.iter().filter(accepted).count()
    }
}

/// The listeners, so that one table of tests runs through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Std,
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Kind {
    const ALL: &[Self] = &[
        Self::Std,
        #[cfg(feature = "tokio")]
        Self::Tokio,
    ];

    fn start(self, options: ListenerOptions, keys: impl Keys + Send + Sync + 'static) -> Running {
        self.start_hooked(options, keys, |_| {})
    }

    /// Starts a listener on a port of its own, whose hook records each event and then calls
    /// another.
    fn start_hooked(
        self,
        options: ListenerOptions,
        keys: impl Keys + Send + Sync + 'static,
        hook: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Running {
        let events = Arc::new(Events::default());
        let options = options.on_event({
            let events = Arc::clone(&events);
            move |event| {
                events.record(event);
                hook(event);
            }
        });
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = Server::new(keys);
        let listener = match self {
            Self::Std => {
                let listener = Listener::with_options(socket, server, options).unwrap();
                Either::Std(Arc::new(listener), Mutex::new(None))
            }
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                let _runtime = runtime().enter();
                socket.set_nonblocking(true).unwrap();
                let socket = tokio::net::TcpListener::from_std(socket).unwrap();
                let listener =
                    countersign::tokio::Listener::with_options(socket, server.into(), options);
                Either::Tokio(Arc::new(listener.unwrap()))
            }
        };
        Running {
            address,
            events,
            listener,
        }
    }
}

/// The runtime of all listeners over tokio, with more than one thread.
#[cfg(feature = "tokio")]
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().unwrap()
    })
}

/// A stream of tokio's, as one that blocks.
#[cfg(feature = "tokio")]
fn blocking(stream: tokio::net::TcpStream) -> TcpStream {
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

type Accepted = io::Result<(TcpStream, Session)>;

enum Either {
    /// With a thread that still waits in `accept` after the test has lost its patience.
    Std(Arc<Listener>, Mutex<Option<Receiver<Accepted>>>),
    #[cfg(feature = "tokio")]
    Tokio(Arc<countersign::tokio::Listener>),
}

/// What is the same of both listeners.
struct Running {
    address: SocketAddr,
    events: Arc<Events>,
    listener: Either,
}

impl Running {
    /// `accept` for at most so much time.
    fn accept_within(&self, time: Duration) -> Option<Accepted> {
        match &self.listener {
            Either::Std(listener, waiting) => {
                let mut waiting = waiting.lock().unwrap();
                let accepted = waiting.take().unwrap_or_else(|| {
                    let (send, accepted) = mpsc::channel();
                    let listener = Arc::clone(listener);
                    thread::spawn(move || send.send(listener.accept()));
                    accepted
                });
                match accepted.recv_timeout(time) {
                    Ok(pair) => Some(pair),
                    Err(error) => {
                        assert_eq!(error, RecvTimeoutError::Timeout);
                        *waiting = Some(accepted);
                        None
                    }
                }
            }
            #[cfg(feature = "tokio")]
            Either::Tokio(listener) => {
                let accept = async { tokio::time::timeout(time, listener.accept()).await };
                let accepted = runtime().block_on(accept).ok()?;
                Some(accepted.map(|(stream, session)| (blocking(stream), session)))
            }
        }
    }

    fn accept(&self) -> Accepted {
        self.accept_within(LONG).expect("a connection")
    }

    /// The next stream, which has to be that of this client.
    fn accept_from(&self, client: &(TcpStream, Session)) -> (TcpStream, Session) {
        let accepted = self.accept().unwrap();
        assert_eq!(accepted.1.key_id(), client.1.key_id());
        talk(client, &accepted);
        accepted
    }

    fn yields_nothing(&self) {
        let accepted = self.accept_within(WATCH);
        assert!(accepted.is_none(), "{accepted:?}");
    }

    fn shutdown(&self) {
        match &self.listener {
            Either::Std(listener, _) => listener.shutdown(),
            #[cfg(feature = "tokio")]
            Either::Tokio(listener) => listener.shutdown(),
        }
    }

    /// What the listener shows of itself: how many are pending, and how many ready.
    fn shows(&self, what: &str, count: usize) -> bool {
        let shown = match &self.listener {
            Either::Std(listener, _) => format!("{listener:?}"),
            #[cfg(feature = "tokio")]
            Either::Tokio(listener) => format!("{listener:?}"),
        };
        shown.contains(&format!("{what}: {count},"))
    }

    /// Waits until so many streams wait to be taken.
    fn once_ready(&self, count: usize) {
        until(|| self.shows("ready", count));
    }

    /// Takes streams in so many threads or tasks at once until there are no more; gives the key
    /// ids that each of them took.
    fn take_all(&self, takers: usize) -> Vec<Receiver<Vec<String>>> {
        let take = |_| {
            let (send, taken) = mpsc::channel();
            match &self.listener {
                Either::Std(listener, _) => {
                    let listener = Arc::clone(listener);
                    thread::spawn(move || {
                        let accept = || Some(listener.accept().ok()?.1.key_id().to_string());
                        send.send(std::iter::from_fn(accept).collect())
                    });
                }
                #[cfg(feature = "tokio")]
                Either::Tokio(listener) => {
                    let listener = Arc::clone(listener);
                    runtime().spawn(async move {
                        let mut ids = Vec::new();
                        while let Ok((_, session)) = listener.accept().await {
                            ids.push(session.key_id().to_string());
                        }
                        send.send(ids)
                    });
                }
            }
            taken
        };
        (0..takers).map(take).collect()
    }
}

/// A thread that still waits in `accept` holds the listener.
impl Drop for Running {
    fn drop(&mut self) {
        if let Either::Std(listener, waiting) = &self.listener
            && waiting.lock().is_ok_and(|waiting| waiting.is_some())
        {
            listener.shutdown();
        }
    }
}

/// Waits for something that nobody can be woken by.
fn until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection that is surely pending, since it was greeted, and its challenge.
fn greeted(address: SocketAddr) -> (TcpStream, [u8; F1_LEN]) {
    let mut stream = connect(address);
    let mut challenge = [0; F1_LEN];
    stream.read_exact(&mut challenge).unwrap();
    (stream, challenge)
}

fn silent(address: SocketAddr) -> TcpStream {
    greeted(address).0
}

fn log_in(address: SocketAddr, key: &Key) -> Result<(TcpStream, Session), Error> {
    let stream = connect(address);
    let session = Client::new(key.clone()).authenticate_within(&stream, LONG)?;
    Ok((stream, session))
}

/// The response of an honest client, and what it sends behind it.
fn response(key: &Key, challenge: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut client = HonestClient::new(key, Prologue::EMPTY, tail);
    client.answer(&mut challenge.iter().copied().collect())
}

/// The other end is gone, with or without a reset for what it left unread.
fn has_ended(mut stream: &TcpStream) {
    let outcome = stream.read(&mut [0; 256]);
    let ended = match &outcome {
        Ok(read) => *read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(ended, "{outcome:?}");
}

/// Both ends have the same session, and the stream carries what they say next.
fn talk(client: &(TcpStream, Session), server: &(TcpStream, Session)) {
    let exported = |session: &Session| {
        let mut out = [0; 32];
        session.export("example.org test", b"", &mut out).unwrap();
        out
    };
    assert_eq!(exported(&client.1), exported(&server.1));
    for (mut from, mut to) in [(&client.0, &server.0), (&server.0, &client.0)] {
        from.write_all(b"hello").unwrap();
        to.set_read_timeout(Some(LONG)).unwrap();
        let mut said = [0; 5];
        to.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello");
    }
}

#[test]
fn honest_clients_are_handed_over_under_their_own_ids() {
    for kind in Kind::ALL {
        let ring = ring();
        ring.insert(key("nameless"));
        ring.insert(key_of("ours", "cron-1"));
        let running = kind.start(options(), ring);
        for key in [key("nameless"), key_of("ours", "cron-1"), worker(7)] {
            let client = log_in(running.address, &key).unwrap();
            let (stream, session) = running.accept_from(&client);
            assert_eq!(session.key_id(), key.id());

            let address = client.0.local_addr().unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
            let event = running.events.of(address);
            assert_eq!(event.outcome, format!("accepted {}", key.id()));
        }
    }
}

#[test]
fn what_is_sent_behind_a_flight_stays_in_the_stream() {
    for kind in Kind::ALL {
        let running = kind.start(options(), ring());

        // Behind F3: a client that speaks before anybody has taken its stream.
        let mut client = log_in(running.address, &worker(7)).unwrap();
        client.0.write_all(b"early").unwrap();
        running.once_ready(1);
        let mut read = Vec::new();
        let (stream, _session) = running.accept().unwrap();
        client.0.shutdown(Shutdown::Write).unwrap();
        (&stream).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"early");

        // Behind F2: a client that does not await the verdict.
        let (mut stream, challenge) = greeted(running.address);
        let response = response(&worker(8), &challenge, b"hasty");
        stream.write_all(&response).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let (mut accepted, session) = running.accept().unwrap();
        assert_eq!(session.key_id(), "worker-8");
        read.clear();
        accepted.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"hasty");
        accepted.write_all(b"patience").unwrap();
        drop(accepted);
        read.clear();
        stream.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), F3_LEN + b"patience".len());
        assert_eq!(&read[F3_LEN..], b"patience");
    }
}

#[test]
fn many_clients_log_in_at_once_and_each_is_given_out_once() {
    const CLIENTS: usize = 50;

    for kind in Kind::ALL {
        let running = kind.start(options(), ring());
        let address = running.address;
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|nth| scope.spawn(move || log_in(address, &worker(nth))))
                .collect();
            let mut accepted = BTreeMap::new();
            for _ in 0..CLIENTS {
                let pair = running.accept().unwrap();
                let twice = accepted.insert(pair.1.key_id().to_string(), pair);
                assert!(twice.is_none(), "{twice:?}");
            }
            for (nth, client) in clients.into_iter().enumerate() {
                let client = client.join().unwrap().unwrap();
                talk(&client, &accepted[&format!("worker-{nth}")]);
            }
        });
        assert_eq!(running.events.now().len(), CLIENTS);
    }
}

#[test]
fn silent_connections_delay_nobody() {
    /// Far less than the deadline that they wait for.
    const NO_DELAY: Duration = Duration::from_secs(2);

    for kind in Kind::ALL {
        let running = kind.start(options(), ring());
        let strangers: Vec<_> = (0..100).map(|_| silent(running.address)).collect();
        for nth in 0..10 {
            let began = Instant::now();
            let client = log_in(running.address, &worker(nth)).unwrap();
            let _pair = running.accept_from(&client);
            assert!(began.elapsed() < NO_DELAY, "{:?}", began.elapsed());
        }
        assert_eq!(running.events.now().len(), 10);
        drop(strangers);
        let ended = |seen: &[Seen]| seen.iter().filter(|seen| seen.outcome == "closed").count();
        running.events.once(|seen| ended(seen) == 100);
    }
}

#[test]
fn silent_and_dripping_connections_end_at_the_deadline() {
    const TIME: Duration = Duration::from_millis(500);
    const DRIP: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(1);

    for kind in Kind::ALL {
        let running = kind.start(options().deadline(TIME), ring());
        let (mut dripping, challenge) = greeted(running.address);
        let silent = silent(running.address);
        let peers = [&silent, &dripping].map(|stream| stream.local_addr().unwrap());

        // A response that would be right in the end.
        let mut dripped = 0;
        for octet in response(&worker(7), &challenge, b"") {
            let enough = |seen: &[Seen]| seen.len() == peers.len();
            if dripping.write_all(&[octet]).is_err() || enough(&running.events.now()) {
                break;
            }
            dripped += 1;
            thread::sleep(DRIP);
        }
        assert!((2..=40).contains(&dripped), "{dripped} octets");

        let seen = running.events.once(|seen| seen.len() == peers.len());
        for peer in peers {
            let event = running.events.of(peer);
            let expected = format!("timed out {}", Phase::Awaiting(Flight::Response));
            assert_eq!(event.outcome, expected);
            let range = TIME..TIME + LATE;
            assert!(range.contains(&event.duration), "{:?}", event.duration);
        }
        has_ended(&silent);
        has_ended(&dripping);
        running.yields_nothing();
        assert_eq!(running.events.now().len(), seen.len());
    }
}

#[test]
fn one_handshake_too_many_ends_the_oldest_and_no_stream_that_is_ready() {
    for kind in Kind::ALL {
        let running = kind.start(options().max_pending(3), ring());
        let clients = [1, 2, 3, 4].map(|nth| {
            let client = log_in(running.address, &worker(nth)).unwrap();
            running.once_ready(nth);
            client
        });

        let mut pending: VecDeque<_> = (0..3).map(|_| greeted(running.address)).collect();
        assert_eq!(running.events.now().len(), 4);
        for given_up in 1..=5 {
            pending.push_back(greeted(running.address));
            let (oldest, _) = pending.pop_front().unwrap();
            has_ended(&oldest);
            let event = running.events.of(oldest.local_addr().unwrap());
            assert_eq!(event.outcome, "given up");
            assert_eq!(running.events.now().len(), 4 + given_up);
        }

        // Those that are left are still taken, and so is one more in the place of the oldest.
        let newest = log_in(running.address, &worker(5)).unwrap();
        running.once_ready(5);
        has_ended(&pending.pop_front().unwrap().0);
        let (mut patient, challenge) = pending.pop_front().unwrap();
        let response = response(&worker(6), &challenge, b"");
        patient.write_all(&response).unwrap();
        let mut verdict = [0; F3_LEN];
        patient.read_exact(&mut verdict).unwrap();
        assert_eq!(verdict[0], b'A');

        for client in clients.iter().chain([&newest]) {
            let _pair = running.accept_from(client);
        }
        assert_eq!(running.accept().unwrap().1.key_id(), "worker-6");
        assert_eq!(running.events.count("given up"), 6);
    }
}

#[test]
fn at_least_one_handshake_may_be_pending_and_one_stream_wait() {
    for kind in Kind::ALL {
        let options = options().max_pending(0).max_ready(0);
        let running = kind.start(options, ring());
        for nth in 0..3 {
            let stranger = silent(running.address);
            let client = log_in(running.address, &worker(nth)).unwrap();
            has_ended(&stranger);
            let _pair = running.accept_from(&client);
        }
    }
}

#[test]
fn accepting_pauses_while_too_many_streams_wait_and_nobody_is_lost() {
    for kind in Kind::ALL {
        let running = kind.start(options().max_ready(2), ring());
        let address = running.address;
        // The third connection was awaited already when the second became ready.
        let clients: Vec<_> = (1..=3)
            .map(|nth| {
                let client = log_in(address, &worker(nth)).unwrap();
                running.once_ready(nth);
                client
            })
            .collect();

        let stalled = connect(address);
        stalled.set_read_timeout(Some(WATCH)).unwrap();
        let greeting = (&stalled).read(&mut [0]);
        assert!(greeting.is_err(), "it was greeted: {greeting:?}");
        stalled.set_read_timeout(Some(LONG)).unwrap();

        thread::scope(|scope| {
            let others: Vec<_> = (4..=10)
                .map(|nth| scope.spawn(move || log_in(address, &worker(nth)).unwrap()))
                .collect();
            running.once_ready(3);
            assert_eq!(running.events.now().len(), 3);
            for client in &clients {
                let _pair = running.accept_from(client);
            }
            let ids: BTreeSet<_> = (0..others.len())
                .map(|_| running.accept().unwrap().1.key_id().to_string())
                .collect();
            let expected = (4..=10).map(|nth| format!("worker-{nth}")).collect();
            assert_eq!(ids, expected);
            for other in others {
                let _client = other.join().unwrap();
            }
        });
        let session = Client::new(worker(11)).authenticate_within(&stalled, LONG);
        let _pair = running.accept_from(&(stalled, session.unwrap()));
    }
}

/// A connection that is no client's: who it was, once it is over.
type Stranger = fn(SocketAddr, u64) -> SocketAddr;

/// Says something else and waits until the other end is gone.
fn says(address: SocketAddr, octets: &[u8]) -> SocketAddr {
    let mut stream = connect(address);
    let peer = stream.local_addr().unwrap();
    // Where the first part is enough to be refused, the rest may find nobody.
    let _ = stream.write_all(octets);
    let mut read = [0; 256];
    while stream.read(&mut read).is_ok_and(|read| read > 0) {}
    peer
}

/// Tries to log in, and is denied.
fn is_denied(address: SocketAddr, key: Key) -> SocketAddr {
    let stream = connect(address);
    let outcome = Client::new(key).authenticate_within(&stream, LONG);
    assert!(matches!(outcome, Err(Error::Denied)), "{outcome:?}");
    stream.local_addr().unwrap()
}

/// Octets that look like nothing, and differ each time.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let octets = (0..200).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    });
    // The first is none that anything begins with.
    [0xee].into_iter().chain(octets).collect()
}

const STRANGERS: &[(&str, Stranger, &str)] = &[
    (
        "a wrong secret",
        |address, _| is_denied(address, key_of("theirs", "worker-7")),
        "WrongProof",
    ),
    (
        "an unknown key id",
        |address, nth| is_denied(address, key_of("ours", &format!("stranger-{nth}"))),
        "UnknownKeyId",
    ),
    (
        "a browser",
        |address, _| says(address, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
        "foreign Some(Http)",
    ),
    (
        "a TLS client",
        |address, _| {
            says(
                address,
                b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03and so on",
            )
        },
        "foreign Some(Tls)",
    ),
    (
        "an SSH client",
        |address, _| says(address, b"SSH-2.0-OpenSSH_9.6\r\n"),
        "foreign Some(Ssh)",
    ),
    (
        "noise",
        |address, nth| says(address, &noise(nth)),
        "foreign None",
    ),
    (
        "a port scan",
        |address, _| connect(address).local_addr().unwrap(),
        "closed",
    ),
    (
        "a port scan that takes a look",
        |address, _| silent(address).local_addr().unwrap(),
        "closed",
    ),
    (
        "a client that dies half-way",
        |address, nth| {
            let (mut stream, challenge) = greeted(address);
            let response = response(&worker(nth), &challenge, b"");
            stream.write_all(&response[..40]).unwrap();
            stream.local_addr().unwrap()
        },
        "closed",
    ),
    (
        "an echo",
        |address, _| {
            let (mut stream, challenge) = greeted(address);
            stream.write_all(&challenge).unwrap();
            has_ended(&stream);
            stream.local_addr().unwrap()
        },
        "Role(83)",
    ),
];

#[test]
fn each_connection_is_one_event() {
    for kind in Kind::ALL {
        let running = kind.start(options(), ring());
        let mut connections = 0;
        for &(who, stranger, expected) in STRANGERS {
            let peer = stranger(running.address, 7);
            let event = running.events.of(peer);
            assert_eq!(event.outcome, expected, "{kind:?}: {who}");
            connections += 1;
            assert_eq!(running.events.now().len(), connections, "{kind:?}: {who}");
        }
        let client = log_in(running.address, &worker(7)).unwrap();
        let _pair = running.accept_from(&client);
        let event = running.events.of(client.0.local_addr().unwrap());
        assert_eq!(event.outcome, "accepted worker-7");
        drop(client);
        running.yields_nothing();
        assert_eq!(running.events.now().len(), connections + 1);
    }
}

#[test]
fn a_crowd_of_strangers_keeps_no_honest_client_out() {
    const CONNECTIONS: usize = 2000;

    for kind in Kind::ALL {
        let running = kind.start(options(), ring());
        let address = running.address;
        let taken = running.take_all(1);
        let next = AtomicUsize::new(0);
        // A port may be used again, so that one address has several connections.
        let expected: Mutex<BTreeMap<SocketAddr, Vec<String>>> = Mutex::default();
        let expect = |peer, outcome: &str| {
            let mut expected = expected.lock().unwrap();
            expected.entry(peer).or_default().push(outcome.into());
        };
        let (honest, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= CONNECTIONS {
                            return;
                        }
                        // A stride that meets every row, in another order each time.
                        let row = (nth * 7 + nth / STRANGERS.len()) % STRANGERS.len();
                        let (_, stranger, outcome) = STRANGERS[row];
                        expect(stranger(address, nth as u64), outcome);
                        over.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for client in 0..2 {
                let (over, honest, expect) = (&over, &honest, &expect);
                scope.spawn(move || {
                    let began = Instant::now();
                    while over.load(Ordering::Relaxed) < CONNECTIONS {
                        assert!(began.elapsed() < LONG, "the strangers never end");
                        let key = worker(format_args!("honest-{client}"));
                        let (stream, _session) = log_in(address, &key).unwrap();
                        let outcome = format!("accepted {}", key.id());
                        expect(stream.local_addr().unwrap(), &outcome);
                        honest.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });

        let honest = honest.into_inner();
        assert!(honest > 10, "{honest} honest logins");
        let total = CONNECTIONS + honest;
        running.events.once(|seen| seen.len() >= total);
        running.shutdown();
        let taken: usize = taken.iter().map(|ids| ids.recv().unwrap().len()).sum();
        assert_eq!(taken, honest);

        let mut seen: BTreeMap<SocketAddr, Vec<String>> = BTreeMap::new();
        for event in running.events.now() {
            seen.entry(event.peer.unwrap())
                .or_default()
                .push(event.outcome);
        }
        let mut expected = expected.into_inner().unwrap();
        for outcomes in seen.values_mut().chain(expected.values_mut()) {
            outcomes.sort();
        }
        assert!(
            seen == expected,
            "{kind:?}: some connection ended otherwise"
        );
    }
}

#[test]
fn a_hook_or_a_look_up_that_panics_loses_its_one_connection() {
    for kind in Kind::ALL {
        let ring = ring();
        let keys = keys_fn(move |id| {
            assert_ne!(id, b"worker-look-up-panics", "as this test wants it");
            ring.find(id).map(Cow::into_owned)
        });
        let options = options().max_pending(2);
        let running = kind.start_hooked(options, keys, |event| {
            let panics = match &event.outcome {
                Outcome::Accepted(key_id) => *key_id == "worker-hook-panics",
                _ => true,
            };
            assert!(!panics, "as this test wants it");
        });
        let address = running.address;

        for round in 0..3 {
            // Whoever it was that panicked, the stream ends.
            let (stream, _session) = log_in(address, &worker("hook-panics")).unwrap();
            has_ended(&stream);
            let outcome = log_in(address, &worker("look-up-panics"));
            assert!(
                matches!(
                    outcome,
                    Err(Error::Closed(Phase::Awaiting(Flight::Verdict)))
                ),
                "{outcome:?}"
            );
            for &(_, stranger, outcome) in STRANGERS {
                let peer = stranger(address, round);
                assert_eq!(running.events.of(peer).outcome, outcome);
            }
            // The third of these gives up the first.
            let pending = [(); 3].map(|()| silent(address));
            has_ended(&pending[0]);
            let given_up = running.events.of(pending[0].local_addr().unwrap());
            assert_eq!(given_up.outcome, "given up");
            drop(pending);
            until(|| running.shows("pending", 0));

            let client = log_in(address, &worker(round)).unwrap();
            let _pair = running.accept_from(&client);
        }
        assert_eq!(running.events.accepted(), 6);
        running.yields_nothing();
    }
}

/// A stack of at least so much is promised; the default of a thread would be eight times that.
#[test]
fn a_hook_and_a_look_up_have_a_quarter_of_a_mebibyte_of_stack() {
    #[allow(
        clippy::large_stack_arrays,
        reason = "a large array on the stack is what this is about"
    )]
    #[inline(never)]
    fn use_200_kib() -> usize {
        let mut array = [0_u8; 200 * 1024];
        black_box(&mut array).fill(1);
        array.iter().map(|octet| usize::from(*octet)).sum()
    }

    let ring = ring();
    let keys = keys_fn(move |id| {
        assert_eq!(use_200_kib(), 200 * 1024);
        ring.find(id).map(Cow::into_owned)
    });
    let running = Kind::Std.start_hooked(options(), keys, |_| {
        assert_eq!(use_200_kib(), 200 * 1024);
    });
    for nth in 0..3 {
        let client = log_in(running.address, &worker(nth)).unwrap();
        let _pair = running.accept_from(&client);
        let peer = is_denied(running.address, key("stranger"));
        assert_eq!(running.events.of(peer).outcome, "UnknownKeyId");
    }
}

/// How long it takes until the address can be bound again.
fn bound_again(address: SocketAddr) -> Duration {
    let began = Instant::now();
    until(|| TcpListener::bind(address).is_ok());
    began.elapsed()
}

/// Of several rounds at least most have to be in time: a port that is free may become somebody
/// else's.
fn are_mostly_in_time(kind: Kind, mut times: Vec<Duration>) {
    times.sort();
    assert!(times[times.len() / 2] <= FREED, "{kind:?}: {times:?}");
}

#[test]
fn a_listener_that_is_shut_down_gives_out_what_was_pending_and_then_no_more() {
    for &kind in Kind::ALL {
        let mut times = Vec::new();
        for round in 0..5 {
            let running = kind.start(options(), ring());
            let ready = log_in(running.address, &worker(1)).unwrap();
            running.once_ready(1);
            let (mut slow, challenge) = greeted(running.address);
            let silent = silent(running.address);

            let began = Instant::now();
            running.shutdown();
            bound_again(running.address);
            times.push(began.elapsed());
            running.shutdown();

            let response = response(&worker(2), &challenge, b"");
            slow.write_all(&response).unwrap();
            let mut verdict = [0; F3_LEN];
            slow.read_exact(&mut verdict).unwrap();
            assert_eq!(verdict[0], b'A');
            let _pair = running.accept_from(&ready);
            assert_eq!(running.accept().unwrap().1.key_id(), "worker-2");

            // As long as one is pending there may be a further one.
            if round == 0 {
                running.yields_nothing();
            }
            drop(silent);
            for _ in 0..3 {
                let error = running.accept().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotConnected);
            }
            let outcomes = running.events.now().into_iter().map(|seen| seen.outcome);
            let expected = ["accepted worker-1", "accepted worker-2", "closed"];
            assert_eq!(outcomes.collect::<Vec<_>>(), expected);
        }
        are_mostly_in_time(kind, times);
    }
}

#[test]
fn a_listener_that_nobody_spoke_to_is_shut_down_at_once() {
    for &kind in Kind::ALL {
        let mut times = Vec::new();
        for nth in 0..10 {
            let running = kind.start(options(), ring());
            let address = running.address;
            // Also one that has not begun to accept yet, and one that waits to.
            if nth % 2 == 0 {
                drop(connect(address));
                running.events.once(|seen| seen.len() == 1);
            }
            let began = Instant::now();
            running.shutdown();
            assert!(running.accept().is_err());
            bound_again(address);
            times.push(began.elapsed());
        }
        are_mostly_in_time(kind, times);
    }
}

#[test]
fn a_dropped_listener_frees_its_port_and_ends_what_was_pending() {
    for &kind in Kind::ALL {
        let mut times = Vec::new();
        for _ in 0..5 {
            let running = kind.start(options(), ring());
            let address = running.address;
            let pending = [(); 20].map(|()| silent(address));
            let ready = log_in(address, &worker(1)).unwrap();
            running.once_ready(1);
            let events = Arc::clone(&running.events);

            let began = Instant::now();
            drop(running);
            bound_again(address);
            times.push(began.elapsed());
            for stream in pending.iter().chain([&ready.0]) {
                has_ended(stream);
            }
            // These too are connections, and each is one event.
            events.once(|seen| seen.len() == 21);
            assert_eq!(events.count("stopped"), 20);
        }
        are_mostly_in_time(kind, times);
    }
}

#[test]
fn a_listener_that_is_dropped_in_a_flood_frees_its_port_too() {
    for &kind in Kind::ALL {
        let mut times = Vec::new();
        for _ in 0..5 {
            let running = kind.start(options().max_pending(16), ring());
            let address = running.address;
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let mut held = VecDeque::new();
                        while !stop.load(Ordering::Relaxed) {
                            // Nobody is there any more once the listener is gone.
                            if let Ok(stream) = TcpStream::connect_timeout(&address, SOON) {
                                held.push_back(stream);
                            }
                            if held.len() > 30 {
                                held.pop_front();
                            }
                        }
                    });
                }
                running.events.once(|seen| seen.len() > 50);
                let began = Instant::now();
                drop(running);
                bound_again(address);
                times.push(began.elapsed());
                stop.store(true, Ordering::Relaxed);
            });
        }
        are_mostly_in_time(kind, times);
    }
}

#[test]
fn of_many_that_wait_to_accept_exactly_one_is_given_each_stream() {
    const CLIENTS: usize = 40;

    for kind in Kind::ALL {
        let running = kind.start(options(), ring());
        let taken = running.take_all(4);
        let address = running.address;
        thread::scope(|scope| {
            for nth in 0..CLIENTS {
                scope.spawn(move || log_in(address, &worker(nth)).map(drop).unwrap());
            }
        });
        running.events.once(|seen| seen.len() == CLIENTS);
        running.shutdown();
        let mut ids: Vec<String> = (taken.iter())
            .flat_map(|ids| ids.recv_timeout(LONG).unwrap())
            .collect();
        ids.sort();
        let mut expected: Vec<_> = (0..CLIENTS).map(|nth| format!("worker-{nth}")).collect();
        expected.sort();
        assert_eq!(ids, expected);
    }
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_listened_on_like_any_other() {
    use std::os::unix::net::{UnixListener, UnixStream};

    let directory = crate::support::TempDir::new();
    for kind in Kind::ALL {
        let path = directory.path().join(format!("{kind:?}.socket"));
        let events = Arc::new(Events::default());
        let hook = Arc::clone(&events);
        let options = options()
            .max_pending(1)
            .on_event(move |event| hook.record(event));
        let socket = UnixListener::bind(&path).unwrap();
        let server = Server::new(ring());
        let log_in = |nth| {
            let stream = UnixStream::connect(&path).unwrap();
            let session = Client::new(worker(nth)).authenticate_within(&stream, LONG);
            (stream, session.unwrap())
        };
        let stranger = || {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream.read_exact(&mut [0; F1_LEN]).unwrap();
            stream
        };
        let given_up = |mut stream: UnixStream| assert_eq!(stream.read(&mut [0]).unwrap(), 0);

        let mut far: [UnixStream; 2] = match kind {
            Kind::Std => {
                let listener = Listener::with_options(socket, server, options).unwrap();
                let silent = stranger();
                let far = [1, 2].map(|nth| {
                    let (mut stream, client) = log_in(nth);
                    let (far, session) = listener.accept().unwrap();
                    assert_eq!(session.key_id(), client.key_id());
                    stream.write_all(b"hello").unwrap();
                    far
                });
                given_up(silent);
                let silent = stranger();
                drop(listener);
                given_up(silent);
                far
            }
            #[cfg(feature = "tokio")]
            Kind::Tokio => {
                let _runtime = runtime().enter();
                socket.set_nonblocking(true).unwrap();
                let socket = tokio::net::UnixListener::from_std(socket).unwrap();
                let listener =
                    countersign::tokio::Listener::with_options(socket, server.into(), options);
                let listener = listener.unwrap();
                let silent = stranger();
                let far = [1, 2].map(|nth| {
                    let (mut stream, client) = log_in(nth);
                    let (far, session) = runtime().block_on(listener.accept()).unwrap();
                    assert_eq!(session.key_id(), client.key_id());
                    stream.write_all(b"hello").unwrap();
                    let far = far.into_std().unwrap();
                    far.set_nonblocking(false).unwrap();
                    far
                });
                given_up(silent);
                let silent = stranger();
                drop(listener);
                given_up(silent);
                far
            }
        };
        for stream in &mut far {
            let mut read = Vec::new();
            stream.read_to_end(&mut read).unwrap();
            assert_eq!(read, b"hello");
        }
        let gone = || UnixStream::connect(&path).is_err();
        until(gone);
        let seen = events.once(|seen| seen.len() == 4);
        assert!(seen.iter().all(|seen| seen.peer.is_none()));
        assert_eq!(events.accepted(), 2);
        assert_eq!(events.count("given up"), 1);
        assert_eq!(events.count("stopped"), 1);
    }
}

/// Not with std alone: only tokio's sockets let the length of the queue be chosen.
#[cfg(all(unix, feature = "tokio"))]
#[test]
fn a_listener_whose_queue_is_full_is_dropped_like_any_other() {
    use std::os::unix::net::UnixStream;

    let directory = crate::support::TempDir::new();
    let path = directory.path().join("short.socket");
    let socket = {
        let _runtime = runtime().enter();
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        socket.listen(1).unwrap().into_std().unwrap()
    };
    socket.set_nonblocking(false).unwrap();
    let listener = Listener::with_options(socket, Server::new(ring()), options().max_ready(1));
    let listener = listener.unwrap();
    // After the second of these it does not accept any more.
    let ready = [1, 2].map(|nth| {
        let stream = UnixStream::connect(&path).unwrap();
        let session = Client::new(worker(nth)).authenticate_within(&stream, LONG);
        until(|| format!("{listener:?}").contains(&format!("ready: {nth},")));
        (stream, session.unwrap())
    });

    let (connected, connections) = mpsc::channel();
    for _ in 0..8 {
        let (path, connected) = (path.clone(), connected.clone());
        // Most of these wait until the listener is gone.
        thread::spawn(move || connected.send(UnixStream::connect(path)));
    }
    let _queued = [(); 2].map(|()| connections.recv_timeout(LONG).unwrap().unwrap());
    let (dropped, is_dropped) = mpsc::channel();
    thread::spawn(move || {
        drop(listener);
        dropped.send(())
    });
    is_dropped.recv_timeout(LONG).expect("it is dropped");
    drop(ready);
}

/// Who runs a whole handshake under one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// Runs one side over one end of a connection, and says how long it took.
fn runs_within(
    kind: Kind,
    side: Side,
    stream: &TcpStream,
    time: Duration,
) -> (Result<Session, Error>, Duration) {
    let (client, server) = (Client::new(worker(7)), Server::new(ring()));
    let began = Instant::now();
    let outcome = match (kind, side) {
        (Kind::Std, Side::Client) => client.authenticate_within(stream, time),
        (Kind::Std, Side::Server) => server.authenticate_within(stream, time),
        #[cfg(feature = "tokio")]
        (Kind::Tokio, _) => runtime().block_on(async {
            stream.set_nonblocking(true).unwrap();
            let stream = stream.try_clone().unwrap();
            let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let client = countersign::tokio::Client::from(client);
            let server = countersign::tokio::Server::from(server);
            match side {
                Side::Client => client.authenticate_within(&mut stream, time).await,
                Side::Server => server.authenticate_within(&mut stream, time).await,
            }
        }),
    };
    (outcome, began.elapsed())
}

#[test]
fn a_handshake_within_a_time_ends_with_it_and_names_the_flight() {
    const TIME: Duration = Duration::from_millis(500);
    const DRIP: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(1);

    let challenge = [&b"CSIGN1S\0"[..], &[0x50; 32]].concat();
    let response = [&b"CSIGN1C\0\0"[..], &[0xc0; 64]].concat();
    let verdict = [&b"A"[..], &[0x33; 32]].concat();
    // What comes at once, what drips in behind it, and the flight that is then awaited.
    let rows: [(Side, &[u8], &[u8], Flight); 6] = [
        (Side::Client, b"", b"", Flight::Challenge),
        (Side::Client, b"", &challenge, Flight::Challenge),
        (Side::Client, &challenge, b"", Flight::Verdict),
        (Side::Client, &challenge, &verdict, Flight::Verdict),
        (Side::Server, b"", b"", Flight::Response),
        (Side::Server, b"", &response, Flight::Response),
    ];
    for &kind in Kind::ALL {
        thread::scope(|scope| {
            for (side, at_once, dripping, flight) in rows {
                scope.spawn(move || {
                    let (near, mut far) = tcp_pair();
                    far.write_all(at_once).unwrap();
                    let run = thread::spawn(move || runs_within(kind, side, &near, TIME));
                    for octet in dripping {
                        if run.is_finished() || far.write_all(&[*octet]).is_err() {
                            break;
                        }
                        thread::sleep(DRIP);
                    }
                    let (outcome, took) = run.join().unwrap();
                    assert!(
                        matches!(outcome, Err(Error::TimedOut(Phase::Awaiting(it))) if it == flight),
                        "{kind:?}, {side:?}: {outcome:?}"
                    );
                    assert!((TIME..TIME + LATE).contains(&took), "{took:?}");
                });
            }
        });

        // A time without end, and one that suffices.
        for time in [Duration::MAX, LONG] {
            let (near, far) = tcp_pair();
            let server = thread::spawn(move || runs_within(kind, Side::Server, &far, time).0);
            let client = runs_within(kind, Side::Client, &near, time).0.unwrap();
            assert_eq!(client.key_id(), server.join().unwrap().unwrap().key_id());
        }
    }
}

/// Runs the test that calls it once more, in a process that may open few files.
#[cfg(target_os = "linux")]
mod descriptors {
    use std::fs::File;
    use std::process::{Command, Stdio};
    use std::{any, env};

    use super::*;

    const CHILD: &str = "COUNTERSIGN_TEST_WITH_FEW_DESCRIPTORS";
    const FEW: usize = 64;

    #[test]
    fn a_listener_out_of_descriptors_says_so_and_goes_on_once_there_are_some() {
        if env::var_os(CHILD).is_some() {
            for kind in Kind::ALL {
                starve(*kind);
            }
            return;
        }

        // The harness knows a test by its path below the crate.
        let test = a_listener_out_of_descriptors_says_so_and_goes_on_once_there_are_some;
        let (_, name) = any::type_name_of_val(&test).split_once("::").unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {FEW} && exec \"$0\" \"$@\"")])
            .arg(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > 2 * LONG {
                child.kill().unwrap();
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let [said, complained] =
            [&output.stdout, &output.stderr].map(|octets| String::from_utf8_lossy(octets));
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}\n{complained}"
        );
    }

    fn starve(kind: Kind) {
        // A hook that panics here must not end the listener either.
        let running = kind.start_hooked(options(), ring(), |event| {
            let failed = matches!(event.outcome, Outcome::Failed(_));
            assert!(!failed, "as this test wants it");
        });
        let client = log_in(running.address, &worker(1)).unwrap();
        let before = running.accept_from(&client);

        // The last one is for a client; who waits to accept may have one in reserve, too.
        let mut files: Vec<File> = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
            assert!(files.len() < FEW, "there are more than {FEW} descriptors");
        }
        let mut waiting = Vec::new();
        for _ in 0..2 {
            files.pop().unwrap();
            waiting.push(TcpStream::connect(running.address).unwrap());
        }
        let failed = |seen: &[Seen]| -> Vec<Instant> {
            let failed = seen.iter().filter(|seen| seen.outcome == "failed");
            failed.map(|seen| seen.at).collect()
        };
        let seen = running.events.once(|seen| failed(seen).len() >= 4);
        // It pauses in between.
        let times = failed(&seen);
        assert!(
            times[3] - times[0] >= Duration::from_millis(120),
            "{seen:#?}"
        );
        talk(&client, &before);

        drop((files, waiting));
        for nth in 2..5 {
            let client = log_in(running.address, &worker(nth)).unwrap();
            let _pair = running.accept_from(&client);
        }
        let failed_before = running.events.count("failed");
        running.yields_nothing();
        assert_eq!(running.events.count("failed"), failed_before);
        running.shutdown();
        assert!(running.accept().is_err());
    }
}

#[cfg(feature = "tokio")]
mod cancelled {
    use std::mem::ManuallyDrop;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use countersign::tokio as over_tokio;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The outcome of what does not have to wait.
    fn at_once<T>(future: impl Future<Output = T>) -> T {
        match poll_once(pin!(future)) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn ends() -> (over_tokio::Client, over_tokio::Server<Keyring>) {
        (
            over_tokio::Client::new(worker(7)),
            over_tokio::Server::new(ring()),
        )
    }

    #[test]
    fn an_end_that_is_dropped_after_any_octet_has_no_session() {
        let (client, server) = ends();

        // The server, with a client that stops after each count of octets.
        let mut stop = 0;
        loop {
            let (mut near, mut far) = duplex(256);
            let mut serving = Box::pin(server.authenticate(&mut near));
            assert!(poll_once(serving.as_mut()).is_pending());
            let mut challenge = [0; F1_LEN];
            at_once(far.read_exact(&mut challenge)).unwrap();
            let response = response(&worker(7), &challenge, b"");
            at_once(far.write_all(&response[..stop])).unwrap();
            let outcome = poll_once(serving.as_mut());
            drop(serving);
            if stop == response.len() {
                assert!(matches!(outcome, Poll::Ready(Ok(_))), "{outcome:?}");
                break;
            }
            assert!(outcome.is_pending(), "after {stop} octets: {outcome:?}");
            // Nothing but the challenge was sent.
            drop(near);
            let mut rest = Vec::new();
            at_once(far.read_to_end(&mut rest)).unwrap();
            assert_eq!(rest, b"");
            stop += 1;
        }

        // The client, with a server that does.
        for stop in 0..=F1_LEN + F3_LEN {
            let (mut near, mut far) = duplex(256);
            let (mut honest, mut to_honest) = duplex(256);
            let mut serving = Box::pin(server.authenticate(&mut to_honest));
            let mut calling = Box::pin(client.authenticate(&mut near));
            let mut passed = 0;
            // F1, then F2 in the other direction, then F3.
            for flight in [F1_LEN, F3_LEN] {
                let _ = poll_once(serving.as_mut());
                let mut octets = vec![0; flight];
                at_once(honest.read_exact(&mut octets)).unwrap();
                octets.truncate(stop - passed);
                passed += octets.len();
                at_once(far.write_all(&octets)).unwrap();
                if flight == F1_LEN && passed == F1_LEN {
                    assert!(poll_once(calling.as_mut()).is_pending());
                    let mut response = [0; 81];
                    at_once(far.read_exact(&mut response)).unwrap();
                    at_once(honest.write_all(&response)).unwrap();
                } else {
                    break;
                }
            }
            let outcome = poll_once(calling.as_mut());
            let is_whole = stop == F1_LEN + F3_LEN;
            assert_eq!(
                outcome.is_ready(),
                is_whole,
                "after {stop} octets: {outcome:?}"
            );
            if is_whole {
                assert!(matches!(outcome, Poll::Ready(Ok(_))), "{outcome:?}");
            }
        }
    }

    /// Polls both ends in turn over a stream that holds one octet, so that each octet in either
    /// direction is a place to wait at. Drops one end after so many polls, if it is not done.
    #[test]
    fn an_end_that_is_dropped_at_any_place_where_it_waits_lets_the_other_know() {
        let (client, server) = ends();
        for dropped in [Side::Client, Side::Server] {
            let mut polls = 0;
            loop {
                let (mut near, mut far) = duplex(1);
                let (stream, others) = (&mut near, &mut far);
                let mut calling = Box::pin(client.authenticate(stream));
                let mut serving = Box::pin(server.authenticate(others));
                let (mut client_end, mut server_end) = (Poll::Pending, Poll::Pending);
                for _ in 0..polls {
                    if client_end.is_pending() {
                        client_end = poll_once(calling.as_mut());
                    }
                    if server_end.is_pending() {
                        server_end = poll_once(serving.as_mut());
                    }
                }
                if client_end.is_ready() && server_end.is_ready() {
                    assert!(matches!(client_end, Poll::Ready(Ok(_))), "{client_end:?}");
                    assert!(matches!(server_end, Poll::Ready(Ok(_))), "{server_end:?}");
                    break;
                }
                match dropped {
                    Side::Server if server_end.is_pending() => {
                        drop(serving);
                        drop(far);
                        // A server that was not done has not sent all of its verdict.
                        for _ in 0..3 {
                            if client_end.is_pending() {
                                client_end = poll_once(calling.as_mut());
                            }
                        }
                        assert!(
                            matches!(client_end, Poll::Ready(Err(Error::Closed(_)))),
                            "after {polls} polls: {client_end:?}"
                        );
                    }
                    Side::Client if client_end.is_pending() => {
                        drop(calling);
                        drop(near);
                        for _ in 0..3 {
                            if server_end.is_pending() {
                                server_end = poll_once(serving.as_mut());
                            }
                        }
                        // It cannot tell whether the client has its whole verdict.
                        assert!(
                            matches!(server_end, Poll::Ready(Ok(_) | Err(Error::Closed(_)))),
                            "after {polls} polls: {server_end:?}"
                        );
                    }
                    _ => {}
                }
                polls += 1;
                assert!(polls < 1000, "they never end");
            }
            assert!(polls > 100, "{polls} polls are not one for each octet");
        }
    }

    #[test]
    fn handshakes_that_are_dropped_with_their_listener_are_no_sessions() {
        let running = Kind::Tokio.start(options(), ring());
        let mut clients = Vec::new();
        let whole = 73 + worker(7).id().as_bytes().len();
        for stop in 0..whole {
            let (mut stream, challenge) = greeted(running.address);
            let response = response(&worker(7), &challenge, b"");
            assert_eq!(response.len(), whole);
            stream.write_all(&response[..stop]).unwrap();
            clients.push((stream, response, stop));
        }
        let events = Arc::clone(&running.events);
        assert_eq!(events.now().len(), 0);
        drop(running);
        for (mut stream, response, stop) in clients {
            has_ended(&stream);
            // The rest comes too late, and finds nobody.
            let _ = stream.write_all(&response[stop..]);
            has_ended(&stream);
        }
        assert_eq!(events.count("stopped"), whole);
        assert_eq!(events.now().len(), whole);

        // The runtime has other things to do.
        let running = Kind::Tokio.start(options(), ring());
        let client = log_in(running.address, &worker(7)).unwrap();
        let _pair = running.accept_from(&client);
    }

    #[test]
    fn an_accept_that_is_dropped_loses_no_stream() {
        let running = Kind::Tokio.start(options(), ring());
        let Either::Tokio(listener) = &running.listener else {
            panic!("it is another listener")
        };
        let address = running.address;

        // Dropped before a stream is ready, and after.
        for ready_before_the_drop in [false, true] {
            let mut accept = Box::pin(listener.accept());
            assert!(poll_once(accept.as_mut()).is_pending());
            let mut another = Box::pin(listener.accept());
            assert!(poll_once(another.as_mut()).is_pending());
            if ready_before_the_drop {
                let client = log_in(address, &worker(1)).unwrap();
                running.once_ready(1);
                drop((accept, another));
                let _pair = running.accept_from(&client);
            } else {
                drop((accept, another));
                let client = log_in(address, &worker(1)).unwrap();
                let _pair = running.accept_from(&client);
            }
        }

        // Dropped time and again while a stream comes in.
        let (go, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                for nth in told {
                    log_in(address, &worker(nth)).map(drop).unwrap();
                }
            });
            for nth in 0..100 {
                let poll = || poll_once(Box::pin(listener.accept()).as_mut());
                assert!(poll().is_pending());
                go.send(nth).unwrap();
                let mut accepted = None;
                until(|| match poll() {
                    Poll::Ready(pair) => accepted.replace(pair).is_none(),
                    Poll::Pending => false,
                });
                let (_, session) = accepted.unwrap().unwrap();
                assert_eq!(session.key_id(), worker(nth).id());
            }
            drop(go);
        });
    }

    /// A handshake that cannot be started any more must not wait for who starts it.
    #[test]
    fn a_runtime_that_is_shut_down_in_a_flood_ends() {
        for _ in 0..20 {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let (address, listener) = runtime.block_on(async {
                let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = socket.local_addr().unwrap();
                let (_, server) = ends();
                (address, over_tokio::Listener::new(socket, server).unwrap())
            });
            // Where the runtime waits for the listener, nobody is to wait for the listener too.
            let listener = ManuallyDrop::new(listener);
            let (connected, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
            let (ended, end) = mpsc::channel();
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let connect = || TcpStream::connect_timeout(&address, SOON);
                        while !stop.load(Ordering::Relaxed) && connect().is_ok() {
                            connected.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                until(|| connected.load(Ordering::Relaxed) > 50);
                thread::spawn(move || {
                    drop(runtime);
                    ended.send(())
                });
                let in_time = end.recv_timeout(LONG);
                stop.store(true, Ordering::Relaxed);
                in_time.expect("the runtime ends");
            });
            drop(ManuallyDrop::into_inner(listener));
        }
    }
}
