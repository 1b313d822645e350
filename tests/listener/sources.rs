//! Listeners over a source that the test feeds, with connections and with errors of `accept`.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
#[cfg(feature = "tokio")]
use std::pin::Pin;
#[cfg(feature = "tokio")]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
#[cfg(feature = "tokio")]
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use countersign::{Listener, ListenerOptions, Pause, Server, Source};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clients::authenticate;
use super::events::Events;
#[cfg(feature = "tokio")]
use super::running::runtime;
use super::running::{Running, options, ring, worker};
#[cfg(feature = "tokio")]
use crate::sockets::over_tokio;
use crate::sockets::{LONG, assert_closed};
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Driver, tcp_pair};

type Fed = io::Result<TcpStream>;

struct Blocking(Receiver<Fed>);

impl Source for Blocking {
    type Stream = TcpStream;

    fn accept(&self, pause: &Pause) -> io::Result<Option<(TcpStream, Option<SocketAddr>)>> {
        match self.0.recv_timeout(pause.longest()) {
            Ok(fed) => fed.map(|stream| Some((stream, None))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(feature = "tokio")]
struct Polled(tokio::sync::mpsc::UnboundedReceiver<Fed>);

#[cfg(feature = "tokio")]
impl countersign::tokio::Source for Polled {
    type Stream = tokio::net::TcpStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>> {
        self.0.poll_recv(cx).map(|fed| {
            let stream = fed.unwrap_or_else(|| Err(ErrorKind::NotConnected.into()))?;
            Ok((over_tokio(stream), None))
        })
    }
}

/// Hands a connection or an error to the listener.
type Feed = Box<dyn Fn(Fed)>;

fn listen(driver: Driver, options: ListenerOptions) -> (Feed, Running) {
    let events = Arc::new(Events::default());
    let hook = Arc::clone(&events);
    let options = options.on_event(move |event| {
        hook.record(event);
    });
    let server = Server::new(ring());
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    match driver {
        Driver::Blocking => {
            let (sender, receiver) = mpsc::channel();
            let listener = Listener::with_options(Blocking(receiver), server, options).unwrap();
            let feed = move |fed| sender.send(fed).unwrap();
            (
                Box::new(feed),
                Running::new(nowhere, events, Arc::new(listener)),
            )
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let _runtime = runtime().enter();
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
            let listener = countersign::tokio::Listener::with_options(
                Polled(receiver),
                server.into(),
                options,
            );
            let feed = move |fed| sender.send(fed).unwrap();
            (
                Box::new(feed),
                Running::new(nowhere, events, Arc::new(listener.unwrap())),
            )
        }
    }
}

/// Feeds a connection, and returns its other end.
fn connect(feed: &Feed) -> TcpStream {
    let (near, far) = tcp_pair();
    near.set_read_timeout(Some(LONG)).unwrap();
    feed(Ok(far));
    near
}

fn assert_login(feed: &Feed, running: &Running, nth: usize) {
    let near = connect(feed);
    let session = authenticate(&near, &worker(nth)).unwrap();
    let _pair = running.accept_from(&(near, session));
}

#[test]
fn a_listener_over_a_channel_ends_with_it() {
    for &driver in Driver::ALL {
        let (feed, running) = listen(driver, options());
        for nth in 0..3 {
            assert_login(&feed, &running, nth);
        }
        drop(feed);
        let error = running.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
}

#[test]
fn a_listener_over_a_channel_can_be_shut_down() {
    for &driver in Driver::ALL {
        let (feed, running) = listen(driver, options());
        assert_login(&feed, &running, 1);
        running.shutdown();
        assert!(running.accept().is_err());
    }
}

/// A source that nothing wakes, as a blocking socket is while another holder takes its connections.
struct Asleep {
    waits: mpsc::Sender<()>,
    connections: Mutex<Receiver<TcpStream>>,
}

impl Source for Asleep {
    type Stream = TcpStream;

    fn accept(&self, _: &Pause) -> io::Result<Option<(TcpStream, Option<SocketAddr>)>> {
        let connections = self.connections.lock().unwrap();
        // The test may be over.
        let _ = self.waits.send(());
        let stream = connections.recv().map_err(|_| ErrorKind::NotConnected)?;
        Ok(Some((stream, None)))
    }
}

#[test]
fn a_connection_that_comes_while_a_listener_stops_is_served_or_reported() {
    for is_dropped in [false, true] {
        let events = Arc::new(Events::default());
        let hook = Arc::clone(&events);
        let options = options().on_event(move |event| {
            hook.record(event);
        });
        let (sender, receiver) = mpsc::channel();
        let (waits, waiting) = mpsc::channel();
        let source = Asleep {
            waits,
            connections: Mutex::new(receiver),
        };
        let listener = Listener::with_options(source, Server::new(ring()), options).unwrap();
        waiting.recv_timeout(LONG).unwrap();
        let (near, far) = tcp_pair();
        near.set_read_timeout(Some(LONG)).unwrap();
        if is_dropped {
            drop(listener);
            sender.send(far).unwrap();
            assert_closed(&near);
            events.once(|seen| seen.len() == 1);
            assert_eq!(events.count("shut down"), 1);
        } else {
            listener.shutdown();
            sender.send(far).unwrap();
            authenticate(&near, &worker(1)).unwrap();
            assert_eq!(listener.accept().unwrap().1.key_id(), "worker-1");
            assert!(listener.accept().is_err());
        }
    }
}

/// The numbers of Linux.
#[cfg(target_os = "linux")]
#[test]
fn what_runs_out_costs_a_pending_handshake_and_no_client() {
    use std::io::Read;

    use super::clients::F1_LEN;

    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;

    for &driver in Driver::ALL {
        let (feed, running) = listen(driver, options());
        let _pending = [(); 8].map(|()| {
            let mut stranger = connect(&feed);
            stranger.read_exact(&mut [0; F1_LEN]).unwrap();
            stranger
        });
        for (nth, error) in [ENOMEM, ENFILE, EMFILE, ENOBUFS].into_iter().enumerate() {
            feed(Err(io::Error::from_raw_os_error(error)));
            let evicted = |evicted| move |seen: &[_]| count(seen, "evicted") == evicted;
            running.events.once(evicted(nth + 1));
        }
        assert_eq!(running.events.now().len(), 4, "{driver:?}");
        assert!(running.shows("pending", 4), "{driver:?}");

        // The limit grows again, but not at once.
        assert_login(&feed, &running, 1);
        assert_eq!(running.events.count("failed"), 0);
    }
}

/// The numbers of Linux.
#[cfg(target_os = "linux")]
#[test]
fn an_accept_that_finds_nobody_or_a_peer_that_has_gone_costs_nobody_anything() {
    use std::io::Read;

    use super::clients::F1_LEN;

    const EAGAIN: i32 = 11;
    const ENOTCONN: i32 = 107;

    for &driver in Driver::ALL {
        let (feed, running) = listen(driver, options());
        let mut pending = connect(&feed);
        let mut challenge = [0; F1_LEN];
        pending.read_exact(&mut challenge).unwrap();
        for error in [EAGAIN, ENOTCONN] {
            feed(Err(io::Error::from_raw_os_error(error)));
            assert_login(&feed, &running, 1);
        }
        assert_eq!(running.events.now().len(), 2, "{driver:?}");
        assert_eq!(running.events.accepted(), 2);
        assert!(running.shows("pending", 1), "{driver:?}");
    }
}

#[cfg(target_os = "linux")]
fn count(seen: &[super::events::Seen], outcome: &str) -> usize {
    seen.iter().filter(|seen| seen.outcome == outcome).count()
}

#[cfg(target_os = "linux")]
#[test]
fn what_runs_out_is_reported_where_nothing_is_pending() {
    for &driver in Driver::ALL {
        let (feed, running) = listen(driver, options());
        feed(Err(io::Error::from_raw_os_error(24)));
        running.events.once(|seen| count(seen, "failed") == 1);
        assert_login(&feed, &running, 1);
    }
}

#[test]
fn connections_that_end_before_they_are_accepted_make_no_pause() {
    /// Far less than 200 pauses.
    const NO_PAUSE: Duration = Duration::from_secs(3);

    for &driver in Driver::ALL {
        let (feed, running) = listen(driver, options());
        let began = Instant::now();
        for _ in 0..200 {
            feed(Err(ErrorKind::ConnectionAborted.into()));
        }
        assert_login(&feed, &running, 1);
        assert!(began.elapsed() < NO_PAUSE, "{:?}", began.elapsed());
        assert_eq!(running.events.now().len(), 1);
    }
}

/// Never ready for anything else, as a socket with a long queue of connections that have ended.
#[cfg(feature = "tokio")]
struct Failing {
    stop: Arc<AtomicBool>,
    polls: usize,
}

#[cfg(feature = "tokio")]
impl countersign::tokio::Source for Failing {
    type Stream = tokio::net::TcpStream;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>> {
        self.polls += 1;
        let kind = if self.stop.load(Ordering::Relaxed) {
            ErrorKind::NotConnected
        } else if self.polls > 10_000 {
            // In place of a test that hangs.
            ErrorKind::InvalidInput
        } else {
            ErrorKind::ConnectionAborted
        };
        Poll::Ready(Err(kind.into()))
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_source_that_fails_again_and_again_leaves_other_tasks_of_its_thread_their_turn() {
    block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let source = Failing {
            stop: Arc::clone(&stop),
            polls: 0,
        };
        let server = countersign::tokio::Server::new(ring());
        let listener = countersign::tokio::Listener::new(source, server).unwrap();
        tokio::spawn(async move { stop.store(true, Ordering::Relaxed) });
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    });
}

/// A stream of a client that is silent.
#[cfg(feature = "tokio")]
struct Silent {
    _counted: Arc<()>,
}

#[cfg(feature = "tokio")]
impl AsyncRead for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[cfg(feature = "tokio")]
impl AsyncWrite for Silent {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A long queue of connections, and how many of them were open at once.
#[cfg(feature = "tokio")]
struct Burst {
    left: usize,
    counted: Arc<()>,
    most: Arc<AtomicUsize>,
}

#[cfg(feature = "tokio")]
impl countersign::tokio::Source for Burst {
    type Stream = Silent;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<(Silent, Option<SocketAddr>)>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        self.left = left;
        let open = Arc::strong_count(&self.counted);
        self.most.fetch_max(open, Ordering::Relaxed);
        let stream = Silent {
            _counted: Arc::clone(&self.counted),
        };
        Poll::Ready(Ok((stream, None)))
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_burst_has_hardly_more_connections_open_than_may_be_pending() {
    block_on(async {
        let most = Arc::<AtomicUsize>::default();
        let source = Burst {
            left: 1000,
            counted: Arc::default(),
            most: Arc::clone(&most),
        };
        let server = countersign::tokio::Server::new(ring());
        let options = options()
            .max_pending(3)
            .deadline(Duration::from_millis(100));
        let listener = countersign::tokio::Listener::with_options(source, server, options).unwrap();
        let error = listener.accept().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let most = most.load(Ordering::Relaxed);
        assert!(most <= 6, "{most} were open");
    });
}
