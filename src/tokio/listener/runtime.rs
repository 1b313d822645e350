//! The runtime of a listener, and whether it has what a listener needs.

use core::time::Duration;
use std::io;
use std::panic::{self, AssertUnwindSafe};

use ::tokio::runtime::Handle;
use ::tokio::time::sleep;

/// Returns the current runtime, if its time and its I/O are enabled.
///
/// Tokio tells only by a panic: each of its functions that looks for time or I/O expects to find it. So
/// the message of that panic is printed once, when the listener is made, and not for each login. It
/// could be kept back only by a panic hook, which belongs to the whole process.
pub(super) fn with_time_and_io() -> io::Result<Handle> {
    let runtime = Handle::try_current().map_err(io::Error::other)?;
    let has = |probe: &dyn Fn()| panic::catch_unwind(AssertUnwindSafe(probe)).is_ok();
    if has(&|| drop(sleep(Duration::ZERO))) && has(&probe_io) {
        return Ok(runtime);
    }
    Err(io::Error::other(
        "a listener needs a runtime whose time and I/O are enabled; call `enable_all` on its builder",
    ))
}

#[cfg(unix)]
fn probe_io() {
    // An error is not about the runtime.
    drop(::tokio::net::UnixDatagram::unbound());
}

/// Here every socket that is not bound to an address is refused before the runtime is asked.
#[cfg(not(unix))]
fn probe_io() {}
