//! The process at the other end of a Unix socket.

use core::fmt;
#[cfg(unix)]
use std::os::fd::AsFd;

/// The process that connected to a Unix socket, as the system reports it.
///
/// The system recorded it when the process connected. Another process may have the number by now, and
/// the socket may have been handed on.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The number of its user.
    pub uid: u32,
    /// Its own number.
    pub pid: i32,
}

#[cfg(unix)]
impl Process {
    /// Returns the process that connected to a Unix socket. Returns `None` if the system does not tell:
    /// only Linux and Android do, and not about a process outside the PID namespace of this one.
    ///
    /// ```
    /// use countersign::Process;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (socket, _other_end) = UnixStream::pair()?;
    /// if let Some(process) = Process::connected_to(&socket) {
    ///     println!("uid {}, pid {}", process.uid, process.pid);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn connected_to(socket: &impl AsFd) -> Option<Self> {
        // Linux says 0 for a process outside the namespace, which has no place in this type: it is None.
        let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
        Some(Self {
            uid: peer.uid.as_raw(),
            pid: peer.pid.as_raw_nonzero().get(),
        })
    }

    /// Returns `None`: this system does not tell which process connected to a socket.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn connected_to(_: &impl AsFd) -> Option<Self> {
        None
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, pid {}", self.uid, self.pid)
    }
}
