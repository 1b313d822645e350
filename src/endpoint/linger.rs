//! How long a server that has denied a client waits for the client to close, for both drivers.
//!
//! If a socket is closed while bytes of the client are unread, the connection is reset, and a reset
//! can destroy the verdict on its way. So the server sends its end, and reads until the client's.

use core::time::Duration;

pub(crate) const LONGEST: Duration = Duration::from_secs(1);

/// The most bytes that are read.
pub(crate) const MOST: usize = 64 * 1024;
