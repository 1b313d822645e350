//! What to do about a connection that could not be accepted or started.

use std::io;

use rustix::io::Errno;

/// What an error of an accept says about the next one. A [`Listener`](crate::Listener) acts on it, and
/// so can a program with an accept loop of its own.
///
/// ```
/// use countersign::Trouble;
/// use std::io::{Error, ErrorKind};
///
/// let error = Error::from(ErrorKind::ConnectionAborted);
/// assert_eq!(Trouble::of(&error), Trouble::Passing);
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It was about this connection only, or a signal came: accept the next one at once.
    Passing,
    /// Descriptors, memory, threads or processes ran out: end something that is pending, or pause.
    Shortage,
    /// No connection waited after all: pause. Another holder of the socket may have been faster.
    Nobody,
    /// No further connection will come.
    Final,
    /// Trying again at once might spin: pause.
    Unknown,
}

impl Trouble {
    /// Returns what the error of an accept means.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput => return Self::Final,
            // The system says this of one connection, whose peer has gone.
            io::ErrorKind::NotConnected if error.raw_os_error().is_none() => return Self::Final,
            io::ErrorKind::WouldBlock => return Self::Nobody,
            io::ErrorKind::OutOfMemory => return Self::Shortage,
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => return Self::Passing,
            _ => {}
        }
        // Linux also reports what happened to a connection before it was accepted.
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NOBUFS) => Self::Shortage,
            #[cfg(unix)]
            Some(Errno::NFILE | Errno::NOMEM) => Self::Shortage,
            #[cfg(unix)]
            Some(Errno::PROTO | Errno::PERM) => Self::Passing,
            Some(Errno::NOPROTOOPT | Errno::HOSTDOWN | Errno::OPNOTSUPP) => Self::Passing,
            _ => Self::Unknown,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_ran_out_counts_as_the_cap_and_what_passed_is_no_reason_to_wait() {
        let of = |errno: Errno| Trouble::of(&errno.into());
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(of(errno), Trouble::Shortage, "{errno}");
        }
        for errno in [
            Errno::CONNABORTED,
            Errno::CONNRESET,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::INTR,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::NOPROTOOPT,
            Errno::NOTCONN,
            Errno::OPNOTSUPP,
            Errno::PERM,
            Errno::PROTO,
            Errno::TIMEDOUT,
        ] {
            assert_eq!(of(errno), Trouble::Passing, "{errno}");
        }
        assert_eq!(of(Errno::AGAIN), Trouble::Nobody);
        assert_eq!(of(Errno::INVAL), Trouble::Final);
        assert_eq!(of(Errno::FAULT), Trouble::Unknown);
        let of_a_source = io::ErrorKind::NotConnected.into();
        assert_eq!(Trouble::of(&of_a_source), Trouble::Final);
    }
}
