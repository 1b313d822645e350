//! The thread that accepts.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::handshake::Handshake;
use super::shared::{Pending, Shared};
use crate::blocking::source::{self, Pause, Source};
use crate::blocking::{Deadline, DeadlineHandle};
use crate::listener::admission::{Shrunk, Source as Origin};
use crate::listener::{Arrival, Attempt, Outcome, Trouble};

pub(super) struct Acceptor<L, A, T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) source: L,
    pub(super) pause: Pause,
    pub(super) attempt: Arc<A>,
}

const STACK_SIZE: usize = 320 * 1024;

/// How long a thread still counts that has left its handshake. Nothing tells when it has ended, so it
/// is a guess, and no test can tell it from luck: without it, about twice as many handshakes are
/// evicted where threads have run out.
const THREAD_END: Duration = Duration::from_millis(1);

impl<L, A, T, U> Acceptor<L, A, T>
where
    L: Source,
    A: Fn(Deadline<source::Pending<L::Stream>>) -> Attempt<T, U> + Send + Sync + 'static,
    T: Send + 'static,
{
    pub(super) fn run(self) {
        // However this ends, `accept` must return. Close the socket before announcing the end.
        let _closing = Closing(Arc::clone(&self.shared));
        let acceptor = self;
        acceptor.accept();
    }

    fn accept(&self) {
        while self.has_room() {
            match self.source.accept(&self.pause) {
                Ok(None) => {}
                Ok(Some((stream, peer))) => {
                    let arrival = Arrival::now(peer, L::process(&stream));
                    self.admit(stream, arrival);
                }
                Err(error) => match Trouble::of(&error) {
                    Trouble::Final => {
                        self.shared.lock().failure = Some(error);
                        return;
                    }
                    Trouble::Passing => {}
                    Trouble::Nobody => self.pause(),
                    Trouble::Shortage if self.make_room() => {}
                    Trouble::Shortage | Trouble::Unknown => self.fail(Arrival::of_nobody(), error),
                },
            }
        }
    }

    /// Waits until another stream may become ready. Returns `false` once no more are wanted.
    fn has_room(&self) -> bool {
        let mut state = self.shared.lock();
        while !state.stopping && !state.admission.has_room() {
            state = self.shared.wait_for_room(state);
        }
        !state.stopping
    }

    /// Starts a thread for the connection, and evicts a handshake if too many are pending.
    fn admit(&self, stream: L::Stream, arrival: Arrival) {
        let mut socket = Arc::new(stream);
        loop {
            let deadline = DeadlineHandle::default();
            let pending = Pending::new(&socket, deadline.clone());
            let origin = Origin::of(arrival.peer);
            let admitted = (self.shared.lock().admission).admit(origin, pending, arrival.began);
            let Some((ticket, evicted)) = admitted else {
                drop(socket);
                return (self.shared.reporter).report_apart(arrival, Outcome::ShutDown);
            };
            if let Some(evicted) = evicted {
                evicted.end();
            }
            let handshake = Handshake {
                ticket,
                arrival,
                deadline,
                shared: Arc::clone(&self.shared),
            };
            let Err((returned, error)) = self.spawn(socket, handshake) else {
                return;
            };
            if !self.make_room() {
                drop(returned);
                return self.fail(arrival, error);
            }
            // Without this, more handshakes would be evicted than have to be.
            thread::sleep(THREAD_END);
            socket = returned;
        }
    }

    /// Runs the handshake on a thread of its own, or returns the socket and why there is no thread.
    fn spawn(
        &self,
        socket: Arc<L::Stream>,
        handshake: Handshake<T>,
    ) -> Result<(), (Arc<L::Stream>, io::Error)> {
        // Shared, because a closure that could not be started is lost with all that it has.
        let job = Arc::new(Mutex::new(Some((socket, handshake))));
        let (theirs, attempt) = (Arc::clone(&job), Arc::clone(&self.attempt));
        let started = thread::Builder::new()
            .name("countersign-handshake".into())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                if let Some((socket, handshake)) = take(&theirs) {
                    handshake.run(socket, &*attempt);
                }
            });
        let Err(error) = started else {
            return Ok(());
        };
        match take(&job) {
            Some((socket, _)) => Err((socket, error)),
            None => Ok(()),
        }
    }

    /// Evicts a handshake because something ran out, and waits until one has left. Returns `false`
    /// if none is pending, or if no more connections are wanted.
    fn make_room(&self) -> bool {
        let mut state = self.shared.lock();
        if state.stopping {
            return false;
        }
        match state.admission.shrink(Instant::now()) {
            Shrunk::Evicted(evicted) => evicted.end(),
            Shrunk::Leaving => {}
            Shrunk::Nothing => return false,
        }
        self.shared.pause(state);
        true
    }

    /// Reports a connection that could not be accepted or started, and pauses.
    fn fail(&self, arrival: Arrival, error: io::Error) {
        let reporter = &self.shared.reporter;
        reporter.report_apart(arrival, Outcome::Failed(error));
        self.pause();
    }

    /// Waits until a handshake has left, but not for long.
    fn pause(&self) {
        let state = self.shared.lock();
        if !state.stopping {
            self.shared.pause(state);
        }
    }
}

fn take<T>(job: &Mutex<Option<T>>) -> Option<T> {
    job.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Dropping it records that no further connection will be admitted.
struct Closing<T>(Arc<Shared<T>>);

impl<T> Drop for Closing<T> {
    fn drop(&mut self) {
        self.0.lock().admission.close();
        self.0.arrived.notify_all();
    }
}
