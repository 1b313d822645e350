//! Where the hook is called: on threads for blocking calls, because it may block.

use std::boxed::Box;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::tokio::runtime::Handle;
use ::tokio::sync::oneshot;

use crate::listener::{Arrival, Outcome, Reporter};

/// How many threads the hook may have for connections that did not authenticate.
///
/// All threads for blocking calls are shared by the whole program, 512 if the runtime was not built
/// otherwise. If strangers could take them, a hook that blocks would delay honest logins.
const FOR_STRANGERS: usize = 64;

pub(super) struct Hooks {
    runtime: Handle,
    reporter: Arc<Reporter>,
    strangers: Arc<Mutex<Strangers>>,
}

/// Calls about connections that did not authenticate.
#[derive(Default)]
struct Strangers {
    waiting: VecDeque<Call>,
    /// How many threads take what waits.
    threads: usize,
}

type Call = Box<dyn FnOnce() + Send>;

impl Hooks {
    pub(super) fn new(runtime: Handle, reporter: Reporter) -> Self {
        Self {
            runtime,
            reporter: Arc::new(reporter),
            strangers: Arc::default(),
        }
    }

    /// Calls the hook, and returns whether it returned. Only the handshake that it is about awaits it.
    pub(super) async fn report(&self, arrival: Arrival, bound: bool, outcome: Outcome) -> bool {
        if self.reporter.hook(&outcome).is_none() {
            return true;
        }
        let authenticated = matches!(outcome, Outcome::Accepted { .. });
        let reporter = Arc::clone(&self.reporter);
        let (returns, returned) = oneshot::channel();
        let call = move || {
            reporter.report(arrival, bound, outcome);
            // This fails if the handshake was evicted meanwhile.
            let _ = returns.send(());
        };
        if authenticated {
            self.call(call);
        } else {
            self.call_in_turn(Box::new(call));
        }
        returned.await.is_ok()
    }

    /// Calls the hook with an outcome of a connection that did not authenticate. Nothing awaits it.
    pub(super) fn report_apart(&self, arrival: Arrival, outcome: Outcome) {
        if self.reporter.hook(&outcome).is_some() {
            let reporter = Arc::clone(&self.reporter);
            self.call_in_turn(Box::new(move || reporter.report(arrival, false, outcome)));
        }
    }

    /// Makes a call when one of the threads for strangers is free.
    fn call_in_turn(&self, call: Call) {
        {
            let mut strangers = lock(&self.strangers);
            strangers.waiting.push_back(call);
            if strangers.threads == FOR_STRANGERS {
                return;
            }
            strangers.threads += 1;
        }
        let strangers = Arc::clone(&self.strangers);
        self.call(move || {
            while let Some(call) = next(&strangers) {
                caught(call);
            }
        });
    }

    /// Makes a call on a thread for blocking calls.
    fn call(&self, call: impl FnOnce() + Send + 'static) {
        // Shared, because a closure that could not be started is lost with all that it has.
        let call = Arc::new(Mutex::new(Some(call)));
        let theirs = Arc::clone(&call);
        let spawn = || self.runtime.spawn_blocking(move || call_once(&theirs));
        // The runtime panics if it has no such thread and cannot start one.
        if panic::catch_unwind(AssertUnwindSafe(spawn)).is_err() {
            caught(|| call_once(&call));
        }
    }
}

/// Returns the call that has waited longest. If none waits, this thread takes no more.
fn next(strangers: &Mutex<Strangers>) -> Option<Call> {
    let mut strangers = lock(strangers);
    let call = strangers.waiting.pop_front();
    if call.is_none() {
        strangers.threads -= 1;
    }
    call
}

fn call_once<F: FnOnce()>(call: &Mutex<Option<F>>) {
    let taken = lock(call).take();
    if let Some(call) = taken {
        call();
    }
}

/// A hook that panics ends no other connection. The panic has been printed, and there is nobody to
/// pass it on to.
fn caught(call: impl FnOnce()) {
    let _ = panic::catch_unwind(AssertUnwindSafe(call));
}

/// No thread can panic while it holds one of these locks, so they are never poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
