//! rustix, with calls that let the other threads of shuttle run: `poll` while it waits, and those that
//! another thread notices.

pub use ::rustix::*;

/// Waiting for descriptors.
pub mod event {
    use std::time::{Duration, Instant};

    pub use ::rustix::event::*;
    use ::rustix::io::Result;

    /// Waits until a descriptor is ready or the time is over.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
        let began = Instant::now();
        let limit = timeout.and_then(|limit| Duration::try_from(*limit).ok());
        loop {
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let ready = ::rustix::event::poll(fds, Some(&now))?;
            if ready > 0 || limit.is_some_and(|limit| began.elapsed() >= limit) {
                return Ok(ready);
            }
            shuttle::thread::yield_now();
        }
    }
}

/// Sockets.
pub mod net {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use ::rustix::io::Result;
    pub use ::rustix::net::*;
    use shuttle::thread;

    /// Sends, and lets the other threads run before the caller goes on.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn send(socket: impl AsFd, bytes: &[u8], flags: SendFlags) -> Result<usize> {
        let sent = ::rustix::net::send(socket, bytes, flags);
        thread::sleep(Duration::ZERO);
        sent
    }

    /// Lets the other threads run, and shuts the socket down.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn shutdown(socket: impl AsFd, how: Shutdown) -> Result<()> {
        thread::sleep(Duration::ZERO);
        ::rustix::net::shutdown(socket, how)
    }
}
