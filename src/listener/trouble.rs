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
    /// No further connection will come.
    Final,
    /// Trying again at once might spin.
    Unknown,
}

pub(crate) fn trouble(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected => return Trouble::Final,
        io::ErrorKind::OutOfMemory => return Trouble::Shortage,
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::Interrupted
        | io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => return Trouble::Passing,
        _ => {}
    }
    // Linux also reports what happened to a connection before it was accepted.
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NOBUFS | Errno::AGAIN) => Trouble::Shortage,
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
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::AGAIN,
        ] {
            assert_eq!(of(errno), Trouble::Shortage, "{errno}");
        }
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM] {
            assert_eq!(of(errno), Trouble::Passing, "{errno}");
        }
        assert_eq!(of(Errno::INVAL), Trouble::Final);
        assert_eq!(of(Errno::FAULT), Trouble::Unknown);
    }
}
