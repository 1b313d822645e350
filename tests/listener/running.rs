//! A listener of either driver, used from threads, so that one table of tests runs through both.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use countersign::{Key, KeyLookup, Keyring, Listener, ListenerOptions, Server, Session};

use super::events::Events;
use crate::identity::child;
#[cfg(feature = "tokio")]
use crate::sockets::listener_over_tokio;
use crate::sockets::{LONG, until};
use crate::support::{Driver, exported, key};

/// How long a test watches for what must not happen.
pub const WATCH: Duration = Duration::from_millis(200);
/// How long a flood waits for one connection, which a listener with a full queue leaves unanswered.
pub const SOON: Duration = Duration::from_millis(20);

/// The keys of most tests: a master for all, so that every id has a key of its own.
pub fn ring() -> Keyring {
    let ring = Keyring::new();
    ring.insert_master("worker-", key("master")).unwrap();
    ring
}

/// The key of this worker in [`ring`].
pub fn worker(nth: impl fmt::Display) -> Key {
    child(&key("master"), format!("worker-{nth}"))
}

/// The options of most tests: no handshake times out before the test ends.
pub fn options() -> ListenerOptions {
    ListenerOptions::new().deadline(2 * LONG)
}

/// A listener whose `accept` blocks and yields a `T`.
pub trait Accepts<T>: fmt::Debug + Send + Sync {
    fn accept(&self) -> io::Result<T>;
    fn shutdown(&self);
}

impl<S: Send> Accepts<(S, Session)> for Listener<(S, Session)> {
    fn accept(&self) -> io::Result<(S, Session)> {
        self.accept()
    }

    fn shutdown(&self) {
        self.shutdown();
    }
}

#[cfg(feature = "tokio")]
macro_rules! accepts_over_tokio {
    ($over_tokio:ty, $stream:ty) => {
        impl Accepts<($stream, Session)> for countersign::tokio::Listener<($over_tokio, Session)> {
            fn accept(&self) -> io::Result<($stream, Session)> {
                let (stream, session) = runtime().block_on(self.accept())?;
                let stream = stream.into_std()?;
                stream.set_nonblocking(false)?;
                Ok((stream, session))
            }

            fn shutdown(&self) {
                self.shutdown();
            }
        }
    };
}

#[cfg(feature = "tokio")]
accepts_over_tokio!(tokio::net::TcpStream, TcpStream);
#[cfg(all(unix, feature = "tokio"))]
accepts_over_tokio!(tokio::net::UnixStream, UnixStream);

/// The runtime of all listeners over tokio, with more than one thread.
#[cfg(feature = "tokio")]
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().unwrap()
    })
}

impl Driver {
    /// Starts a listener on a free port of loopback.
    pub fn listen(
        self,
        options: ListenerOptions,
        keys: impl KeyLookup + Send + Sync + 'static,
    ) -> Running {
        self.listen_hooked(options, keys, |_| {})
    }

    /// Starts a listener whose hook records each event, and then calls another with the outcome
    /// in words.
    pub fn listen_hooked(
        self,
        options: ListenerOptions,
        keys: impl KeyLookup + Send + Sync + 'static,
        hook: impl Fn(&str) + Send + Sync + 'static,
    ) -> Running {
        let events = Arc::new(Events::default());
        let options = options.on_event({
            let events = Arc::clone(&events);
            move |event| hook(&events.record(event))
        });
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = Server::new(keys);
        let listener: Arc<dyn Accepts<_>> = match self {
            Self::Blocking => Arc::new(Listener::with_options(socket, server, options).unwrap()),
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                let _runtime = runtime().enter();
                let socket = listener_over_tokio(socket);
                let server = server.into();
                let listener = countersign::tokio::Listener::with_options(socket, server, options);
                Arc::new(listener.unwrap())
            }
        };
        Running::new(address, events, listener)
    }

    #[cfg(unix)]
    pub fn listen_on_unix(
        self,
        socket: UnixListener,
        options: ListenerOptions,
    ) -> Box<dyn Accepts<(UnixStream, Session)>> {
        let server = Server::new(ring());
        match self {
            Self::Blocking => Box::new(Listener::with_options(socket, server, options).unwrap()),
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                let _runtime = runtime().enter();
                socket.set_nonblocking(true).unwrap();
                let socket = tokio::net::UnixListener::from_std(socket).unwrap();
                let server = server.into();
                let listener = countersign::tokio::Listener::with_options(socket, server, options);
                Box::new(listener.unwrap())
            }
        }
    }
}

type Accepted = io::Result<(TcpStream, Session)>;

/// A listener on a port, and what its hook was called with.
pub struct Running {
    pub address: SocketAddr,
    pub events: Arc<Events>,
    listener: Arc<dyn Accepts<(TcpStream, Session)>>,
    /// The outcome of a thread that still waits in `accept`, where the test did not.
    waiting: Mutex<Option<Receiver<Accepted>>>,
}

impl Running {
    pub fn new(
        address: SocketAddr,
        events: Arc<Events>,
        listener: Arc<dyn Accepts<(TcpStream, Session)>>,
    ) -> Self {
        Self {
            address,
            events,
            listener,
            waiting: Mutex::new(None),
        }
    }

    /// Like [`accept`](Self::accept), but gives `None` after `timeout`.
    fn accept_timeout(&self, timeout: Duration) -> Option<Accepted> {
        let mut waiting = self.waiting.lock().unwrap();
        let accepted = waiting.take().unwrap_or_else(|| {
            let (send, accepted) = mpsc::channel();
            let listener = Arc::clone(&self.listener);
            thread::spawn(move || {
                let accepted = listener.accept();
                // When the test hears of the stream, this thread no longer holds the listener.
                drop(listener);
                // This fails once the test is over.
                let _ = send.send(accepted);
            });
            accepted
        });
        match accepted.recv_timeout(timeout) {
            Ok(pair) => Some(pair),
            Err(error) => {
                assert_eq!(error, RecvTimeoutError::Timeout);
                *waiting = Some(accepted);
                None
            }
        }
    }

    pub fn accept(&self) -> Accepted {
        self.accept_timeout(LONG).expect("a connection")
    }

    /// Returns the next stream, which has to be the other end of this client's.
    pub fn accept_from(&self, client: &(TcpStream, Session)) -> (TcpStream, Session) {
        let accepted = self.accept().unwrap();
        assert_eq!(accepted.1.key_id(), client.1.key_id());
        assert_connected(client, &accepted);
        accepted
    }

    pub fn assert_nothing_is_ready(&self) {
        let accepted = self.accept_timeout(WATCH);
        assert!(accepted.is_none(), "{accepted:?}");
    }

    pub fn shutdown(&self) {
        self.listener.shutdown();
    }

    /// Whether so many handshakes are `pending`, or so many streams `ready`.
    pub fn shows(&self, what: &str, count: usize) -> bool {
        format!("{:?}", self.listener).contains(&format!("{what}: {count},"))
    }

    /// Waits until so many streams are ready.
    pub fn once_ready(&self, count: usize) {
        until(|| self.shows("ready", count));
    }

    /// Accepts in so many threads at once until the listener has ended; gives the key ids that
    /// each of them accepted.
    pub fn accept_all(&self, threads: usize) -> Vec<Receiver<Vec<String>>> {
        let accept_all = |_| {
            let (send, accepted) = mpsc::channel();
            let listener = Arc::clone(&self.listener);
            thread::spawn(move || {
                let accept = || Some(listener.accept().ok()?.1.key_id().to_string());
                send.send(std::iter::from_fn(accept).collect())
            });
            accepted
        };
        (0..threads).map(accept_all).collect()
    }
}

/// A thread that still waits in `accept` holds the listener.
impl Drop for Running {
    fn drop(&mut self) {
        if self.waiting.lock().is_ok_and(|waiting| waiting.is_some()) {
            self.listener.shutdown();
        }
    }
}

/// Asserts that both ends have the same session, and that the stream connects them.
pub fn assert_connected(client: &(TcpStream, Session), server: &(TcpStream, Session)) {
    assert_eq!(exported(&client.1), exported(&server.1));
    for (mut from, mut to) in [(&client.0, &server.0), (&server.0, &client.0)] {
        from.write_all(b"hello").unwrap();
        to.set_read_timeout(Some(LONG)).unwrap();
        let mut said = [0; 5];
        to.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello");
    }
}
