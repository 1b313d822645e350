//! The accept loop over tokio.

mod acceptor;
mod handshake;
mod hooks;
mod runtime;
mod shared;

use core::fmt;
use core::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use ::tokio::task::AbortHandle;
#[cfg(unix)]
use {
    crate::blocking::unix_socket::BoundUnix,
    ::tokio::net::{UnixListener, UnixStream},
    std::path::Path,
};

use self::acceptor::{Closing, accept};
use self::handshake::Steps;
use self::shared::Shared;
#[cfg(feature = "encrypt")]
use super::Encrypted;
use super::{Lookup, Protected, Secured, Server, Source};
use crate::blocking::source;
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Binding, Mode, Protect, Session};
use crate::listener::admission::Taken;
use crate::listener::{ListenerOptions, Outcome, constructors, stopped};
use crate::record::Records;

/// A stream with the session of its client, which a [`Listener`] returns in mode 0.
pub type Authenticated<S> = (S, Session);

/// [`countersign::Listener`](crate::Listener) over tokio: accepts connections and returns those that
/// have authenticated.
///
/// One task accepts, and each handshake is a task with a total deadline. Evictions, waiting streams
/// and the hook are as described there. A look-up of keys that has to wait is given to the server by
/// [`Server::awaiting`](super::Server::awaiting); any other runs on the runtime's threads and must not
/// block them.
///
/// Dropping the listener stops it and ends pending handshakes. The port is free as soon as the
/// runtime has dropped the accepting task.
///
/// ```
/// use countersign::{Key, generate_secret, tokio::{Client, Listener, Server}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// let listener = Listener::bind("127.0.0.1:0", Server::new(key.clone())).await?;
/// # let address = listener.local_addr().unwrap();
/// # let client = tokio::spawn(async move { Client::new(key).connect(address).await.unwrap() });
///
/// let (stream, session) = listener.accept().await?;
/// assert_eq!(session.key_id(), "worker-7");
/// # client.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An upgrade is given the stream, and returns a future of what it becomes:
///
/// ```
/// use countersign::{Key, ListenerOptions, generate_secret, tokio::{Listener, Server, bind_tcp}};
/// use std::io::Error;
/// use tokio::{io::AsyncReadExt, net::TcpStream};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = Server::new(Key::new(generate_secret()?)?);
/// let socket = bind_tcp("127.0.0.1:0").await?;
/// let upgrade = async |mut stream: TcpStream| {
///     // Clients of a former version of this program begin with another byte.
///     match stream.read_u8().await? {
///         2 => Ok((stream, None)),
///         _ => Err(Error::other("a client of a former version")),
///     }
/// };
/// let listener = Listener::upgraded(socket, server, ListenerOptions::new(), upgrade)?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener<T> {
    shared: Arc<Shared<T>>,
    acceptor: AbortHandle,
    local_addr: Option<SocketAddr>,
}

constructors!(
    sockets: TcpStream, UnixStream,
    listen: bind_tcp,
    bind: [async] [.await],
    upgrade: [Fn(L::Stream) -> F] [
        F: Future<Output = io::Result<(U, Option<Binding>)>> + Send + 'static
    ],
    from: [],
    over: [AsyncRead + AsyncWrite + Unpin]
);

/// [`countersign::bind_tcp`](crate::bind_tcp) over tokio: listens at `address`, with a longer queue
/// than [`TcpListener::bind`].
///
/// # Errors
///
/// Returns an error outside a runtime whose time and I/O are enabled, and if the address cannot be
/// looked up or bound.
pub async fn bind_tcp(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    runtime::with_time_and_io()?;
    let socket = TcpListener::bind(address).await?;
    source::listen(&socket)?;
    Ok(socket)
}

#[cfg(unix)]
fn listen_unix(path: &Path, mode: u32) -> io::Result<BoundUnix<UnixListener>> {
    runtime::with_time_and_io()?;
    BoundUnix::<UnixListener>::bind(path, mode)
}

fn authenticated<S>(stream: S, session: Session) -> Authenticated<S> {
    (stream, session)
}

fn secured<S, P>(stream: S, (session, records): (Session, Records<P>)) -> Secured<S, P> {
    Secured::new(stream, session, records)
}

fn secured_socket<S, P>(stream: S, established: (Session, Records<P>)) -> Secured<S, P> {
    secured(stream, established)
}

impl<T> Listener<T> {
    /// Returns the next stream that has authenticated. The next byte read from it is application
    /// data.
    ///
    /// Many tasks may wait here at once. It is cancel safe: a stream is taken in the same step in
    /// which it is returned.
    ///
    /// Where a `Stream` of connections is wanted, `unfold` of the crate `futures-util` makes one of
    /// this method. For axum, hyper and tonic, the repository has servers in `examples/http`, whose
    /// handlers are given the key ids of their clients.
    ///
    /// # Errors
    ///
    /// Returns an error only if no further stream will come: after [`shutdown`](Self::shutdown), or
    /// if the source has no more connections. Failures of single connections are reported to the
    /// hook of the [`ListenerOptions`].
    pub async fn accept(&self) -> io::Result<T> {
        loop {
            // Made before the look, so that what arrives after it is not missed.
            let arrived = self.shared.arrived.notified();
            {
                let mut state = self.shared.lock();
                match state.admission.take() {
                    Taken::Stream(stream) => {
                        self.shared.room.notify_waiters();
                        return Ok(stream);
                    }
                    Taken::Ended => return Err(state.failure.take().unwrap_or_else(stopped)),
                    Taken::Nothing => {}
                }
            }
            arrived.await;
        }
    }

    /// Returns the address that clients connect to, if the source has one.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Stops accepting connections, and frees the port as soon as the runtime has dropped the
    /// accepting task. Pending handshakes may finish, and [`accept`](Self::accept) returns their
    /// streams.
    pub fn shutdown(&self) {
        self.acceptor.abort();
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
        let bare = |stream| ready(Ok((stream, None)));
        Self::start_upgraded(source, server, options, mode, bare, finish)
    }

    fn start_upgraded<L, K, M, G, F, U>(
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
        G: Fn(L::Stream) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<(U, Option<Binding>)>> + Send + 'static,
        U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let runtime = runtime::with_time_and_io()?;
        let local_addr = source.local_addr();
        let shared = Arc::new(Shared::new::<M>(runtime.clone(), options, &server.prologue));
        // Made here, and not in the task, so that it also ends what is aborted before it began.
        let closing = Closing(Arc::clone(&shared));
        let steps = Arc::new(Steps {
            upgrade,
            server,
            mode,
            finish,
        });
        let attempt = move |stream| {
            let steps = Arc::clone(&steps);
            move |timeout| steps.attempt(stream, timeout)
        };
        let accepting = accept(Arc::clone(&shared), source, attempt);
        let acceptor = runtime.spawn(async move {
            let _closing = closing;
            accepting.await;
        });
        Ok(Self {
            shared,
            acceptor: acceptor.abort_handle(),
            local_addr,
        })
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        self.acceptor.abort();
        let (pending, _ready) = self.shared.lock().admission.abandon(Instant::now());
        for pending in pending {
            self.shared.end(&pending, Outcome::ShutDown);
        }
    }
}

/// The numbers of pending handshakes and of streams that wait.
impl<T> fmt::Debug for Listener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.lock().admission.fmt_counts(f)
    }
}
