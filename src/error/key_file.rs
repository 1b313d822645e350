//! What can be wrong with a key file.

use core::fmt;
use std::io;

use crate::invalid_input::InvalidInput;

/// What is wrong with a key file or a directory of key files.
#[non_exhaustive]
#[derive(Debug)]
pub enum KeyFileError {
    /// It cannot be opened or read.
    Io(io::Error),
    /// Its group or others may read or write it.
    Exposed {
        /// Its permission bits, such as `0o644`.
        mode: u32,
    },
    /// It is larger than any secret: more than 65,536 bytes.
    TooLarge,
    /// Its content cannot be a secret.
    Secret(InvalidInput),
    /// Its name cannot be a key id.
    Name(InvalidInput),
    /// The directory has no key file.
    NoKeys,
}

impl KeyFileError {
    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io(source) => source.kind(),
            Self::Exposed { .. } => io::ErrorKind::PermissionDenied,
            Self::NoKeys => io::ErrorKind::NotFound,
            Self::TooLarge | Self::Secret(_) | Self::Name(_) => io::ErrorKind::InvalidInput,
        }
    }
}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl core::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Secret(invalid) | Self::Name(invalid) => Some(invalid),
            Self::Exposed { .. } | Self::TooLarge | Self::NoKeys => None,
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(source) => source.fmt(f),
            Self::Exposed { mode } => write!(
                f,
                "its group or others may read or write it (mode {mode:04o}); take their access \
                 away with chmod 600, or load it with from_shared_file or from_shared_dir if the \
                 platform mounts it this way"
            ),
            Self::TooLarge => f.write_str(
                "it is larger than 65536 bytes, so it cannot be a secret; use a key file",
            ),
            Self::Secret(invalid) => invalid.fmt(f),
            Self::Name(invalid) => write!(f, "its name must be a key id: {invalid}"),
            Self::NoKeys => f.write_str("this directory has no key file; add one for each client"),
        }
    }
}
