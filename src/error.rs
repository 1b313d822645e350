//! What can go wrong, grouped by who has to act.

use core::fmt;
use std::io;
use std::path::PathBuf;

#[cfg(feature = "multiprocessing")]
use crate::compat::multiprocessing::Problem;
use crate::handshake::{self, Flight, Incompatible, InvalidInput, KeyId, Refusal};

/// Why there is no session, for the caller.
///
/// The peer learns less: a refused client sees the same 33 octets whatever the reason, and a
/// peer that is refused earlier sees the stream end. No variant holds or shows a secret.
///
/// Each says what was wrong in a sentence; [`source`](core::error::Error::source) gives the
/// error below, where there is one. `From<Error>` for [`io::Error`] picks a fitting kind.
///
/// ```
/// use countersign::{Error, Key, server_authenticate, generate_secret};
/// use std::io::{self, ErrorKind};
///
/// # struct Stream(&'static [u8]);
/// # impl io::Read for Stream {
/// #     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> { self.0.read(buf) }
/// # }
/// # impl io::Write for Stream {
/// #     fn write(&mut self, buf: &[u8]) -> io::Result<usize> { Ok(buf.len()) }
/// #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
/// # }
/// let key = Key::new(generate_secret()?)?;
/// let mut stream = Stream(b"GET / HTTP/1.1\r\n");
/// let error = server_authenticate(&mut stream, &key).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the peer does not speak this protocol: F2 (the client's response) was awaited, but \
///      what came looks like HTTP",
/// );
/// assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidData);
/// # Ok::<(), Error>(())
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    // The line between the two.
    /// The stream failed.
    Io {
        /// What was being done.
        phase: Phase,
        /// The stream's own error.
        source: io::Error,
    },
    /// The peer closed the connection, or it was reset.
    Closed(Phase),
    /// The stream's time was over ([`io::ErrorKind::TimedOut`] or
    /// [`io::ErrorKind::WouldBlock`]).
    TimedOut(Phase),

    // The peer's program.
    /// The peer's program speaks something else: another protocol, version, role or mode.
    Incompatible(Incompatible),

    /// What the peer sent is wrong on the wire of Python's `multiprocessing`.
    #[cfg(feature = "multiprocessing")]
    Multiprocessing(Problem),

    // Who holds which secret.
    /// The server denied this client ([`handshake::Error::Denied`]).
    ///
    /// An unauthenticated hint: whoever sits on the line can forge it. It must not trigger a
    /// fallback to anything weaker.
    Denied,
    /// The server accepted, but could not prove that it holds this client's secret
    /// ([`handshake::Error::ServerNotAuthentic`]).
    ServerNotAuthentic,
    /// The client could not prove that it holds a secret known here
    /// ([`handshake::Error::ClientNotAuthentic`]).
    ClientNotAuthentic {
        /// The key id that the client *claimed*.
        key_id: KeyId,
        /// What did not hold.
        refusal: Refusal,
    },

    // This end.
    /// The operating system gave no random octets. On the native wire nothing was sent then.
    NoRandomness,
    /// A value that the protocol does not allow.
    InvalidInput(InvalidInput),
    /// A key file that cannot be used.
    KeyFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        problem: KeyFileProblem,
    },
}

/// What a driver was doing when the stream failed.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Sending this flight.
    Sending(Flight),
    /// Awaiting this flight.
    Awaiting(Flight),
}

/// What is wrong with a key file.
#[non_exhaustive]
#[derive(Debug)]
pub enum KeyFileProblem {
    /// It cannot be opened or read.
    Io(io::Error),
    /// Its group or others may read or write it.
    Exposed {
        /// Its permission bits, such as `0o644`.
        mode: u32,
    },
    /// It is larger than any secret: over 65,536 octets.
    TooLarge,
    /// What it holds cannot be a secret.
    Secret(InvalidInput),
    /// Its name cannot be a key id.
    Name(InvalidInput),
    /// A directory that is to hold keys has none.
    NoKeys,
}

impl Error {
    /// An error of the stream, told apart by what the caller can do about it.
    pub(crate) fn transport(phase: Phase, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut(phase),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed(phase),
            _ => Self::Io { phase, source },
        }
    }
}

impl From<handshake::Error> for Error {
    fn from(error: handshake::Error) -> Self {
        match error {
            handshake::Error::Incompatible(incompatible) => Self::Incompatible(incompatible),
            handshake::Error::Denied => Self::Denied,
            handshake::Error::ServerNotAuthentic => Self::ServerNotAuthentic,
            handshake::Error::ClientNotAuthentic { key_id, refusal } => {
                Self::ClientNotAuthentic { key_id, refusal }
            }
            handshake::Error::NoRandomness => Self::NoRandomness,
            handshake::Error::InvalidInput(invalid) => Self::InvalidInput(invalid),
        }
    }
}

impl From<InvalidInput> for Error {
    fn from(invalid: InvalidInput) -> Self {
        Self::InvalidInput(invalid)
    }
}

#[cfg(feature = "multiprocessing")]
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Multiprocessing(problem)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::Closed(_) => io::ErrorKind::UnexpectedEof,
            Error::TimedOut(_) => io::ErrorKind::TimedOut,
            Error::Incompatible(_) => io::ErrorKind::InvalidData,
            #[cfg(feature = "multiprocessing")]
            Error::Multiprocessing(Problem::Rejected | Problem::WrongDigest) => {
                io::ErrorKind::PermissionDenied
            }
            #[cfg(feature = "multiprocessing")]
            Error::Multiprocessing(_) => io::ErrorKind::InvalidData,
            Error::Denied | Error::ServerNotAuthentic | Error::ClientNotAuthentic { .. } => {
                io::ErrorKind::PermissionDenied
            }
            Error::NoRandomness => io::ErrorKind::Other,
            Error::InvalidInput(_) => io::ErrorKind::InvalidInput,
            Error::KeyFile { problem, .. } => match problem {
                KeyFileProblem::Io(source) => source.kind(),
                KeyFileProblem::Exposed { .. } => io::ErrorKind::PermissionDenied,
                KeyFileProblem::NoKeys => io::ErrorKind::NotFound,
                KeyFileProblem::TooLarge | KeyFileProblem::Secret(_) | KeyFileProblem::Name(_) => {
                    io::ErrorKind::InvalidInput
                }
            },
        };
        Self::new(kind, error)
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::KeyFile { problem, .. } => match problem {
                KeyFileProblem::Io(source) => Some(source),
                KeyFileProblem::Secret(invalid) | KeyFileProblem::Name(invalid) => Some(invalid),
                KeyFileProblem::Exposed { .. }
                | KeyFileProblem::TooLarge
                | KeyFileProblem::NoKeys => None,
            },
            Self::Closed(_)
            | Self::TimedOut(_)
            | Self::Incompatible(_)
            | Self::Denied
            | Self::ServerNotAuthentic
            | Self::ClientNotAuthentic { .. }
            | Self::NoRandomness
            | Self::InvalidInput(_) => None,
            #[cfg(feature = "multiprocessing")]
            Self::Multiprocessing(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { phase, source } => write!(f, "the stream failed while {phase}: {source}"),
            Self::Closed(phase) => {
                write!(
                    f,
                    "the peer closed the connection while {phase}{}",
                    phase.when_closed()
                )
            }
            Self::TimedOut(phase) => {
                write!(f, "time ran out while {phase}{}", phase.when_silent())
            }
            Self::Incompatible(incompatible) => incompatible.fmt(f),
            #[cfg(feature = "multiprocessing")]
            Self::Multiprocessing(problem) => problem.fmt(f),
            Self::Denied => handshake::Error::Denied.fmt(f),
            Self::ServerNotAuthentic => handshake::Error::ServerNotAuthentic.fmt(f),
            &Self::ClientNotAuthentic { key_id, refusal } => {
                handshake::Error::ClientNotAuthentic { key_id, refusal }.fmt(f)
            }
            Self::NoRandomness => handshake::Error::NoRandomness.fmt(f),
            Self::InvalidInput(invalid) => invalid.fmt(f),
            Self::KeyFile { path, problem } => {
                write!(f, "key file {}: {problem}", path.display())
            }
        }
    }
}

impl Phase {
    /// What usually lies behind a connection that ends here.
    fn when_closed(self) -> &'static str {
        match self {
            Self::Awaiting(Flight::Challenge) => {
                "; is the program that listens there a countersign server?"
            }
            Self::Awaiting(Flight::Response) => {
                "; a client that wants another mode or version ends here, and so do port scans \
                 and health checks"
            }
            Self::Awaiting(Flight::Verdict) => {
                "; the server gave up before its verdict and knows why"
            }
            Self::Awaiting(_) | Self::Sending(_) => "",
        }
    }

    /// What usually lies behind a peer that is silent here.
    fn when_silent(self) -> &'static str {
        match self {
            Self::Awaiting(Flight::Challenge) => {
                "; a peer that is silent here may be another client, or a server of another \
                 protocol that waits to be spoken to"
            }
            Self::Awaiting(_) | Self::Sending(_) => "",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sending(flight) => write!(f, "sending {flight}"),
            Self::Awaiting(flight) => write!(f, "awaiting {flight}"),
        }
    }
}

impl fmt::Display for KeyFileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(source) => source.fmt(f),
            Self::Exposed { mode } => write!(
                f,
                "its group or others may read or write it (mode {mode:04o}); take that from them \
                 with chmod 600, or load it as a shared one (from_shared_file and its like) if it \
                 has to be so"
            ),
            Self::TooLarge => f.write_str("it is larger than 65536 octets, so it is no secret"),
            Self::Secret(invalid) => invalid.fmt(f),
            Self::Name(invalid) => write!(f, "its name is to be the key id: {invalid}"),
            Self::NoKeys => f.write_str("there is no key file in this directory"),
        }
    }
}
