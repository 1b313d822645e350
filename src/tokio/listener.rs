//! The accept loop over tokio's sockets.

use core::fmt;
use core::future::poll_fn;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;
use ::tokio::task::AbortHandle;
use ::tokio::time::{Instant, sleep};

#[cfg(feature = "encrypt")]
use super::Encrypted;
use super::{Protected, Server, Socket, Timeout};
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Mode, Protect, Session};
use crate::keys::KeyLookup;
use crate::listener::admission::{Admission, Taken, Ticket};
use crate::listener::{
    ListenerOptions, Outcome, PAUSE, Reporter, apart, constructors, is_final, stopped,
};

/// [`countersign::Listener`](crate::Listener) over tokio: accepts connections and returns those that
/// have authenticated.
///
/// One task accepts, and each handshake is a task with a total deadline. Evictions, waiting
/// streams and the hook are as described there. The hook and the
/// look-up of keys run on the runtime's threads and must not block them.
///
/// Dropping the listener stops it and ends pending handshakes. The port is free as soon as the
/// runtime has dropped the accepting task.
///
/// ```
/// use countersign::{Key, generate_secret, tokio::{Client, Listener, Server}};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
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
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener<T> {
    shared: Arc<Shared<T>>,
    acceptor: AbortHandle,
}

constructors!();

impl<T> Listener<T> {
    /// Returns the next stream that has authenticated. The next byte read from it is application
    /// data.
    ///
    /// Many tasks may wait here at once. It is cancel safe: a stream is taken in the same step in
    /// which it is returned.
    ///
    /// # Errors
    ///
    /// Returns an error only if no further stream will come: after [`shutdown`](Self::shutdown), or
    /// if the socket does not listen any more. Failures of single connections are reported to the
    /// hook of the [`ListenerOptions`](crate::ListenerOptions).
    pub async fn accept(&self) -> io::Result<T> {
        loop {
            let mut arrived = pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
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

    /// Stops accepting connections, and frees the port as soon as the runtime has dropped the
    /// accepting task. Pending handshakes may finish, and [`accept`](Self::accept) returns their
    /// streams.
    pub fn shutdown(&self) {
        self.acceptor.abort();
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
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                admission: Admission::new(options.max_pending, options.max_ready),
                failure: None,
            }),
            arrived: Notify::new(),
            room: Notify::new(),
            deadline: options.deadline,
            reporter: Reporter::new::<M>(options, &server.prologue),
        });
        let acceptor = Acceptor {
            shared: Arc::clone(&shared),
            server: Arc::new(server),
            mode,
            yields,
        };
        // Made here, and not in the task, so that it also ends what is aborted before it began.
        let closing = Closing(Arc::clone(&shared));
        let acceptor = runtime.spawn(async move {
            let _closing = closing;
            acceptor.accept(socket).await;
        });
        Ok(Self {
            shared,
            acceptor: acceptor.abort_handle(),
        })
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        self.acceptor.abort();
        let pending = {
            let mut state = self.shared.lock();
            state.admission.close();
            state.admission.evict_all()
        };
        for pending in pending {
            self.shared.end(&pending, Outcome::ShutDown);
        }
    }
}

/// What the listener, its acceptor and its handshakes share.
struct Shared<T> {
    state: Mutex<State<T>>,
    /// A stream is ready, or the end has come.
    arrived: Notify,
    /// There is room for another connection.
    room: Notify,
    deadline: Duration,
    reporter: Reporter,
}

struct State<T> {
    admission: Admission<Pending, T>,
    failure: Option<io::Error>,
}

struct Pending {
    /// None until the task was started.
    task: Option<AbortHandle>,
    peer: Option<SocketAddr>,
    began: Instant,
    /// It was denied, and lingers until the client closes.
    reported: bool,
}

impl<T> Shared<T> {
    /// No task can panic while it holds the lock, so it is never poisoned.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a handshake that is no longer pending.
    fn end(&self, pending: &Pending, outcome: Outcome) {
        if let Some(task) = &pending.task {
            task.abort();
        }
        if pending.reported {
            return;
        }
        apart(|| {
            self.reporter
                .report(pending.peer, pending.began.elapsed(), outcome);
        });
    }

    /// Waits until another stream may become ready.
    async fn has_room(&self) {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if self.lock().admission.has_room() {
                return;
            }
            room.await;
        }
    }
}

/// The task that accepts.
struct Acceptor<S, K, M: Mode, T> {
    shared: Arc<Shared<T>>,
    server: Arc<Server<K>>,
    mode: M,
    yields: fn(S, M::Established) -> T,
}

impl<S, K, M, T> Acceptor<S, K, M, T>
where
    S: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + Send + 'static,
    K: KeyLookup + Send + Sync + 'static,
    M: Mode,
    T: Send + 'static,
{
    async fn accept<L: Socket<Stream = S>>(self, socket: L) {
        let shared = &self.shared;
        loop {
            shared.has_room().await;
            let accepted = poll_fn(|cx| socket.poll(cx)).await;
            let began = Instant::now();
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer, began),
                Err(error) if is_final(&error) => {
                    shared.lock().failure = Some(error);
                    return;
                }
                Err(error) => {
                    let failed = Outcome::Failed(error);
                    apart(|| shared.reporter.report(None, began.elapsed(), failed));
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Starts a task for the connection, and evicts a handshake if too many are pending.
    fn start(&self, stream: S, peer: Option<SocketAddr>, began: Instant) {
        let shared = &self.shared;
        let pending = Pending {
            task: None,
            peer,
            began,
            reported: false,
        };
        let admitted = shared.lock().admission.admit(pending);
        let Some((ticket, evicted)) = admitted else {
            let ended = Outcome::ShutDown;
            apart(|| shared.reporter.report(peer, began.elapsed(), ended));
            return;
        };
        if let Some(evicted) = evicted {
            shared.end(&evicted, Outcome::Evicted);
        }
        let handshake = Handshake {
            ticket,
            shared: Arc::clone(shared),
        };
        let server = Arc::clone(&self.server);
        // Not under the lock: a runtime that is shutting down drops the task here and now.
        let task =
            ::tokio::spawn(handshake.run(stream, server, self.mode, peer, began, self.yields));
        let task = task.abort_handle();
        match shared.lock().admission.pending_mut(ticket) {
            Some(pending) => pending.task = Some(task),
            // It has left already, or the listener was dropped.
            None => task.abort(),
        }
    }
}

/// Dropping it records that no further connection will be admitted.
struct Closing<T>(Arc<Shared<T>>);

impl<T> Drop for Closing<T> {
    fn drop(&mut self) {
        self.0.lock().admission.close();
        self.0.arrived.notify_waiters();
    }
}

/// The task of one handshake. Dropping it records that the handshake has left.
struct Handshake<T> {
    ticket: Ticket,
    shared: Arc<Shared<T>>,
}

impl<T> Handshake<T> {
    async fn run<S, K, M>(
        self,
        mut stream: S,
        server: Arc<Server<K>>,
        mode: M,
        peer: Option<SocketAddr>,
        began: Instant,
        yields: fn(S, M::Established) -> T,
    ) where
        S: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin,
        K: KeyLookup,
        M: Mode,
    {
        let timeout = Timeout::after(self.shared.deadline.saturating_sub(began.elapsed()));
        let result = match server.run(&mut stream, mode, timeout).await {
            Err(error) if error.denies() => {
                match self.shared.lock().admission.pending_mut(self.ticket) {
                    // Before it lingers, so that an eviction meanwhile is not reported instead.
                    Some(pending) => pending.reported = true,
                    None => return,
                }
                let refused = Outcome::Refused(error);
                (self.shared.reporter).report(peer, began.elapsed(), refused);
                return timeout.linger(&mut stream).await;
            }
            result => result,
        };
        if !self.shared.lock().admission.settle(self.ticket) {
            return;
        }
        match result {
            Ok(established) => {
                let session = M::session(&established);
                (self.shared.reporter).accepted(peer, began.elapsed(), session);
                let stream = yields(stream, established);
                self.shared.lock().admission.deliver(stream);
            }
            Err(error) => {
                let refused = Outcome::Refused(error);
                self.shared.reporter.report(peer, began.elapsed(), refused);
            }
        }
    }
}

impl<T> Drop for Handshake<T> {
    fn drop(&mut self) {
        self.shared.lock().admission.leave(self.ticket);
        self.shared.arrived.notify_waiters();
    }
}
