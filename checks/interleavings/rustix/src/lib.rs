//! rustix, with a `poll` that lets the other threads of shuttle run while it waits.

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
