//! What both listeners share: their options, their events, and who is let in.

pub(crate) mod admission;
#[macro_use]
mod constructors;
mod event;
mod options;
mod process;
mod reporter;
mod trouble;

use core::time::Duration;
use std::io;

pub(crate) use self::constructors::constructors;
pub use self::event::{Event, Identity, Outcome};
pub use self::options::ListenerOptions;
pub use self::process::Process;
pub(crate) use self::reporter::{Arrival, Attempt, Next, Reporter};
pub use self::trouble::Trouble;

/// The longest wait for what ran out. Trying again at once would spin.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// The error of an `accept` after the last stream.
pub(crate) fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the listener has stopped")
}
