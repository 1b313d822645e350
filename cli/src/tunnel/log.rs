//! Log lines on standard error.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use countersign::handshake;
use countersign::{Error, Event, Outcome};
use tracing::{Level, debug, info, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// Dropping it writes what is still to be written, if that can be done in some two seconds.
pub(super) struct Log {
    guard: Option<WorkerGuard>,
    lost: ErrorCounter,
    reported: usize,
}

impl Log {
    /// Lines are written by a thread of its own. If it does not keep up, lines are lost and counted;
    /// if they cannot be written, as to a full disk, they are lost.
    pub(super) fn start(format: Format, verbose: bool) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(4096)
            .finish(io::stderr());
        let lost = writer.error_counter();
        let level = if verbose { Level::DEBUG } else { Level::INFO };
        let builder = tracing_subscriber::fmt()
            .with_writer(writer)
            .with_max_level(level)
            .with_target(false)
            .with_ansi(false)
            // It would tell standard error, and panic if that fails too.
            .log_internal_errors(false);
        match format {
            Format::Text => builder.init(),
            Format::Json => builder.json().flatten_event(true).init(),
        }
        Self {
            guard: Some(guard),
            lost,
            reported: 0,
        }
    }

    /// Tells how many lines were lost since it was last told. Returns whether this line is lost too.
    pub(super) fn report_lost(&mut self) -> bool {
        let lost = self.lost.dropped_lines();
        if lost == self.reported {
            return false;
        }
        warn!(lines = lost - self.reported, "log lines were lost");
        let is_lost = self.lost.dropped_lines() > lost;
        // The next line tells of the same lines, and not of this one.
        self.reported = if is_lost { self.reported + 1 } else { lost };
        is_lost
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // A log that was stuck may be read again, and one that stays stuck must not prevent the end.
        for _ in 0..20 {
            if !self.report_lost() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        // The guard would print that the log is stuck, and panic if that fails too.
        mem::forget(self.guard.take());
    }
}

/// Counts connections that did not authenticate and were not even about to.
#[derive(Default)]
pub(super) struct Strangers {
    refused: AtomicU64,
    evicted: AtomicU64,
    /// Clients with an unknown key id. Anybody can be one, as often as they like.
    unknown: AtomicU64,
}

/// How many clients with an unknown key id are named between two reports.
const UNKNOWN_MAX: u64 = 60;

impl Strangers {
    /// Logs which connections of a listener did not authenticate, and why.
    pub(super) fn log(&self, event: &Event) {
        match &event.outcome {
            Outcome::Refused(error) if is_of_a_client(error) && self.is_named(error) => {
                warn!("{event}");
            }
            Outcome::Refused(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                debug!("{event}");
            }
            Outcome::Evicted => {
                self.evicted.fetch_add(1, Ordering::Relaxed);
                debug!("{event}");
            }
            Outcome::ShutDown => debug!("{event}"),
            _ => warn!("{event}"),
        }
    }

    fn is_named(&self, error: &Error) -> bool {
        !is_of_unknown_id(error) || self.unknown.fetch_add(1, Ordering::Relaxed) < UNKNOWN_MAX
    }

    /// Tells how many there were since the last call, if there were any.
    pub(super) fn report(&self) {
        let refused = self.refused.swap(0, Ordering::Relaxed);
        let evicted = self.evicted.swap(0, Ordering::Relaxed);
        self.unknown.store(0, Ordering::Relaxed);
        if refused + evicted > 0 {
            info!(
                refused,
                evicted, "strangers since the last such line; --verbose shows each"
            );
        }
    }
}

/// Returns whether the peer is a client of this protocol. Its operator looks for the reason here.
fn is_of_a_client(error: &Error) -> bool {
    use handshake::Incompatible::{Mode, Version};

    matches!(
        error,
        Error::Handshake(
            handshake::Error::ClientNotAuthentic { .. }
                | handshake::Error::Incompatible(Mode { .. } | Version(_))
        )
    )
}

fn is_of_unknown_id(error: &Error) -> bool {
    use handshake::Error::ClientNotAuthentic;
    use handshake::Refusal::UnknownKeyId;

    matches!(
        error,
        Error::Handshake(ClientNotAuthentic {
            refusal: UnknownKeyId,
            ..
        })
    )
}
