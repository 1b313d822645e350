//! What can be wrong with a key file.

use core::fmt::{self, Write};
use std::io::{self, ErrorKind};
use std::path::{Path, is_separator};

use super::malformed::Malformed;
use crate::invalid_input::InvalidInput;

/// A fault of a key file or of a key directory.
#[non_exhaustive]
#[derive(Debug)]
pub enum KeyFileError {
    /// It cannot be opened or read, or it is no regular file.
    Io(io::Error),
    /// It cannot be written.
    NotWritten(io::Error),
    /// Somebody besides its owner may write it.
    Writable {
        /// Its permission bits, such as `0o664`.
        mode: u32,
        /// The user id of its owner.
        owner: u32,
        /// The permission bits that it may have instead, such as `0o600`.
        allowed: u32,
    },
    /// Somebody besides its owner may read it.
    Readable {
        /// Its permission bits, such as `0o644`.
        mode: u32,
        /// The user id of its owner.
        owner: u32,
        /// The permission bits that it may have instead, such as `0o600`.
        allowed: u32,
    },
    /// It belongs neither to root nor to the owner of its directory.
    Owner {
        /// Its permission bits, such as `0o600`.
        mode: u32,
        /// The user id of its owner.
        owner: u32,
        /// The user id of the owner of its directory.
        expected: u32,
    },
    /// It kept changing while it was read.
    Changing,
    /// It is larger than any secret: more than 65,536 bytes.
    TooLarge,
    /// It is not one line of visible ASCII, with an `accept:` line or without.
    Content(Malformed),
    /// Its secret is refused.
    Secret(InvalidInput),
    /// Its name cannot be a key id.
    Name(InvalidInput),
    /// It exists, and a new file never replaces another.
    Exists,
    /// It is a link or has several names, so that rewriting it would leave another file behind.
    Linked,
    /// Its owner, group and permissions cannot be kept while it is rewritten.
    NotKept(io::Error),
    /// It has an `accept:` line already, so that no secret can be added.
    TwoSecrets,
    /// It has no `accept:` line that could be promoted or dropped.
    OneSecret,
}

impl KeyFileError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(source) | Self::NotWritten(source) | Self::NotKept(source) => source.kind(),
            Self::Writable { .. } | Self::Readable { .. } | Self::Owner { .. } => {
                ErrorKind::PermissionDenied
            }
            Self::Changing => ErrorKind::ResourceBusy,
            Self::Exists => ErrorKind::AlreadyExists,
            Self::TooLarge
            | Self::Content(_)
            | Self::Secret(_)
            | Self::Name(_)
            | Self::Linked
            | Self::TwoSecrets
            | Self::OneSecret => ErrorKind::InvalidInput,
        }
    }

    /// Writes what is wrong with the key file or the key directory of this path, and what to do.
    pub(super) fn fmt_of(
        &self,
        f: &mut fmt::Formatter<'_>,
        path: &Path,
        is_directory: bool,
    ) -> fmt::Result {
        let raw = path.as_os_str().as_encoded_bytes();
        let path = Escaped(raw);
        let what = if is_directory { "directory" } else { "file" };
        write!(f, "key {what} {path}: {self}{}", self.advice(is_directory))?;
        let is_plain = (raw.iter())
            .all(|byte| matches!(byte, b' '..=b'~') && !b"'\\".contains(byte))
            && !raw.starts_with(b"-");
        match self {
            Self::Writable { allowed, .. } | Self::Readable { allowed, .. } if is_plain => {
                write!(f, "; mend it with: chmod {allowed:04o} '{path}'")
            }
            Self::Writable { allowed, .. } | Self::Readable { allowed, .. } => {
                write!(f, "; mend it with chmod {allowed:04o}")
            }
            _ => Ok(()),
        }
    }

    /// Returns what to do about what the system reports, and about what kept changing.
    fn advice(&self, is_directory: bool) -> &'static str {
        match (self, self.kind(), is_directory) {
            (Self::Io(_), ErrorKind::NotFound, false) => {
                "; correct the path, or make a key there with `countersign keygen`"
            }
            (Self::Io(_), ErrorKind::NotFound, true) => "; correct the path, or make the directory",
            (Self::Io(_), ErrorKind::PermissionDenied, false) => {
                "; the user of this program must own the file, with mode 0600"
            }
            (Self::Io(_), ErrorKind::PermissionDenied, true) => {
                "; the user of this program must own the directory, with mode 0700"
            }
            (Self::NotWritten(_), ErrorKind::NotFound, _) => "; make its directory first",
            (Self::NotWritten(_), ErrorKind::PermissionDenied, _) => {
                "; run this program as a user who may write its directory"
            }
            (Self::NotKept(_), ErrorKind::PermissionDenied, _) => {
                "; rewrite it as its owner, or as root in a directory of root"
            }
            (Self::Changing, _, false) => "; write a new file beside it and rename that",
            (Self::Changing, _, true) => "; load it again",
            _ => "",
        }
    }
}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Malformed> for KeyFileError {
    fn from(malformed: Malformed) -> Self {
        Self::Content(malformed)
    }
}

impl From<InvalidInput> for KeyFileError {
    fn from(invalid: InvalidInput) -> Self {
        Self::Secret(invalid)
    }
}

impl core::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(source) | Self::NotWritten(source) | Self::NotKept(source) => Some(source),
            Self::Secret(invalid) | Self::Name(invalid) => Some(invalid),
            _ => None,
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(source) => source.fmt(f),
            Self::NotWritten(source) => write!(f, "it cannot be written: {source}"),
            Self::Writable { mode, owner, .. } => write!(
                f,
                "others than its owner (user {owner}) may write it (mode {mode:04o})"
            ),
            Self::Readable { mode, owner, .. } => write!(
                f,
                "others than its owner (user {owner}) may read it (mode {mode:04o}); if the \
                 platform mounts it this way, load it with from_shared_file or from_shared_dir"
            ),
            Self::Owner {
                mode,
                owner,
                expected,
            } => write!(
                f,
                "it belongs to user {owner} (mode {mode:04o}), but what is in this directory must belong to root or to \
                 user {expected}, who owns the directory; remove it unless you know who put it there"
            ),
            Self::Changing => f.write_str("it kept changing while it was read"),
            Self::TooLarge => f.write_str(
                "it is larger than 65536 bytes, so it cannot be a secret; use a key file",
            ),
            Self::Content(malformed) => malformed.fmt(f),
            Self::Secret(invalid) => invalid.fmt(f),
            Self::Name(invalid) => write!(f, "its name before .key must be a key id: {invalid}"),
            Self::Exists => f.write_str(
                "it exists already, and a key file is never replaced; choose another name, or remove it first",
            ),
            Self::Linked => f.write_str(
                "it is a link or has several names, and only one of them would be rewritten; name \
                 the file itself, and let it have no other name",
            ),
            Self::NotKept(source) => write!(
                f,
                "its owner, group and permissions cannot be kept while it is rewritten: {source}"
            ),
            Self::TwoSecrets => f.write_str(
                "it has an \"accept:\" line already; drop that before another secret is added",
            ),
            Self::OneSecret => f.write_str(
                "it has no \"accept:\" line that could be promoted or dropped; add a secret first",
            ),
        }
    }
}

/// A path, escaped: its line feeds would make two lines of one in a log. Separators stay, since on
/// Windows they are what would be escaped most.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| {
            if is_separator(char::from(byte)) {
                f.write_char(char::from(byte))
            } else {
                byte.escape_ascii().fmt(f)
            }
        })
    }
}
