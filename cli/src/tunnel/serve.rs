//! What both ends of a tunnel do: accept, reload on a signal, and stop on another.

use std::collections::VecDeque;
use std::convert::identity;
use std::env;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tracing::{error, info, warn};

use super::log::Log;
use crate::{Failure, print};

/// One end of a tunnel.
pub(super) trait End: Send + 'static {
    /// A connection that was accepted.
    type Accepted: Send;

    /// Returns the next connection, and an error if none will come. It is cancel safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Accepted>> + Send;

    /// Carries a connection until it ends. It is not async, because such a function has room for its
    /// arguments twice.
    fn carry(&self, accepted: Self::Accepted) -> impl Future<Output = ()> + Send + 'static;

    /// Returns what reads the keys again. It waits for a disk, so it is called on a thread for that.
    fn reload(&self) -> impl FnOnce() + Send + 'static;

    /// Closes the port. Returns connections that the system had accepted, `room` at most.
    fn close(&mut self, room: usize) -> Vec<Self::Accepted>;

    /// Is called once a minute.
    fn report(&self);
}

const REPORT: Duration = Duration::from_secs(60);

/// How many connections are accepted while all places are taken. Only what is accepted can be counted.
pub(super) const WAITING: usize = 16;

/// How long logins that are under way may take, once a stop was asked for and no connection is left.
const LOGIN: Duration = Duration::from_secs(1);

/// Carries at most `most` connections at once, until a signal asks it to stop.
pub(super) async fn serve(
    mut end: impl End,
    name: String,
    most: usize,
    grace: Duration,
    mut log: Log,
) -> Result<(), Failure> {
    let mut reload = signal(SignalKind::hangup())?;
    let mut stop = Stop::new()?;
    // Who started this waits for the line, so it comes after the signals are handled.
    print(format_args!("listening on {name}"))?;
    notify(&[NotifyState::Ready]);

    let mut reports = interval_at(Instant::now() + REPORT, REPORT);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut places = Places::new(most);
    let mut reloads = JoinSet::new();
    let mut failure = None;
    loop {
        places.fill(&end);
        places.tell_first();
        select! {
            accepted = end.accept(), if places.waiting.len() < WAITING => match accepted {
                Ok(accepted) => places.waiting.push_back(accepted),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            },
            Some(ended) = places.carried.join_next() => report_panic("connection", ended),
            // Signals that come during a reload are kept as one, which then leads to another reload.
            Some(()) = reload.recv(), if reloads.is_empty() => {
                let read = end.reload();
                // In a task of its own, because it panics if no thread can be started.
                reloads.spawn(async { spawn_blocking(|| reload_keys(read)).await });
            }
            Some(ended) = reloads.join_next() => {
                report_panic("reload", ended.and_then(identity));
            }
            () = stop.asked() => break,
            _ = reports.tick() => {
                end.report();
                places.report();
                log.report_lost();
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    let deadline = Instant::now() + grace;
    let room = most.saturating_sub(places.len());
    places.waiting.extend(end.close(room));
    info!(connections = places.len(), "stopping");
    finish(&mut end, &mut places, &mut stop, deadline).await;
    end.report();
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Lets connections end, also those that wait for a place or whose handshake was pending.
async fn finish<E: End>(
    end: &mut E,
    places: &mut Places<E::Accepted>,
    stop: &mut Stop,
    deadline: Instant,
) {
    let mut more = true;
    let mut left = Instant::now();
    loop {
        places.fill(end);
        let is_empty = places.len() == 0;
        if is_empty && !more {
            break;
        }
        select! {
            accepted = end.accept(), if more && places.len() < places.most => match accepted {
                Ok(accepted) => places.waiting.push_back(accepted),
                Err(_) => more = false,
            },
            Some(ended) = places.carried.join_next() => {
                report_panic("connection", ended);
                left = Instant::now();
            }
            // What is pending then is hardly a client, and it could wait for the whole grace.
            () = sleep_until(left + LOGIN), if is_empty => break,
            () = stop.asked() => break,
            () = sleep_until(deadline) => break,
        }
    }
    if places.len() > 0 {
        warn!(connections = places.len(), "cut: the grace is over");
    }
}

/// Connections that are carried, and those that wait because all places are taken.
struct Places<A> {
    most: usize,
    carried: JoinSet<()>,
    waiting: VecDeque<A>,
    /// The log says that connections wait.
    told: bool,
}

impl<A> Places<A> {
    fn new(most: usize) -> Self {
        Self {
            most,
            carried: JoinSet::new(),
            waiting: VecDeque::new(),
            told: false,
        }
    }

    fn len(&self) -> usize {
        self.carried.len() + self.waiting.len()
    }

    /// Gives free places to connections that wait.
    fn fill(&mut self, end: &impl End<Accepted = A>) {
        while self.carried.len() < self.most
            && let Some(accepted) = self.waiting.pop_front()
        {
            self.carried.spawn(end.carry(accepted));
        }
    }

    /// Tells at once of connections that wait. [`report`](Self::report) tells again once a minute.
    fn tell_first(&mut self) {
        if !self.told {
            self.report();
        }
    }

    fn report(&mut self) {
        let waiting = self.waiting.len();
        self.told = waiting > 0;
        if self.told {
            warn!(
                "all places are taken ({}), and connections wait ({waiting} or more); raise \
                 --max-connections",
                self.most
            );
        }
    }
}

fn reload_keys(read: impl FnOnce()) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!("systemd is not told of the reload: {error}"),
    }
    read();
    notify(&[NotifyState::Ready]);
}

/// A bug of the program must not stay unseen.
fn report_panic(what: &str, ended: Result<(), JoinError>) {
    if let Err(panic) = ended {
        error!("a {what} ended by a panic: {panic}");
    }
}

/// Tells systemd, if it started this program.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = send(state) {
        warn!("systemd is not told {state:?}: {error}");
    }
}

/// `sd_notify::notify` has no timeout, and a systemd that does not read must not stop this program.
fn send(state: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(Duration::from_secs(1)))?;
    let lines: Vec<_> = state.iter().map(ToString::to_string).collect();
    socket.send(lines.join("\n").as_bytes())?;
    Ok(())
}

/// The signals that end the program.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        select! {
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.interrupt.recv() => {}
            else => {}
        }
    }
}
