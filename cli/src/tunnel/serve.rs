//! What both ends of a tunnel do: accept, reload on a signal, and stop on another.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
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

    /// Reads the keys again.
    fn reload(&mut self);

    /// Closes the port. Returns connections that the system had accepted, `room` at most.
    fn close(&mut self, room: usize) -> Vec<Self::Accepted>;

    /// Is called once a minute.
    fn report(&self);
}

const REPORT: Duration = Duration::from_secs(60);

/// How many connections are accepted while all places are taken. Only what is accepted can be counted.
pub(super) const WAITING: usize = 16;

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
    let mut connections = JoinSet::new();
    let mut waiting = VecDeque::new();
    let mut crowd = Crowd { most, told: false };
    let mut failure = None;
    loop {
        while connections.len() < most
            && let Some(accepted) = waiting.pop_front()
        {
            connections.spawn(end.carry(accepted));
        }
        crowd.tell_first(waiting.len());
        select! {
            accepted = end.accept(), if waiting.len() < WAITING => match accepted {
                Ok(accepted) => waiting.push_back(accepted),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            },
            Some(ended) = connections.join_next() => report_panic(ended),
            Some(()) = reload.recv() => reload_keys(&mut end),
            () = stop.asked() => break,
            _ = reports.tick() => {
                end.report();
                crowd.report(waiting.len());
                log.report_lost();
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    let deadline = Instant::now() + grace;
    let room = most.saturating_sub(connections.len() + waiting.len());
    for accepted in waiting.into_iter().chain(end.close(room)) {
        connections.spawn(end.carry(accepted));
    }
    info!(connections = connections.len(), "stopping");
    finish(&mut end, &mut connections, &mut stop, deadline).await;
    end.report();
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Lets connections end, also those whose handshake was pending.
async fn finish(
    end: &mut impl End,
    connections: &mut JoinSet<()>,
    stop: &mut Stop,
    deadline: Instant,
) {
    let mut more = true;
    while more || !connections.is_empty() {
        select! {
            accepted = end.accept(), if more => match accepted {
                Ok(accepted) => _ = connections.spawn(end.carry(accepted)),
                Err(_) => more = false,
            },
            Some(ended) = connections.join_next() => report_panic(ended),
            () = stop.asked() => break,
            () = sleep_until(deadline) => break,
        }
    }
    if !connections.is_empty() {
        warn!(connections = connections.len(), "cut: the grace is over");
    }
}

/// Tells of connections that wait because all places are taken: at once, and then once a minute.
struct Crowd {
    most: usize,
    told: bool,
}

impl Crowd {
    fn tell_first(&mut self, waiting: usize) {
        if !self.told {
            self.report(waiting);
        }
    }

    fn report(&mut self, waiting: usize) {
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

fn reload_keys(end: &mut impl End) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!("systemd is not told of the reload: {error}"),
    }
    end.reload();
    notify(&[NotifyState::Ready]);
}

/// A bug of the program must not stay unseen.
fn report_panic(ended: Result<(), JoinError>) {
    if let Err(panic) = ended {
        error!("a connection ended by a panic: {panic}");
    }
}

/// Tells systemd, if it started this program.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("systemd is not told {state:?}: {error}");
    }
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
