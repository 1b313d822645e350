//! The accept loop over tokio.

use core::fmt;
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use ::tokio::net::{UnixListener, UnixStream};
use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;
use ::tokio::task::AbortHandle;
use ::tokio::time::{Instant, sleep};

use super::{Protected, Server, Time};
use crate::handshake::{Mode, Session};
use crate::keys::Keys;
use crate::listener::{Event, Options, Outcome, PAUSE, apart};

/// [`countersign::Listener`](crate::Listener) over tokio: accepts connections and gives out
/// those that have authenticated.
///
/// A task accepts, and each handshake is a task, with a total deadline. What is said there of
/// the cap on pending handshakes, of streams that wait to be taken and of the hook holds here
/// too; the hook and the look-up of keys run on the runtime's threads and must not block them.
///
/// Dropping the listener stops the acceptor and ends pending handshakes; the port is free as
/// soon as the runtime has dropped the task.
///
/// ```
/// use countersign::{Key, generate_secret, tokio::{Client, Listener, Server}};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// let socket = TcpListener::bind("127.0.0.1:0").await?;
/// let address = socket.local_addr()?;
/// let listener = Listener::new(socket, Server::new(key.clone()))?;
/// # let client = tokio::spawn(async move {
/// #     let mut stream = TcpStream::connect(address).await.unwrap();
/// #     Client::new(key).authenticate(&mut stream).await.unwrap()
/// # });
///
/// let (stream, session) = listener.accept().await?;
/// assert_eq!(session.key_id(), "worker-7");
/// # client.await?;
/// # Ok(())
/// # }
/// ```
pub struct Listener<L: Socket = TcpListener> {
    shared: Arc<Shared<L::Stream>>,
    acceptor: AbortHandle,
}

impl<L: Socket> Listener<L> {
    /// Starts to accept, with the defaults of [`ListenerOptions`](crate::ListenerOptions).
    ///
    /// # Errors
    ///
    /// Where it is called outside a tokio runtime.
    pub fn new<K>(socket: L, server: Server<K>) -> io::Result<Self>
    where
        K: Keys + Send + Sync + 'static,
    {
        Self::with_options(socket, server, Options::new())
    }

    /// Starts to accept.
    ///
    /// # Errors
    ///
    /// Where it is called outside a tokio runtime.
    ///
    /// ```
    /// # use countersign::{Keyring, ListenerOptions, tokio::{Listener, Server}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let options = ListenerOptions::new().max_pending(1024);
    /// let listener = Listener::with_options(socket, Server::new(Keyring::new()), options)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_options<K>(socket: L, server: Server<K>, options: Options) -> io::Result<Self>
    where
        K: Keys + Send + Sync + 'static,
    {
        Self::start(socket, server, options, Mode::Authenticate)
    }

    fn start<K>(socket: L, server: Server<K>, options: Options, mode: Mode) -> io::Result<Self>
    where
        K: Keys + Send + Sync + 'static,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            arrived: Notify::new(),
            room: Notify::new(),
            options,
            mode,
        });
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let acceptor = Acceptor(Arc::clone(&shared));
        let acceptor = runtime.spawn(acceptor.run(socket, Arc::new(server)));
        Ok(Self {
            shared,
            acceptor: acceptor.abort_handle(),
        })
    }

    /// The next stream that has authenticated, standing at the first octet of the application,
    /// and its session.
    ///
    /// Many tasks may wait here at once. It is cancel safe: a stream is taken in the same step
    /// in which it is returned.
    ///
    /// # Errors
    ///
    /// Only if there will be no further one: after [`shutdown`](Self::shutdown), or where the
    /// listening socket is gone. What happens to a single connection is told to the hook.
    pub async fn accept(&self) -> io::Result<(L::Stream, Session)> {
        loop {
            let mut arrived = pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if let Some(ready) = state.ready.pop_front() {
                    self.shared.room.notify_waiters();
                    return Ok(ready);
                }
                if state.stopped && state.running == 0 {
                    return Err(state.failure.take().unwrap_or_else(|| {
                        io::Error::new(io::ErrorKind::NotConnected, "the listener has stopped")
                    }));
                }
            }
            arrived.await;
        }
    }

    /// Stops accepting and frees the port, as soon as the runtime has dropped the acceptor;
    /// pending handshakes may finish, and [`accept`](Self::accept) gives out what comes of them.
    ///
    /// ```
    /// # use countersign::{Keyring, tokio::{Listener, Server}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let listener = Listener::new(socket, Server::new(Keyring::new()))?;
    /// listener.shutdown();
    /// assert!(listener.accept().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self) {
        self.acceptor.abort();
    }
}

impl<L: Socket> Drop for Listener<L> {
    fn drop(&mut self) {
        self.acceptor.abort();
        let pending = {
            let mut state = self.shared.lock();
            state.stopped = true;
            core::mem::take(&mut state.pending)
        };
        for pending in pending {
            self.shared.give_up(&pending, Outcome::Stopped);
        }
    }
}

/// A [`Listener`] whose streams are [`Protected`]: it authenticates in mode 1, and refuses
/// clients that do not.
///
/// ```
/// use countersign::{Key, generate_secret, tokio::{ProtectedListener, Server}};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new(Key::new(generate_secret()?)?);
/// let listener = ProtectedListener::new(TcpListener::bind("127.0.0.1:0").await?, server)?;
/// # Ok(())
/// # }
/// ```
pub struct ProtectedListener<L: Socket = TcpListener>(Listener<L>);

impl<L: Socket> ProtectedListener<L> {
    /// [`Listener::new`]
    ///
    /// # Errors
    ///
    /// Those of [`Listener::new`].
    pub fn new<K>(socket: L, server: Server<K>) -> io::Result<Self>
    where
        K: Keys + Send + Sync + 'static,
    {
        Self::with_options(socket, server, Options::new())
    }

    /// [`Listener::with_options`]
    ///
    /// # Errors
    ///
    /// Those of [`Listener::with_options`].
    pub fn with_options<K>(socket: L, server: Server<K>, options: Options) -> io::Result<Self>
    where
        K: Keys + Send + Sync + 'static,
    {
        Listener::start(socket, server, options, Mode::Protect).map(Self)
    }

    /// [`Listener::accept`]
    ///
    /// # Errors
    ///
    /// Those of [`Listener::accept`].
    pub async fn accept(&self) -> io::Result<Protected<L::Stream>> {
        let (stream, session) = self.0.accept().await?;
        Ok(Protected::new(stream, session))
    }

    /// [`Listener::shutdown`]
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

/// A listening socket of tokio: a [`TcpListener`] or, on Unix, a `UnixListener`.
///
/// It is sealed: these two are all there are.
pub trait Socket: Sealed + Send + Sync + 'static {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    #[doc(hidden)]
    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>>;
}

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

impl Sealed for TcpListener {}

impl Socket for TcpListener {
    type Stream = TcpStream;

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Option<SocketAddr>)>> {
        (self.poll_accept(cx)).map_ok(|(stream, peer)| (stream, Some(peer)))
    }
}

#[cfg(unix)]
impl Sealed for UnixListener {}

#[cfg(unix)]
impl Socket for UnixListener {
    type Stream = UnixStream;

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        self.poll_accept(cx).map_ok(|(stream, _)| (stream, None))
    }
}

/// What the listener, its acceptor and the handshakes have in common.
struct Shared<S> {
    state: Mutex<State<S>>,
    /// A stream is ready, or the end has come.
    arrived: Notify,
    /// There is room for another connection.
    room: Notify,
    options: Options,
    mode: Mode,
}

struct State<S> {
    /// The handshakes that may still be given up, the oldest first.
    pending: VecDeque<Pending>,
    /// The tasks of handshakes.
    running: usize,
    ready: VecDeque<(S, Session)>,
    stopped: bool,
    failure: Option<io::Error>,
}

struct Pending {
    serial: u64,
    /// None until the task was started.
    task: Option<AbortHandle>,
    peer: Option<SocketAddr>,
    began: Instant,
}

impl<S> Default for State<S> {
    fn default() -> Self {
        Self {
            pending: VecDeque::new(),
            running: 0,
            ready: VecDeque::new(),
            stopped: false,
            failure: None,
        }
    }
}

impl<S> State<S> {
    /// Where this handshake is among the pending ones.
    fn position(&self, serial: u64) -> Option<usize> {
        let at = (self.pending).binary_search_by_key(&serial, |pending| pending.serial);
        at.ok()
    }
}

impl<S> Shared<S> {
    /// A lock is poisoned where a thread panicked while it held it, and none here can.
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, peer: Option<SocketAddr>, began: Instant, outcome: Outcome) {
        (self.options.hook)(&Event {
            peer,
            outcome,
            duration: began.elapsed(),
        });
    }

    /// Ends a handshake that is no longer among the pending ones.
    fn give_up(&self, pending: &Pending, outcome: Outcome) {
        if let Some(task) = &pending.task {
            task.abort();
        }
        apart(|| self.report(pending.peer, pending.began, outcome));
    }

    /// Waits until another stream may become ready.
    async fn has_room(&self) {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if self.lock().ready.len() < self.options.max_ready {
                return;
            }
            room.await;
        }
    }
}

/// The task that accepts. Dropped, it has stopped, also where it was stopped before it began.
struct Acceptor<S>(Arc<Shared<S>>);

impl<S> Acceptor<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn run<L, K>(self, socket: L, server: Arc<Server<K>>)
    where
        L: Socket<Stream = S>,
        K: Keys + Send + Sync + 'static,
    {
        let shared = &self.0;
        let mut serial = 0;
        loop {
            shared.has_room().await;
            let accepted = poll_fn(|cx| socket.poll(cx)).await;
            let began = Instant::now();
            match accepted {
                Ok((stream, peer)) => {
                    serial += 1;
                    start(shared, &server, serial, stream, peer, began);
                }
                // What a socket gives that does not listen any more.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    shared.lock().failure = Some(error);
                    return;
                }
                Err(error) => {
                    apart(|| shared.report(None, began, Outcome::Failed(error)));
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl<S> Drop for Acceptor<S> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.arrived.notify_waiters();
    }
}

/// Gives the connection a task, and gives up the oldest handshake where there are too many.
fn start<S, K>(
    shared: &Arc<Shared<S>>,
    server: &Arc<Server<K>>,
    serial: u64,
    stream: S,
    peer: Option<SocketAddr>,
    began: Instant,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Keys + Send + Sync + 'static,
{
    let mut state = shared.lock();
    // The listener was dropped since it accepted this.
    if state.stopped {
        return;
    }
    state.running += 1;
    state.pending.push_back(Pending {
        serial,
        task: None,
        peer,
        began,
    });
    drop(state);
    let handshake = Handshake {
        serial,
        shared: Arc::clone(shared),
    };
    let server = Arc::clone(server);
    // Not under the lock: a runtime that is shutting down drops the task here and now.
    let task = ::tokio::spawn(handshake.run(stream, server, peer, began)).abort_handle();
    let mut state = shared.lock();
    match state
        .position(serial)
        .and_then(|at| state.pending.get_mut(at))
    {
        Some(pending) => pending.task = Some(task),
        // It is done already, or the listener was dropped.
        None => task.abort(),
    }
    let oldest = (state.pending.len() > shared.options.max_pending)
        .then(|| state.pending.pop_front())
        .flatten();
    drop(state);
    if let Some(oldest) = oldest {
        shared.give_up(&oldest, Outcome::GivenUp);
    }
}

/// The task of one handshake; dropped, it is no longer counted, however it ended.
struct Handshake<S> {
    serial: u64,
    shared: Arc<Shared<S>>,
}

impl<S> Handshake<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn run<K: Keys>(
        self,
        mut stream: S,
        server: Arc<Server<K>>,
        peer: Option<SocketAddr>,
        began: Instant,
    ) {
        let time = self.shared.options.deadline.saturating_sub(began.elapsed());
        let (mode, time) = (self.shared.mode, Time::limited(time));
        let outcome = server.run(&mut stream, mode, time).await;
        // Whoever takes the handshake from the pending ones decides how it ended.
        if !self.leave_pending() {
            return;
        }
        match outcome {
            Ok(session) => {
                let accepted = Outcome::Accepted(*session.key_id());
                self.shared.report(peer, began, accepted);
                self.shared.lock().ready.push_back((stream, session));
            }
            Err(error) => self.shared.report(peer, began, Outcome::Refused(error)),
        }
    }
}

impl<S> Handshake<S> {
    fn leave_pending(&self) -> bool {
        let mut state = self.shared.lock();
        (state.position(self.serial)).is_some_and(|at| state.pending.remove(at).is_some())
    }
}

impl<S> Drop for Handshake<S> {
    fn drop(&mut self) {
        self.leave_pending();
        self.shared.lock().running -= 1;
        self.shared.arrived.notify_waiters();
    }
}

impl<L: Socket> fmt::Debug for ProtectedListener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProtectedListener").field(&self.0).finish()
    }
}

impl<L: Socket> fmt::Debug for Listener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Listener")
            .field("pending", &state.pending.len())
            .field("ready", &state.ready.len())
            .finish_non_exhaustive()
    }
}
