//! The accept loop over blocking sockets.

mod acceptor;
mod handshake;
mod shared;

use core::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;
#[cfg(unix)]
use {
    super::unix_socket::BoundUnix,
    std::os::unix::net::{UnixListener, UnixStream},
    std::path::Path,
};

use self::acceptor::Acceptor;
use self::handshake::attempt;
use self::shared::{STOP_LIMIT, Shared, wait, wait_for};
#[cfg(feature = "encrypt")]
use super::Encrypted;
use super::deadline::Deadline;
use super::source::{self, Connection, Pause, Pending, Source, Waker};
use super::{Protected, Secured, Server};
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Binding, Mode, Protect, Session};
use crate::keys::KeyLookup as Lookup;
use crate::listener::admission::Taken;
use crate::listener::{Attempt, ListenerOptions, constructors, stopped};
use crate::record::Records;

/// A stream with the session of its client, which a [`Listener`] returns in mode 0.
pub type Authenticated<S> = (S, Session);

/// Accepts connections and returns those that have authenticated.
///
/// `T` is what it returns: a stream with its [`Session`], or a [`Secured`] stream. It accepts from an
/// address ([`bind`](Self::bind)), or from a socket that you have or any other [`Source`]
/// ([`new`](Self::new)).
///
/// One thread accepts, and each handshake runs on its own thread with a total deadline, so a silent
/// or slow peer does not delay other clients. At most `max_pending` handshakes run at once. One
/// connection more evicts one of them, and so does a descriptor, a thread or memory that runs out.
/// [`ListenerOptions::max_pending`] says which one is evicted. To a client that is evicted the
/// connection is closed before the verdict: it should try again after a random pause.
///
/// Streams that have authenticated and wait for [`accept`](Self::accept) are never evicted. If too
/// many wait, no further connection is accepted until some are taken.
///
/// A pending handshake costs a thread with a stack of 320 KiB of address space, of which it touches
/// a few pages. The hook, the look-up of keys and the upgrade run on it and have at least 256 KiB.
///
/// Dropping the listener stops it, frees the port, and ends pending handshakes. Others that hold the
/// same listening socket, such as another process, are not disturbed. If one of them takes a
/// connection from a socket in blocking mode just before this listener does, the accepting thread
/// waits for the next connection, and stops only then. If the listener was dropped meanwhile, that
/// connection is closed. A socket that is not in blocking mode has neither effect, and a tokio runtime
/// can share it.
///
/// ```
/// use countersign::{Client, Key, Listener, Server, generate_secret};
///
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// let listener = Listener::bind("127.0.0.1:0", Server::new(key.clone()))?;
/// # let address = listener.local_addr().unwrap();
/// # let client = std::thread::spawn(move || Client::new(key).connect(address).unwrap());
///
/// let (stream, session) = listener.accept()?;
/// assert_eq!(session.key_id(), "worker-7");
/// # client.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An upgrade is given the socket under a [`Deadline`], and returns a stream that contains it. A clone
/// of the socket would have no deadline, and would not be ended by an eviction. The deadline ends with
/// the handshake:
///
/// ```
/// use countersign::{Key, Listener, ListenerOptions, Server, bind_tcp, generate_secret};
/// use std::io::{Error, Read};
///
/// let server = Server::new(Key::new(generate_secret()?)?);
/// let socket = bind_tcp("127.0.0.1:0")?;
/// // Clients of a former version of this program begin with another byte.
/// let listener = Listener::upgraded(socket, server, ListenerOptions::new(), |mut stream| {
///     let mut version = [0];
///     stream.read_exact(&mut version)?;
///     match version {
///         [2] => Ok((stream, None)),
///         _ => Err(Error::other("a client of a former version")),
///     }
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener<T> {
    shared: Arc<Shared<T>>,
    /// Gone once the acceptor was told to stop.
    waker: Mutex<Option<Waker>>,
    local_addr: Option<SocketAddr>,
}

constructors!(
    sockets: TcpStream, UnixStream,
    listen: listen,
    bind: [] [],
    upgrade: [Fn(Deadline<Pending<L::Stream>>) -> io::Result<(U, Option<Binding>)>] [],
    from: [Connection +],
    over: [Read + Write]
);

/// Listens at `address`, with a longer queue than [`TcpListener::bind`].
///
/// Up to 4,096 connections may wait to be accepted, or fewer if the system has a lower limit (on Linux
/// `net.core.somaxconn`). The standard library lets 128 wait. Of a thousand clients that connect at
/// once, each one that finds no place tries again after a second or later.
///
/// [`Listener::bind`] does this by itself. This function is for [`Listener::upgraded`], and for servers
/// without a `Listener`.
///
/// ```
/// use countersign::{Key, Listener, ListenerOptions, Server, bind_tcp, generate_secret};
///
/// let server = Server::new(Key::new(generate_secret()?)?);
/// let socket = bind_tcp("127.0.0.1:0")?;
/// let listener = Listener::with_options(socket, server, ListenerOptions::new())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Returns an error if the address cannot be looked up or bound.
pub fn bind_tcp(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    source::listen(&socket)?;
    Ok(socket)
}

/// Not in blocking mode, so that the acceptor never waits in `accept`, where nothing can wake it.
fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let socket = bind_tcp(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(unix)]
fn listen_unix(path: &Path, mode: u32) -> io::Result<BoundUnix<UnixListener>> {
    BoundUnix::<UnixListener>::bind(path, mode)
}

fn authenticated<S>(stream: S, session: Session) -> Authenticated<S> {
    (stream, session)
}

fn secured<S, P>(stream: S, (session, records): (Session, Records<P>)) -> Secured<S, P> {
    Secured::new(stream, session, records)
}

fn secured_socket<S, P>(stream: S, (session, records): (Session, Records<P>)) -> Secured<S, P>
where
    S: Connection,
{
    Secured::over_socket(stream, session, records)
}

impl<T> Listener<T> {
    /// Returns the next stream that has authenticated. The next byte read from it is application
    /// data.
    ///
    /// Many threads may wait here at once.
    ///
    /// # Errors
    ///
    /// Returns an error only if no further stream will come: after [`shutdown`](Self::shutdown), or
    /// if the source has no more connections. Failures of single connections are reported to the
    /// hook of the [`ListenerOptions`].
    pub fn accept(&self) -> io::Result<T> {
        let mut state = self.shared.lock();
        loop {
            match state.admission.take() {
                Taken::Stream(stream) => {
                    self.shared.wake_acceptor(state);
                    return Ok(stream);
                }
                Taken::Ended => return Err(state.failure.take().unwrap_or_else(stopped)),
                Taken::Nothing => state = wait(&self.shared.arrived, state),
            }
        }
    }

    /// Returns the address that clients connect to, if the source has one.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Stops accepting connections and frees the port. Pending handshakes may finish, and
    /// [`accept`](Self::accept) returns their streams.
    ///
    /// The first call returns once the port is free, or after a second if the source does not return.
    pub fn shutdown(&self) {
        let waker = (self.waker.lock().unwrap_or_else(PoisonError::into_inner)).take();
        if waker.is_none() {
            return;
        }
        let mut state = self.shared.lock();
        state.stopping = true;
        drop(waker);
        self.shared.wake_acceptor(state);
        let began = Instant::now();
        let mut state = self.shared.lock();
        while !state.admission.is_closed() {
            let left = STOP_LIMIT.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            state = wait_for(&self.shared.arrived, state, left);
        }
    }
}

impl<T: Send + 'static> Listener<T> {
    fn start_bare<L, K, M>(
        source: L,
        server: Server<K>,
        options: ListenerOptions,
        mode: M,
        finish: fn(L::Stream, M::Established) -> T,
    ) -> io::Result<Self>
    where
        L: Source,
        K: Lookup + Send + Sync + 'static,
        M: Mode,
    {
        let shared = Shared::new::<M>(options, &server.prologue);
        let bare = |stream| Ok((stream, None));
        // Its only other holder is who evicts it. Then the handshake does not count.
        let finish = move |stream: Deadline<Pending<L::Stream>>, established| {
            let socket = stream.into_inner().into_inner()?;
            Some(finish(socket, established))
        };
        Self::start(source, shared, move |stream| {
            attempt(&server, mode, stream, bare, finish)
        })
    }

    fn start_upgraded<L, K, M, G, U>(
        source: L,
        server: Server<K>,
        options: ListenerOptions,
        mode: M,
        upgrade: G,
        finish: fn(U, M::Established) -> T,
    ) -> io::Result<Self>
    where
        L: Source,
        K: Lookup + Send + Sync + 'static,
        M: Mode,
        G: Fn(Deadline<Pending<L::Stream>>) -> io::Result<(U, Option<Binding>)>
            + Send
            + Sync
            + 'static,
        U: Read + Write + 'static,
    {
        let shared = Shared::new::<M>(options, &server.prologue);
        let finish = move |stream, established| Some(finish(stream, established));
        Self::start(source, shared, move |stream| {
            attempt(&server, mode, stream, &upgrade, finish)
        })
    }

    fn start<L: Source, U: 'static>(
        source: L,
        shared: Shared<T>,
        attempt: impl Fn(Deadline<Pending<L::Stream>>) -> Attempt<T, U> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (pause, waker) = Pause::new()?;
        let local_addr = source.local_addr();
        let shared = Arc::new(shared);
        let acceptor = Acceptor {
            shared: Arc::clone(&shared),
            source,
            pause,
            attempt: Arc::new(attempt),
        };
        thread::Builder::new()
            .name("countersign-accept".into())
            .spawn(move || acceptor.run())?;
        Ok(Self {
            shared,
            waker: Mutex::new(Some(waker)),
            local_addr,
        })
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        self.shutdown();
        let (pending, _ready) = self.shared.lock().admission.abandon(Instant::now());
        for pending in pending {
            pending.end();
        }
    }
}

/// The numbers of pending handshakes and of streams that wait.
impl<T> fmt::Debug for Listener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.lock().admission.fmt_counts(f)
    }
}
