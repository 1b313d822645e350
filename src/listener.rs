//! An accept loop that returns authenticated streams only, and that no stranger can hold up.

mod events;
mod socket;

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::endpoint::Server;
use crate::handshake::{Mode, Session};
use crate::keys::Keys;
use crate::protected::Protected;

pub use self::events::{Event, Outcome};
pub use self::socket::Socket;

/// Accepts connections and gives out those that have authenticated.
///
/// A thread accepts, and each handshake runs on a thread of its own, with a total deadline, so
/// that a silent or slow peer delays nobody. At most so many handshakes are pending; one more
/// ends the *oldest*. So under a flood of silent connections an honest login succeeds as long as
/// its round trip is shorter than cap / arrival rate: with 128 pending and 1,000 connections a
/// second, 128 ms. Where that does not suffice, raise the cap, or put in front what limits the
/// rate of each source: the firewall, or a proxy that accepts only from known networks.
///
/// Streams that have authenticated and wait for [`accept`](Self::accept) are never given up; if
/// too many wait, no further connection is accepted until some are taken.
///
/// A pending handshake costs a thread with a stack of 320 KiB of address space, of which it
/// touches a few pages. A hook and a look-up of keys run on it and have at least 256 KiB.
///
/// Dropping the listener stops the acceptor, frees the port, and ends pending handshakes.
///
/// ```
/// use countersign::{Client, Key, Listener, Server, generate_secret};
/// use std::{net::{TcpListener, TcpStream}, thread, time::Duration};
///
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// let socket = TcpListener::bind("127.0.0.1:0")?;
/// let address = socket.local_addr()?;
/// let listener = Listener::new(socket, Server::new(key.clone()))?;
/// # let client = thread::spawn(move || {
/// #     let stream = TcpStream::connect(address).unwrap();
/// #     Client::new(key).authenticate_within(&stream, Duration::from_secs(5)).unwrap()
/// # });
///
/// let (stream, session) = listener.accept()?;
/// assert_eq!(session.key_id(), "worker-7");
/// # client.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener<L: Socket = TcpListener> {
    shared: Arc<Shared<L::Stream>>,
    /// Held to wake the acceptor; gone once it has been told to stop.
    socket: Mutex<Option<Arc<L>>>,
}

impl<L: Socket> Listener<L> {
    /// Starts to accept, with the defaults of [`Options`].
    ///
    /// # Errors
    ///
    /// That of starting a thread, or of making the socket a blocking one.
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
    /// That of starting a thread, or of making the socket a blocking one.
    ///
    /// ```
    /// # use countersign::{Keyring, Listener, ListenerOptions, Server};
    /// # use std::net::TcpListener;
    /// let socket = TcpListener::bind("127.0.0.1:0")?;
    /// let options = ListenerOptions::new().max_pending(1024);
    /// let listener = Listener::with_options(socket, Server::new(Keyring::new()), options)?;
    /// # Ok::<(), std::io::Error>(())
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
        socket.set_blocking()?;
        let socket = Arc::new(socket);
        let listener = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State::default()),
                arrived: Condvar::new(),
                room: Condvar::new(),
                options,
                mode,
            }),
            socket: Mutex::new(Some(Arc::clone(&socket))),
        };
        let acceptor = Acceptor {
            shared: Arc::clone(&listener.shared),
            server: Arc::new(server),
        };
        thread::Builder::new()
            .name("countersign-accept".into())
            .spawn(move || acceptor.run(socket))?;
        Ok(listener)
    }

    /// The next stream that has authenticated, standing at the first octet of the application,
    /// and its session.
    ///
    /// Many threads may wait here at once.
    ///
    /// # Errors
    ///
    /// Only if there will be no further one: after [`shutdown`](Self::shutdown), or where the
    /// listening socket is gone. What happens to a single connection is told to the hook.
    pub fn accept(&self) -> io::Result<(L::Stream, Session)> {
        let mut state = self.shared.lock();
        loop {
            if let Some(ready) = state.ready.pop_front() {
                self.shared.room.notify_all();
                return Ok(ready);
            }
            if state.stopped && state.running == 0 {
                return Err(state.failure.take().unwrap_or_else(|| {
                    io::Error::new(io::ErrorKind::NotConnected, "the listener has stopped")
                }));
            }
            state = wait(&self.shared.arrived, state);
        }
    }

    /// Stops accepting and frees the port; pending handshakes may finish, and
    /// [`accept`](Self::accept) gives out what comes of them.
    ///
    /// ```
    /// # use countersign::{Key, Listener, Server, generate_secret};
    /// # use std::net::TcpListener;
    /// # let server = Server::new(Key::new(generate_secret()?)?);
    /// let listener = Listener::new(TcpListener::bind("127.0.0.1:0")?, server)?;
    /// listener.shutdown();
    /// assert!(listener.accept().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self) {
        let Some(socket) = (self.socket.lock().unwrap_or_else(PoisonError::into_inner)).take()
        else {
            return;
        };
        let mut state = self.shared.lock();
        state.stopping = true;
        self.shared.room.notify_all();
        let began = Instant::now();
        // The acceptor looks at `stopping` before and after each connection, so waking it once
        // is enough; where a full queue keeps the wake-up out, it is awake anyway.
        while !state.stopped && began.elapsed() < WAKE_LIMIT {
            drop(state);
            socket.wake();
            // Others may hold the same socket, and this ends it for all of them.
            if began.elapsed() > WAKE_GENTLY {
                socket.end_listening();
            }
            state = self.shared.lock();
            if !state.stopped {
                state = wait_for(&self.shared.arrived, state, WAKE_INTERVAL);
            }
        }
    }
}

impl<L: Socket> Drop for Listener<L> {
    fn drop(&mut self) {
        self.shutdown();
        let mut state = self.shared.lock();
        state.dropped = true;
        for (_, stream) in state.pending.drain(..) {
            L::end(&stream);
        }
    }
}

/// A [`Listener`] whose streams are [`Protected`]: it authenticates in mode 1, and refuses
/// clients that do not.
///
/// ```
/// use countersign::{Key, ProtectedListener, Server, generate_secret};
/// use std::net::TcpListener;
///
/// let server = Server::new(Key::new(generate_secret()?)?);
/// let listener = ProtectedListener::new(TcpListener::bind("127.0.0.1:0")?, server)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
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
    pub fn accept(&self) -> io::Result<Protected<L::Stream>> {
        let (stream, session) = self.0.accept()?;
        Ok(Protected::new(stream, session))
    }

    /// [`Listener::shutdown`]
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

/// How a [`Listener`] listens.
///
/// ```
/// use countersign::{ListenerOptions, Outcome};
/// use std::time::Duration;
///
/// let options = ListenerOptions::new()
///     .deadline(Duration::from_secs(5))
///     .max_pending(1024)
///     .on_event(|event| match &event.outcome {
///         Outcome::Accepted(key_id) => println!("{key_id} came in after {:?}", event.duration),
///         outcome => println!("somebody did not: {outcome}"),
///     });
/// ```
pub struct Options {
    pub(crate) deadline: Duration,
    pub(crate) max_pending: usize,
    pub(crate) max_ready: usize,
    pub(crate) hook: Hook,
}

pub(crate) type Hook = Box<dyn Fn(&Event) + Send + Sync>;

impl Options {
    /// 10 seconds a handshake, 128 of them pending, 128 authenticated streams waiting, no hook.
    ///
    /// ```
    /// # use countersign::ListenerOptions;
    /// let options = ListenerOptions::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            max_pending: 128,
            max_ready: 128,
            hook: Box::new(|_| {}),
        }
    }

    /// The total time for each handshake.
    ///
    /// ```
    /// # use countersign::ListenerOptions;
    /// # use std::time::Duration;
    /// let options = ListenerOptions::new().deadline(Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// How many handshakes are pending at most, at least 1; one more ends the oldest.
    ///
    /// ```
    /// # use countersign::ListenerOptions;
    /// let options = ListenerOptions::new().max_pending(1024);
    /// ```
    #[must_use]
    pub fn max_pending(self, max_pending: usize) -> Self {
        Self {
            max_pending: max_pending.max(1),
            ..self
        }
    }

    /// With how many authenticated streams waiting to be taken accepting pauses, at least 1.
    ///
    /// Handshakes that are pending then still finish, so up to as many more may wait.
    ///
    /// ```
    /// # use countersign::ListenerOptions;
    /// let options = ListenerOptions::new().max_ready(16);
    /// ```
    #[must_use]
    pub fn max_ready(self, max_ready: usize) -> Self {
        Self {
            max_ready: max_ready.max(1),
            ..self
        }
    }

    /// Called once for the outcome of each connection, and for each failure to accept one.
    ///
    /// It runs where the handshake ran, before the stream is given out: a slow hook delays this
    /// one login, and under a flood one that blocks gathers threads or tasks without a limit, since
    /// a handshake that has ended no longer counts as pending. A hook that panics loses the login.
    /// A look-up of keys that panics loses its connection too, and there is no event then.
    ///
    /// ```
    /// # use countersign::ListenerOptions;
    /// let options = ListenerOptions::new().on_event(|event| eprintln!("{event}"));
    /// ```
    #[must_use]
    pub fn on_event(self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            hook: Box::new(hook),
            ..self
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

const STACK_SIZE: usize = 320 * 1024;

/// After a failure to accept. Out of descriptors it is a matter of time, and trying again at
/// once would spin.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

const WAKE_INTERVAL: Duration = Duration::from_millis(20);
const WAKE_GENTLY: Duration = Duration::from_millis(50);
const WAKE_LIMIT: Duration = Duration::from_secs(1);

/// What the listener, its acceptor and the handshakes have in common.
struct Shared<S> {
    state: Mutex<State<S>>,
    /// A stream is ready, or the end has come.
    arrived: Condvar,
    /// There is room for another connection, or no more are wanted.
    room: Condvar,
    options: Options,
    mode: Mode,
}

struct State<S> {
    /// The handshakes that may still be given up, the oldest first.
    pending: VecDeque<(u64, Arc<S>)>,
    /// The threads of handshakes.
    running: usize,
    ready: VecDeque<(S, Session)>,
    stopping: bool,
    stopped: bool,
    dropped: bool,
    failure: Option<io::Error>,
}

impl<S> Default for State<S> {
    fn default() -> Self {
        Self {
            pending: VecDeque::new(),
            running: 0,
            ready: VecDeque::new(),
            stopping: false,
            stopped: false,
            dropped: false,
            failure: None,
        }
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
}

struct Acceptor<S, K> {
    shared: Arc<Shared<S>>,
    server: Arc<Server<K>>,
}

impl<S, K> Acceptor<S, K>
where
    S: Send + Sync + 'static,
    K: Keys + Send + Sync + 'static,
{
    fn run<L: Socket<Stream = S>>(&self, socket: Arc<L>) {
        // However this ends, nobody waits for a stream that never comes.
        let _stopped = Finally(|| {
            let mut state = self.shared.lock();
            state.stopped = true;
            self.shared.arrived.notify_all();
        });
        let mut serial = 0;
        while self.has_room() {
            let accepted = socket.accept();
            let began = Instant::now();
            if self.shared.lock().stopping {
                break;
            }
            let started = match accepted {
                Ok((stream, peer)) => {
                    serial += 1;
                    self.start::<L>(serial, stream, peer, began)
                }
                // What a socket gives that does not listen any more.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.shared.lock().failure = Some(error);
                    break;
                }
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                apart(|| self.shared.report(None, began, Outcome::Failed(error)));
                let state = self.shared.lock();
                if !state.stopping {
                    drop(wait_for(&self.shared.room, state, PAUSE));
                }
            }
        }
        // Before anybody hears that this has stopped.
        drop(socket);
    }

    /// Waits until another stream may become ready; `false` once no more are wanted.
    fn has_room(&self) -> bool {
        let mut state = self.shared.lock();
        while !state.stopping && state.ready.len() >= self.shared.options.max_ready {
            state = wait(&self.shared.room, state);
        }
        !state.stopping
    }

    /// Gives the connection a thread, and gives up the oldest handshake where there are too
    /// many.
    fn start<L: Socket<Stream = S>>(
        &self,
        serial: u64,
        stream: S,
        peer: Option<SocketAddr>,
        began: Instant,
    ) -> io::Result<()> {
        let stream = Arc::new(stream);
        let mut state = self.shared.lock();
        state.running += 1;
        state.pending.push_back((serial, Arc::clone(&stream)));
        if state.pending.len() > self.shared.options.max_pending
            && let Some((_, oldest)) = state.pending.pop_front()
        {
            L::end(&oldest);
        }
        drop(state);

        let handshake = Handshake {
            serial,
            shared: Arc::clone(&self.shared),
        };
        let server = Arc::clone(&self.server);
        thread::Builder::new()
            .name("countersign-handshake".into())
            .stack_size(STACK_SIZE)
            .spawn(move || handshake.run::<L, K>(stream, &server, peer, began))?;
        Ok(())
    }
}

/// The thread of one handshake; dropped, it is no longer counted, however it ended.
struct Handshake<S> {
    serial: u64,
    shared: Arc<Shared<S>>,
}

impl<S> Handshake<S> {
    fn run<L: Socket<Stream = S>, K: Keys>(
        self,
        stream: Arc<S>,
        server: &Server<K>,
        peer: Option<SocketAddr>,
        began: Instant,
    ) {
        let time = self.shared.options.deadline.saturating_sub(began.elapsed());
        let outcome = L::authenticate(&stream, server, self.shared.mode, time);
        // Whoever takes the handshake from the pending ones decides how it ended.
        let kept = self.leave_pending();
        let dropped = self.shared.lock().dropped;
        let (session, outcome) = match outcome {
            _ if !kept && dropped => (None, Outcome::Stopped),
            _ if !kept => (None, Outcome::GivenUp),
            Ok(session) => {
                let key_id = *session.key_id();
                (Some(session), Outcome::Accepted(key_id))
            }
            Err(error) => (None, Outcome::Refused(error)),
        };
        self.shared.report(peer, began, outcome);
        // What is no longer pending has no other holder.
        if let (Some(session), Some(stream)) = (session, Arc::into_inner(stream)) {
            self.shared.lock().ready.push_back((stream, session));
        }
    }

    fn leave_pending(&self) -> bool {
        let mut state = self.shared.lock();
        let at = (state.pending).binary_search_by_key(&self.serial, |(serial, _)| *serial);
        at.is_ok_and(|at| state.pending.remove(at).is_some())
    }
}

impl<S> Drop for Handshake<S> {
    fn drop(&mut self) {
        self.leave_pending();
        self.shared.lock().running -= 1;
        self.shared.arrived.notify_all();
    }
}

/// Calls the hook where no handshake runs: if it panics there, that loses nothing at all.
pub(crate) fn apart(report: impl FnOnce()) {
    // The panic has been printed, and there is nobody to hand it to.
    let _ = panic::catch_unwind(AssertUnwindSafe(report));
}

/// Runs its closure when it is dropped.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn wait<'g, T>(condvar: &Condvar, guard: MutexGuard<'g, T>) -> MutexGuard<'g, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

fn wait_for<'g, T>(
    condvar: &Condvar,
    guard: MutexGuard<'g, T>,
    time: Duration,
) -> MutexGuard<'g, T> {
    let waited = condvar.wait_timeout(guard, time);
    waited.unwrap_or_else(PoisonError::into_inner).0
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

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerOptions")
            .field("deadline", &self.deadline)
            .field("max_pending", &self.max_pending)
            .field("max_ready", &self.max_ready)
            .finish_non_exhaustive()
    }
}
