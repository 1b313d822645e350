//! What both listeners share: their options, their events, and who is let in.

pub(crate) mod admission;
mod event;
mod options;
mod reporter;

use core::time::Duration;
use std::io;
use std::panic::{self, AssertUnwindSafe};

pub use self::event::{Event, Identity, Outcome};
pub use self::options::ListenerOptions;
pub(crate) use self::reporter::Reporter;

/// Defines the constructors of a driver's `Listener`, whose `start` they call.
macro_rules! constructors {
    () => {
        impl<S: Send + 'static> Listener<(S, Session)> {
            /// Starts to accept connections in mode 0, with the default
            /// [`ListenerOptions`](crate::ListenerOptions).
            ///
            /// # Errors
            ///
            /// Returns an error if the socket cannot be set up, or if the thread or the task that
            /// accepts cannot be started: over tokio, outside a runtime.
            pub fn new<L, K>(socket: L, server: Server<K>) -> io::Result<Self>
            where
                L: Socket<Stream = S>,
                K: KeyLookup + Send + Sync + 'static,
            {
                Self::with_options(socket, server, ListenerOptions::new())
            }

            /// Starts to accept connections in mode 0.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`new`](Self::new).
            pub fn with_options<L, K>(
                socket: L,
                server: Server<K>,
                options: ListenerOptions,
            ) -> io::Result<Self>
            where
                L: Socket<Stream = S>,
                K: KeyLookup + Send + Sync + 'static,
            {
                let yields = |stream, session| (stream, session);
                Self::start(socket, server, options, Authenticate, yields)
            }
        }

        impl<S: Send + 'static> Listener<Protected<S>> {
            /// Starts to accept connections in mode 1, with the default
            /// [`ListenerOptions`](crate::ListenerOptions).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`new`](Self::new).
            pub fn new_protected<L, K>(socket: L, server: Server<K>) -> io::Result<Self>
            where
                L: Socket<Stream = S>,
                K: KeyLookup + Send + Sync + 'static,
            {
                Self::protected_with_options(socket, server, ListenerOptions::new())
            }

            /// Starts to accept connections in mode 1.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`new`](Self::new).
            pub fn protected_with_options<L, K>(
                socket: L,
                server: Server<K>,
                options: ListenerOptions,
            ) -> io::Result<Self>
            where
                L: Socket<Stream = S>,
                K: KeyLookup + Send + Sync + 'static,
            {
                let yields = |stream, (session, records)| L::secured(stream, session, records);
                Self::start(socket, server, options, Protect, yields)
            }
        }

        #[cfg(feature = "encrypt")]
        impl<S: Send + 'static> Listener<Encrypted<S>> {
            /// Starts to accept connections in mode 2, with the default
            /// [`ListenerOptions`](crate::ListenerOptions).
            ///
            /// # Errors
            ///
            /// Returns the errors of [`new`](Self::new).
            pub fn new_encrypted<L, K>(socket: L, server: Server<K>) -> io::Result<Self>
            where
                L: Socket<Stream = S>,
                K: KeyLookup + Send + Sync + 'static,
            {
                Self::encrypted_with_options(socket, server, ListenerOptions::new())
            }

            /// Starts to accept connections in mode 2.
            ///
            /// # Errors
            ///
            /// Returns the errors of [`new`](Self::new).
            pub fn encrypted_with_options<L, K>(
                socket: L,
                server: Server<K>,
                options: ListenerOptions,
            ) -> io::Result<Self>
            where
                L: Socket<Stream = S>,
                K: KeyLookup + Send + Sync + 'static,
            {
                let yields = |stream, (session, records)| L::secured(stream, session, records);
                Self::start(socket, server, options, Encrypt, yields)
            }
        }

        /// The numbers of pending handshakes and of streams that wait.
        impl<T> fmt::Debug for Listener<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (pending, ready) = self.shared.lock().admission.counts();
                f.debug_struct("Listener")
                    .field("pending", &pending)
                    .field("ready", &ready)
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use constructors;

/// The pause after a failure to accept. If descriptors ran out, some will be free later, and trying
/// again at once would spin.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// Calls the hook where no handshake runs, so that a hook that panics there loses no connection.
pub(crate) fn apart(report: impl FnOnce()) {
    // The panic has been printed, and there is nobody to pass it on to.
    let _ = panic::catch_unwind(AssertUnwindSafe(report));
}

/// Returns whether a failed accept says that the socket does not listen any more.
pub(crate) fn is_final(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// The error of an `accept` after the last stream.
pub(crate) fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the listener has stopped")
}
