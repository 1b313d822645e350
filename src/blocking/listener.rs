//! The accept loop over blocking sockets.

use core::fmt;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

#[cfg(feature = "encrypt")]
use super::Encrypted;
use super::socket::{End, Socket, Wake};
use super::{Protected, Server};
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Mode, Protect, Session};
use crate::keys::KeyLookup;
use crate::listener::admission::{Admission, Taken, Ticket};
use crate::listener::{
    ListenerOptions, Outcome, PAUSE, Reporter, apart, constructors, is_final, stopped,
};

/// Accepts connections and returns those that have authenticated.
///
/// `T` is what it returns: a stream with its [`Session`], or a [`Secured`](crate::Secured)
/// stream.
///
/// One thread accepts, and each handshake runs on its own thread with a total deadline, so a silent
/// or slow peer does not delay other clients. At most `max_pending` handshakes run at once; a new connection evicts
/// the oldest one. Under a flood of silent connections an honest login therefore succeeds if its
/// round trip is shorter than `max_pending` / arrival rate: with 128 pending handshakes and 1,000
/// connections a second, 128 ms. If that is too short, raise `max_pending`, or limit the rate of each
/// source in front of the listener: with a firewall, or with a proxy that accepts known networks only.
///
/// Streams that have authenticated and wait for [`accept`](Self::accept) are never evicted. If too
/// many wait, no further connection is accepted until some are taken.
///
/// A pending handshake costs a thread with a stack of 320 KiB of address space, of which it touches
/// a few pages. The hook and the look-up of keys run on it and have at least 256 KiB.
///
/// Dropping the listener stops it, frees the port, and ends pending handshakes.
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
/// #     Client::new(key).authenticate_timeout(&stream, Duration::from_secs(5)).unwrap()
/// # });
///
/// let (stream, session) = listener.accept()?;
/// assert_eq!(session.key_id(), "worker-7");
/// # client.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener<T> {
    shared: Arc<Shared<T>>,
    /// Kept to wake the acceptor; gone once it was told to stop.
    socket: Mutex<Option<Arc<dyn Wake>>>,
}

constructors!();

impl<T> Listener<T> {
    /// Returns the next stream that has authenticated. The next byte read from it is application
    /// data.
    ///
    /// Many threads may wait here at once.
    ///
    /// # Errors
    ///
    /// Returns an error only if no further stream will come: after [`shutdown`](Self::shutdown), or
    /// if the socket does not listen any more. Failures of single connections are reported to the
    /// hook of the [`ListenerOptions`].
    pub fn accept(&self) -> io::Result<T> {
        let mut state = self.shared.lock();
        loop {
            match state.admission.take() {
                Taken::Stream(stream) => {
                    self.shared.room.notify_all();
                    return Ok(stream);
                }
                Taken::Ended => return Err(state.failure.take().unwrap_or_else(stopped)),
                Taken::Nothing => state = wait(&self.shared.arrived, state),
            }
        }
    }

    /// Stops accepting connections and frees the port. Pending handshakes may finish, and
    /// [`accept`](Self::accept) returns their streams.
    ///
    /// The first call returns once the port is free, or after a second if the acceptor cannot be
    /// woken.
    pub fn shutdown(&self) {
        let Some(socket) = (self.socket.lock().unwrap_or_else(PoisonError::into_inner)).take()
        else {
            return;
        };
        let mut state = self.shared.lock();
        state.stopping = true;
        self.shared.room.notify_all();
        let began = Instant::now();
        // The acceptor checks `stopping` before and after each connection, so waking it once is
        // enough. If a full queue keeps the wake-up out, it is awake anyway.
        while !state.admission.is_closed() && began.elapsed() < WAKE_LIMIT {
            drop(state);
            socket.wake();
            // Others may hold the same socket, and this ends it for all of them.
            if began.elapsed() > WAKE_GENTLY {
                socket.end_listening();
            }
            state = self.shared.lock();
            if !state.admission.is_closed() {
                state = wait_for(&self.shared.arrived, state, WAKE_INTERVAL);
            }
        }
    }
}

impl<T: Send + 'static> Listener<T> {
    fn start<L, K, M>(
        socket: L,
        server: Server<K>,
        options: ListenerOptions,
        mode: M,
        yields: fn(L::Stream, M::Established) -> T,
    ) -> io::Result<Self>
    where
        L: Socket,
        K: KeyLookup + Send + Sync + 'static,
        M: Mode,
    {
        socket.set_blocking()?;
        let socket = Arc::new(socket);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                admission: Admission::new(options.max_pending, options.max_ready),
                stopping: false,
                dropped: false,
                failure: None,
            }),
            arrived: Condvar::new(),
            room: Condvar::new(),
            deadline: options.deadline,
            reporter: Reporter::new::<M>(options, &server.prologue),
        });
        let acceptor = Acceptor {
            shared: Arc::clone(&shared),
            socket: Arc::clone(&socket),
            server: Arc::new(server),
            mode,
            yields,
        };
        thread::Builder::new()
            .name("countersign-accept".into())
            .spawn(move || acceptor.run())?;
        Ok(Self {
            shared,
            socket: Mutex::new(Some(socket)),
        })
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        self.shutdown();
        let mut state = self.shared.lock();
        state.dropped = true;
        state.admission.close();
        for stream in state.admission.evict_all() {
            stream.end();
        }
    }
}

const STACK_SIZE: usize = 320 * 1024;
const WAKE_INTERVAL: Duration = Duration::from_millis(20);
const WAKE_GENTLY: Duration = Duration::from_millis(50);
const WAKE_LIMIT: Duration = Duration::from_secs(1);

/// What the listener, its acceptor and its handshakes share.
struct Shared<T> {
    state: Mutex<State<T>>,
    /// A stream is ready, or the end has come.
    arrived: Condvar,
    /// There is room for another connection, or no more are wanted.
    room: Condvar,
    deadline: Duration,
    reporter: Reporter,
}

struct State<T> {
    admission: Admission<Arc<dyn End>, T>,
    stopping: bool,
    dropped: bool,
    failure: Option<io::Error>,
}

impl<T> Shared<T> {
    /// No thread can panic while it holds the lock, so it is never poisoned.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that accepts.
struct Acceptor<L: Socket, K, M: Mode, T> {
    shared: Arc<Shared<T>>,
    socket: Arc<L>,
    server: Arc<Server<K>>,
    mode: M,
    yields: fn(L::Stream, M::Established) -> T,
}

impl<L, K, M, T> Acceptor<L, K, M, T>
where
    L: Socket,
    K: KeyLookup + Send + Sync + 'static,
    M: Mode,
    T: Send + 'static,
{
    fn run(self) {
        // However this ends, `accept` must return. Close the socket before announcing the end.
        let _closing = Closing(Arc::clone(&self.shared));
        let acceptor = self;
        acceptor.accept();
    }

    fn accept(&self) {
        let shared = &self.shared;
        while self.has_room() {
            let accepted = self.socket.accept();
            let began = Instant::now();
            if shared.lock().stopping {
                break;
            }
            let started = match accepted {
                Ok((stream, peer)) => self.start(stream, peer, began),
                Err(error) if is_final(&error) => {
                    shared.lock().failure = Some(error);
                    break;
                }
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                let failed = Outcome::Failed(error);
                apart(|| shared.reporter.report(None, began.elapsed(), failed));
                let state = shared.lock();
                if !state.stopping {
                    drop(wait_for(&shared.room, state, PAUSE));
                }
            }
        }
    }

    /// Waits until another stream may become ready. Returns `false` once no more are wanted.
    fn has_room(&self) -> bool {
        let mut state = self.shared.lock();
        while !state.stopping && !state.admission.has_room() {
            state = wait(&self.shared.room, state);
        }
        !state.stopping
    }

    /// Starts a thread for the connection, and evicts a handshake if too many are pending.
    fn start(&self, stream: L::Stream, peer: Option<SocketAddr>, began: Instant) -> io::Result<()> {
        let stream = Arc::new(stream);
        let admitted = self.shared.lock().admission.admit(stream.clone());
        let Some((ticket, evicted)) = admitted else {
            return Ok(());
        };
        if let Some(evicted) = evicted {
            evicted.end();
        }
        let handshake = Handshake {
            ticket,
            shared: Arc::clone(&self.shared),
        };
        let server = Arc::clone(&self.server);
        let (mode, yields) = (self.mode, self.yields);
        thread::Builder::new()
            .name("countersign-handshake".into())
            .stack_size(STACK_SIZE)
            .spawn(move || handshake.run::<L, K, M>(stream, &server, mode, peer, began, yields))?;
        Ok(())
    }
}

/// The thread of one handshake. Dropping it records that the handshake has left.
struct Handshake<T> {
    ticket: Ticket,
    shared: Arc<Shared<T>>,
}

impl<T> Handshake<T> {
    fn run<L: Socket, K: KeyLookup, M: Mode>(
        self,
        stream: Arc<L::Stream>,
        server: &Server<K>,
        mode: M,
        peer: Option<SocketAddr>,
        began: Instant,
        yields: fn(L::Stream, M::Established) -> T,
    ) {
        let left = || self.shared.deadline.saturating_sub(began.elapsed());
        let reporter = &self.shared.reporter;
        let result = match L::run(&stream, server, mode, left()) {
            Err(error) if error.denies() => {
                // Before it lingers, so that an eviction meanwhile is not reported instead.
                reporter.report(peer, began.elapsed(), Outcome::Refused(error));
                return L::linger(&stream, left());
            }
            result => result,
        };
        let (settled, dropped) = {
            let mut state = self.shared.lock();
            (state.admission.settle(self.ticket), state.dropped)
        };
        let failed = match result {
            _ if !settled && dropped => Outcome::ShutDown,
            _ if !settled => Outcome::Evicted,
            Err(error) => Outcome::Refused(error),
            Ok(established) => {
                reporter.accepted(peer, began.elapsed(), M::session(&established));
                // The stream of a settled handshake has no other holder.
                if let Some(stream) = Arc::into_inner(stream) {
                    let stream = yields(stream, established);
                    self.shared.lock().admission.deliver(stream);
                }
                return;
            }
        };
        reporter.report(peer, began.elapsed(), failed);
    }
}

impl<T> Drop for Handshake<T> {
    fn drop(&mut self) {
        self.shared.lock().admission.leave(self.ticket);
        self.shared.arrived.notify_all();
    }
}

/// Dropping it records that no further connection will be admitted.
struct Closing<T>(Arc<Shared<T>>);

impl<T> Drop for Closing<T> {
    fn drop(&mut self) {
        self.0.lock().admission.close();
        self.0.arrived.notify_all();
    }
}

fn wait<'g, T>(condvar: &Condvar, guard: MutexGuard<'g, T>) -> MutexGuard<'g, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

fn wait_for<'g, T>(
    condvar: &Condvar,
    guard: MutexGuard<'g, T>,
    timeout: Duration,
) -> MutexGuard<'g, T> {
    let waited = condvar.wait_timeout(guard, timeout);
    waited.unwrap_or_else(PoisonError::into_inner).0
}
