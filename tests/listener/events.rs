//! What a listener tells its hook.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use countersign::handshake::Incompatible;
use countersign::{Error, Event, Outcome};

use crate::failures::{incompatible, refusal};
use crate::sockets::LONG;

/// How a connection ended, in the words of the tables.
fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { key_id, .. } => format!("accepted {key_id}"),
        Outcome::Refused(error) => refused_in_words(error),
        Outcome::Evicted => "evicted".into(),
        Outcome::ShutDown => "shut down".into(),
        Outcome::Failed(_) => "failed".into(),
        other => format!("{other:?}"),
    }
}

fn refused_in_words(error: &Error) -> String {
    match error {
        Error::Closed(_) => return "closed".into(),
        Error::TimedOut(phase) => return format!("timed out {phase}"),
        _ => {}
    }
    if let Some(refusal) = refusal(error) {
        return format!("{refusal:?}");
    }
    match incompatible(error) {
        Some(Incompatible::Foreign { .. }) => format!("foreign {:?}", error.hint()),
        Some(other) => format!("{other:?}"),
        None => format!("{error:?}"),
    }
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub peer: Option<SocketAddr>,
    /// Such as `accepted worker-7`, `evicted` or `shut down`.
    pub outcome: String,
    pub duration: Duration,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no test asks"))]
    pub at: Instant,
}

/// A record of every event that a hook was called with.
#[derive(Default)]
pub struct Events {
    seen: Mutex<Vec<Seen>>,
    more: Condvar,
}

impl Events {
    /// Records an event, and returns its outcome in words.
    pub fn record(&self, event: &Event) -> String {
        assert!(event.peer.is_none() || event.process.is_none());
        let outcome = in_words(&event.outcome);
        self.seen.lock().unwrap().push(Seen {
            peer: event.peer,
            outcome: outcome.clone(),
            duration: event.duration,
            at: Instant::now(),
        });
        self.more.notify_all();
        outcome
    }

    pub fn now(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until these events are enough.
    pub fn once(&self, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        let (seen, waited) = (self.more)
            .wait_timeout_while(seen, LONG, |seen| !enough(seen))
            .unwrap();
        assert!(!waited.timed_out(), "an event is missing: {seen:#?}");
        seen.clone()
    }

    /// Waits for the event of this connection, and asserts that it is the only one.
    pub fn of(&self, peer: SocketAddr) -> Seen {
        let seen = self.once(|seen| seen.iter().any(|seen| seen.peer == Some(peer)));
        let mut of_peer = seen.into_iter().filter(|seen| seen.peer == Some(peer));
        let first = of_peer.next().unwrap();
        assert_eq!(of_peer.count(), 0);
        first
    }

    pub fn count(&self, outcome: &str) -> usize {
        self.count_where(|seen| seen == outcome)
    }

    pub fn accepted(&self) -> usize {
        self.count_where(|seen| seen.starts_with("accepted"))
    }

    fn count_where(&self, counts: impl Fn(&str) -> bool) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| counts(&seen.outcome)).count()
    }
}
