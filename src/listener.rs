//! What both listeners share: their options, their events, and who is let in.

pub(crate) mod admission;
mod event;
mod options;

use core::time::Duration;
use std::io;
use std::panic::{self, AssertUnwindSafe};

pub use self::event::{Event, Outcome};
pub use self::options::ListenerOptions;

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
