//! What to do about a connection that could not be accepted or started.

use std::io;

use rustix::io::Errno;

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It was about this connection only, or a signal came: accept the next one at once.
    Passing,
    /// Descriptors, memory, threads or processes ran out: evict a pending handshake.
    Shortage,
    /// No connection waited after all. Another holder of the socket may have been faster.
    Nobody,
    /// No further connection will come.
    Final,
    /// Trying again at once might spin.
    Unknown,
}

pub(crate) fn trouble(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::InvalidInput => return Trouble::Final,
        // The system says this of one connection, whose peer has gone.
        io::ErrorKind::NotConnected if error.raw_os_error().is_none() => return Trouble::Final,
        io::ErrorKind::WouldBlock => return Trouble::Nobody,
        io::ErrorKind::OutOfMemory => return Trouble::Shortage,
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotConnected
        | io::ErrorKind::Interrupted
        | io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => return Trouble::Passing,
        _ => {}
    }
    // Linux also reports what happened to a connection before it was accepted.
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NOBUFS) => Trouble::Shortage,
        #[cfg(unix)]
        Some(Errno::NFILE | Errno::NOMEM) => Trouble::Shortage,
        #[cfg(unix)]
        Some(Errno::PROTO | Errno::PERM) => Trouble::Passing,
        Some(Errno::NOPROTOOPT | Errno::HOSTDOWN | Errno::OPNOTSUPP) => Trouble::Passing,
        _ => Trouble::Unknown,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_ran_out_counts_as_the_cap_and_what_passed_is_no_reason_to_wait() {
        let of = |errno: Errno| trouble(&errno.into());
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
        assert_eq!(trouble(&of_a_source), Trouble::Final);
    }
}
