//! Measures one login over TCP on loopback, from before `connect` until both ends have succeeded.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use socket2::SockRef;

use crate::peers::{Entry, Id, Peer};
use crate::python::{Pair, Python};
use crate::sample::Sample;

/// The times of a peer's logins, in seconds.
#[derive(Default)]
pub struct Times {
    /// The time of each login.
    pub each: Sample,
    /// The median of each turn.
    pub turns: Sample,
}

/// Runs a few logins of each peer in every round. Every other round has the reverse order.
pub fn measure(
    entries: &[Entry],
    python: &Result<Python>,
    rounds: usize,
    bar: &ProgressBar,
) -> Result<Vec<(Id, Result<Times>)>> {
    let ends = Ends::new()?;
    let mut lanes: Vec<Lane> = entries.iter().map(Lane::rust).collect();
    lanes.push(Lane::python(Id::PythonRecipe, python, "recipe"));
    lanes.push(Lane::python(
        Id::PythonMultiprocessing,
        python,
        "multiprocessing",
    ));
    for _ in 0..rounds {
        for lane in &mut lanes {
            lane.take_turn(&ends);
        }
        lanes.reverse();
        bar.inc(1);
    }
    lanes.sort_by_key(|lane| lane.id);
    Ok(lanes
        .into_iter()
        .map(|lane| (lane.id, lane.times))
        .collect())
}

/// The number of counted logins in a turn. The login before them is not counted: it finds the
/// caches as another peer left them.
const TURN: usize = 3;

/// An end waits no longer for the other. All peers set this timeout, because setting it costs a
/// call.
const PATIENCE: Duration = Duration::from_secs(5);

struct Lane {
    id: Id,
    how: Option<How>,
    times: Result<Times>,
}

enum How {
    Rust(Arc<dyn Peer>),
    Python(Box<Pair>),
}

impl Lane {
    fn new(id: Id, how: Result<How>) -> Self {
        match how {
            Ok(how) => Self {
                id,
                how: Some(how),
                times: Ok(Times::default()),
            },
            Err(error) => Self {
                id,
                how: None,
                times: Err(error),
            },
        }
    }

    fn rust(entry: &Entry) -> Self {
        let peer = entry.peer();
        Self::new(entry.id, peer.map(How::Rust))
    }

    fn python(id: Id, python: &Result<Python>, wire: &str) -> Self {
        let pair = match python {
            Ok(python) => Pair::start(python, wire),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        Self::new(id, pair.map(|pair| How::Python(Box::new(pair))))
    }

    /// Runs the logins of a turn, unless the peer has failed before.
    fn take_turn(&mut self, ends: &Ends) {
        let Ok(times) = &mut self.times else { return };
        let turn = match &mut self.how {
            Some(How::Rust(peer)) => (0..=TURN).map(|_| ends.login(peer)).collect(),
            Some(How::Python(pair)) => pair.logins(1 + TURN),
            None => return,
        };
        let turn: Vec<_> = match turn {
            Ok(turn) => turn,
            Err(error) => {
                self.times = Err(error);
                return;
            }
        };
        let mut counted = Sample::default();
        for time in turn.into_iter().skip(1) {
            times.each.push_time(time);
            counted.push_time(time);
        }
        times.turns.push(counted.median());
    }
}

/// A client, and a thread that serves one connection after the other.
struct Ends {
    address: SocketAddr,
    /// The peer that serves the next connection.
    next: Arc<Mutex<Option<Arc<dyn Peer>>>>,
    /// The time at which the server succeeded.
    succeeded: Receiver<Result<Instant>>,
    /// Sent once the server has dropped the connection.
    closed: Receiver<()>,
}

impl Ends {
    fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let next = Arc::new(Mutex::new(None));
        let (success, succeeded) = channel();
        let (closing, closed) = channel();
        let servers_next = next.clone();
        thread::spawn(move || serve(&listener, &servers_next, &success, &closing));
        Ok(Self {
            address,
            next,
            succeeded,
            closed,
        })
    }

    /// Returns the time of one login. It includes neither the closing of the connection nor the
    /// channel between the threads.
    fn login(&self, peer: &Arc<dyn Peer>) -> Result<Duration> {
        *self.next.lock().unwrap_or_else(|_| unreachable!()) = Some(peer.clone());
        let start = Instant::now();
        let mut stream = TcpStream::connect(self.address)?;
        prepare(&stream)?;
        let clients = peer.connect(&mut stream).map(|()| Instant::now());
        let servers = self.succeeded.recv_timeout(2 * PATIENCE);
        // Closed by a reset, after everything was received. Otherwise the system would keep the
        // port for a minute.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        drop(stream);
        self.closed.recv_timeout(2 * PATIENCE)?;
        let (clients, servers) = (clients.context("client")?, servers?.context("server")?);
        Ok(clients.max(servers) - start)
    }
}

fn prepare(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(())
}

fn serve(
    listener: &TcpListener,
    next: &Mutex<Option<Arc<dyn Peer>>>,
    success: &Sender<Result<Instant>>,
    closing: &Sender<()>,
) {
    while let Ok((mut stream, _)) = listener.accept() {
        let Some(peer) = next.lock().unwrap_or_else(|_| unreachable!()).take() else {
            return;
        };
        let outcome = prepare(&stream).and_then(|()| peer.accept(&mut stream));
        let outcome = outcome.map(|()| Instant::now());
        let accepted = outcome.is_ok();
        if success.send(outcome).is_err() {
            return;
        }
        if accepted {
            // The client closes first.
            let _ = stream.read(&mut [0]);
        }
        drop(stream);
        if closing.send(()).is_err() {
            return;
        }
    }
}
