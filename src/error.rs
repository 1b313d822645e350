//! What can go wrong, grouped by who has to act.

mod hint;
mod key_file;
mod malformed;
mod phase;

use core::fmt;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::io;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use crate::handshake::{self, Incompatible, Message, Prologue, StreamError};
use crate::invalid_input::InvalidInput;
use crate::key::KeyId;
use crate::random::NoRandomness;
use crate::wire::cookbook;
#[cfg(feature = "multiprocessing")]
use crate::wire::multiprocessing;

pub use self::hint::Hint;
pub use self::key_file::KeyFileError;
pub use self::malformed::{Found, Malformed};
pub use self::phase::Phase;

/// An error from a handshake or from loading a key.
///
/// The peer learns less than the caller: a refused client receives the same bytes whatever the
/// reason, and a peer that is refused earlier finds the stream closed. No variant holds or shows a
/// secret.
///
/// `Display` is a sentence that says what was wrong and what to do.
/// [`source`](core::error::Error::source) returns the operating system's error if there is one.
/// `From<Error>` for [`io::Error`] picks a fitting kind.
///
/// ```
/// use countersign::{Error, Hint, Key, generate_secret, server_authenticate};
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
/// assert_eq!(error.hint(), Some(Hint::Http));
/// assert_eq!(
///     error.to_string(),
///     "the peer does not speak this protocol: the client's response (F2) was awaited, but other \
///      bytes came; they look like HTTP",
/// );
/// assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidData);
/// # Ok::<(), Error>(())
/// ```
#[non_exhaustive]
pub enum Error {
    /// The stream failed, the upgrade of a listener, or a look-up that was awaited.
    Io {
        /// What was being done.
        phase: Phase,
        /// The stream's own error.
        source: io::Error,
    },
    /// There is no connection: the address could not be looked up, or nothing answered at it.
    Connect {
        /// What was looked up, or the last address that was tried, without control characters.
        address: String,
        /// The error of the look-up or of the last attempt.
        source: io::Error,
    },
    /// The peer closed the connection, or it was reset.
    Closed(Phase),
    /// The stream's timeout or deadline passed ([`io::ErrorKind::TimedOut`] or
    /// [`io::ErrorKind::WouldBlock`]).
    TimedOut(Phase),
    /// The handshake failed.
    Handshake(handshake::Error),
    /// The server denied this client, which sent this.
    ///
    /// The drivers return this in place of [`handshake::Error::Denied`], which only the core returns.
    ///
    /// This is an unauthenticated hint: anyone who controls the network can forge it. It must not
    /// trigger a fallback to anything weaker.
    Denied(Box<Denial>),
    /// The handshake of [`compat::cookbook`](crate::compat::cookbook) failed.
    Cookbook(cookbook::Problem),
    /// The handshake of Python's `multiprocessing` failed.
    #[cfg(feature = "multiprocessing")]
    Multiprocessing(multiprocessing::Problem),
    /// A value that the protocol does not allow.
    InvalidInput(InvalidInput),
    /// A key file that cannot be used or written.
    KeyFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyFileError,
    },
    /// A key directory that cannot be used.
    KeyDirectory {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyFileError,
    },
    /// A [`Keyring`](crate::Keyring) that was not loaded from a directory cannot be reloaded.
    NoDirectory,
}

/// The values that a client sent to the server that denied it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The key id that the client claimed.
    pub key_id: KeyId,
    /// The service that the client asked for.
    pub service: Vec<u8>,
    /// Whether the client used a channel binding.
    pub bound: bool,
}

impl Error {
    /// Returns what a peer that does not speak this protocol seems to speak.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        use handshake::Error::Incompatible as Other;

        match *self {
            // The length of its challenge, which has 31 bytes or more. From a client, which sends none,
            // it is a length of another protocol.
            Self::Handshake(Other(Incompatible::Foreign {
                awaiting: Message::CHALLENGE,
                beginning: [Some(0), None | Some(0), None | Some(0), None | Some(31..)],
            })) => Some(Hint::Multiprocessing),
            Self::Handshake(Other(Incompatible::Foreign { beginning, .. })) => Hint::of(beginning),
            #[cfg(feature = "multiprocessing")]
            Self::Multiprocessing(multiprocessing::Problem::MessageLength(len)) => {
                match &len.to_be_bytes() {
                    b"CSIG" => Some(Hint::Native),
                    beginning => Hint::of(beginning.map(Some)),
                }
            }
            _ => None,
        }
    }

    pub(crate) fn key_file(path: &Path, error: impl Into<KeyFileError>) -> Self {
        Self::KeyFile {
            path: path.to_owned(),
            error: error.into(),
        }
    }

    pub(crate) fn key_directory(path: &Path, error: impl Into<KeyFileError>) -> Self {
        Self::KeyDirectory {
            path: path.to_owned(),
            error: error.into(),
        }
    }

    fn is_foreign(&self) -> bool {
        use handshake::Error::Incompatible as Other;

        matches!(self, Self::Handshake(Other(Incompatible::Foreign { .. })))
    }

    /// Returns whether the server speaks another mode or version. Only then does a client say which it
    /// wanted.
    pub(crate) fn is_of_mode_or_version(&self) -> bool {
        matches!(
            self,
            Self::Handshake(handshake::Error::Incompatible(
                Incompatible::Mode { .. } | Incompatible::Version(_)
            ))
        )
    }

    /// Returns whether a server has sent its denial.
    #[cfg(feature = "net")]
    pub(crate) fn denies(&self) -> bool {
        matches!(
            self,
            Self::Handshake(handshake::Error::ClientNotAuthentic { .. })
        )
    }

    /// Adds to a denial what the client sent.
    pub(crate) fn or_denial(self, key_id: &KeyId, prologue: &Prologue) -> Self {
        match self {
            Self::Handshake(handshake::Error::Denied) => Self::Denied(Box::new(Denial {
                key_id: *key_id,
                service: prologue.service_name().into(),
                bound: prologue.is_bound(),
            })),
            other => other,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        use handshake::Error::{
            AllZeroSecret, ClientNotAuthentic, NoRandomness, ServerNotAuthentic, Stream,
        };
        #[cfg(feature = "multiprocessing")]
        use multiprocessing::Problem::{Rejected, RejectedMd5, WrongDigest};

        match self {
            Self::Io { source, .. } | Self::Connect { source, .. } => source.kind(),
            Self::Closed(_) | Self::Handshake(Stream(StreamError::Ended)) => {
                io::ErrorKind::UnexpectedEof
            }
            Self::TimedOut(_) => io::ErrorKind::TimedOut,
            Self::Handshake(NoRandomness) => io::ErrorKind::Other,
            Self::Denied(_)
            | Self::Cookbook(cookbook::Problem::WrongDigest)
            | Self::Handshake(
                handshake::Error::Denied
                | ServerNotAuthentic
                | AllZeroSecret
                | ClientNotAuthentic { .. },
            ) => io::ErrorKind::PermissionDenied,
            #[cfg(feature = "multiprocessing")]
            Self::Multiprocessing(Rejected | RejectedMd5 | WrongDigest) => {
                io::ErrorKind::PermissionDenied
            }
            #[cfg(feature = "multiprocessing")]
            Self::Multiprocessing(_) => io::ErrorKind::InvalidData,
            Self::Handshake(_) | Self::Cookbook(_) => io::ErrorKind::InvalidData,
            Self::InvalidInput(_) | Self::NoDirectory => io::ErrorKind::InvalidInput,
            Self::KeyFile { error, .. } | Self::KeyDirectory { error, .. } => error.kind(),
        }
    }
}

macro_rules! from {
    ($($(#[$cfg:meta])? $error:ty => $variant:ident),*) => {$(
        $(#[$cfg])?
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(error.into())
            }
        }
    )*};
}

from!(
    handshake::Error => Handshake,
    Incompatible => Handshake,
    StreamError => Handshake,
    NoRandomness => Handshake,
    InvalidInput => InvalidInput,
    cookbook::Problem => Cookbook,
    #[cfg(feature = "multiprocessing")]
    multiprocessing::Problem => Multiprocessing
);

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}

/// For callbacks of [`Receive::read`](handshake::Receive::read) that read a std stream.
impl From<handshake::Error> for io::Error {
    fn from(error: handshake::Error) -> Self {
        Error::from(error).into()
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Connect { source, .. } => Some(source),
            Self::KeyFile { error, .. } | Self::KeyDirectory { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// The sentence of its `Display`, because a `main` that returns an error prints it this way.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                phase: Phase::LookingUp,
                source,
            } => write!(f, "failed while {}: {source}", Phase::LookingUp),
            Self::Io { phase, source } => write!(f, "the stream failed while {phase}: {source}"),
            Self::Connect { address, source } => write!(
                f,
                "could not connect to {address}: {source}{}",
                when_not_connected(source)
            ),
            Self::Closed(phase) => write!(
                f,
                "the peer closed the connection while {phase}{}",
                phase.when_closed()
            ),
            Self::TimedOut(phase) => {
                write!(f, "timed out while {phase}{}", phase.when_silent())
            }
            Self::Handshake(error) => error.fmt(f),
            Self::Denied(denial) => denial.fmt(f),
            Self::Cookbook(problem) => problem.fmt(f),
            #[cfg(feature = "multiprocessing")]
            Self::Multiprocessing(problem) => problem.fmt(f),
            Self::InvalidInput(invalid) => invalid.fmt(f),
            Self::KeyFile { path, error } => error.fmt_of(f, path, false),
            Self::KeyDirectory { path, error } => error.fmt_of(f, path, true),
            Self::NoDirectory => f.write_str(
                "this key ring was not loaded from a directory, so there is nothing to reload",
            ),
        }?;
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None if self.is_foreign() => {
                f.write_str("; if they are random, the peer may speak the recipe's protocol")
            }
            None => Ok(()),
        }
    }
}

/// What to do about a connection that could not be made.
fn when_not_connected(error: &io::Error) -> &'static str {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, InvalidInput, NetworkUnreachable, NotFound,
        PermissionDenied, TimedOut,
    };

    match error.kind() {
        ConnectionRefused | NotFound => "; start the server, or correct the address",
        TimedOut | HostUnreachable | NetworkUnreachable => {
            "; check the address, and the network and firewalls on the way"
        }
        PermissionDenied => "; let this user write the socket, or correct the address",
        InvalidInput => "; write the address as HOST:PORT",
        // Of the look-up of a name, which has errors of its own.
        _ if error.raw_os_error().is_none() => "; correct the address",
        _ => "",
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server denied this client, which used key id \"{}\", service \"{}\" and {} channel \
             binding: the server does not know the key id, or the two ends differ in secret, \
             service or channel binding; the server's log says whether it knows the id",
            self.key_id,
            self.service.escape_ascii(),
            if self.bound { "a" } else { "no" },
        )
    }
}
